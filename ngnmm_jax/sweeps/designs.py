"""Which points a sweep computes: grids, lists, random and Sobol designs, and replicates."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Card
from ngnmm_jax._core.definition import ordered
from ngnmm_jax._core.parameters import (
    SCATTER,
    check_values,
    known_name,
    one_for_all,
    parameter_names,
)
from ngnmm_jax._core.pictured import Listed
from ngnmm_jax._core.randomness import run_seeds
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.sweeps.connectomes import Connectomes
from ngnmm_jax.sweeps.outputs import POINT, REPLICATE
from ngnmm_jax.systems.driven import Driven, Undriven
from ngnmm_jax.systems.regional_maps import RegionalMap, check_maps, with_maps

# How a parameter that differs between regions is swept.
_SCALED = "give values (value, region), as in `scales[:, None] * values_of_{name}`"


@dataclasses.dataclass(frozen=True, repr=False)
class Design(Card):
    """Values of named parameters over the points of a sweep.

    Made by `Design.grid`, `Design.listed`, `Design.random` or `Design.sobol`. A parameter is one of
    the model's, "coupling", or what the measure adds to these (`Activity`: "scatter",
    "input_noise", and initial values such as "v_e(0)"). By a name of its own stands what is no
    parameter: a `RegionalMap`, whose amplitude varies, or `Connectomes`.

    - `dims`: sizes of the dimensions by name, in their order.
    - `parameters`: for each parameter its dimension, and its values (value,) or (value, region);
      of a map its amplitudes (value,).
    - `maps`: those maps, by the names of their amplitudes; `connectomes`: those that vary, by name,
      with their dimension.
    - `replicates`: runs of each point, which differ by their seeds, the `run_seeds` of `seed` (the
      first is `seed` itself); the same at all points. Over one, they are the last dimension,
      "replicate".
    - `note`: how random values were drawn; `bounds`: between which (low, high), by name.
    - `own_seeds`: whether every run has a seed of its own (`with_own_seeds`).
    """

    dims: dict[str, int]
    parameters: dict[str, tuple[str, np.ndarray]]
    replicates: int = 1
    seed: int = 0
    note: str = ""
    maps: dict[str, RegionalMap] = dataclasses.field(default_factory=dict)
    connectomes: dict[str, tuple[str, Connectomes]] = dataclasses.field(default_factory=dict)
    bounds: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    own_seeds: bool = False

    def __post_init__(self) -> None:
        _checks.positive_integer("replicates", self.replicates)
        _check_seed(self.seed)
        object.__setattr__(self, "seed", int(self.seed))
        if not self.parameters and not self.connectomes:
            _checks.fail("parameters", "name at least one parameter", "it is empty")
        if len(self.connectomes) > 1:
            names = ", ".join(map(repr, self.connectomes))
            _checks.fail("parameters", "hold one axis of `Connectomes`", f"they are {names}")
        for name, (dim, some) in self.connectomes.items():
            if len(some) != self.dims[dim]:
                must = f"have as many as the other parameters of {dim!r}, {self.dims[dim]}"
                _checks.fail(name, must, f"there are {len(some)}")
        for name, (dim, value) in self.parameters.items():
            if value.ndim not in (1, 2) or not value.size:
                _checks.fail(
                    name, "have values (value,) or (value, region)", f"its shape is {value.shape}"
                )
            _checks.finite(name, value)
            if value.shape[0] != self.dims[dim]:
                _checks.fail(
                    name,
                    f"have as many values as the other parameters of {dim!r}, {self.dims[dim]}",
                    f"it has {value.shape[0]}",
                )

    def card(self) -> tuple[str, dict[str, Any]]:
        """How many runs, over which dimensions; what varies, and between which values."""
        sizes = " × ".join(f"{name} {size}" for name, size in self.dims.items())
        runs = math.prod(self.dims.values()) * self.replicates
        rows: dict[str, Any] = {name: value for name, (_, value) in self.parameters.items()}
        rows |= {f"{name}, of": one.parameter for name, one in self.maps.items()}
        rows |= {name: some for name, (_, some) in self.connectomes.items()}
        many = {"replicates": self.replicates} if self.replicates > 1 else {}
        own = {"seeds": "one for each run"} if self.own_seeds else {"seed": self.seed}
        noted = {"note": self.note} if self.note else {}
        return f"Design: {runs} runs, {sizes}", {**rows, **many, **own, **noted}

    @classmethod
    def grid(cls, parameters: Mapping[str, Any], *, replicates: int = 1, seed: int = 0) -> "Design":
        """Every combination of the axes' values; each axis is a dimension of the result.

        Values (value,), or (value, region) for a parameter that differs between regions; a
        `RegionalMap`, whose amplitudes they are; or `Connectomes`.
        """
        values, maps, connectomes = _parted(parameters)
        dims = {
            name: len(connectomes[name]) if name in connectomes else _length(values[name])
            for name in parameters
        }
        return cls(
            dims,
            {name: (name, value) for name, value in values.items()},
            replicates,
            seed,
            maps=maps,
            connectomes={name: (name, some) for name, some in connectomes.items()},
        )

    @classmethod
    def listed(
        cls, parameters: Mapping[str, Any], *, replicates: int = 1, seed: int = 0, note: str = ""
    ) -> "Design":
        """The points of a list: for each parameter, values (point,) or (point, region).

        Or a `RegionalMap` with amplitudes (point,), or `Connectomes`, one for each point.
        """
        values, maps, connectomes = _parted(parameters)
        counts = [_length(value) for value in values.values()] or list(
            map(len, connectomes.values())
        )
        return cls(
            {POINT: next(iter(counts), 0)},
            {name: (POINT, value) for name, value in values.items()},
            replicates,
            seed,
            note,
            maps,
            {name: (POINT, some) for name, some in connectomes.items()},
        )

    @classmethod
    def random(
        cls,
        parameters: Mapping[str, Any],
        count: int,
        *,
        regions: int | None = None,
        replicates: int = 1,
        seed: int = 0,
    ) -> "Design":
        """Points drawn uniformly between bounds (low, high); `regions` draws for each of them.

        Of a `RegionalMap` with amplitudes (low, high) one amplitude for each.
        """
        low, high = _bounds(parameters)
        _checks.positive_integer("count", count)
        _check_seed(seed)
        if regions is not None:
            _checks.positive_integer("regions", regions)
        shape = (count,) if regions is None else (count, regions)
        generator = np.random.default_rng(seed)
        values = {
            name: generator.uniform(
                low[name], high[name], shape[:1] if _is_map(parameters[name]) else shape
            )
            for name in low
        }
        note = f"uniform, NumPy's default generator, seed {seed}"
        values = _drawn(parameters, values)
        found = cls.listed(values, replicates=replicates, seed=seed, note=note)
        return dataclasses.replace(found, bounds={name: (low[name], high[name]) for name in low})

    @classmethod
    def sobol(
        cls, parameters: Mapping[str, Any], count: int, *, replicates: int = 1, seed: int = 0
    ) -> "Design":
        """The first `count` points of a scrambled Sobol sequence between bounds (low, high).

        Balanced where `count` is a power of two. Source: `scipy.stats.qmc.Sobol`.
        """
        from scipy.stats import qmc

        low, high = _bounds(parameters)
        _checks.positive_integer("count", count)
        _check_seed(seed)
        sampler = qmc.Sobol(len(low), rng=np.random.default_rng(seed))
        unit = sampler.random_base2(math.ceil(math.log2(count)))[:count]
        values = {name: low[name] + (high[name] - low[name]) * unit[:, k] for k, name in
                  enumerate(low)}  # fmt: skip
        values = _drawn(parameters, values)
        note = f"Sobol, seed {seed}"
        found = cls.listed(values, replicates=replicates, seed=seed, note=note)
        return dataclasses.replace(found, bounds={name: (low[name], high[name]) for name in low})

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of all dimensions, that of the replicates included."""
        return (*self.dims.values(), *([self.replicates] if self.replicates > 1 else []))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all dimensions."""
        return (*self.dims, *([REPLICATE] if self.replicates > 1 else []))

    @property
    def count(self) -> int:
        """Number of runs: points times replicates."""
        return math.prod(self.shape)

    def places(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """Where runs, in C order, lie along each dimension, (run,)."""
        return dict(zip(self.names, np.unravel_index(index, self.shape), strict=True))

    def at(self, index: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Values (run,) or (run, region) by name, and seeds (run,), of runs in C order.

        Of a design with maps once it is `bound`.
        """
        where = self.places(index)
        points = {name: value[where[dim]] for name, (dim, value) in self.parameters.items()}
        maps = [(one, points.pop(name)) for name, one in self.maps.items()]
        seeds = self.seeds()
        if not self.own_seeds:
            index = where.get(REPLICATE, np.zeros_like(index))
        return with_maps(points, maps), seeds[index]

    def seeds(self) -> np.ndarray:
        """The replicates' seeds (replicate,), or where they have their own those of all runs."""
        return run_seeds(self.seed, self.count if self.own_seeds else self.replicates)

    def with_own_seeds(self) -> "Design":
        """The same, with a seed of its own for every run, not only for every replicate.

        Points that share their seeds share their noise: differences between them are those of the
        parameters. Where a point stands for what noise does too, as in inference from simulations,
        each has to have its own. The first run's is `seed`.
        """
        return dataclasses.replace(self, own_seeds=True)

    def points(self) -> dict[str, np.ndarray]:
        """Values (point,) or (point, region) by name at all points, without replicates."""
        return self.at(np.arange(0, self.count, self.replicates))[0]

    def bound(self, system: Any, extras: tuple[str, ...] = ()) -> "Design":
        """The same for a system, whose values maps add to; `ValueError` where these do not suit."""
        names = {name for name in self.parameters if name not in self.maps}
        check_maps(system, self.maps, names, extras)
        maps = {name: one.bound(system, names) for name, one in self.maps.items()}
        return dataclasses.replace(self, maps=maps)

    def systems(self, system: Any) -> tuple[Any, ...]:
        """The systems of a sweep, by the place of their connectome: itself where none varies."""
        for _, some in self.connectomes.values():
            return some.networks(system)
        return Listed([system])

    def parts(self, index: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Runs by the place of their system in `systems`: the place, and which of them."""
        for dim, _ in self.connectomes.values():
            place = self.places(index)[dim]
            return [(int(k), np.flatnonzero(place == k)) for k in np.unique(place)]
        return [(0, np.arange(index.size))]

    @property
    def together(self) -> int:
        """Runs that one system has."""
        return self.count // max([1, *(len(some) for _, some in self.connectomes.values())])

    def check(self, system: Undriven | Driven, extras: tuple[str, ...]) -> None:
        """Refuse parameters that a network does not have, and values that do not suit it.

        Of a design that is `bound`.
        """
        regions = system.state_shape[1:]
        values = {k: value for k, (_, value) in self.parameters.items() if k not in self.maps}
        if self.maps:
            mapped = {one.parameter for one in self.maps.values()}
            values |= {name: value for name, value in self.points().items() if name in mapped}
        for name, value in values.items():
            known_name(name, system, (*parameter_names(system), *extras))
            check_values(system, name, value)
            started = name.removesuffix("(0)")
            below = name != started and started in system.model.nonnegative
            if (below or name == SCATTER) and value.min() < 0:
                _checks.fail(name, "not be negative", f"its smallest value is {value.min():g}")
            if value.ndim == 1:
                one_for_all(system, name, _SCALED.format(name=name))
            elif value.shape[1:] != regions:
                each = f"have a value for each of {regions} regions" if regions else "be (value,)"
                _checks.fail(name, each, f"its shape is {value.shape}")
        for name in self.connectomes:
            if name in (*parameter_names(system), *extras):
                must = 'have a name of its own, as "subject"'
                _checks.fail(name, must, "a parameter is called so")

    def definition(self) -> dict[str, Any]:
        """All that it is, for a store; the order of dimensions and parameters counts."""
        maps = {k: [one.parameter, one.map, one.base] for k, one in self.maps.items()}
        connectomes = {k: [dim, some.definition()] for k, (dim, some) in self.connectomes.items()}
        return {
            "dims": ordered(self.dims),
            "parameters": ordered(self.parameters),
            "replicates": self.replicates,
            "seed": self.seed,
            **({"own_seeds": True} if self.own_seeds else {}),
            **({"maps": ordered(maps)} if maps else {}),
            **({"connectomes": ordered(connectomes)} if connectomes else {}),
        }


def _parted(
    parameters: Mapping[str, Any],
) -> tuple[dict[str, np.ndarray], dict[str, RegionalMap], dict[str, Connectomes]]:
    """Values by name, those of maps their amplitudes; the maps; and connectomes."""
    maps = {name: value for name, value in parameters.items() if _is_map(value)}
    connectomes = {k: value for k, value in parameters.items() if isinstance(value, Connectomes)}
    values = {
        name: _array(name, value.amplitude if name in maps else value)
        for name, value in parameters.items()
        if name not in connectomes
    }
    return values, maps, connectomes


def _is_map(value: Any) -> bool:
    return isinstance(value, RegionalMap)


def _length(value: np.ndarray) -> int:
    return len(value) if value.ndim else 0


def _drawn(parameters: Mapping[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Values that were drawn, those of maps as their amplitudes."""
    return {
        name: RegionalMap(given.parameter, given.map, values[name], given.base)
        if isinstance(given, RegionalMap)
        else values[name]
        for name, given in parameters.items()
    }


def _array(name: str, value: Any) -> np.ndarray:
    if value is None:
        _checks.fail(name, "have values", "it has none: give the map's `amplitude`")
    if isinstance(value, Connectome) or _are_connectomes(value):
        must = 'be `Connectomes({"sub-01": …})` where connectomes vary'
        _checks.fail(name, must, f"it is {_checks.kind_of(value)}")
    return np.array(_checks.numbers(name, value), dtype=float)


def _are_connectomes(value: Any) -> bool:
    some = list(value.values()) if isinstance(value, Mapping) else value
    return isinstance(some, list | tuple) and any(isinstance(one, Connectome) for one in some)


def _check_seed(seed: Any) -> None:
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 2**63:
        _checks.fail("seed", "be an integer that is not negative, below 2⁶³", f"it is {seed!r}")


def _bounds(bounds: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    low, high = {}, {}
    for name, given in bounds.items():
        if isinstance(given, Connectomes):
            must = "stand in a grid or a list: those that a sweep has are not drawn"
            _checks.fail(name, must, "it is `Connectomes`")
        pair = given.amplitude if isinstance(given, RegionalMap) else given
        if np.shape(pair) != (2,):
            _checks.fail(name, "have bounds (low, high)", f"they are {pair!r}")
        _checks.finite(name, _checks.numbers(name, pair))
        low[name], high[name] = (float(value) for value in pair)
        if not low[name] < high[name]:
            _checks.fail(name, "have bounds that rise", f"they are {pair!r}")
    if not low:
        _checks.fail("parameters", "name at least one parameter", "it is empty")
    return low, high
