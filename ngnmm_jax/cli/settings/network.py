"""What each command can be told: one schema for its options and its TOML file."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, Field

from ngnmm_jax.cli import parsing
from ngnmm_jax.cli.checked import Axis, Bounds, Checked, Count, NonNegative, Positive, Seed, unknown
from ngnmm_jax.cli.toml import read_toml


@dataclasses.dataclass(frozen=True)
class Option:
    """How a setting is given on the command line; `parse` where it is NAME=VALUE, repeatable."""

    help: str
    flag: str | None = None
    metavar: str | None = None
    parse: Callable[[list[str]], Any] | None = None


def _reading(value: dict[str, Any]) -> dict[str, Any]:
    from ngnmm_jax.connectome.parts import Reading

    kinds = {field.name: str(field.type) for field in dataclasses.fields(Reading)}
    for name, entry in value.items():
        if name not in kinds:
            raise ValueError(unknown("reading", name, kinds))
        kind = bool if "bool" in kinds[name] else str
        if not isinstance(entry, kind) and not (name == "labels" and isinstance(entry, list)):
            must = "be true or false" if kind is bool else "be text"
            raise ValueError(f"must {must} at `{name}`")
    return value


_Numbers = dict[str, float | list[float]]


class NetworkSettings(Checked):
    """What describes a network."""

    connectome: Annotated[
        str,
        Option(
            "'hcp-schaefer100' (embedded), 'aal90' (downloaded once), or a file: .npz, .npy, "
            ".csv, .txt, .mat, .h5, .mtx, .graphml, or a TVB .zip. Default: hcp-schaefer100."
        ),
    ] = "hcp-schaefer100"
    reading: Annotated[
        dict[str, Any],
        AfterValidator(_reading),
        Option(
            "How the file is read, where it leaves that open, as variable=SC, symmetric=true, "
            "transpose=true; repeatable. An unknown name lists all.",
            metavar="NAME=VALUE",
            parse=parsing.words,
        ),
    ] = Field(default_factory=dict)
    order: Annotated[
        Literal["atlas", "source"], Option("Of aal90: 'atlas' or 'source'. Default: atlas.")
    ] = "atlas"
    cache_dir: Annotated[str | None, Option("Folder that keeps downloaded connectomes.")] = None
    power: Annotated[Positive, Option("Raise all weights to this power first. Default: 1.")] = 1.0
    model: Annotated[
        str,
        Option(
            "'nextgen', 'jansen-rit', or your own as module:Class (with --allow-code). "
            "Default: nextgen."
        ),
    ] = "nextgen"
    coupling: Annotated[float, Option("Coupling epsilon. Default: 5.")] = 5.0
    parameters: Annotated[
        _Numbers,
        Option(
            "A parameter of the model, as i_ext_e=13; repeatable; commas for one value per "
            "region. An unknown name lists all.",
            flag="--set",
            metavar="NAME=VALUE",
            parse=parsing.assignments,
        ),
    ] = Field(default_factory=dict)

    @classmethod
    def merge(cls, config: Path | None, options: Mapping[str, Any] | None = None) -> Self:
        """Options that were given, over those of a TOML file, over the defaults.

        A file that another command wrote serves too: what is not among these settings, but among
        that command's, is left out.
        """
        values = {} if config is None else read_toml(config)
        origin = provenance_of(values).get("command")
        known = set(_OTHERS.get(str(origin), ()))
        if origin in COMMANDS:
            known |= set(COMMANDS[origin].model_fields)
        values = {k: v for k, v in values.items() if k in cls.model_fields or k not in known}
        given = {name: value for name, value in (options or {}).items() if value not in (None, {})}
        for name in ("parameters", "reading"):
            if name in given and isinstance(values.get(name), dict):
                given[name] = {**values[name], **given[name]}
        return cls.of({**values, **given}, "config" if config else "settings")

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """The settings of a TOML file that is a command's only source of them."""
        values = read_toml(path)
        provenance_of(values)
        return cls.of(values, "file")

    @functools.cached_property
    def loaded_connectome(self) -> Any:
        """The connectome as it is in its source, its weights raised to the power; read once."""
        from ngnmm_jax.connectome import Connectome

        loaded = Connectome.load(
            self.connectome, order=self.order, cache_dir=self.cache_dir, **self.reading
        )
        return loaded if self.power == 1.0 else loaded.power(self.power)

    def kind(self) -> Any:
        """The model's class."""
        from ngnmm_jax.models import MODELS, AbstractNeuralMass

        if ":" in self.model:
            found = parsing.imported(self.model, "model")
            if not (isinstance(found, type) and issubclass(found, AbstractNeuralMass)):
                raise ValueError(
                    f"Argument `model` must name a class of neural masses, but {self.model!r} is "
                    f"{found!r}."
                )
            return found
        if self.model not in MODELS:
            raise ValueError(unknown("model", self.model, (*MODELS, "module:Class")))
        return MODELS[self.model]

    def build(self) -> Any:
        """The network, rows normalised; its parameters and those of all axes are checked."""
        from ngnmm_jax.models.base import parameter_names
        from ngnmm_jax.systems.network import Network

        kind = self.kind()
        names = parameter_names(kind)
        for name in self.parameters:
            if name not in names:
                raise ValueError(unknown("parameters", name, names))
        for argument in ("axes", "bounds"):
            for name, (low, high, *_) in getattr(self, argument, {}).items():
                if name not in (*names, "coupling"):
                    raise ValueError(unknown(argument, name, (*names, "coupling")))
                if name != "coupling":
                    for end in (low, high):
                        _made(kind, {name: end})
        model = _made(kind, {k: np.asarray(v, dtype=float) for k, v in self.parameters.items()})
        return Network(model, self.loaded_connectome.normalised(), self.coupling)

    def plane(self) -> dict[str, list[float]]:
        """The axes, or those over which the model's maps go."""
        given = getattr(self, "axes", {})
        return given or {name: list(axis) for name, axis in plane_of(self.kind()).items()}

    def grid(self) -> dict[str, np.ndarray]:
        """The axes' values."""
        axes = self.plane().items()
        return {name: np.linspace(low, high, int(n)) for name, (low, high, n) in axes}

    def options(self, *names: str) -> dict[str, Any]:
        """Some of the settings, as keyword arguments."""
        return {name: getattr(self, name) for name in names}


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    """A model, or an error that says why this class makes none."""
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(
            f"Argument `model` must make a model, but {kind.__name__}: {error}."
        ) from None


