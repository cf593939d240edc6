"""What a sweep computes at each point: the abstract measure, and any function of the network."""

import abc
import dataclasses
import inspect
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.cards import Shown
from ngnmm_jax._core.lanes import map_chunks
from ngnmm_jax._core.parameters import with_leaves
from ngnmm_jax._core.placement import on_cpu
from ngnmm_jax._core.programs import Operations, Traced, identity, traced
from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax.sweeps.outputs import Output
from ngnmm_jax.systems.driven import Driven, Undriven

System = Undriven | Driven
Points = dict[str, np.ndarray]

#: Points of cheap measures that a device takes at a time.
CHEAP = 256


class AbstractMeasure(Shown, abc.ABC):
    """What is computed at each point of a sweep. It has to be picklable.

    A new one implements `outputs` and `evaluate`; the rest is optional.
    """

    @abc.abstractmethod
    def outputs(self, system: System) -> dict[str, Output]:
        """What `evaluate` returns, by name, "status" left out."""

    @abc.abstractmethod
    def evaluate(
        self, system: System, points: Points, seeds: np.ndarray, chunk: int | None
    ) -> dict[str, np.ndarray]:
        """The outputs (run, …) and "status" (run,), one of `Status` for each run.

        `points` are values (run,) or (run, region) by name, `seeds` (run,). `chunk` runs are to be
        computed at a time on each device; None: as many as suit it. A run must not depend on what
        other runs are computed with it.
        """

    @property
    def scanned(self) -> str | None:
        """The dimension whose points start at the ends of those before them.

        They are computed one after another, by `evaluate_after`. None: no point needs another.
        """
        return None

    def evaluate_after(
        self, system: System, points: Points, seeds: np.ndarray, chunk: int | None, ends: Any
    ) -> tuple[dict[str, np.ndarray], Any]:
        """As `evaluate`, from where those before ended; and where these do. First without ends."""
        raise NotImplementedError(f"`{type(self).__name__}` has `scanned` but no `evaluate_after`.")

    def extras(self, system: System) -> tuple[str, ...]:
        """What a design may vary beside the model's parameters and the coupling."""
        return ()

    def over(self, system: System, design: Any) -> "AbstractMeasure":
        """The same for the points of a design: what has to suit all of them is chosen here."""
        return self

    def coordinates(self, system: System) -> dict[str, tuple[Any, dict[str, Any]]]:
        """Values along the outputs' dimensions, and attributes."""
        return {}

    def chunk(self, system: System) -> int:
        """Runs that a device takes at a time."""
        return CHEAP

    def refined(self, system: System) -> "AbstractMeasure | None":
        """The same with half the step, for an estimate of the error; None where there is none."""
        return None

    @abc.abstractmethod
    def definition(self, system: System) -> dict[str, Any]:
        """All that decides its numbers, for a store."""


