"""The equilibrium of a whole network near a state, its regions eliminated from Newton's steps."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.small_linalg import solve_each
from ngnmm_jax.coupling.linearised import Linearised
from ngnmm_jax.dynamics.equilibria import rest_state
from ngnmm_jax.dynamics.newton import jacobian
from ngnmm_jax.systems.loops import linearised
from ngnmm_jax.systems.network import Network

# A Jacobian is singular where inputs move its region by more than their size over this, in steps;
# then by this part of a step is added to it.
_SINGULAR, _OWN = 1e-11, 0.05
# Newton's iteration: at most so many damped steps; each is halved so often at most.
_STEPS, _HALVINGS = 60, 8
_FIRST = 20  # of the model's time step, the first step of its own motion
_EXACT = 2  # steps that carry derivatives: as many orders are exact


class _Trial(NamedTuple):
    """A step from a state, (variable, region), and the largest slope there and after parts of it.

    `sizes` (halving,): after the step, a half, a quarter, …
    """

    step: Any
    before: Any
    sizes: Any


class _Approach(NamedTuple):
    """Where Newton's iteration is, and the size of its last correction.

    `rate`: of the steps of the motion; zero while they are Newton's.
    """

    state: Any
    rate: Any
    correction: Any
    number: Any


def equilibrium(
    network: Network, start: jax.Array | None = None
) -> tuple[Float[Array, "variable region"], Float[Array, ""]]:
    """A network's equilibrium near a state, and the relative size of Newton's last correction.

    Damped Newton steps whose derivative is cut, then two whose derivative is kept, so that
    derivatives of first and second order by all parameters are exact. Where Newton's steps are
    caught, as in the ghost of a fold, implicit Euler steps of the motion from the same start,
    longer as it slows down (pseudo-transient continuation: Kelley and Keyes, SIAM J. Numer. Anal.
    35, 508, 1998).

    On the host all of them run one program; elsewhere they are part of a caller's.
    """
    network = network.undelayed().bare()
    if start is None:
        start = rest_state(network)
    if not _checks.on_host(network, start):
        return _in_a_program(network, start)
    rules = _Rules(np, np.asarray(start), np.asarray(network.time_step))
    begin = now = rules.begin()
    with np.errstate(all="ignore"):  # where it diverges
        while rules.going(now):
            now = rules.next(now, _tried(network, now.state, now.rate))
        state, error = now.state, now.correction
        for _ in range(_EXACT):
            step = _tried(network, state, begin.rate).step
            state, error = _whole(np, state, np.asarray(step))
    return as_array(state), as_array(error)


@eqx.filter_jit
def _in_a_program(network: Network, start: jax.Array) -> tuple[jax.Array, jax.Array]:
    fixed = jax.lax.stop_gradient(network)
    start = jax.lax.stop_gradient(start)
    rules = _Rules(jnp, start, fixed.time_step)

    def following(now: _Approach) -> _Approach:
        return rules.next(now, _trial(fixed, now.state, now.rate))

    state = jax.lax.while_loop(rules.going, following, rules.begin()).state

    def exact(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        return _whole(jnp, x, _correction(network, x))

    state, errors = jax.lax.scan(exact, jax.lax.stop_gradient(state), None, length=_EXACT)
    return state, errors[-1]


def _whole(xp: Any, x: Any, step: Any) -> tuple[Any, Any]:
    return x + step, _relative(xp, step, x)


def _relative(xp: Any, step: Any, x: Any) -> Any:
    return xp.abs(step).max() / (1 + xp.abs(x).max())


class _Rules(NamedTuple):
    """How damped steps follow each other from a start, with NumPy or JAX."""

    xp: Any
    start: Any
    time_step: Any

    @property
    def goal(self) -> float:
        """The correction at which they end."""
        return float(np.finfo(self.start.dtype).eps) ** 0.8

    def begin(self) -> _Approach:
        xp, dtype = self.xp, self.start.dtype
        return _Approach(self.start, xp.zeros((), dtype), xp.full((), xp.inf, dtype), xp.asarray(0))

    def going(self, now: _Approach) -> Any:
        most = self.xp.where(now.rate > 0, 2 * _STEPS, _STEPS)
        return (now.correction > self.goal) & (now.number < most)

    def next(self, now: _Approach, trial: _Trial) -> _Approach:
        """After a damped step of Newton's, or one of the motion where it has a rate."""
        xp = self.xp
        step, before, sizes = (xp.asarray(part) for part in trial)
        moving = now.rate > 0
        parts = 0.5 ** xp.arange(_HALVINGS)
        better = sizes < before
        part = xp.where(better.any(), parts[xp.argmax(better)], parts[-1])
        # At rounding no step is better: take it whole.
        correction = _relative(xp, step, now.state)
        part = xp.where(moving | (correction < 1e-6), 1.0, part)
        longer = xp.clip(before / sizes[0], 0.5, 2.0)
        # Newton's iteration was caught: from the start again.
        caught = ~moving & (now.number + 1 == _STEPS) & ~(correction <= self.goal**0.75)
        return _Approach(
            xp.where(caught, self.start, now.state + part * step),
            xp.where(caught, 1 / (_FIRST * self.time_step), now.rate / longer),
            xp.where(caught, xp.inf, correction),
            now.number + 1,
        )


