"""Descent along gradients: steps of optax for all starts in one program, BFGS at the end."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix as optx

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.definition import plain
from ngnmm_jax._core.programs import program
from ngnmm_jax.fitting.compiled import Compiled
from ngnmm_jax.fitting.gradients import (
    MODES,
    beyond_horizon,
    choose_mode,
    horizon,
    value_and_gradient,
)
from ngnmm_jax.fitting.method import AbstractMethod, Ended, Problem

# Gradients are made no longer than this.
_LONGEST = 10.0
# How what a trace does not show is told, for errors.
KEY = "as in `fit(…, key=…)`"


class Gradient(AbstractMethod):
    """Steps of optax. Where a loss is not finite, a start goes back half the way to its best.

    - `learning_rate`: of Adam, in unbounded space, falling as a cosine; a schedule of optax; or
      `optimiser` instead, a transformation of optax.
    - `mode`: "reverse" or "forward"; by default the cheaper one (`choose_mode`).
    - `polish`: at most so many steps of BFGS (optimistix) from each start's best at the end, for
      smooth losses with narrow valleys.
    - `through`: how long the time is, in the model's unit, that gradients go through, for losses
      that simulate. The leading Lyapunov exponent of the best start is then looked at every
      `monitor` steps, and a `GradientWarning` tells when this is longer than its inverse.
    """

    learning_rate: Any = eqx.field(static=True, default=0.05)
    optimiser: Any = eqx.field(static=True, default=None)
    mode: str | None = eqx.field(static=True, default=None)
    polish: int = eqx.field(static=True, default=0)
    through: float | None = eqx.field(static=True, default=None)
    monitor: int = eqx.field(static=True, default=50)

    def __check_init__(self) -> None:
        _checks.positive_integer("monitor", self.monitor)
        if self.mode is not None:
            _checks.one_of("mode", self.mode, MODES)
        if self.optimiser is None:
            if not callable(self.learning_rate):
                _checks.positive("learning_rate", self.learning_rate)
        elif not isinstance(self.optimiser, optax.GradientTransformation):
            kind = type(self.optimiser).__name__
            _checks.fail("optimiser", "be a transformation of optax", f"it is a {kind}")

    def explained(self, problem: Problem) -> str:
        why = choose_mode(problem.free.size, self.mode).why
        return f"{why}; then at most {self.polish} steps of BFGS" if self.polish else why

    def begin(self, problem: Problem) -> Any:
        x = as_array(problem.starts)
        return x, jax.vmap(self._optimiser(problem).init)(x), x

    def advance(self, problem: Problem, state: Any, key: Any) -> tuple[Any, dict[str, Any]]:
        optimiser = self._optimiser(problem)
        mode = choose_mode(problem.free.size, self.mode).name
        differentiated = value_and_gradient(problem.function, mode)

        def one(x: jax.Array, inner: Any, good: jax.Array, key: Any) -> Any:
            value, terms, gradient = differentiated(x, key)
            fine = jnp.isfinite(value) & jnp.isfinite(gradient).all()
            change, after = optimiser.update(jnp.where(fine, gradient, 0.0), inner, x)
            moved = jnp.where(fine, x + change, (x + good) / 2)
            inner = jax.tree.map(lambda new, old: jnp.where(fine, new, old), after, inner)
            row = {**terms, "loss": jnp.where(fine, value, jnp.nan), "x": x}
            return (moved, inner, jnp.where(fine, x, good)), row

        x, inner, good = state
        return jax.vmap(one, in_axes=(0, 0, 0, None))(x, inner, good, key)

    def notice(self, problem: Problem, number: int, x: np.ndarray) -> str | None:
        if self.through is None or number % self.monitor:
            return None
        here = problem.free.put(x)
        return beyond_horizon(horizon(here), self.through, here.model.time_unit)

    def finish(self, problem: Problem, x: np.ndarray, key: Any) -> Ended | None:
        if not self.polish:
            return None
        solver: Any = optx.BFGS(rtol=1e-8, atol=1e-8)

        def one(x: jax.Array, key: Any) -> Any:
            found: Any = optx.minimise(
                lambda x, _: problem.function(x, key)[0],
                *(solver, x),
                max_steps=self.polish,
                throw=False,
            )
            good = found.result == optx.RESULTS.successful
            return found.value, problem.function(found.value, key)[0], good

        found = Compiled(jax.vmap(one, in_axes=(0, None)))(as_array(x), key)
        return Ended(*map(np.asarray, found))

    def definition(self, problem: Problem, key: Any) -> dict[str, Any]:
        """The optimiser as the program that it is; `polish`, `through` change no step."""
        optimiser = self._optimiser(problem)

        def update(x: jax.Array) -> Any:
            inner = optimiser.init(x)
            return inner, optimiser.update(x, inner, x)

        return {
            "mode": choose_mode(problem.free.size, self.mode).name,
            "learning_rate": None if self.optimiser is not None else plain(self.learning_rate),
            "optimiser": program(update, problem.starts[0], key=key, where=KEY),
        }

    def _optimiser(self, problem: Problem) -> Any:
        if self.optimiser is not None:
            return self.optimiser
        rate = self.learning_rate
        if not callable(rate):
            rate = optax.cosine_decay_schedule(float(rate), problem.steps, alpha=0.02)
        return optax.chain(optax.clip_by_global_norm(_LONGEST), optax.adam(rate))
