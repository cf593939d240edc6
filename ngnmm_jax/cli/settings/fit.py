"""The settings of `ngnmm fit`: a network, what varies, the data, the loss."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from ngnmm_jax.cli.checked import Bounds, Checked, Count, NonNegative, Positive, Seed
from ngnmm_jax.cli.settings.network import NetworkSettings


class VaryTable(Checked):
    """A free parameter: `{ interval = [0, 10] }`, `{ positive = true }` or `{ real = true }`."""

    interval: Bounds | None = None
    positive: bool = False
    real: bool = False
    per: str | None = None
    prior: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    spread: Positive | None = None


def _one_kind(value: VaryTable) -> VaryTable:
    kinds = [kind for kind in ("interval", "positive", "real") if getattr(value, kind)]
    if len(kinds) != 1:
        raise ValueError("must have one of `interval`, `positive`, `real`")
    return value


class TargetTable(Checked):
    """`[target]`: the data, "embedded" or files."""

    fc: str | None = None
    spectrum: str | None = None


class LossTable(Checked):
    """`[loss]`: how the data are predicted, and what each term weighs."""

    prediction: Literal["linear", "simulated"] = "linear"
    variable: str | None = None
    duration: Positive | None = None
    transient: NonNegative | None = None
    dt: Positive | None = None
    truncate: Positive | None = None
    limit: Positive = 30.0
    fc_correlation: NonNegative | None = None
    fc_distance: NonNegative | None = None
    spectral_distance: NonNegative | None = None
    whittle: NonNegative | None = None
    margin: NonNegative | None = None

    @property
    def weights(self) -> dict[str, float]:
        """Of the terms that are named."""
        terms = ("fc_correlation", "fc_distance", "spectral_distance", "whittle", "margin")
        values = {name: getattr(self, name) for name in terms}
        return {name: float(value) for name, value in values.items() if value is not None}


class FitRunTable(Checked):
    """`[run]`: arguments of `fit`."""

    steps: Count | None = None
    n_starts: Count | None = None
    method: Literal["gradient", "cma"] | None = None
    mode: Literal["forward", "reverse"] | None = None
    learning_rate: Positive | None = None
    patience: Count | None = None
    polish: bool | Annotated[int, Field(ge=0)] | None = None
    resample: bool | None = None
    seed: Seed | None = None
    save_every: Count | None = None
    monitor: Count | None = None


class CheckTable(Checked):
    """`[check]`: arguments of `fitting.simulated_fc`."""

    duration: Positive | None = None
    repetition_time: Positive | None = None
    runs: Count | None = None
    transient: NonNegative | None = None
    dt: Positive | None = None
    dtype: Literal["float32", "float64"] | None = None
    seed: Seed | None = None
    signal: str | None = None


class FitSettings(NetworkSettings):
    """All of the file."""

    command: ClassVar[str] = "fit"

    noise: dict[str, NonNegative | list[NonNegative]] = Field(default_factory=dict)
    vary: dict[str, Annotated[VaryTable, AfterValidator(_one_kind)]] = Field(default_factory=dict)
    target: TargetTable = Field(default_factory=TargetTable)
    loss: LossTable = Field(default_factory=LossTable)
    run: FitRunTable = Field(default_factory=FitRunTable)
    check: CheckTable = Field(default_factory=CheckTable)
