"""The settings of a connectome and of a network on it, which all commands share."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import AfterValidator, Field

from ngnmm_jax._core.messages import fail, one_of
from ngnmm_jax.cli import parsing
from ngnmm_jax.cli.checked import Checked, Positive, called
from ngnmm_jax.cli.toml import read_toml


@dataclasses.dataclass(frozen=True)
class Option:
    """How a setting is given on the command line; `parse` where it is NAME=VALUE, repeatable.

    `help` goes without the default, which is the schema's, where that says it.
    """

    help: str
    flag: str | None = None
    metavar: str | None = None
    parse: Callable[[list[str]], Any] | None = None


#: What delays connections: the parameters, each with the network's argument.
DELAYS = {"speed": "speed", "delay": "delays"}
#: The settings of each command, by the command's name: they enter themselves.
COMMANDS: dict[str, "type[SourceSettings]"] = {}


def _reading(value: dict[str, Any]) -> dict[str, Any]:
    from ngnmm_jax.connectome.parts import FLAGS, Reading

    known = [field.name for field in dataclasses.fields(Reading)]
    for name, entry in value.items():
        one_of("reading", name, known)
        kind = bool if name in FLAGS else str
        if not isinstance(entry, kind) and not (name == "labels" and isinstance(entry, list)):
            must = "be true or false" if kind is bool else "be text"
            raise ValueError(f"must {must} at `{name}`")
    return value


class SourceSettings(Checked):
    """Where a connectome comes from, and how it is read."""

    command: ClassVar[str]

    connectome: Annotated[
        str,
        Option(
            "'hcp-schaefer100' (embedded), 'aal90' (downloaded once), or a file: .npz, .npy, "
            ".csv, .txt, .mat, .h5, .mtx, .graphml, or a TVB .zip."
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
    order: Annotated[Literal["atlas", "source"], Option("Of aal90: 'atlas' or 'source'.")] = "atlas"
    cache_dir: Annotated[str | None, Option("Folder that keeps downloaded connectomes.")] = None
    power: Annotated[Positive, Option("Raise all weights to this power first.")] = 1.0

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "command" in vars(cls):
            COMMANDS[cls.command] = cls

    @classmethod
    def merge(cls, config: Path | None, options: Mapping[str, Any] | None = None) -> Self:
        """Options that were given, over those of a TOML file, over the defaults.

        A file that another command wrote serves too: what these settings have not, or have as
        something else, is left out.
        """
        values = {} if config is None else read_toml(config)
        origin = COMMANDS.get(str(provenance_of(values).get("command")), cls)
        values = {name: value for name, value in values.items() if not cls._lacks(name, origin)}
        given = {name: value for name, value in (options or {}).items() if value not in (None, {})}
        if given.keys() & DELAYS.keys():  # one in place of the other
            values = {name: value for name, value in values.items() if name not in DELAYS}
        for name in ("set", "reading"):
            if name in given and isinstance(values.get(name), dict):
                given[name] = {**values[name], **given[name]}
        return cls.of({**values, **given}, "config" if config else "settings")

    @classmethod
    def _lacks(cls, name: str, other: "type[SourceSettings]") -> bool:
        """Whether another command has a setting that this one has not, or not as the same."""
        theirs, mine = other.model_fields.get(name), cls.model_fields.get(name)
        return theirs is not None and (mine is None or mine.annotation != theirs.annotation)

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """The settings of a TOML file that is a command's only source of them."""
        values = read_toml(path)
        provenance_of(values)
        return cls.of(values, "file")

    @functools.cached_property
    def loaded_connectome(self) -> Any:
        """The connectome as it is in its source, its weights raised to the power; read once."""
        with called("connectome", "name_or_path"):
            return self.read_connectome(self.connectome)

    def read_connectome(self, source: str) -> Any:
        """A connectome, read as the settings say."""
        from ngnmm_jax.connectome import Connectome

        loaded = Connectome.load(source, order=self.order, cache_dir=self.cache_dir, **self.reading)
        with called("power", "exponent"):
            return loaded if self.power == 1.0 else loaded.power(self.power)

    def where(self) -> str:
        """What the network is of, for titles."""
        return Path(self.connectome).stem

    def options(self, *names: str) -> dict[str, Any]:
        """Some of the settings, as keyword arguments."""
        return {name: getattr(self, name) for name in names}


