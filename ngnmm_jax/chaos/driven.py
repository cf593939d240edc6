"""Runs under a periodic drive over parameters, in lock-step from one of its periods to the next."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.names import STIMULUS
from ngnmm_jax._core.parameters import (
    bare,
    known_name,
    parameter_axes,
    parameter_names,
    stimulus_leaves,
    with_leaves,
)
from ngnmm_jax.chaos.lanes import starts_of, steps_at
from ngnmm_jax.dynamics.forced.strobes import step_in
from ngnmm_jax.dynamics.forced.system import (
    Pieces,
    deterministic,
    is_driven,
    only_together,
    pieces_of,
)
from ngnmm_jax.systems.driven import Driven


class Lanes(NamedTuple):
    """What runs in lock-step take: (run, …) parameters by name, and starts (run, *state)."""

    points: dict[str, Any]
    start: Any


def driven_system(system: Any, what: str) -> Driven:
    """A driven system, checked: with a stimulus that repeats itself, without noise and delays."""
    system = deterministic(system, what)
    if not is_driven(system):
        must = "be driven by a stimulus that repeats itself: `Driven(system, stimulus=…)`"
        _checks.fail("system", must, "nothing drives it")
    return bare(system)


def axes_of(system: Driven, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values (value,) of parameters by name, those of the stimulus too, checked."""
    if not isinstance(parameters, Mapping) or not parameters:
        must = 'be values by name, as in {"stimulus_amplitude": [0, 0.1, 0.2]}'
        _checks.fail("parameters", must, f"it is {parameters!r}")
    only_together(system, parameters)
    of_stimulus = stimulus_leaves(system)
    values: dict[str, np.ndarray] = {}
    for name, given in parameters.items():
        if name not in of_stimulus:
            known_name(name, system, (*parameter_names(system), *of_stimulus))
            values |= parameter_axes(system, {name: given})
            continue
        value = _checks.numbers(name, given, "be a sequence of numbers").astype(float)
        if value.ndim != 1 or not value.size:
            _checks.fail(name, "be a non-empty sequence", f"its shape is {value.shape}")
        for end in (value.min(), value.max()):
            system.with_parameters(**{name: end})  # which checks it
        values[name] = value
    return values


def lanes_at(system: Driven, points: dict[str, Any], seed: int) -> tuple[Lanes, int]:
    """Runs at so many points, and how many steps of RK4 all take in each piece of a period."""
    points = {name: np.asarray(value) for name, value in points.items()}
    count = next(iter(points.values())).size
    core = system.system
    own = {name: value for name, value in points.items() if not name.startswith(STIMULUS)}
    lengths = np.asarray(_pieces(system, points).lengths)
    steps = np.ceil(lengths / steps_at(core, own, count, None).dt).max()
    starts = starts_of(core, own, np.full(count, seed))
    return Lanes(points, starts), max(8, int(steps))


class Running(NamedTuple):
    """Runs in lock-step: the driven system, a step of a period, its pieces, and where they begin.

    - `step(number, x)`: from step `number` of a period of the drive, states (*state, run).
    - `count`: steps in a period; `begin` (*state, run).
    """

    system: Any
    step: Callable[[Any, Any], Any]
    pieces: Pieces
    count: Any
    begin: Any


def running(system: Driven, lanes: Lanes, steps: Any) -> Running:
    """Runs as their loops take them."""
    own = {k: v for k, v in lanes.points.items() if not k.startswith(STIMULUS)}
    pushed = {k: v for k, v in lanes.points.items() if k.startswith(STIMULUS)}
    core = with_leaves(system.system.over_runs(), own)
    pieces = _pieces(system, lanes.points)
    x = jnp.moveaxis(lanes.start, 0, -1)

    def push(values: dict[str, Any], t: jax.Array) -> jax.Array:
        return with_leaves(system, values).stimulus(t)

    def slope(t: jax.Array, x: jax.Array) -> jax.Array:
        stimulus = jax.vmap(push, out_axes=-1)(pushed, t)
        return core.vector_field(x, jnp.broadcast_to(stimulus, x.shape[1:]))

    def step(number: Any, x: jax.Array) -> jax.Array:
        return step_in(slope, pieces, steps, number, x)

    whole = eqx.tree_at(lambda d: d.system, system, core)
    return Running(whole, step, pieces, pieces.begins.shape[0] * steps, x)


def _pieces(system: Driven, points: Mapping[str, Any]) -> Pieces:
    """The pieces of one period of the drive (piece, run)."""

    def one(values: dict[str, Any]) -> Pieces:
        return pieces_of(with_leaves(system, values), 1, 1)

    return jax.vmap(one, out_axes=-1)({k: as_array(v, float) for k, v in points.items()})
