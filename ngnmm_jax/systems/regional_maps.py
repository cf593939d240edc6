"""A parameter that follows a map over regions, by an amplitude: in sweeps, batches and fits."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.cards import Card
from ngnmm_jax._core.parameters import known_name, leaf, parameter_names, parts_between, with_leaves
from ngnmm_jax._core.programs import digest
from ngnmm_jax.graphs.delays import AbstractDelays


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RegionalMap(Card):  # no PyTree: what a fit is made of must be static
    """A parameter's values per region by a map: `base + amplitude · map`.

    In a design, and in `simulate_batch`, it stands for the values of an axis, whose name is that of
    the amplitude; in a fit it is what puts a free amplitude in:

        Design.grid({"gradient": RegionalMap("i_ext_e", myelin, amplitude=np.linspace(0, 2, 11))})
        Free(system, {"gradient": real(apply=RegionalMap("i_ext_e", myelin), default=0.0)})

    Several maps of one parameter add up.

    **Arguments:**

    - `parameter`: of the model, or "coupling", or another that may have one value per region.
    - `map` (region,): as it is used; `(map - map.mean()) / map.std()` makes the amplitude a
      standard deviation over regions and leaves the mean alone, as maps in fits (`per=`) are.
    - `amplitude`: values (value,) of an axis; (low, high) for `Design.random` and `.sobol`; left
      out in a fit. In the parameter's unit where the map has none.
    - `base`: what the map adds to, one number or (region,); by default the parameter's value: that
      of another axis, or of a fit, where it has one there, else that of the system.
    """

    parameter: str
    map: Any
    amplitude: Any = None
    base: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.parameter, str):
            _checks.fail("parameter", "be a parameter's name", f"it is {self.parameter!r}")
        shapes = {"map": "(region,)", "amplitude": "(value,)", "base": "() or (region,)"}
        for name, shape in shapes.items():
            if name == "map" or getattr(self, name) is not None:
                array = _array(name, getattr(self, name), shape)
                object.__setattr__(self, name, array)
        if self.base is not None and self.base.ndim:
            _checks.shape("base", self.base, self.map.shape, "as the map has it")

    def __call__(self, system: Any, amplitude: Any) -> Any:
        """A system whose parameter follows the map, with this amplitude, by what it has now."""
        self.check(system)
        now = leaf(system, self.parameter)
        base = now if self.base is None else self.base
        values = as_array(base + amplitude * self.map)
        return with_leaves(system, {self.parameter: values.astype(as_array(now).dtype)})

    def __eq__(self, other: object) -> bool:
        """Whether all it holds is the same."""
        return isinstance(other, RegionalMap) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    @property
    def identity(self) -> tuple[str, ...]:
        """All that it is, its arrays by their digests."""
        arrays = (self.map, self.amplitude, self.base)
        return self.parameter, *("" if a is None else str(digest(a)) for a in arrays)

    def card(self) -> tuple[str, dict[str, Any]]:
        """Of which parameter, and what it holds."""
        held = {"map": self.map, "amplitude": self.amplitude, "base": self.base}
        known = {name: value for name, value in held.items() if value is not None}
        return f"RegionalMap of {self.parameter}: {self.map.size} regions", known

    def check(self, system: Any, extras: tuple[str, ...] = ()) -> None:
        """Refuse a system without that parameter, or of other regions."""
        known = (*parameter_names(system), *extras)
        known_name(self.parameter, system, known, "parameter")
        part, _ = parts_between(system).get(self.parameter, (None, None))
        if isinstance(part, AbstractDelays):
            but = f"{self.parameter!r} is of connections"
            _checks.fail("parameter", "be one that may have a value for each region", but)
        regions = tuple(system.state_shape[1:])
        if not regions:
            but = "it has no regions: use the network"
            _checks.fail("system", "be a network for a `RegionalMap`", but)
        if self.map.shape != regions:
            but = f"its shape is {self.map.shape}"
            _checks.fail("map", f"have a value for each of {regions[0]} regions", but)

    def bound(self, system: Any, varied: Iterable[str]) -> "RegionalMap":
        """The same with the system's value as its base, unless it has one or that varies too."""
        if self.parameter in varied:
            if self.base is not None:
                but = f"{self.parameter!r} varies too"
                _checks.fail("base", "be left out where the values of an axis are the base", but)
            return self
        if self.base is not None:
            return self
        try:
            base = np.asarray(leaf(system, self.parameter), float)
        except AttributeError:  # what a sweep adds to the parameters
            _checks.fail("base", f"be given for {self.parameter!r}", "the system has no value")
        return dataclasses.replace(self, base=base)


def with_maps(points: Mapping[str, Any], maps: Iterable[tuple[RegionalMap, Any]]) -> dict[str, Any]:
    """Values by name, (run,) or (run, region), with those of maps at amplitudes (run,)."""
    found = dict(points)
    for one, amplitude in maps:
        base = found.get(one.parameter, one.base)
        assert base is not None  # of maps that are `bound`
        if one.parameter in found and np.ndim(base) == 1:
            base = base[:, None]  # of runs, not of regions
        found[one.parameter] = base + amplitude[:, None] * one.map
    return found


def spread_maps(system: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name of a batch's runs, where some are `RegionalMap`s with amplitudes (run,)."""
    maps = {name: one for name, one in parameters.items() if isinstance(one, RegionalMap)}
    known = {name: value for name, value in parameters.items() if name not in maps}
    check_maps(system, maps, known)
    known |= {
        one.parameter: np.asarray(known[one.parameter], float)
        for one in maps.values()
        if isinstance(known.get(one.parameter), list | tuple)
    }
    for one in maps.values():
        value, count = known.get(one.parameter), one.amplitude.size
        if value is not None and np.shape(value)[:1] != (count,):
            must = f"have values (run, …) for {count} runs, as the map of it has"
            _checks.fail(one.parameter, must, f"its shape is {np.shape(value)}")
    return with_maps(known, [(one.bound(system, known), one.amplitude) for one in maps.values()])


def check_maps(
    system: Any,
    maps: Mapping[str, RegionalMap],
    names: Iterable[str],
    extras: tuple[str, ...] = (),
) -> None:
    """Refuse maps that do not suit a system, or whose names are those of its parameters."""
    bases = [one.parameter for one in maps.values() if one.base is not None]
    for name, one in maps.items():
        one.check(system, extras)
        if name in (*parameter_names(system), *extras, *names):
            must = f"have a name of its own for its amplitude, as '{one.parameter}_map'"
            _checks.fail(name, must, "a parameter is called so")
        if one.amplitude is None:
            _checks.fail(name, "have values of its `amplitude`", "it has none")
        if bases.count(one.parameter) > 1:
            _checks.fail("base", "be given once for all maps of a parameter",
                         f"{one.parameter!r} has {bases.count(one.parameter)}")  # fmt: skip


def _array(name: str, value: Any, shape: str) -> np.ndarray:
    array = np.array(_checks.numbers(name, value), dtype=float)
    _checks.finite(name, array)
    if (array.ndim != 1 and not (array.ndim == 0 and shape.startswith("()"))) or not array.size:
        _checks.fail(name, f"have shape {shape}", f"its shape is {array.shape}")
    array.setflags(write=False)
    return array
