"""Stuart and Landau's oscillator: the normal form of a Hopf bifurcation."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.certain_roots import CertainReduction, over_interval
from ngnmm_jax._core.types import Channels, Field, ParameterArray, Scalar, State
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.hooks import EquilibriumReduction
from ngnmm_jax.models.parameters import parameter
from ngnmm_jax.models.times import as_numbers, math_of

# Of rounding errors, relative to the terms of a sum.
_SLACK = 32 * float(np.finfo(float).eps)


class StuartLandau(AbstractNeuralMass):
    r"""z' = (a + i omega) z - |z|² z + c, with z = x + i y.

    State of a region: `x, y`. It sends x, and what it receives, c, adds to x'. (With
    `ComplexStuartLandau` both parts are sent and received.) Times in s; a and omega in 1/s, the
    latter an angle per second; x and y have no dimension.

    Without input everything is known: z = 0 has the eigenvalues a ± i omega; where a > 0 there is
    one orbit, the circle |z| = √a, of period 2π / omega and Floquet exponents 0 and -2a.

    Source: Kuramoto, Chemical Oscillations, Waves, and Turbulence (Springer, 1984), ch. 2; as a
    model of regions of the brain: Deco et al., Sci. Rep. 7, 3095 (2017).
    """

    variables: ClassVar[tuple[str, ...]] = ("x", "y")
    units: ClassVar[tuple[str, ...]] = ("1", "1")
    time_unit: ClassVar[str] = "s"
    shown: ClassVar[str] = "x"
    shown_unit: ClassVar[str] = "1"
    nonnegative: ClassVar[tuple[str, ...]] = ()
    symbols: ClassVar[dict[str, str]] = {
        "x": "$x$", "y": "$y$", "a": "$a$", "omega": r"$\omega$",
    }  # fmt: skip
    plane: ClassVar[dict[str, tuple[float, float, int]]] = {
        "a": (-10.0, 10.0, 41),
        "coupling": (0.0, 20.0, 41),
    }
    cut: ClassVar[float] = 5.0

    a: ParameterArray = parameter(5.0, unit="1/s", doc="growth: below 0 rest, above it an orbit")
    omega: ParameterArray = parameter(62.8, unit="1/s", doc="angle per time; 62.8 is 10 Hz")

    def vector_field(self, state: State, drive: Field) -> State:
        dx, dy = self._alone(state)
        return jnp.stack([dx + drive, dy])

    def _alone(self, state: State) -> tuple[Field, Field]:
        """Both parts without input."""
        x, y = state
        growth = self.a - (x * x + y * y)
        return growth * x - self.omega * y, growth * y + self.omega * x

    def output(self, state: State) -> Field:
        return state[0]

    def search_box(self) -> tuple[jax.Array, jax.Array]:
        return jnp.array([-5.0, -5.0]), jnp.array([5.0, 5.0])

    def fastest_time(self) -> Any:
        """1 / (|omega| + 2 |a|), in s: that of the turning and of the way back to the orbit."""
        a, omega = as_numbers(self.a, self.omega)
        xp = math_of((a, omega))
        rate = xp.abs(omega) + 2 * xp.abs(a)
        return xp.where(rate > 0, 1 / xp.where(rate > 0, rate, 1.0), 1.0)

    def typical_time(self) -> Any:
        return self.fastest_time()

    # With drive k x, and R = |z|²: (a + k - R) x = omega y and (a - R) y = -omega x. So z = 0, or
    # R² - (2a + k) R + a (a + k) + omega² = 0, at two opposite places each. With R = u² all are
    # roots of one polynomial in u, of which the sign says which of the two.

    def equilibrium_reduction(self, coupling: Scalar) -> EquilibriumReduction | None:
        """Scalar reduction in u = ±|z|."""
        linear, rest = self._coefficients(coupling)
        high = self._largest(coupling, jnp)

        def function(u: Scalar) -> tuple[jax.Array, Scalar]:
            square = u * u
            value = u * (square * square - linear * square + rest)
            return jnp.stack(_at(jnp, u, self.a, self.omega)), value

        return EquilibriumReduction(-high, high, function)

    def _coefficients(self, coupling: Any) -> tuple[Any, Any]:
        return 2 * self.a + coupling, self.a * (self.a + coupling) + self.omega * self.omega

    def _largest(self, coupling: Any, xp: Any) -> Any:
        """A bound on |z| at rest, by Cauchy's on R."""
        linear, rest = self._coefficients(coupling)
        return 1.1 * xp.sqrt(1 + xp.abs(linear) + xp.sqrt(xp.abs(rest)))

    def certain_reduction(self, coupling: Any) -> CertainReduction:
        """All equilibria, for all parameters with omega ≠ 0."""
        linear, rest = self._coefficients(coupling)
        high = self._largest(coupling, np)

        def value(owner: Any, u: Any) -> tuple[Any, Any]:
            square = u * u
            terms = u * square * square, -linear[owner] * square * u, rest[owner] * u
            size = sum(np.abs(term) for term in terms)
            # Without turning a root does not say where on the circle it is.
            return sum(terms), np.where(self.omega[owner] == 0, np.inf, _SLACK * size)

        def slopes(owner: Any, left: Any, right: Any) -> tuple[Any, Any]:
            most = np.maximum(left * left, right * right)
            least = np.where((left < 0) & (right > 0), 0.0, np.minimum(left * left, right * right))
            factor = -3 * linear[owner]
            low = 5 * least * least + np.minimum(factor * least, factor * most) + rest[owner]
            top = 5 * most * most + np.maximum(factor * least, factor * most) + rest[owner]
            slack = _SLACK * (5 * most * most + np.abs(factor) * most + np.abs(rest[owner]))
            return low - slack, top + slack

        def states(owner: Any, u: Any) -> Any:
            return np.stack(_at(np, u, self.a[owner], self.omega[owner]), axis=-1)

        return over_interval(-high, high, value, slopes, states)


class ComplexStuartLandau(StuartLandau):
    r"""The same, z' = (a + i omega) z - |z|² z + c, with complex input: it sends x and y.

    For couplings of both parts, as in `CouplingSum` of a `Routed` one for each. With diffusive
    coupling of strength K on a graph with rows of sum 1, everything is known here, too: at z = 0
    mode Λ grows with a - K (1 - Λ); on the orbit |z| = √a of all regions its exponents are
    -K (1 - Λ) and -2a - K (1 - Λ).
    """

    outputs: ClassVar[tuple[str, ...]] = ("x", "y")
    inputs: ClassVar[tuple[str, ...]] = ("x", "y")

    equilibrium_reduction = None  # type: ignore[assignment]

    def vector_field(self, state: State, drive: Channels) -> State:
        return jnp.stack(self._alone(state)) + drive

    def output(self, state: State) -> Channels:
        return state


def _at(xp: Any, u: Any, a: Any, omega: Any) -> tuple[Any, Any]:
    """Where z rests with |z| = |u|: x and y."""
    away = u * u - a
    size = xp.hypot(away, omega)
    known = size > 0
    size = xp.where(known, size, 1.0)
    return u * away / size, u * xp.where(known, omega / size, 1.0)