def _trial(network: Network, x: jax.Array, rate: Any) -> _Trial:
    step = _correction(network, x, rate)

    def size(x: jax.Array) -> jax.Array:
        return jnp.abs(network.vector_field(x)).max()

    parts = 0.5 ** jnp.arange(_HALVINGS)
    return _Trial(step, size(x), jax.vmap(lambda part: size(x + part * step))(parts))


_tried = eqx.filter_jit(_trial)


def between(network: Network, state: Float[Array, "variable region"]) -> Any:
    """What small changes of all outputs change of what each region receives, (region, region).

    Of changes that stay as they are, whatever the delays.
    """
    return sum(term.matrix()[0, 0] for term in terms(network, state))


def terms(network: Network, state: jax.Array) -> tuple[Linearised, ...]:
    return network.interaction.linearised(network.model.output(state))


def _correction(network: Network, state: jax.Array, rate: Any = 0.0) -> jax.Array:
    """Newton's step, the regions eliminated; of several outputs by the whole Jacobian.

    With a rate an implicit Euler step, as long as one over the rate.
    """
    if network.model.outputs:
        whole = jacobian(network.vector_field, state)
        whole = whole - rate * jnp.eye(whole.shape[0], dtype=whole.dtype)
        return -jnp.linalg.solve(whole, network.vector_field(state).ravel()).reshape(state.shape)
    local = linearised(network, state)
    coupled = between(network, state)
    rest = jnp.stack([network.vector_field(state), local.push], axis=1)
    # A region whose own Jacobian is singular is taken with some of its input by itself.
    fixed = jax.lax.stop_gradient(local)
    probe = jnp.abs(solve_each(fixed.matrix, fixed.push[:, None])[:, 0]).max(axis=0)
    size = jnp.abs(fixed.push).max(axis=0) * network.time_step
    alone = _OWN / (size * jnp.maximum(jnp.abs(fixed.output).max(axis=0), 1e-300))
    shift = jnp.where(probe <= size / _SINGULAR, 0.0, jnp.where(size > 0, alone, 0.0))
    coupled = coupled + jnp.diag(shift)
    matrix = local.matrix - shift * local.push[:, None] * local.output[None]
    matrix = matrix - rate * jnp.eye(matrix.shape[0], dtype=matrix.dtype)[:, :, None]
    answers = -solve_each(matrix, rest)
    output = (local.output[:, None] * answers).sum(axis=0)
    loop = jnp.eye(network.n_regions) - output[1][:, None] * coupled
    drive = coupled @ jnp.linalg.solve(loop, output[0])
    return answers[:, 0] + answers[:, 1] * drive
