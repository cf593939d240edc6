"""Floquet exponents of the modes along an orbit: propagators at a few Λ, interpolated.

What they are of is in `stability.dispersion`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core.interpolation import interpolation, interpolation_nodes
from ngnmm_jax._core.lanes import padded
from ngnmm_jax._core.small_linalg import eigenvalues
from ngnmm_jax.dynamics.floquet import Propagated, product, propagators, swept
from ngnmm_jax.dynamics.forced.result import ForcedOrbit
from ngnmm_jax.dynamics.forced.system import Clocked, packed, pieces_of
from ngnmm_jax.dynamics.periodic import Orbit
from ngnmm_jax.dynamics.products import grouped, product_spectrum
from ngnmm_jax.dynamics.shooting import BLOCK, SEGMENTS
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.systems.driven import Driven
from ngnmm_jax.systems.homogeneous import Homogeneous

#: Values of Λ at which monodromy matrices are computed at first.
NODES = 24
# Under JAX's transformations, multipliers below this part of the monodromy matrix are left out.
_LOST = 1e-10
# Values of Λ that are compiled together: the nodes and two checks, or part of twice as many.
_LANES = 26

#: Of Λ at some places, the propagators along an orbit.
Through = Callable[[Any], Propagated]


class Exponents(NamedTuple):
    """Floquet exponents (mode, variable), the relative error of the interpolation in Λ (`miss`),
    and by how much they miss Liouville's formula (`gap`).
    """

    values: Any
    miss: Any
    gap: Any


def from_whole_matrices(through: Through, period: Any, lambdas: jax.Array) -> Exponents:
    """`floquet` from the whole monodromy matrices: what they have lost is NaN."""
    every, back = _places(jnp, lambdas, NODES)
    found = through(every)
    (monodromy,), volumes, error = back(product(found.matrices)[None], found.volumes.sum(0))
    mu = eigenvalues(jnp, monodromy)
    lost = jnp.abs(mu) < _LOST * jnp.abs(monodromy).max(axis=(1, 2))[:, None]
    logs = jnp.log(jnp.where(lost, 1.0, mu))
    gap = jnp.where(lost.any(axis=1), 0.0, _liouville(jnp, logs, volumes)).max()
    exponents = jnp.where(lost, jnp.nan, logs / period)
    order = jnp.argsort(-exponents.real, axis=1)
    return Exponents(jnp.take_along_axis(exponents, order, axis=1), error, gap)


def floquet(through: Through, period: Any, lambdas: Any, nodes: int) -> Exponents:
    """Floquet exponents from monodromy matrices at so many nodes, each a product of factors."""
    every, back = _places(np, lambdas, nodes)
    pieces = [through(every[index]) for index, _ in padded(len(every), _LANES)]
    factors = np.concatenate([p.factors for p in pieces], axis=2)[:, :, : len(every)]
    factors = factors.reshape(-1, *factors.shape[2:])
    volumes = np.concatenate([p.volumes.sum(axis=0) for p in pieces])[: len(every)]
    factors, volumes, error = back(grouped(factors), volumes)
    logs, told = product_spectrum(factors)
    gap = np.where(told, _liouville(np, logs, volumes), np.nan).max()
    return Exponents(logs / period, error, gap)


def _liouville(xp: Any, logs: Any, volumes: Any) -> Any:
    """By how much multipliers' logarithms miss the integral of the trace, relative, (mode,)."""
    return xp.abs(logs.real.sum(axis=1) - volumes.real) / (1 + xp.abs(volumes))


