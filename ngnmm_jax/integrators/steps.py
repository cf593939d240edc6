"""Fixed steps: one that all given times are multiples of, and such as end at jumps."""

import math
from collections.abc import Iterable
from typing import Any

import diffrax as dfx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Times are multiples of a step to this fraction of the longest of them; and a step that is so many
# times shorter than the longest allowed is not worth having.
_SAME, _SHORTEST = 1e-10, 64


def common_step(times: np.ndarray, longest: float) -> float | None:
    """The longest step, up to `longest`, of which all times (time,) are multiples.

    None where there is none, or only a far shorter one.
    """
    slack = _SAME * float(np.abs(times).max())
    found = 0.0
    for gap in np.unique(np.abs(np.diff(times, prepend=0.0))):
        a, b = float(gap), found
        while b > slack:  # Euclid's algorithm
            a, b = b, abs(a - round(a / b) * b)
        found = a if a > slack else found
        if 0 < found < longest / _SHORTEST:
            return None
    if found <= 0:
        return None
    # From the smallest of the times that is one: their own digits are kept.
    return found / math.ceil(found / longest * (1 - 1e-9))


def step_between(sample: float, others: Iterable[float], longest: float) -> float:
    """A step, up to `longest`, that divides the time between samples; the other times too, if any.

    `others`: of which zeros do not count.
    """
    times = np.array([sample, *(t for t in others if t > 0)])
    return common_step(times, longest) or sample / math.ceil(sample / longest)


class StepsToJumps(dfx.AbstractStepSizeController):
    """Steps of constant length, but for those that end at jumps of the vector field.

    After a jump they are again on the grid that begins with the run.
    """

    jumps: Float[Array, "jump"]

    def wrap(self, direction: Any) -> "StepsToJumps":
        """Only forwards in time."""
        del direction
        return self

    def init(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        dt0: Any,
        args: Any,
        func: Any,
        error_order: Any,
    ) -> tuple[Any, Any]:
        """The end of the first step, and what the steps are known by."""
        del terms, t1, y0, args, func, error_order
        jumps = jnp.sort(self.jumps).astype(jnp.result_type(t0))
        return self._next(t0, (t0, dt0, jumps)), (t0, dt0, jumps)

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: Any,
        y1_candidate: Any,
        args: Any,
        y_error: Any,
        error_order: Any,
        controller_state: Any,
    ) -> tuple[Any, Any, Any, Any, Any, Any]:
        """Every step is kept; one that ends before a jump is followed by one from the jump on."""
        del t0, y0, y1_candidate, args, y_error, error_order
        jumps = controller_state[2]
        after = jnp.nextafter(t1, jnp.full_like(t1, jnp.inf))
        jumped = (jumps == after).any()
        begin = jnp.where(jumped, after, t1)
        end = self._next(begin, controller_state)
        return jnp.array(True), begin, end, jumped, controller_state, dfx.RESULTS.successful

    def _next(self, t: Any, state: Any) -> Any:
        t0, dt, jumps = state
        # A sliver of a step before the grid belongs to the step after it.
        grid = t0 + (jnp.floor((t - t0) / dt + 1e-3) + 1) * dt
        jump = jnp.where(jumps > t, jumps, jnp.inf).min()
        before = jnp.nextafter(jump, jnp.full_like(jump, -jnp.inf))
        return jnp.where(before <= t, grid, jnp.minimum(grid, before))