@dataclasses.dataclass(frozen=True, repr=False)
class Function(AbstractMeasure):
    """Any function of the network: `function(network)`, or `function(network, seed)`.

    It returns a dict of numbers and arrays by name, of the same shapes at all points; one of
    them may be "status". Without it, points at which a value is NaN or infinite are NOT_FINITE.
    The seed goes to its argument named `seed`, or to a second one that has no default; other
    arguments keep their defaults.

    - `function`: defined at the top of a module where it is to run in other processes.
    - `traced`: it is made of JAX operations and runs vmapped and compiled. With False it is
      called point by point; a `SolverError` that it raises becomes the point's status.
    - `dims`: names of the results' dimensions, by name of the result; `units` likewise.
    - `key`: identifies the function for a store, where its operations do not: one that is not
      traced, or that calls back into Python. Any text that is another one when its numbers are.
    """

    function: Callable[..., Mapping[str, Any]]
    traced: bool = True
    dims: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    key: Any = None
    # Shapes of what a design varies; the function as it was when its outputs were asked for.
    _varied: Mapping[str, tuple[int, ...]] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _operations: Operations = dataclasses.field(
        default=Operations(), init=False, repr=False, compare=False
    )
    _where: tuple[str, str] = dataclasses.field(
        default=("", ""), init=False, repr=False, compare=False
    )

    def over(self, system: System, design: Any) -> "Function":
        if not self.traced:
            return self
        own = dataclasses.replace(self)
        shapes = {name: value.shape[1:] for name, (_, value) in design.parameters.items()}
        object.__setattr__(own, "_varied", shapes)
        return own

    def outputs(self, system: System) -> dict[str, Output]:
        shapes = self._trace(system).outputs if self.traced else self._call(system, {}, 0)
        result = {}
        for name, like in shapes.items():
            if name == "status":
                continue
            like = like if hasattr(like, "dtype") else np.asarray(like)
            dims = self.dims.get(name, tuple(f"{name}_{k}" for k in range(len(like.shape))))
            if len(dims) != len(like.shape):
                _checks.fail("dims", f"name {len(like.shape)} of {name!r}", f"they are {dims}")
            unit = self.units.get(name, "")
            result[name] = Output(tuple(dims), tuple(like.shape), str(like.dtype), unit)
        return result

    def _call(self, system: System, point: Mapping[str, Any], seed: Any) -> dict[str, Any]:
        return called(self.function, with_leaves(system, point), seed)

    def _trace(self, system: System) -> Traced:
        """The function on one point, as it is now; its operations are kept."""
        point = {
            name: jax.ShapeDtypeStruct(shape, jnp.result_type(float))
            for name, shape in self._varied.items()
        }
        found = traced(self._call, system.bare(), point, jnp.asarray(0))
        object.__setattr__(self, "_operations", found.operations)
        object.__setattr__(self, "_where", (_PROCESS, jax.default_backend()))
        return found

    def evaluate(
        self, system: System, points: Points, seeds: np.ndarray, chunk: int | None
    ) -> dict[str, np.ndarray]:
        if self.traced:
            fields = map_chunks(
                self._vmapped(system),
                system.bare(),
                {"point": points, "seed": seeds},
                chunk=CHEAP if chunk is None else chunk,
                progress=False,
                # Eigenvalues on several CPU devices at once deadlock (JAX 0.10.1).
                one_device=on_cpu(),
                lockstep=True,
            )
        else:
            fields = self._one_by_one(system, points, seeds)
        finite = np.ones(seeds.size, dtype=bool)
        for name, value in fields.items():
            if name != "status" and value.dtype.kind == "f":
                finite &= np.isfinite(value).reshape(seeds.size, -1).all(axis=1)
        status = fields.get("status", np.full(seeds.size, Status.OK))
        lost = ~finite & (status == Status.OK)
        fields["status"] = np.where(lost, Status.NOT_FINITE, status).astype(np.int8)
        return fields

    def _one_by_one(
        self, system: System, points: Points, seeds: np.ndarray
    ) -> dict[str, np.ndarray]:
        outputs = self.outputs(system)
        fields = {
            name: np.full((seeds.size, *o.shape), np.nan if np.dtype(o.dtype).kind == "f" else -1,
                          o.dtype)
            for name, o in outputs.items()
        }  # fmt: skip
        fields["status"] = np.full(seeds.size, Status.OK)
        for k, seed in enumerate(seeds):
            values = {name: value[k] for name, value in points.items()}
            try:
                found = called(self.function, _with_values(system, values), int(seed))
            except SolverError as error:
                fields["status"][k] = error.status
                continue
            others = found.keys() ^ outputs.keys()
            if others - {"status"}:
                but = f"only some have {', '.join(map(repr, sorted(others - {'status'})))}"
                _checks.fail("function", "return the same results at all points", but)
            for name, value in found.items():
                fields[name][k] = np.asarray(value)
        return fields

    def _vmapped(self, system: System) -> Callable[[Any, Any], Any]:
        """The function over runs: one object for the same operations, so that it compiles once."""
        told, (process, platform) = self._operations, self._where
        if process != _PROCESS:
            differs = self._trace(system).operations.text != told.text
            # On another kind of device some operations are others.
            if differs and told.text and not told.unknown and platform == self._where[1]:
                raise RuntimeError(
                    f"The function {_name(self.function)} computes something else in this process "
                    "than where the sweep was started: its module, constants, data and settings "
                    "must be the same."
                )
        if self._known_by not in _COMPILED:
            while len(_COMPILED) >= _MOST:
                _COMPILED.pop(next(iter(_COMPILED)))
            _COMPILED[self._known_by] = _OverRuns()
        found = _COMPILED[self._known_by]
        # Of functions that are the same now, the one at hand: another may have changed since.
        found.function = self.function
        return found

    @property
    def _known_by(self) -> tuple[Any, ...]:
        """What its compiled form is known by: the operations, or where they do not tell, itself."""
        return (*self._operations, id(self.function) if self._operations.unknown else 0)

    def definition(self, system: System) -> dict[str, Any]:
        where = f"as in `Function({_name(self.function)}, key=…)`"
        if self.traced:
            known = self._operations if self._operations.text else self._trace(system).operations
            return {"measure": f"function {known.digest(self.key, where)}"}
        if self.key is None:
            _checks.fail(
                "key",
                f"be given for a store, {where} (any text that is another one when what is "
                "computed is)",
                "what a function computes is not known unless it is traced",
            )
        return {"measure": f"function, key {identity(self.key)}"}