def _places(xp: Any, lambdas: Any, nodes: int) -> tuple[Any, Callable[[Any, Any], Any]]:
    """Λ at which propagators are computed, and what brings them from there to all modes.

    The latter takes factors (factor, place, n, n) and volumes (place,); it also returns the
    relative error of the interpolation.
    """
    if lambdas.shape[0] <= nodes or lambdas.ndim > 1:
        return lambdas, lambda factors, volumes: (factors, volumes, xp.asarray(0.0))
    where = interpolation_nodes(lambdas, nodes, xp)
    middle = (where[0] + where[nodes // 2]) / 2
    checks = xp.stack([middle, (where[0] + 3 * where[nodes // 2]) / 4])

    def back(factors: Any, volumes: Any) -> tuple[Any, Any, Any]:
        count, _, n, _ = factors.shape
        known, exact = factors[:, :nodes].reshape(count, nodes, -1), factors[:, nodes:]
        exact = exact.reshape(count, 2, -1)
        guess = interpolation(where, checks, xp) @ known
        error = xp.abs(guess - exact).max(axis=(1, 2)) / xp.abs(exact).max(axis=(1, 2))
        matrix = interpolation(where, lambdas, xp)
        factors = (matrix @ known).reshape(count, -1, n, n)
        return factors, matrix @ volumes[:nodes], error.sum()

    return xp.concatenate([where, checks]), back


def orbit_propagators(
    xp: Any, inner: Homogeneous, modal: Homogeneous, orbit: Orbit, lambdas: Any
) -> Propagated:
    """Propagators of perturbations of several modes along an orbit."""
    segments = orbit.states.shape[0]
    steps = (orbit.ts.shape[0] - 1) // segments
    dt = orbit.period / (segments * steps)
    return swept(
        xp, lambda x, dt, n: _sweep(inner, modal, lambdas, x, dt, n), orbit.states, dt, steps, BLOCK
    )


@eqx.filter_jit
def _sweep(
    inner: Homogeneous,
    modal: Homogeneous,
    lambdas: jax.Array,
    starts: jax.Array,
    dt: jax.Array,
    steps: int,
) -> Propagated:
    """Steps over all segments at once, with the perturbations of all modes."""

    def linear(x: jax.Array) -> jax.Array:
        matrix, column, row = linearise(inner, x)
        factors = modal.along(modal.model.output(x), lambdas)
        return with_drive(jnp, matrix, column, row, factors)

    return propagators(inner.vector_field, linear, starts, dt, steps)


def with_drive(xp: Any, matrix: Any, column: Any, row: Any, factors: Any) -> Any:
    """The node's matrices (mode, variable, variable), with what comes back over the network."""
    if column.ndim == 1:
        return matrix + factors[:, None, None] * xp.outer(column, row)
    return matrix + xp.einsum("vi,mio,ow->mvw", column, factors, row)


def linearise(
    inner: Homogeneous, state: Float[Array, "variable"], stimulus: Any = 0.0
) -> tuple[Float[Array, "variable variable"], Float[Array, "..."], Float[Array, "..."]]:
    """The node's Jacobian A at a homogeneous state and its drive, which a stimulus adds to; the
    derivatives b of its slope by the drive, and c of its output by its state.

    Of a model with several inputs and outputs b is (variable, input), c (output, variable).
    """
    model: AbstractNeuralMass = inner.model
    drive = inner.drive(model.output(state)) + stimulus
    matrix, column = jax.jacfwd(model.vector_field, argnums=(0, 1))(state, drive)
    return matrix, column, jax.jacfwd(model.output)(state)


def forced_propagators(
    xp: Any, inner: Driven, modal: Homogeneous, orbit: ForcedOrbit, lambdas: Any
) -> Propagated:
    """Propagators of perturbations of several modes along an orbit that is locked to a drive."""
    segments = orbit.states.shape[0]
    steps = (orbit.ts.shape[0] - 1) // segments
    pieces = pieces_of(inner, orbit.drive_cycles, SEGMENTS)
    begins = packed(xp, xp.asarray(orbit.states), pieces)
    dt = xp.asarray(pieces.lengths) / steps
    return swept(
        xp,
        lambda x, dt, n: _forced_sweep(inner, modal, lambdas, x, dt, n),
        begins,
        dt,
        steps,
        BLOCK,
    )


@eqx.filter_jit
def _forced_sweep(
    inner: Driven, modal: Homogeneous, lambdas: jax.Array, starts: jax.Array, dt: Any, steps: int
) -> Propagated:
    """Steps over all segments at once, with the perturbations of all modes."""
    clocked = Clocked(inner)
    n = clocked.size
    alone, push = inner.system, inner.stimulus
    assert isinstance(alone, Homogeneous)
    assert push is not None

    def linear(packed: jax.Array) -> jax.Array:
        x, clock = packed[:n], packed[n:]
        stimulus = push(jnp.clip(clock[0], clock[1], clock[2]))
        matrix, column, row = linearise(alone, x, stimulus)
        factors = modal.along(modal.model.output(x), lambdas)
        return with_drive(jnp, matrix, column, row, factors)

    return propagators(clocked.field, linear, starts, dt, steps)
