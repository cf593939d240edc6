"""The settings of the commands that take them as options."""

from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from ngnmm_jax._core.messages import fail, one_of
from ngnmm_jax.cli import parsing
from ngnmm_jax.cli.checked import Axis, Bounds, Count, NonNegative, Positive, Seed, points
from ngnmm_jax.cli.settings.network import NetworkSettings, Option, SourceSettings
from ngnmm_jax.cli.settings.surface import SurfaceSettings

_Duration = Annotated[Positive | None, Option("In the model's unit of time.")]
_Transient = Annotated[NonNegative | None, Option("Left out before, in the model's unit.")]
_Step = Annotated[Positive | None, Option("Fixed step. Default: the command says.")]
_Scatter = Annotated[NonNegative, Option("Standard deviation of the initial noise.")]
_Animate = Annotated[bool, Option("Write activity.gif too, the activity on the brain.")]
_SeedOption = Annotated[Seed, Option("Of all random numbers.")]


class GridSettings(NetworkSettings):
    """A network, and parameters that vary over a grid."""

    vary: Annotated[
        dict[str, Axis],
        Option(
            "What varies; see the command for how many, and the default.",
            metavar="NAME=LOW:HIGH:COUNT",
            parse=parsing.axes,
        ),
    ] = Field(default_factory=dict)

    def plane(self) -> dict[str, list[float]]:
        """What varies, by default over the plane of the model's maps."""
        return self.vary or {name: list(axis) for name, axis in _plane_of(self.kind).items()}

    def grid(self) -> dict[str, np.ndarray]:
        """The values of what varies."""
        return {name: points(axis) for name, axis in self.plane().items()}

    def varied(self) -> dict[str, tuple[float, float]]:
        return {name: (low, high) for name, (low, high, _) in self.vary.items()}


def _plane_of(kind: Any) -> dict[str, tuple[float, float, int]]:
    """The plane of a model's maps, which it may not have."""
    if not kind.plane:
        fail("--vary", f"be given for {kind.__name__}",
               "it is not: the model names no `plane`")  # fmt: skip
    return dict(kind.plane)


class DemoSettings(SourceSettings):
    """`ngnmm demo`."""

    command: ClassVar[str] = "demo"

    quick: Annotated[bool, Option("A coarse map, for a first look.")] = False


class ConnectomeSettings(SourceSettings):
    """`ngnmm connectome`."""

    command: ClassVar[str] = "connectome"


class ReproduceSettings(SourceSettings):
    """`ngnmm reproduce`."""

    command: ClassVar[str] = "reproduce"

    connectome: Annotated[
        str,
        Option("Default: 'aal90', the paper's, where it is on this machine; else "
               "'hcp-schaefer100'."),
    ] = ""  # fmt: skip
    quick: Annotated[
        bool, Option("Small settings; default: the paper's.", flag="--quick/--full")
    ] = False


class SimulateSettings(SurfaceSettings):
    """`ngnmm simulate`."""

    command: ClassVar[str] = "simulate"

    duration: _Duration = None
    save_every: Annotated[Positive | None, Option("Sampling interval. Default: 1 ms.")] = None
    dt: Annotated[
        Positive | None,
        Option(
            "Fixed RK4 step; adaptive steps if not given. On a surface steps are fixed: the exact "
            "flow's where the model has one, and as long as the model allows if not given."
        ),
    ] = None
    rtol: Annotated[Positive, Field(lt=1), Option("Relative tolerance of adaptive steps.")] = 1e-6
    atol: Annotated[Positive, Option("Absolute tolerance of adaptive steps.")] = 1e-8
    seed: _SeedOption = 0
    scatter: _Scatter = 0.01
    animate: _Animate = False


class DispersionSettings(SurfaceSettings):
    """`ngnmm dispersion`."""

    command: ClassVar[str] = "dispersion"

    lambda_low: Annotated[float, Option("Curve from this Λ.")] = -1.0
    lambda_high: Annotated[float, Option("Curve up to this Λ.")] = 1.0
    lambda_points: Annotated[int, Field(ge=2, le=10**6), Option("Points of the curve.")] = 401


class MapSettings(GridSettings):
    """`ngnmm map`."""

    command: ClassVar[str] = "map"

    cut: Annotated[
        float | None,
        Option("Value of the second parameter for the dispersion curves. Default: 9 (50)."),
    ] = None


class CompareSettings(SourceSettings):
    """`ngnmm compare`."""

    command: ClassVar[str] = "compare"

    models: Annotated[
        str | None,
        Option("Their names with commas between, or all. Default: nextgen,jansen-rit."),
    ] = None

    def chosen(self) -> tuple[str, ...]:
        """The models' names."""
        from ngnmm_jax.models import MODELS
        from ngnmm_jax.reproduce.comparison import PAPERS

        if self.models is None:
            return PAPERS
        names = tuple(MODELS) if self.models == "all" else tuple(self.models.split(","))
        for name in names:
            one_of("models", name, ("all", *MODELS))
        return names


class LyapunovSettings(GridSettings):
    """`ngnmm lyapunov`."""

    command: ClassVar[str] = "lyapunov"

    whole_network: Annotated[
        bool,
        Option("Of the whole network. Default: --homogeneous.", flag="--network/--homogeneous"),
    ] = False
    exponents: Annotated[Count | None, Option("How many. Default: all; of a network 20.")] = None
    variable: Annotated[
        str | None, Option("Whose maxima the cascade shows. Default: that which figures show.")
    ] = None
    duration: _Duration = None
    transient: _Transient = None
    dt: _Step = None
    seed: _SeedOption = 0


class SpectrumSettings(GridSettings):
    """`ngnmm spectrum`."""

    command: ClassVar[str] = "spectrum"

    duration: _Duration = None
    transient: _Transient = None
    dt: _Step = None
    seed: _SeedOption = 0
    scatter: _Scatter = 0.01
    animate: _Animate = False


class BifurcateSettings(NetworkSettings):
    """`ngnmm bifurcate`."""

    command: ClassVar[str] = "bifurcate"

    vary: Annotated[
        dict[str, Bounds],
        Option(
            "A parameter and its bounds, once or twice. Default: the first of the model's plane.",
            metavar="NAME=LOW:HIGH",
            parse=parsing.bounds,
        ),
    ] = Field(default_factory=dict)
    cuts: Annotated[
        list[float],
        Option(
            "Of two parameters: a value of the second at which bifurcations are looked for over "
            "the first; repeatable. Default: the middle.",
            flag="--cut",
        ),
    ] = Field(default_factory=list)
    doublings: Annotated[int, Field(ge=0), Option("How often doubled cycles are followed.")] = 1
    longest_period: Annotated[
        Positive | None,
        Option("Where cycles end, in the model's unit. Default: 4 to 10 first periods."),
    ] = None
    variable: Annotated[
        str | None, Option("That the diagram shows. Default: the first potential.")
    ] = None

    def varied(self) -> dict[str, tuple[float, float]]:
        if self.vary:
            return {name: (low, high) for name, (low, high) in self.vary.items()}
        name, (low, high, _) = next(iter(_plane_of(self.kind).items()))
        return {name: (low, high)}