class _OverRuns:
    """A function over runs; one object for all functions of the same operations."""

    function: Callable[..., Any]

    def __call__(self, system: System, lanes: dict[str, Any]) -> dict[str, jax.Array]:
        def one(lane: dict[str, Any]) -> dict[str, jax.Array]:
            found = called(self.function, with_leaves(system, lane["point"]), lane["seed"])
            return {name: as_array(value) for name, value in found.items()}

        return jax.vmap(one)(lanes)


# This process, whatever its number; and what it used last.
_PROCESS = uuid.uuid4().hex
_COMPILED: dict[tuple[Any, ...], _OverRuns] = {}
_MOST = 16


def called(function: Callable[..., Any], system: System, seed: Any) -> dict[str, Any]:
    """The results of a function of a network, and of a seed if it takes one."""
    takes = _seed_of(function)
    if takes is None:
        found = function(system)
    else:
        found = function(system, seed) if takes == "" else function(system, **{takes: seed})
    if not isinstance(found, Mapping) or not found:
        kind = type(found).__name__
        _checks.fail("function", "return a dict of results by name", f"it returns a {kind}")
    return dict(found)


def _seed_of(function: Callable[..., Any]) -> str | None:
    """The name of the argument that takes the seed; "" for the second in place; None if none."""
    try:
        found = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):  # of some built-in functions
        return None
    kinds = inspect.Parameter
    others = [p for p in found[1:] if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]
    if found and found[0].kind is kinds.KEYWORD_ONLY:
        others = found
    given = getattr(function, "keywords", {})  # of `functools.partial`: stay as they are
    named = [p for p in others if p.name == "seed" and "seed" not in given]
    needed = [p for p in others if p.default is kinds.empty]
    if named and named[0].kind is not kinds.POSITIONAL_ONLY:
        takes: str | None = "seed"
    else:
        second = [p for p in needed[:1] if p.kind is not kinds.KEYWORD_ONLY]
        takes = "" if second and second[0] is found[1] else None
    missing = [p.name for p in needed if p.name != takes and not (takes == "" and p is found[1])]
    if missing:
        _checks.fail(
            "function",
            "take a network, or a network and a seed, and have defaults for all else",
            f"{_name(function)} also needs {missing}",
        )
    return takes


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)


def _with_values(system: System, values: dict[str, Any]) -> System:
    return system.with_parameters(**values)
