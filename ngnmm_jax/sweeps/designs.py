"""Which points a sweep computes: grids, lists, random and Sobol designs, and replicates."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.definition import ordered
from ngnmm_jax._core.parameters import SCATTER, check_values, one_for_all, parameter_names
from ngnmm_jax._core.randomness import run_seeds
from ngnmm_jax.sweeps.outputs import POINT, REPLICATE
from ngnmm_jax.systems.driven import Driven
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network

# How a parameter that differs between regions is swept.
_SCALED = "give values (value, region), as in `scales[:, None] * values_of_{name}`"


@dataclasses.dataclass(frozen=True)
class Design:
    """Values of named parameters over the points of a sweep.

    Made by `Design.grid`, `Design.listed`, `Design.random` or `Design.sobol`. A parameter is one of
    the model's, "coupling", or what the measure adds to these (`Activity`: "scatter",
    "input_noise", and initial values such as "v_e(0)").

    - `dims`: sizes of the dimensions by name, in their order.
    - `parameters`: for each parameter its dimension, and its values (value,) or (value, region).
    - `replicates`: runs of each point, which differ by their seeds, the `run_seeds` of `seed` (the
      first is `seed` itself); the same at all points. Over one, they are the last dimension,
      "replicate".
    - `note`: how random values were drawn.
    """

    dims: dict[str, int]
    parameters: dict[str, tuple[str, np.ndarray]]
    replicates: int = 1
    seed: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        _checks.positive_integer("replicates", self.replicates)
        _check_seed(self.seed)
        object.__setattr__(self, "seed", int(self.seed))
        if not self.parameters:
            _checks.fail("parameters", "name at least one parameter", "it is empty")
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

    @classmethod
    def grid(cls, parameters: Mapping[str, Any], *, replicates: int = 1, seed: int = 0) -> "Design":
        """Every combination of the axes' values; each axis is a dimension of the result.

        Values (value,), or (value, region) for a parameter that differs between regions.
        """
        values = {name: (name, _array(name, value)) for name, value in parameters.items()}
        dims = {name: len(value) if value.ndim else 0 for name, (_, value) in values.items()}
        return cls(dims, values, replicates, seed)

    @classmethod
    def listed(
        cls, parameters: Mapping[str, Any], *, replicates: int = 1, seed: int = 0, note: str = ""
    ) -> "Design":
        """The points of a list: for each parameter, values (point,) or (point, region)."""
        arrays = {name: (POINT, _array(name, value)) for name, value in parameters.items()}
        count = next((len(v) if v.ndim else 0 for _, v in arrays.values()), 0)
        return cls({POINT: count}, arrays, replicates, seed, note)

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
        """Points drawn uniformly between bounds (low, high); `regions` draws for each of them."""
        low, high = _bounds(parameters)
        _checks.positive_integer("count", count)
        _check_seed(seed)
        if regions is not None:
            _checks.positive_integer("regions", regions)
        shape = (count,) if regions is None else (count, regions)
        generator = np.random.default_rng(seed)
        values = {name: generator.uniform(low[name], high[name], size=shape) for name in low}
        note = f"uniform, NumPy's default generator, seed {seed}"
        return cls.listed(values, replicates=replicates, seed=seed, note=note)

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
        return cls.listed(values, replicates=replicates, seed=seed, note=f"Sobol, seed {seed}")

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

    def at(self, index: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Values (run,) or (run, region) by name, and seeds (run,), of runs in C order."""
        where = dict(zip(self.names, np.unravel_index(index, self.shape), strict=True))
        points = {name: value[where[dim]] for name, (dim, value) in self.parameters.items()}
        seeds = run_seeds(self.seed, self.replicates)
        return points, seeds[where.get(REPLICATE, np.zeros_like(index))]

    def points(self) -> dict[str, np.ndarray]:
        """Values (point,) or (point, region) by name at all points, without replicates."""
        return self.at(np.arange(0, self.count, self.replicates))[0]

    def check(self, system: Network | Homogeneous | Driven, extras: tuple[str, ...]) -> None:
        """Refuse parameters that a network does not have, and values that do not suit it."""
        regions = system.state_shape[1:]
        for name, (_, value) in self.parameters.items():
            _checks.one_of("parameters", name, (*parameter_names(system), *extras))
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

    def definition(self) -> dict[str, Any]:
        """All that it is, for a store; the order of dimensions and parameters counts."""
        return {
            "dims": ordered(self.dims),
            "parameters": ordered(self.parameters),
            "replicates": self.replicates,
            "seed": self.seed,
        }


def _array(name: str, value: Any) -> np.ndarray:
    return np.array(_checks.numbers(name, value), dtype=float)


def _check_seed(seed: Any) -> None:
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 2**63:
        _checks.fail("seed", "be an integer that is not negative, below 2⁶³", f"it is {seed!r}")


def _bounds(bounds: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    low, high = {}, {}
    for name, pair in bounds.items():
        if np.shape(pair) != (2,):
            _checks.fail(name, "have bounds (low, high)", f"they are {pair!r}")
        _checks.finite(name, _checks.numbers(name, pair))
        low[name], high[name] = (float(value) for value in pair)
        if not low[name] < high[name]:
            _checks.fail(name, "have bounds that rise", f"they are {pair!r}")
    if not low:
        _checks.fail("parameters", "name at least one parameter", "it is empty")
    return low, high
