"""Curves of equilibria in one parameter, of their folds and Hopf points in two."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ngnmm_jax._core.parameters import ParametrisedField
from ngnmm_jax.dynamics.continuation.arclength import (
    Event,
    Step,
    concrete,
    ranked,
    tested,
)
from ngnmm_jax.dynamics.continuation.normal_forms import (
    first_lyapunov,
    left_null,
    second,
)

_NEWTON, _CONVERGED = 12, 1e-10


class AbstractAlgebraicProblem(eqx.Module):
    """One equation less than unknowns, y = (..., parameters).

    `field`: of the system, with as many parameters as are free. `scales` (unknown,): what
    counts as one unit of arclength.
    """

    field: eqx.AbstractVar[ParametrisedField]
    scales: eqx.AbstractVar[Float[Array, "unknown"]]
    #: Whether `events` accounts for all changes of stability.
    exhaustive: ClassVar[bool] = True

    @abc.abstractmethod
    def residual(
        self, y: Float[Array, "unknown"], normal: Float[Array, "dimension"]
    ) -> Float[Array, "equation"]:
        """Zero on the curve."""

    @abc.abstractmethod
    def tests(
        self, y: Float[Array, "unknown"], tangent: Float[Array, "unknown"], jacobian: Array
    ) -> dict[str, Array]:
        """Functions whose zeros are special points."""

    @abc.abstractmethod
    def events(self, before: Step, after: Step) -> list[Event]:
        """What happens between two points."""

    def state(self, y: Float[Array, "unknown"]) -> Float[Array, "dimension"]:
        """The equilibrium, of the unknowns."""
        return y[: int(np.prod(self.field.system.state_shape))]

    def parameters(self, y: Float[Array, "unknown"]) -> Float[Array, "parameter"]:
        """The parameters, of the unknowns."""
        return y[-len(self.field.names) :]

    def matrix(self, y: Float[Array, "unknown"]) -> Float[Array, "dimension dimension"]:
        """The Jacobian of the system."""
        return jax.jacfwd(self.field)(self.state(y), self.parameters(y))

    def eigenvalues(self, y: Float[Array, "unknown"]) -> Complex[Array, "direction"]:
        """What says how many directions grow."""
        return jnp.linalg.eigvals(self.matrix(y))

    def normal(self, y: Float[Array, "unknown"]) -> Float[Array, "dimension"]:
        """What the next step's residual needs to know of this point."""
        return jnp.zeros(0)

    def advance(self, step: Step, length: float) -> Step:
        """The point of the curve at a distance from another one."""
        return concrete(_advance(self, step.point, step.tangent, np.float64(length)))

    def finished(self, step: Step) -> str | None:
        """These curves end at bounds or at points that `events` calls ends."""
        return None

    def refined(self, step: Step, *, needed: bool = False) -> Step:
        """There is nothing to refine."""
        return step

    def reach(self, step: Step) -> float:
        """Any step makes sense."""
        return float("inf")


@eqx.filter_jit
def _advance(
    problem: Any, point: Float[Array, "unknown"], tangent: Float[Array, "unknown"], length: Any
) -> Step:
    scales = problem.scales
    predicted = point + length * tangent
    normal = problem.normal(point)
    row = tangent / scales**2

    def bordered(y: jax.Array) -> jax.Array:
        return jnp.concatenate([jax.jacfwd(problem.residual)(y, normal), row[None]])

    def unfinished(carry: Any) -> jax.Array:
        _, size, count = carry
        return (count < _NEWTON) & (size > _CONVERGED) & (size < 1e6)

    def newton(carry: Any) -> Any:
        y, _, count = carry
        value = jnp.append(problem.residual(y, normal), row @ (y - predicted))
        update = jnp.linalg.solve(bordered(y), -value)
        return y + update, jnp.abs(update / scales).max(), count + 1

    y, size, count = jax.lax.while_loop(
        unfinished, newton, (predicted, jnp.asarray(1.0), jnp.asarray(0))
    )
    jacobian = bordered(y)
    along = jnp.linalg.solve(jacobian, jnp.zeros_like(y).at[-1].set(1.0))
    along = along / jnp.linalg.norm(along / scales)
    k = len(problem.field.names)
    spectrum = problem.eigenvalues(y)
    return Step(
        point=y,
        tangent=along,
        parameters=y[-k:],
        turning=along[-k:] / scales[-k:],
        spectrum=spectrum,
        unstable=problem.growing(spectrum),
        tests=problem.tests(y, along, jacobian),
        distance=jnp.linalg.norm((y - predicted) / scales),
        angle=jnp.arccos(jnp.clip((along / scales) @ (tangent / scales), -1.0, 1.0)),
        iterations=count,
        converged=size <= _CONVERGED,
    )


class AbstractEquilibriumCurve(AbstractAlgebraicProblem):
    """f(x, p) = 0 with y = (x, p)."""

    def residual(self, y: jax.Array, normal: jax.Array) -> jax.Array:
        return self.field(self.state(y), self.parameters(y))

    def growing(self, spectrum: jax.Array) -> jax.Array:
        """How many eigenvalues have a positive real part."""
        return (spectrum.real > 0).sum()

    def tests(self, y: jax.Array, tangent: jax.Array, jacobian: jax.Array) -> dict[str, Array]:
        sign, size = jnp.linalg.slogdet(jacobian)
        return {"sign": sign, "size": size}

    def at_zero(self, before: Step, after: Step) -> list[Event]:
        """Where an eigenvalue is zero: folds and branch points."""
        found = []
        if before.turning[0] * after.turning[0] < 0:
            found.append(Event("fold", lambda step: float(step.turning[0]), 1))
        if before.tests["sign"] != after.tests["sign"]:
            size = before.tests["size"]

            def determinant(step: Step) -> float:
                return float(step.tests["sign"] * np.exp(step.tests["size"] - size))

            found.append(Event("branch_point", determinant, 1))
        return found


