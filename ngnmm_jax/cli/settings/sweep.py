"""The settings of `ngnmm sweep`: a network, what varies, a design, a measure."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ngnmm_jax.cli.checked import Checked, Count, Seed
from ngnmm_jax.cli.settings.network import DELAYS, NetworkSettings


class DesignTable(Checked):
    """`[design]`: how parameter sets are made of `[vary]`, which says what it means there."""

    kind: Literal["grid", "list", "random", "sobol"] = "grid"
    count: Count | None = None
    replicates: Count = 1
    seed: Seed = 0
    regions: Count | None = None


class FunctionTable(Checked):
    """`[measure]` of a function: arguments of `Function`."""

    traced: bool = True
    dims: dict[str, list[str]] = Field(default_factory=dict)
    units: dict[str, str] = Field(default_factory=dict)
    key: str = ""


class SweepRunTable(Checked):
    """`[run]`: arguments of `sweep`."""

    block: Count | None = None
    chunk: Count | None = None
    checks: Annotated[int, Field(ge=0)] | None = None


class SweepSettings(NetworkSettings):
    """All of the file."""

    command: ClassVar[str] = "sweep"

    homogeneous: bool = False
    vary: dict[str, Any] = Field(default_factory=dict)
    design: DesignTable = Field(default_factory=DesignTable)
    measure: dict[str, Any] = Field(default_factory=dict)
    run: SweepRunTable = Field(default_factory=SweepRunTable)

    def connectome_of(self, source: str) -> Any:
        """One of several connectomes that vary: read as the network's, rows normalised."""
        return self.read_connectome(source).normalised()

    def varied(self) -> dict[str, tuple[float, float]]:
        """Of delays: other parameters are checked with the design, which says what is meant."""
        found = {}
        for name in DELAYS:
            entry = self.vary.get(name)
            listed = entry.get("values") if isinstance(entry, dict) else entry
            if isinstance(listed, list) and all(type(v) in (int, float) for v in listed):
                values = listed if isinstance(entry, dict) else listed[:2]
                if values:
                    found[name] = (float(min(values)), float(max(values)))
        return found