class NetworkSettings(SourceSettings):
    """What describes a network."""

    model: Annotated[
        str,
        Option(
            "By name, of which an unknown one lists all; or your own as module:Class (with "
            "--allow-code)."
        ),
    ] = "nextgen"
    coupling: Annotated[float, Option("Coupling epsilon.")] = 5.0
    set: Annotated[
        dict[str, float | list[float]],
        Option(
            "A parameter of the model, as i_ext_e=13; repeatable; commas for one value per "
            "region. An unknown name lists all.",
            metavar="NAME=VALUE",
            parse=parsing.assignments,
        ),
    ] = Field(default_factory=dict)

    speed: Annotated[
        Positive | None,
        Option("Of conduction along the connectome's tracts, mm/ms. Default: no delays."),
    ] = None
    delay: Annotated[
        Positive | None,
        Option("Instead: one delay of all connections, in the model's unit of time."),
    ] = None

    @functools.cached_property
    def kind(self) -> Any:
        """The model's class; one's own is imported once."""
        from ngnmm_jax.models import MODELS, AbstractNeuralMass

        if ":" in self.model:
            found = parsing.imported(self.model, "model")
            if not (isinstance(found, type) and issubclass(found, AbstractNeuralMass)):
                fail("model", "name a class of neural masses", f"{self.model!r} is {found!r}")
            return found
        one_of("model", self.model, (*MODELS, "module:Class"))
        return MODELS[self.model]

    def varied(self) -> dict[str, tuple[float, float]]:
        """The lowest and the highest value of what varies."""
        return {}

    def delays(self) -> dict[str, float]:
        """The speed or the delay: what is given, or else the highest value of what varies."""
        found = {}
        for name in DELAYS:
            low, high = self.varied().get(name, (None, None))
            value = getattr(self, name) if high is None else high
            if low is not None and low <= 0:
                fail(f"vary.{name}", "be positive", f"its smallest value is {low:g}")
            if value is not None:
                found[name] = value
        if len(found) > 1:
            fail("speed", "not be given with `delay`", "both are")
        if "speed" in found and self.loaded_connectome.tract_lengths is None:
            must = "go with a connectome that has tract lengths (--reading lengths=FILE)"
            fail("speed", must, "this one has none: or give `delay`")
        return found

    def build(self) -> Any:
        """The network, rows normalised; its parameters and the ends of what varies are checked."""
        from ngnmm_jax._core.parameters import COUPLING, declared
        from ngnmm_jax.systems.network import Network

        names = tuple(declared(self.kind))
        for name, ends in self.varied().items():
            one_of("vary", name, (*names, COUPLING, *DELAYS))
            for end in ends if name in names else ():
                _made(self.kind, {name: end})
        model = self.node()
        given = {DELAYS[name]: value for name, value in self.delays().items()}
        return Network(model, self.connections(), self.coupling, **given)

    def node(self) -> Any:
        """The model, with the values that are set."""
        from ngnmm_jax._core.parameters import declared

        for name in self.set:
            one_of("set", name, tuple(declared(self.kind)))
        values = {name: self.placed(name, value) for name, value in self.set.items()}
        return _made(self.kind, values)

    def placed(self, name: str, value: Any) -> np.ndarray:
        """What is set, one number or one for each node."""
        regions = self.loaded_connectome.n_regions
        if isinstance(value, list) and len(value) != regions:
            must = f"be one number, or {regions}, one for each region"
            fail(f"set.{name}", must, f"they are {len(value)}")
        return np.asarray(value, dtype=float)

    def connections(self) -> Any:
        """What the network is coupled through, rows normalised."""
        return self.loaded_connectome.normalised()


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    """A model, or an error that says why this class makes none."""
    try:
        return kind(**values)
    except TypeError as error:
        but = f"{kind.__name__}: {error}"
    return fail("model", "make a model", but)


def provenance_of(values: dict[str, Any]) -> dict[str, Any]:
    """Take out of a file's settings what a command said of itself there."""
    provenance = values.pop("provenance", {})
    if not isinstance(provenance, dict):
        fail("provenance", "be a table", f"it is {provenance!r}")
    return provenance
