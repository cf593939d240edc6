"""What regions have sent before now, which networks with delays go on from."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import make_interp_spline

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.systems.driven import undriven

# Steps count as the same to this fraction; the order of the spline between others.
_SAME, _ORDER = 1e-9, 5


class History(eqx.Module):
    """What regions sent over their connections, up to the end of a run.

    - `sent` (*run, region, node, *channel): at the ends of steps, the last one now.
    - `dt`: the time from one node to the next.
    """

    sent: Float[Array, "..."]
    dt: float = eqx.field(static=True)

    def __getitem__(self, run: Any) -> "History":
        return History(self.sent[run], self.dt)

    def on(self, dt: float, length: int, axis: int, back: float) -> Any:
        """The same with `length` nodes `dt` apart, along an axis, of which some time `back` counts.

        By a spline of order five where that is another step than its own. `ValueError` where it
        does not go so far back.
        """
        sent = jnp.moveaxis(self.sent, axis, 0)
        if abs(dt - self.dt) <= _SAME * dt and length <= sent.shape[0]:
            return jnp.moveaxis(sent[-length:], 0, axis)
        times = -dt * np.arange(length)[::-1]
        known = -self.dt * np.arange(sent.shape[0])[::-1]
        if back > -known[0] + _SAME * dt:
            must = f"remember the longest delay, {back:.6g} with the method's points before it"
            but = (
                f"it remembers {-known[0]:.6g}: take a smaller `dt`, or start from its "
                "`final_state`, a constant past"
            )
            _checks.fail("start", must, but)
        if not _checks.is_concrete(sent):
            but = "JAX traces it, and the step is another one"
            _checks.fail("start", f"be a run of the same step, {dt:g}", but)
        between = make_interp_spline(known, np.asarray(sent), min(_ORDER, known.size - 1))
        found = np.where(
            (times >= known[0]).reshape(-1, *(1,) * (sent.ndim - 1)), between(times), np.nan
        )
        return jnp.moveaxis(jnp.asarray(found, sent.dtype), 0, axis)


def past_of(start: Any, system: Any, dt: float, *, runs: int | None = None) -> Any:
    """What a system on its grid of steps goes on from: that of a run; else None, a constant past.

    With `runs`, for each of so many, (run, region, node, …), from one run or from as many.
    """
    history = getattr(start, "history", None)
    graph: Any = getattr(getattr(undriven(system), "interaction", None), "graph", None)
    if history is None or getattr(graph, "delays", None) is None:
        return None
    batch = bool(np.ndim(start.status))
    found = history.on(dt, graph.reach.length, 1 + batch, (graph.reach.used - 1) * dt)
    return jnp.broadcast_to(found, (runs, *found.shape)) if runs and not batch else found
