"""Integration of any vector field: adaptive through diffrax, fixed steps in lock-step."""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ngnmm_jax._core.status import Status

# A state with a value beyond this has diverged, and integration stops: diffrax would go on
# with a NaN once its step is at the smallest allowed.
DIVERGED = 1e12

VectorField = Callable[[jax.Array], jax.Array]
Select = Callable[[jax.Array], Any]
# One step: of a vector field, from a state (an array, or a PyTree of them), of a given length.
Step = Callable[[Callable[[Any], Any], Any, Any], Any]


def rk4_step(field: Callable[[Any], Any], state: Any, dt: Any) -> Any:
    """One step of the classical Runge-Kutta method of order four; the state may be a PyTree."""

    def moved(h: Any, k: Any) -> Any:
        return jax.tree.map(lambda y, slope: y + h * slope, state, k)

    k = field(state)
    total = k
    for h in (dt / 2, dt / 2):
        k = field(moved(h, k))
        total = jax.tree.map(lambda a, b: a + 2 * b, total, k)
    return moved(dt / 6, jax.tree.map(jnp.add, total, field(moved(dt, k))))


def in_halves(step: Callable[[Any, Any], Any], start: Any, dt: Any) -> Any:
    """The ends of half a step, another one after it, and one step instead: (3, …) each.

    Of `step(state, dt)`; the error of the last is 16/15 of how it differs from the second, at order
    four.
    """

    def leg(j: jax.Array, ends: Any) -> Any:
        begin = jax.tree.map(lambda first, end: jnp.where(j == 1, end[0], first), start, ends)
        h = jnp.where(j == 2, dt, dt / 2)
        end = jax.lax.fori_loop(0, jnp.minimum(j + 1, 1), lambda _, state: step(state, h), begin)
        return jax.tree.map(lambda ends, end: ends.at[j].set(end), ends, end)

    nothing = jax.tree.map(lambda leaf: jnp.zeros((3, *leaf.shape), leaf.dtype), start)
    return jax.lax.fori_loop(0, 3, leg, nothing)


def heun_step(field: Callable[[Any], Any], state: Any, dt: Any) -> Any:
    """One step of Heun's method, of order two; the state may be a PyTree."""

    def moved(h: Any, k: Any) -> Any:
        return jax.tree.map(lambda y, slope: y + h * slope, state, k)

    k = field(state)
    return moved(dt / 2, jax.tree.map(jnp.add, k, field(moved(dt, k))))


def euler_step(field: VectorField, state: jax.Array, dt: Any) -> jax.Array:
    """One step of Euler's method, of order one."""
    return state + dt * field(state)


def tableau_step(tableau: dfx.ButcherTableau) -> Step:
    """One step of an explicit Runge-Kutta method, from its coefficients in diffrax."""
    weights = np.trim_zeros(np.asarray(tableau.b_sol), "b")
    rows = tableau.a_lower[: len(weights) - 1]

    def moved(state: Any, dt: Any, factors: Any, slopes: list[Any]) -> Any:
        some = [(float(a), k) for a, k in zip(factors, slopes, strict=True) if a != 0]
        total = jax.tree.map(lambda *k: sum(a * kj for (a, _), kj in zip(some, k, strict=True)),
                             *(k for _, k in some))  # fmt: skip
        return jax.tree.map(lambda y, slope: y + dt * slope, state, total)

    def step(field: Callable[[Any], Any], state: Any, dt: Any) -> Any:
        k = [field(state)]
        for row in rows:
            k.append(field(moved(state, dt, row, k)))
        return moved(state, dt, weights, k)

    return step


