"""What runs go on from beside their state: what regions have sent before, and coloured noise."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.dynamics.delayed.orbits import path_of
from ngnmm_jax.dynamics.delayed.pieces import evaluate
from ngnmm_jax.dynamics.periodic import Orbit
from ngnmm_jax.graphs.past import Reach
from ngnmm_jax.systems.driven import coloured, undriven
from ngnmm_jax.systems.noisy import Past

# Steps count as the same to this fraction; the order of the spline between others.
_SAME, _ORDER = 1e-9, 5


class History(eqx.Module):
    """What regions sent over their connections, up to the end of a run, and its coloured noise.

    - `sent` (*run, region, node, *channel): at the ends of steps, the last one now; of each
      coupling with delays, by what comes before the names of its parameters.
    - `dt`: the time from one node to the next.
    - `noise` (*run, region): coloured noise at the end, over its standard deviation, by name.
    """

    sent: dict[str, Float[Array, "..."]]
    dt: float = eqx.field(static=True)
    noise: dict[str, Float[Array, "..."]] = eqx.field(default_factory=dict)

    @classmethod
    def of(cls, past: Any, dt: float) -> "History | None":
        """Of what a `Stepper` goes on from; None where the state is all."""
        if past is None:
            return None
        known = past if isinstance(past, Past) else Past(past)
        return cls(known.sent or {}, dt, known.noise or {})

    def __getitem__(self, run: Any) -> "History":
        sent, noise = jax.tree.map(lambda some: some[run], (self.sent, self.noise))
        return History(sent, self.dt, noise)

    def on(self, dt: float, reaches: dict[str, Reach], axis: int) -> dict[str, Any]:
        """The same with nodes `dt` apart, along an axis, as many as delays on that grid ask for.

        By a spline of order five where that is another step than its own. `ValueError` where it
        does not go so far back, or is of other couplings.
        """
        if self.sent.keys() != reaches.keys():
            must = "be a run of a network with the same couplings, or a state"
            names = ", ".join(map(repr, self.sent))
            _checks.fail("start", must, f"it remembers what was sent over {names}")
        return {k: self._on(self.sent[k], dt, reach, axis) for k, reach in reaches.items()}

    def _on(self, sent: Any, dt: float, reach: Reach, axis: int) -> Any:
        length, back = reach.length, (reach.used - 1) * dt
        sent = jnp.moveaxis(sent, axis, 0)
        if abs(dt - self.dt) <= _SAME * dt and length <= sent.shape[0]:
            return jnp.moveaxis(sent[-length:], 0, axis)
        times = -dt * np.arange(length)[::-1]
        known = -self.dt * np.arange(sent.shape[0])[::-1]
        if back > -known[0] + _SAME * dt:
            must = f"remember the longest delay, {back:.6g} with the method's points before it"
            but = (
                f"it remembers {-known[0]:.6g}: start from its `final_state`, a constant past (or "
                "take a smaller `dt`, where that is all that lacks)"
            )
            _checks.fail("start", must, but)
        if not _checks.is_concrete(sent):
            but = "JAX traces it, and the step is another one"
            _checks.fail("start", f"be a run of the same step, {dt:g}", but)
        from scipy.interpolate import make_interp_spline  # slow to import, and for delays alone

        between = make_interp_spline(known, np.asarray(sent), min(_ORDER, known.size - 1))
        found = np.where(
            (times >= known[0]).reshape(-1, *(1,) * (sent.ndim - 1)), between(times), np.nan
        )
        return jnp.moveaxis(as_array(found, sent.dtype), 0, axis)


def along(orbit: Orbit, network: Any, dt: float) -> History:
    """What regions sent that all went along an orbit, as far back as a network remembers."""
    parts = network.interaction.delayed()
    path, sent = path_of(orbit), {}
    for name, part in parts.items():
        times = -dt * jnp.arange(part.graph.reach.length)[::-1]
        states = evaluate(path, times / orbit.period).T  # (variable, node)
        one = part.sent(network.model.output(states))
        one = jnp.moveaxis(one, -1, 0)  # (node, *channel)
        sent[name] = jnp.broadcast_to(one, (network.n_regions, *one.shape))
    return History(sent, dt)


def past_of(start: Any, system: Any, dt: float, *, runs: int | None = None) -> Any:
    """What a system on its grid of steps goes on from: that of a run; else None, a constant past.

    What was sent by coupling, and coloured noise by name; with `runs`, for each of so many,
    (run, region, …), from one run or from as many. What a homogeneous system sent, all regions of
    a network have sent.
    """
    history, network = getattr(start, "history", None), undriven(system)
    delayed = getattr(network, "delays", None) is not None
    if isinstance(start, Orbit) and delayed:
        history = along(start, network, dt)
    if history is None:
        return None
    batch = not isinstance(start, Orbit) and bool(np.ndim(start.status))
    sent, noise = None, None
    if delayed and history.sent:
        between: Any = network.interaction
        reaches = {name: part.graph.reach for name, part in between.delayed().items()}
        sent = history.on(dt, reaches, 1 + batch)
        regions, here = between.graph.n_regions, int(batch)
        sent = {
            k: jnp.broadcast_to(some, (*some.shape[:here], regions, *some.shape[here + 1 :]))
            for k, some in sent.items()
        }
    if history.noise.keys() == coloured(system) != set():
        noise = history.noise
    if sent is None and noise is None:
        return None
    found = Past(sent, noise)
    if not runs or batch:
        return found
    return jax.tree.map(lambda some: jnp.broadcast_to(some, (runs, *some.shape)), found)
