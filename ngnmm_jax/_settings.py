"""Settings of the command line: defaults, a TOML file, options; written beside the output."""

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ngnmm_jax import _checks
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.connectome.parts import Reading
from ngnmm_jax.models import MODELS
from ngnmm_jax.models.base import AbstractNeuralMass, parameter_names
from ngnmm_jax.network import Network

#: The settings that describe a network, in the files of `ngnmm sweep` and `ngnmm fit`.
NETWORK = (
    "connectome", "reading", "order", "cache_dir", "power", "model", "coupling", "parameters"
)  # fmt: skip

#: For each model, the plane of its maps (low, high, count) and where it is cut.
PLANES: dict[str, tuple[dict[str, list[float]], float]] = {
    "nextgen": ({"i_ext_e": [0, 16, 65], "coupling": [0, 30, 61]}, 9.0),
    "jansen-rit": ({"p": [0, 400, 81], "coupling": [0, 100, 41]}, 50.0),
}


def plane_of(model: AbstractNeuralMass) -> dict[str, tuple[float, float]]:
    """The two parameters, with bounds, over which maps of one of the library's models go."""
    for name, kind in MODELS.items():
        if type(model) is kind:
            return {key: (low, high) for key, (low, high, _) in PLANES[name][0].items()}
    _checks.fail("ranges", f"be given for {type(model).__name__}", "it is not")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a command does. In TOML: these names, and a table `[parameters]` of the model's."""

    connectome: str = "hcp-schaefer100"
    reading: dict[str, Any] = dataclasses.field(default_factory=dict)  # of its file, see `load`
    order: str = "atlas"
    cache_dir: str | None = None
    power: float = 1.0
    model: str = "nextgen"
    coupling: float = 5.0
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    duration: float | None = None  # 1 s
    save_every: float | None = None
    dt: float | None = None
    rtol: float = 1e-6
    atol: float = 1e-8
    seed: int = 0
    noise: float = 0.01
    lambda_low: float = -1.0
    lambda_high: float = 1.0
    lambda_points: int = 401
    axes: dict[str, list[float]] = dataclasses.field(default_factory=dict)  # low, high, count
    cut: float | None = None
    transient: float | None = None
    whole_network: bool = False
    exponents: int | None = None
    variable: str | None = None
    bounds: dict[str, list[float]] = dataclasses.field(default_factory=dict)  # low, high
    cuts: list[float] = dataclasses.field(default_factory=list)
    doublings: int = 1
    longest_period: float | None = None

    @classmethod
    def merge(cls, config: Path | None, options: Mapping[str, Any]) -> "Settings":
        """Options that were given, over those of a TOML file, over the defaults."""
        values: dict[str, Any] = {}
        if config is not None:
            values = read_toml(config)
            values.pop("ngnmm_jax_version", None)
            values.pop("command", None)
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            _checks.one_of("config", name, names)
        given = {name: value for name, value in options.items() if value is not None}
        parameters = {**values.get("parameters", {}), **given.pop("parameters", {})}
        reading = {**values.get("reading", {}), **given.pop("reading", {})}
        for name in ("axes", "bounds", "cuts"):
            if not given.get(name):
                given.pop(name, None)
        values = {**values, **given, "parameters": parameters, "reading": reading}
        return cls(**values)._checked()

    def _checked(self) -> "Settings":
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in ("parameters", "reading", "axes", "bounds", "cuts") or value is None:
                continue
            kind = type(field.default) if field.default is not None else (str, float, int)
            number = kind is float and isinstance(value, int) and not isinstance(value, bool)
            if not isinstance(value, kind) and not number:
                _checks.fail(field.name, f"be of type {kind}", f"it is {value!r}")
        check_reading(self.reading)
        _checks.one_of("model", self.model, MODELS)
        names = parameter_names(MODELS[self.model])
        for name in self.parameters:
            _checks.one_of("parameters", name, names)
        for name, axis in self.axes.items():
            _checks.one_of("axes", name, (*names, "coupling"))
            if not isinstance(axis, list) or len(axis) != 3 or not axis[2] >= 1:
                _checks.fail(name, "be an axis [low, high, count]", f"it is {axis!r}")
        for name, pair in self.bounds.items():
            _checks.one_of("bounds", name, (*names, "coupling"))
            if not isinstance(pair, list) or len(pair) != 2 or not pair[0] < pair[1]:
                _checks.fail(name, "have bounds [low, high]", f"they are {pair!r}")
        if not isinstance(self.cuts, list):
            _checks.fail("cuts", "be a list of numbers", f"it is {self.cuts!r}")
        return self

    def grid(self) -> dict[str, np.ndarray]:
        """The axes' values, or those that suit the model."""
        axes = self.axes or PLANES[self.model][0]
        return {name: np.linspace(low, high, int(n)) for name, (low, high, n) in axes.items()}

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The parameters' bounds, or those of the model's first axis."""
        first, (low, high, _) = next(iter(PLANES[self.model][0].items()))
        return {name: (low, high) for name, (low, high) in self.bounds.items()} or {
            first: (low, high)
        }

    def options(self, *names: str) -> dict[str, Any]:
        """Some of the settings, as keyword arguments."""
        return {name: getattr(self, name) for name in names}

    def write(self, path: Path, command: str) -> None:
        """As TOML, so that `ngnmm COMMAND --config FILE` does the same again."""
        import tomli_w

        from ngnmm_jax import __version__

        values = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        values = {"ngnmm_jax_version": __version__, "command": command, **values}
        path.write_text(tomli_w.dumps(values), encoding="utf-8")

    def load_connectome(self) -> Connectome:
        """The connectome as it is in its source."""
        return Connectome.load(
            self.connectome, order=self.order, cache_dir=self.cache_dir, **self.reading
        )

    def build(self) -> Network:
        """The network: rows normalised, after the power transform if there is one."""
        connectome = self.load_connectome()
        if self.power != 1.0:
            connectome = connectome.power(self.power)
        model = MODELS[self.model](**self.parameters)
        return Network(model, connectome.normalised(), self.coupling)


def check_reading(reading: Any) -> None:
    """Refuse what `Connectome.load` has no argument for, or values of another type."""
    if not isinstance(reading, dict):
        _checks.fail("reading", "be a table", f"it is {reading!r}")
    kinds = {field.name: str(field.type) for field in dataclasses.fields(Reading)}
    for name, value in reading.items():
        _checks.one_of("reading", name, kinds)
        kind = bool if "bool" in kinds[name] else str
        names = name == "labels" and isinstance(value, list)
        if not isinstance(value, kind) and not names:
            but = f"it is {value!r}"
            _checks.fail(name, "be true or false" if kind is bool else "be text", but)


def read_tables(
    path: Path, names: tuple[str, ...], others: tuple[str, ...] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A TOML file's settings of a network (and `others`), and its tables of these names."""
    values = read_toml(path)
    tables = {name: values.pop(name, {}) for name in names}
    for name, table in tables.items():
        if not isinstance(table, dict):
            _checks.fail(name, "be a table", f"it is {table!r}")
    for name in values:
        _checks.one_of("file", name, (*NETWORK, *others, *names))
    return values, tables


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file, or an error that says what is wrong with it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no settings file {str(path)!r}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"The settings file {str(path)!r} is not valid TOML: {error}") from None