def looped_step(tableau: dfx.ButcherTableau) -> Step:
    """`tableau_step` on an array, with a loop over the stages: one twelfth of the program.

    What is compiled once for each system and takes milliseconds to run starts sooner so; a
    step takes up to twice as long as with the stages written out.
    """
    weights = np.trim_zeros(np.asarray(tableau.b_sol), "b")
    count = len(weights)
    factors = np.zeros((count, count))
    for i, row in enumerate(tableau.a_lower[: count - 1]):
        factors[i + 1, : i + 1] = row

    def step(field: VectorField, state: jax.Array, dt: Any) -> jax.Array:
        def moved(row: jax.Array, slopes: jax.Array) -> jax.Array:
            return state + dt * (row.reshape(-1, *(1,) * state.ndim) * slopes).sum(axis=0)

        def stage(slopes: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            number, row = at
            return slopes.at[number].set(field(moved(row, slopes))), None

        real = state.real.dtype
        nothing = jnp.zeros((count, *state.shape), state.dtype)
        rows = (jnp.arange(count), jnp.asarray(factors, real))
        slopes, _ = jax.lax.scan(stage, nothing, rows)
        return moved(jnp.asarray(weights, real), slopes)

    return step


#: Dormand and Prince's method of order eight.
dopri8_step = tableau_step(dfx.Dopri8.tableau)
dopri8_loop = looped_step(dfx.Dopri8.tableau)

#: Tsitouras's method of order five.
tsit5_step = tableau_step(dfx.Tsit5.tableau)

#: Steps of a vector field, by name.
STEPS: dict[str, Step] = {
    "rk4": rk4_step,
    "heun": heun_step,
    "euler": euler_step,
    "dopri8": dopri8_step,
}


def repeated(
    advance: Callable[[Any], Any],
    memory: Any,
    *,
    n_saves: int,
    stride: int,
    select: Callable[[Any], Any],
) -> tuple[Any, Any]:
    """`n_saves * stride` times `advance`: the last memory, and `select(memory)` every `stride`.

    Two nested scans of a loop body that is one step: the state may have any shape, so that
    a batch can lie along its last axis. Differentiable in both modes; reverse mode keeps one
    state per save and recomputes the steps between.
    """

    @jax.checkpoint
    def stretch(memory: Any) -> Any:
        def body(memory: Any, _: None) -> tuple[Any, None]:
            return advance(memory), None

        return jax.lax.scan(body, memory, None, length=stride)[0]

    def save(memory: Any, _: None) -> tuple[Any, Any]:
        memory = stretch(memory)
        return memory, select(memory)

    return jax.lax.scan(save, memory, None, length=n_saves)


def recorded(
    advance: Callable[[Any], Any],
    memory: Any,
    *,
    n_saves: Int[Array, ""],
    stride: Int[Array, ""],
    select: Callable[[Any], Any],
    room: int,
) -> tuple[Any, Any]:
    """`repeated` with numbers that the program does not know: one serves all.

    What is saved stands in the first `n_saves` of `room` places. Not differentiable in reverse.
    """
    like = jax.eval_shape(select, memory)
    places = jax.tree.map(lambda leaf: jnp.zeros((room, *leaf.shape), leaf.dtype), like)

    def save(k: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        memory, places = carry
        memory = jax.lax.fori_loop(0, stride, lambda _, memory: advance(memory), memory)
        return memory, jax.tree.map(lambda p, some: p.at[k].set(some), places, select(memory))

    return jax.lax.fori_loop(0, n_saves, save, (memory, places))


def settled(values: Any) -> Any:
    """Which values have not diverged: they are finite, and not beyond `DIVERGED`."""
    return abs(values) < DIVERGED


def finite_status(*values: jax.Array) -> Int[Array, ""]:
    """`Status.OK` where no value has diverged, `NOT_FINITE` otherwise."""
    ok = jnp.array(True)
    for value in values:
        ok &= settled(value).all()
    return jnp.where(ok, Status.OK, Status.NOT_FINITE)


def solve(
    field: Callable[[Any, jax.Array], jax.Array],
    state: jax.Array,
    t0: Float[Array, ""],
    t1: Float[Array, ""],
    ts: Float[Array, "time"],
    *,
    solver: dfx.AbstractSolver,
    controller: dfx.AbstractStepSizeController,
    dt0: Float[Array, ""] | None,
    select: Select,
    max_steps: int,
    adjoint: dfx.AbstractAdjoint,
    progress: dfx.AbstractProgressMeter,
    noise: dfx.AbstractTerm | None = None,
) -> tuple[jax.Array, Any, dict[str, Any], Int[Array, ""]]:
    """`diffeqsolve` of `field(t, state)`: last state, `select(state)` at `ts`, counts, status."""
    drift: Any = dfx.ODETerm(lambda t, y, args: field(t, y))
    saveat = dfx.SaveAt(
        subs=[dfx.SubSaveAt(ts=ts, fn=lambda t, y, args: select(y)), dfx.SubSaveAt(t1=True)]
    )
    solution = dfx.diffeqsolve(
        drift if noise is None else dfx.MultiTerm(drift, noise),
        solver,
        t0=t0,
        t1=t1,
        dt0=dt0,
        y0=state,
        saveat=saveat,
        stepsize_controller=controller,
        adjoint=adjoint,
        event=dfx.Event(lambda t, y, args, **_: ~(jnp.abs(y).max() < DIVERGED)),
        max_steps=max_steps,
        throw=False,
        progress_meter=progress,
    )
    saved, last = solution.ys[0], solution.ys[1][0]
    status = finite_status(last, *jax.tree.leaves(saved))
    for result, code in (
        (dfx.RESULTS.event_occurred, Status.NOT_FINITE),
        (dfx.RESULTS.dt_min_reached, Status.STEP_TOO_SMALL),
        (dfx.RESULTS.max_steps_reached, Status.MAX_STEPS),
    ):
        status = jnp.where(solution.result == result, code, status)
    counts = {
        name: solution.stats[name]
        for name in ("num_steps", "num_accepted_steps", "num_rejected_steps")
    }
    return last, saved, counts, status
