"""What a sweep computes at each point: the abstract measure, and any function of the network."""

import abc
import dataclasses
import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax import _checks
from ngnmm_jax._chunks import map_chunks
from ngnmm_jax._status import SolverError, Status
from ngnmm_jax.driven import Driven
from ngnmm_jax.dynamics.parameters import with_leaves
from ngnmm_jax.network import Homogeneous, Network

System = Network | Homogeneous | Driven
Points = dict[str, np.ndarray]

#: Points of cheap measures that a device takes at a time.
CHEAP = 256


@dataclasses.dataclass(frozen=True)
class Output:
    """One result of a measure: its dimensions beside the sweep's, their sizes, type, attributes."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    attrs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class AbstractMeasure(abc.ABC):
    """What is computed at each point of a sweep. It has to be picklable.

    A new one implements `outputs` and `evaluate`; the rest is optional.
    """

    @abc.abstractmethod
    def outputs(self, system: System) -> dict[str, Output]:
        """What `evaluate` returns, by name, "status" left out."""

    @abc.abstractmethod
    def evaluate(
        self, system: System, points: Points, seeds: np.ndarray, width: int | None
    ) -> dict[str, np.ndarray]:
        """The outputs (run, …) and "status" (run,), one of `Status` for each run.

        `points` are values (run,) or (run, region) by name, `seeds` (run,). `width` runs are to be
        computed at a time on each device; None: as many as suit it. A run must not depend on what
        other runs are computed with it.
        """

    def extras(self, system: System) -> tuple[str, ...]:
        """What a design may vary beside the model's parameters and the coupling."""
        return ()

    def coordinates(self, system: System) -> dict[str, tuple[Any, dict[str, Any]]]:
        """Values along the outputs' dimensions, and attributes."""
        return {}

    def width(self, system: System) -> int:
        """Runs that a device takes at a time."""
        return CHEAP

    def refined(self, system: System) -> "AbstractMeasure | None":
        """The same with half the step, for an estimate of the error; None where there is none."""
        return None

    @abc.abstractmethod
    def definition(self, system: System) -> dict[str, Any]:
        """All that decides its numbers, for a store."""


@dataclasses.dataclass(frozen=True)
class Function(AbstractMeasure):
    """Any function of the network: `function(network)`, or `function(network, seed)`.

    It returns a dict of numbers and arrays by name, of the same shapes at all points; one of
    them may be "status". Without it, points at which a value is NaN or infinite are NOT_FINITE.

    - `function`: defined at the top of a module where it is to run in other processes.
    - `traced`: it is made of JAX operations and runs vmapped and compiled. With False it is
      called point by point; a `SolverError` that it raises becomes the point's status.
    - `dims`: names of the results' dimensions, by name of the result; `units` likewise.
    """

    function: Callable[..., Mapping[str, Any]]
    traced: bool = True
    dims: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def outputs(self, system: System) -> dict[str, Output]:
        if self.traced:
            shapes = jax.eval_shape(self._call, system.bare(), jnp.asarray(0))
        else:
            shapes = self._call(system, 0)
        result = {}
        for name, like in shapes.items():
            if name == "status":
                continue
            like = like if hasattr(like, "dtype") else np.asarray(like)
            dims = self.dims.get(name, tuple(f"{name}_{k}" for k in range(len(like.shape))))
            if len(dims) != len(like.shape):
                _checks.fail("dims", f"name {len(like.shape)} of {name!r}", f"they are {dims}")
            unit = {"units": self.units[name]} if name in self.units else {}
            result[name] = Output(tuple(dims), tuple(like.shape), str(like.dtype), unit)
        return result

    def _call(self, system: System, seed: Any) -> dict[str, Any]:
        found = self.function(system, seed) if _arity(self.function) > 1 else self.function(system)
        if not isinstance(found, Mapping) or not found:
            kind = type(found).__name__
            _checks.fail("function", "return a dict of results by name", f"it returns a {kind}")
        return dict(found)

    def evaluate(
        self, system: System, points: Points, seeds: np.ndarray, width: int | None
    ) -> dict[str, np.ndarray]:
        if self.traced:
            fields = map_chunks(
                _vmapped(self.function),
                system.bare(),
                {"point": points, "seed": seeds},
                chunk=CHEAP if width is None else width,
                progress=False,
                # Eigenvalues on several CPU devices at once deadlock (JAX 0.10.1).
                one_device=jax.local_devices()[0].platform == "cpu",
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
                found = self._call(_with_values(system, values), int(seed))
            except SolverError as error:
                fields["status"][k] = error.status
                continue
            for name, value in found.items():
                fields[name][k] = np.asarray(value)
        return fields

    def definition(self, system: System) -> dict[str, Any]:
        try:
            source = inspect.getsource(self.function)
        except (OSError, TypeError):
            source = ""
        return {
            "measure": f"{self.function.__module__}.{self.function.__qualname__}",
            "source": hashlib.sha256(source.encode()).hexdigest(),
        }


def _arity(function: Callable[..., Any]) -> int:
    return len(inspect.signature(function).parameters)


def _with_values(system: System, values: dict[str, Any]) -> System:
    if isinstance(system, Network | Driven):
        return system.with_parameters(**values)
    return with_leaves(system, {name: jnp.asarray(value) for name, value in values.items()})


@functools.lru_cache(maxsize=16)
def _vmapped(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def one(system: System, lane: dict[str, Any]) -> dict[str, jax.Array]:
        here = with_leaves(system, lane["point"])
        found = function(here, lane["seed"]) if _arity(function) > 1 else function(here)
        return {name: jnp.asarray(value) for name, value in found.items()}

    return lambda system, lanes: jax.vmap(lambda lane: one(system, lane))(lanes)
