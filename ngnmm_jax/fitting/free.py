"""What is free in a fit: which parameters, over which range, with which prior.

A fit moves an unbounded vector x. Each free parameter takes its entries of it through a transform:
none for real numbers, the exponential for positive ones, the logistic function for an interval.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import (
    known_name,
    leaf,
    never_negative,
    one_for_all,
    with_leaves,
)
from ngnmm_jax._core.pictured import Pictured
from ngnmm_jax.systems.delayed import allowing
from ngnmm_jax.systems.driven import undriven

# A start's regions differ from each other by this much, in unbounded space.
_JITTER = 0.1
# Without bounds or a prior, starts scatter by this much: in units, or as a logarithm.
_SCATTER = 0.5
# What may be free where regions differ.
_EACH = 'use `per="region"`, maps, or an `apply` that scales or shifts all of them alike'
# Values this near a bound (a fraction of the interval) are moved inside: their slope is not zero.
_INSIDE = 1e-3


class Unknown(Pictured):
    """A free parameter: made by `real`, `positive` or `interval`.

    - `low`, `high`: bounds, -inf or inf where there is none.
    - `per`: None for one value; "region" for one each; or maps (map, region), which make the values
      a function of them: `values = inverse(a + b · maps)` in unbounded space, with one a and a b
      for each map (standardised: mean 0, standard deviation 1).
    - `prior`: (mean, sd) of a Gaussian on the values; `spread`: sd of one on the regions'
      deviations from their mean, in unbounded space, or on the b's.
    - `where`: picks the leaf of the system that is meant, as in `eqx.tree_at`; or `apply(system,
      value)` returns the system with it, such as a `RegionalMap`, whose amplitude is then free.
      What has a name of its own in the system is put in before.
    """

    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)
    per: Any = None
    prior: tuple[float, float] | None = eqx.field(default=None, static=True)
    spread: float | None = eqx.field(default=None, static=True)
    where: Callable[[Any], Any] | None = eqx.field(default=None, static=True)
    apply: Callable[[Any, Any], Any] | None = eqx.field(default=None, static=True)
    default: float | None = eqx.field(default=None, static=True)

    def card(self) -> tuple[str, dict[str, Any]]:
        """Its range, and what else was chosen."""
        return f"Unknown: {self.told()}", {}

    def told(self) -> str:
        """In words."""
        of_regions = "one for each region" if isinstance(self.per, str) else "by maps"
        parts = [
            "real"
            if math.isinf(self.low)
            else f"above {self.low:g}"
            if math.isinf(self.high)
            else f"{self.low:g} … {self.high:g}",
            None if self.per is None else of_regions,
            None if self.prior is None else f"prior {self.prior[0]:g} ± {self.prior[1]:g}",
            None if self.spread is None else f"spread {self.spread:g}",
            None if self.where is None else "picked by `where`",
            None if self.apply is None else "put in by `apply`",
        ]
        return ", ".join(part for part in parts if part)

    def inverse(self, x: jax.Array) -> jax.Array:
        """Values from unbounded ones."""
        if math.isfinite(self.high):
            return self.low + (self.high - self.low) * jax.nn.sigmoid(x)
        if math.isfinite(self.low):
            return self.low + jnp.exp(x)
        return x

    def forward(self, value: jax.Array) -> jax.Array:
        """Unbounded values from values; those on a bound are moved inside."""
        if math.isfinite(self.high):
            part = (value - self.low) / (self.high - self.low)
            part = jnp.clip(part, _INSIDE, 1 - _INSIDE)
            return jnp.log(part) - jnp.log1p(-part)
        if math.isfinite(self.low):
            return jnp.log(jnp.maximum(value - self.low, 1e-12))
        return value


def real(**options: Any) -> Unknown:
    """A parameter of any value; options as in `Unknown`."""
    return Unknown(-math.inf, math.inf, **_checked(options, -math.inf, math.inf))


def positive(**options: Any) -> Unknown:
    """A parameter above zero; options as in `Unknown`."""
    return Unknown(0.0, math.inf, **_checked(options, 0.0, math.inf))


def interval(low: Any, high: Any, **options: Any) -> Unknown:
    """A parameter between two bounds; options as in `Unknown`."""
    for name, bound in (("low", low), ("high", high)):
        _checks.finite(name, _checks.numbers(name, bound, "be a number"))
    if not low < high:
        _checks.fail("low", "be below `high`", f"they are {low} and {high}")
    return Unknown(float(low), float(high), **_checked(options, low, high))


def _checked(options: dict[str, Any], low: Any, high: Any) -> dict[str, Any]:
    prior, spread, per = (options.get(name) for name in ("prior", "spread", "per"))
    if prior is not None:
        pair = _checks.numbers("prior", prior, "be (mean, sd)")
        if pair.shape != (2,):
            _checks.fail("prior", "be (mean, sd)", f"it is {prior!r}")
        _checks.finite("prior", pair)
        _checks.positive("prior", pair[1])
        if not low <= pair[0] <= high:
            _checks.fail("prior", f"have its mean in [{low:g}, {high:g}]", f"that is {pair[0]:g}")
        options = {**options, "prior": (float(pair[0]), float(pair[1]))}
    if spread is not None:
        _checks.positive("spread", _checks.numbers("spread", spread, "be a number"))
    if options.get("where") is not None and options.get("apply") is not None:
        _checks.fail("where", "stand without `apply`", "both are given")
    if options.get("apply") is not None and options.get("default") is None:
        _checks.fail("default", "be given with `apply`", "it is not")
    if per is None or isinstance(per, str):
        if per not in (None, "region"):
            _checks.fail("per", 'be None, "region" or maps (map, region)', f"it is {per!r}")
        return options
    maps = np.atleast_2d(_checks.numbers("per", per).astype(float))
    _checks.finite("per", maps)
    sd = maps.std(axis=1, keepdims=True)
    if maps.ndim != 2 or (sd == 0).any():
        _checks.fail("per", "be maps (map, region) that vary", f"its shape is {maps.shape}")
    return {**options, "per": as_array((maps - maps.mean(axis=1, keepdims=True)) / sd)}


class Free(Pictured):
    """All that is free in a fit of a system.

        free = Free(system, {"coupling": interval(0, 30), "i_ext_e": real(per="region")})

    **Arguments:**

    - `system`: a network, a `Driven` one, or any PyTree where parameters have `where` or `apply`.
    - `parameters`: by name (of the model's, or "coupling", "input_noise", …); with `where` or
      `apply` any name will do.

    - `names` (parameter,): one for each entry of x, as in "i_ext_e[3]".
    - `size`: how many.
    """

    system: Any
    parameters: dict[str, Unknown]
    shapes: dict[str, tuple[int, ...]] = eqx.field(static=True)

    def __init__(self, system: Any, parameters: Mapping[str, Any]) -> None:
        if not parameters:
            _checks.fail("parameters", "name at least one parameter", "it is empty")
        shapes: dict[str, tuple[int, ...]] = {}
        for name, unknown in parameters.items():
            if not isinstance(unknown, Unknown):
                _checks.fail(
                    name, "be made by `real`, `positive` or `interval`", f"it is {unknown!r}"
                )
            if unknown.where is None and unknown.apply is None:
                known_name(name, system)
                _suits(system, name, unknown)
        _each_once(system, parameters)
        for name, unknown in parameters.items():
            if unknown.per is None:
                value = None if unknown.apply is not None else _value(system, name, unknown)
                # One number for all regions, unless the leaf is picked as it is.
                picked = unknown.where is not None
                shapes[name] = tuple(value.shape) if picked and value is not None else ()
                if not picked and value is not None:
                    one_for_all(system, name, _EACH)
            else:
                regions = _regions(system)
                if isinstance(unknown.per, str):
                    shapes[name] = (regions,)
                else:
                    if unknown.per.shape[1] != regions:
                        _checks.fail(
                            "per", f"have {regions} regions", f"it has {unknown.per.shape}"
                        )
                    shapes[name] = (1 + unknown.per.shape[0],)
        self.system = allowing(system, _bounds(parameters))
        self.parameters = dict(parameters)
        self.shapes = shapes

    def card(self) -> tuple[str, dict[str, Any]]:
        """How many numbers are free in what; each parameter's range."""
        head = f"Free: {self.size} of {type(self.system).__name__}"
        return head, {name: free.told() for name, free in self.parameters.items()}

    @property
    def size(self) -> int:
        """Number of free numbers."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each entry of x; of parameters by maps those of a and the b's."""
        found: list[str] = []
        for name, shape in self.shapes.items():
            found += [
                name if not shape else f"{name}[{','.join(map(str, k))}]" for k in np.ndindex(shape)
            ]
        return tuple(found)

    def split(self, x: ArrayLike) -> dict[str, jax.Array]:
        """The entries of each parameter, unbounded, of x (parameter,)."""
        if jnp.iscomplexobj(x):
            _checks.fail("x", "be real", "it is complex")
        x = as_array(x, float)
        _checks.shape("x", x, (self.size,), "(parameter,)")
        found, start = {}, 0
        for name, shape in self.shapes.items():
            n = math.prod(shape)
            found[name] = x[start : start + n].reshape(shape)
            start += n
        return found

    def values(self, x: ArrayLike) -> dict[str, jax.Array]:
        """The parameters' values: (), (region,), or whatever shape their leaf has."""
        found = {}
        for name, part in self.split(x).items():
            unknown = self.parameters[name]
            if unknown.per is not None and not isinstance(unknown.per, str):
                part = part[0] + part[1:] @ unknown.per
            found[name] = unknown.inverse(part)
        return found

    def put(self, x: ArrayLike) -> Any:
        """The system with the values that x stands for."""
        values = self.values(x)
        named = [k for k, u in self.parameters.items() if u.where is None and u.apply is None]
        system = with_leaves(self.system, {name: values.pop(name) for name in named})
        for name, value in values.items():  # which may go on from those with names
            unknown = self.parameters[name]
            if unknown.apply is not None:
                system = unknown.apply(system, value)
            elif unknown.where is not None:
                system = eqx.tree_at(unknown.where, system, value)
        return system

    def of(self, system: Any) -> Float[Array, "parameter"]:
        """The vector x of a system; values on a bound are moved inside by 1e-3 of an interval.

        Raises `ValueError` where x cannot stand for the system: values out of bounds; one value
        for all regions that differ in it, or maps that they do not follow.
        """
        return self._of(system, check=True)

    def _of(self, system: Any, *, check: bool) -> Float[Array, "parameter"]:
        parts = []
        for name, unknown in self.parameters.items():
            value = _value(system, name, unknown)
            if check:
                _within(name, unknown, value)
            shape = self.shapes[name]
            if unknown.per is None and not shape:
                if check and unknown.where is None and unknown.apply is None:
                    one_for_all(system, name, _EACH)
                parts.append(jnp.mean(unknown.forward(value))[None])
            elif unknown.per is None or isinstance(unknown.per, str):
                parts.append(jnp.broadcast_to(unknown.forward(value), shape).ravel())
            else:
                whole = jnp.broadcast_to(unknown.forward(value), unknown.per.shape[1:])
                design = jnp.concatenate([jnp.ones((1, whole.size)), unknown.per])
                parts.append(jnp.linalg.lstsq(design.T, whole)[0])
                if check:
                    _follows(name, whole, parts[-1] @ design)
        return jnp.concatenate(parts)

    def penalty(self, x: ArrayLike) -> Float[Array, ""]:
        """Minus the logarithm of the priors' density, without its constant."""
        total, values, parts = jnp.zeros(()), self.values(x), self.split(x)
        for name, unknown in self.parameters.items():
            if unknown.prior is not None:
                mean, sd = unknown.prior
                total = total + 0.5 * (((values[name] - mean) / sd) ** 2).sum()
            if unknown.spread is not None and unknown.per is not None:
                part = parts[name]
                part = part - part.mean() if isinstance(unknown.per, str) else part[1:]
                total = total + 0.5 * ((part / unknown.spread) ** 2).sum()
        return total

    def draw(self, key: Any, count: int) -> Float[Array, "start parameter"]:
        """Random starts: over the middle 90 % of an interval; from the prior; or about what is.

        Regional values are one draw for all with a small jitter.
        """
        centre = self._of(self.system, check=False)
        keys = jax.random.split(key, 3)
        shared = jax.random.uniform(
            keys[0], (count, len(self.parameters)), minval=0.05, maxval=0.95
        )
        normal = jax.random.normal(keys[1], (count, len(self.parameters)))
        jitter = _JITTER * jax.random.normal(keys[2], (count, self.size))
        columns, start = [], 0
        for k, (name, shape) in enumerate(self.shapes.items()):
            unknown, n = self.parameters[name], math.prod(shape)
            here = centre[start : start + n]
            if unknown.prior is not None:
                mean, sd = unknown.prior
                drawn = unknown.forward(mean + sd * normal[:, k])
            elif math.isfinite(unknown.high):
                drawn = unknown.forward(unknown.low + (unknown.high - unknown.low) * shared[:, k])
            else:
                drawn = here.mean() + _SCATTER * normal[:, k]
            some = jitter[:, start : start + n]
            if not shape:
                columns.append(drawn[:, None])
            elif unknown.per is not None and not isinstance(unknown.per, str):
                columns.append(jnp.concatenate([drawn[:, None], some[:, 1:]], axis=1))
            else:
                columns.append(drawn[:, None] + some)
            start += n
        return jnp.concatenate(columns, axis=1)


def _bounds(parameters: Mapping[str, Unknown]) -> dict[str, np.ndarray]:
    """Bounds (2,) of the parameters that have both, by their names in the system."""
    named = {k: u for k, u in parameters.items() if u.where is None and u.apply is None}
    finite = {k: u for k, u in named.items() if u.low > 0 and math.isfinite(u.high)}
    return {name: np.array([unknown.low, unknown.high]) for name, unknown in finite.items()}


def _suits(system: Any, name: str, unknown: Unknown) -> None:
    """Refuse a range that goes below zero where a parameter, or a noise, must not."""
    if never_negative(system, name) and unknown.low < 0:
        but = f"its range goes down to {unknown.low:g}"
        _checks.fail(name, "be free above zero only (`positive`, `interval`)", but)


def _each_once(system: Any, parameters: Mapping[str, Unknown]) -> None:
    """Refuse two parameters for one leaf: the last would win."""
    leaves, structure = jax.tree.flatten(system)
    marked = jax.tree.unflatten(structure, [_Place(k) for k in range(len(leaves))])
    seen: dict[int, str] = {}
    for name, unknown in parameters.items():
        if unknown.apply is not None:
            continue
        picked = leaf(marked, name) if unknown.where is None else unknown.where(marked)
        if not isinstance(picked, _Place):
            _checks.fail(name, "pick one leaf of the system by `where`", f"it is {picked!r}")
        if picked.index in seen:
            _checks.fail(name, "be another leaf than the others", f"it is {seen[picked.index]!r}")
        seen[picked.index] = name


@dataclasses.dataclass(frozen=True)
class _Place:
    """Stands for a leaf."""

    index: int


def _within(name: str, unknown: Unknown, value: jax.Array) -> None:
    if not _checks.is_concrete(value):
        return
    known = np.asarray(value)
    wrong = known[~((known >= unknown.low) & (known <= unknown.high))]
    if wrong.size:
        bounds = f"lie in [{unknown.low:g}, {unknown.high:g}] in the system that is started from"
        _checks.fail(name, bounds, f"it is {wrong[0]:g}")


def _follows(name: str, values: jax.Array, fitted: jax.Array) -> None:
    """Refuse maps that give other values than there are (both unbounded)."""
    if not _checks.is_concrete(values):
        return
    gap = np.abs(np.asarray(fitted) - np.asarray(values)).max()
    if gap > 1e-6 * (1 + np.abs(np.asarray(values)).max()):
        _checks.fail(
            name,
            "follow its maps in the system that is started from",
            "its values would change: give it one value for all regions first",
        )


def _regions(system: Any) -> int:
    inner = undriven(system)
    if not hasattr(inner, "n_regions"):
        _checks.fail("per", "be None for a system without regions", f"it is {type(inner).__name__}")
    return int(inner.n_regions)


def _value(system: Any, name: str, unknown: Unknown) -> jax.Array:
    """A parameter's present value."""
    if unknown.apply is not None:
        return as_array(unknown.default)
    return as_array(leaf(system, name) if unknown.where is None else unknown.where(system))