class EquilibriumCurve(AbstractEquilibriumCurve):
    """Equilibria of a vector field, with what grows on them."""

    field: ParametrisedField
    scales: Float[Array, "unknown"]

    def events(self, before: Step, after: Step) -> list[Event]:
        return self.at_zero(before, after) + _crossing_pairs("hopf", before, after)


def _pairs(step: Step) -> np.ndarray:
    """Real parts of the complex pairs of eigenvalues."""
    spectrum = np.asarray(step.spectrum)
    return spectrum[spectrum.imag > 0].real


def _crossing_pairs(kind: str, before: Step, after: Step) -> list[Event]:
    """Complex pairs that cross the imaginary axis."""
    counts = sorted(int((_pairs(step) > 0).sum()) for step in (before, after))
    return [
        Event(kind, ranked(_pairs, rank), 2, genuine=_turns)
        for rank in range(counts[0] + 1, counts[1] + 1)
    ]


def _turns(step: Step) -> bool:
    """Whether the pair on the axis does oscillate."""
    pairs = step.spectrum[step.spectrum.imag > 0]
    nearest = pairs[np.abs(pairs.real).argmin()]
    return bool(nearest.imag > 1e-5 * np.abs(step.spectrum).max())


class FoldCurve(AbstractAlgebraicProblem):
    """f = 0, A v = 0, |v| = 1 with y = (x, v, p), two parameters."""

    field: ParametrisedField
    scales: Float[Array, "unknown"]

    def residual(self, y: jax.Array, normal: jax.Array) -> jax.Array:
        x, p = self.state(y), self.parameters(y)
        v = y[x.shape[0] : 2 * x.shape[0]]
        value, pushed = jax.jvp(lambda a: self.field(a, p), (x,), (v,))
        return jnp.concatenate([value, pushed, jnp.stack([v @ v - 1])])

    def growing(self, spectrum: jax.Array) -> jax.Array:
        """Besides the eigenvalue that is zero."""
        zero = jnp.argmin(jnp.abs(spectrum))
        return ((spectrum.real > 0) & (jnp.arange(spectrum.shape[0]) != zero)).sum()

    def tests(self, y: jax.Array, tangent: jax.Array, jacobian: jax.Array) -> dict[str, Array]:
        x, p = self.state(y), self.parameters(y)
        v = y[x.shape[0] : 2 * x.shape[0]]
        w = left_null(self.matrix(y))
        return {
            "bogdanov_takens": w @ v,
            "cusp": w @ second(lambda a: self.field(a, p), x, v, v),
        }

    def events(self, before: Step, after: Step) -> list[Event]:
        found = [
            Event(name, tested(name), changes)
            for name, changes in (("bogdanov_takens", 1), ("cusp", 0))
            if before.tests[name] * after.tests[name] < 0
        ]
        return found + _crossing_pairs("fold_hopf", before, after)


class HopfCurve(AbstractAlgebraicProblem):
    """f = 0, A² v + k v = 0, |v| = 1, l v = 0 with y = (x, v, k, p), two parameters.

    k is the square of the angular frequency; l, which picks one vector of the plane, is that
    part of A v, at the point before, that is normal to v.
    """

    field: ParametrisedField
    scales: Float[Array, "unknown"]

    def residual(self, y: jax.Array, normal: jax.Array) -> jax.Array:
        x, p = self.state(y), self.parameters(y)
        n = x.shape[0]
        v, k = y[n : 2 * n], y[2 * n]

        def push(u: jax.Array) -> jax.Array:
            return jax.jvp(lambda a: self.field(a, p), (x,), (u,))[1]

        plane = push(push(v)) + k * v
        return jnp.concatenate([self.field(x, p), plane, jnp.stack([v @ v - 1, normal @ v])])

    def normal(self, y: jax.Array) -> jax.Array:
        x, p = self.state(y), self.parameters(y)
        v = y[x.shape[0] : 2 * x.shape[0]]
        pushed = jax.jvp(lambda a: self.field(a, p), (x,), (v,))[1]
        aside = pushed - (pushed @ v) * v
        return aside / jnp.linalg.norm(aside)

    def growing(self, spectrum: jax.Array) -> jax.Array:
        """Besides the pair on the imaginary axis."""
        rank = jnp.argsort(jnp.argsort(jnp.abs(spectrum.real)))
        return ((spectrum.real > 0) & (rank >= 2)).sum()

    def tests(self, y: jax.Array, tangent: jax.Array, jacobian: jax.Array) -> dict[str, Array]:
        x, p = self.state(y), self.parameters(y)
        n = x.shape[0]
        v, k = y[n : 2 * n], y[2 * n]
        matrix = self.matrix(y)
        omega = jnp.sqrt(jnp.maximum(k, 1e-12))
        q = v - 1j * (matrix @ v) / omega
        coefficient = first_lyapunov(lambda a: self.field(a, p), x, matrix, omega, q)
        sign, size = jnp.linalg.slogdet(matrix)
        return {
            "generalised_hopf": coefficient,
            "bogdanov_takens": k,
            "fold_hopf": sign * jnp.exp(size),
        }

    def events(self, before: Step, after: Step) -> list[Event]:
        a, b = before.tests, after.tests
        if b["bogdanov_takens"] < 0:
            return [Event("bogdanov_takens", tested("bogdanov_takens"), ends=True)]
        return [
            Event(name, tested(name), changes)
            for name, changes in (("generalised_hopf", 0), ("fold_hopf", 1))
            if a[name] * b[name] < 0
        ]