def provenance_of(values: dict[str, Any]) -> dict[str, Any]:
    """Take out of a file's settings what a command said of itself there."""
    provenance = values.pop("provenance", {})
    if not isinstance(provenance, dict):
        raise ValueError(f"Argument `provenance` must be a table, but it is {provenance!r}.")
    return provenance


def plane_of(kind: Any) -> dict[str, tuple[float, float, int]]:
    """The plane of a model's maps, which it may not have."""
    if not kind.plane:
        raise ValueError(
            f"Argument `--axis` must be given for {kind.__name__}, but it is not: "
            "the model names no `plane`."
        )
    return dict(kind.plane)


_Axes = Annotated[
    dict[str, Axis],
    Option(
        "An axis; see the command for how many, and the default.",
        flag="--axis",
        metavar="NAME=LOW:HIGH:COUNT",
        parse=parsing.axes,
    ),
]
_Duration = Annotated[Positive | None, Option("In the model's unit: ms (s for jansen-rit).")]
_Transient = Annotated[NonNegative | None, Option("Left out before, in the model's unit.")]
_Step = Annotated[Positive | None, Option("Fixed step. Default: the command says.")]
_Scatter = Annotated[NonNegative, Option("Standard deviation of the initial noise. Default: 0.01.")]
_SeedOption = Annotated[Seed, Option("Of all random numbers. Default: 0.")]


class DemoSettings(NetworkSettings):
    """`ngnmm demo`."""


class ConnectomeSettings(NetworkSettings):
    """`ngnmm connectome`."""


class SimulateSettings(NetworkSettings):
    """`ngnmm simulate`."""

    duration: _Duration = None
    save_every: Annotated[Positive | None, Option("Sampling interval. Default: 1 ms.")] = None
    dt: Annotated[Positive | None, Option("Fixed RK4 step; adaptive steps if not given.")] = None
    rtol: Annotated[Positive, Option("Relative tolerance. Default: 1e-6.")] = 1e-6
    atol: Annotated[Positive, Option("Absolute tolerance. Default: 1e-8.")] = 1e-8
    seed: _SeedOption = 0
    scatter: _Scatter = 0.01


class DispersionSettings(NetworkSettings):
    """`ngnmm dispersion`."""

    lambda_low: Annotated[float, Option("Curve from this Λ. Default: -1.")] = -1.0
    lambda_high: Annotated[float, Option("Curve up to this Λ. Default: 1.")] = 1.0
    lambda_points: Annotated[
        int, Field(ge=2, le=10**6), Option("Points of the curve. Default: 401.")
    ] = 401


class MapSettings(NetworkSettings):
    """`ngnmm map`."""

    axes: _Axes = Field(default_factory=dict)
    cut: Annotated[
        float | None,
        Option("Value of the second axis for the dispersion curves. Default: 9 (50)."),
    ] = None


class CompareSettings(NetworkSettings):
    """`ngnmm compare`."""


class LyapunovSettings(NetworkSettings):
    """`ngnmm lyapunov`."""

    axes: _Axes = Field(default_factory=dict)
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


class SpectrumSettings(NetworkSettings):
    """`ngnmm spectrum`."""

    axes: _Axes = Field(default_factory=dict)
    duration: _Duration = None
    transient: _Transient = None
    dt: _Step = None
    seed: _SeedOption = 0
    scatter: _Scatter = 0.01


class BifurcateSettings(NetworkSettings):
    """`ngnmm bifurcate`."""

    bounds: Annotated[
        dict[str, Bounds],
        Option(
            "A parameter and its bounds, once or twice. Default: the model's first axis.",
            flag="--range",
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
    doublings: Annotated[
        int, Field(ge=0), Option("How often doubled cycles are followed. Default: 1.")
    ] = 1
    longest_period: Annotated[
        Positive | None,
        Option("Where cycles end, in the model's unit. Default: 4 to 10 first periods."),
    ] = None
    variable: Annotated[
        str | None, Option("That the diagram shows. Default: the first potential.")
    ] = None

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The parameters' bounds, or those of the model's first axis."""
        if self.bounds:
            return {name: (low, high) for name, (low, high) in self.bounds.items()}
        name, (low, high, _) = next(iter(plane_of(self.kind()).items()))
        return {name: (low, high)}


#: The settings of each command that writes them.
COMMANDS: dict[str, type[NetworkSettings]] = {
    "demo": DemoSettings,
    "connectome": ConnectomeSettings,
    "simulate": SimulateSettings,
    "dispersion": DispersionSettings,
    "map": MapSettings,
    "compare": CompareSettings,
    "lyapunov": LyapunovSettings,
    "spectrum": SpectrumSettings,
    "bifurcate": BifurcateSettings,
}


# What the files of commands with a schema elsewhere hold beside a network.
_OTHERS = {"fit": ("noise", "free", "target", "loss", "run", "check")}
