"""Jansen and Rit's classical neural mass."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from ngnmm_jax._core.certain_roots import CertainReduction, over_interval
from ngnmm_jax._core.types import Field, ParameterArray, Scalar, State
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.hooks import EquilibriumReduction
from ngnmm_jax.models.parameters import parameter
from ngnmm_jax.models.times import as_numbers, math_of, shortest

# Of rounding errors, relative to the terms of a sum.
_SLACK = 32 * float(np.finfo(float).eps)


class JansenRit(AbstractNeuralMass):
    r"""Pyramidal cells with excitatory and inhibitory interneurons.

    With the sigmoid S(v) = 2 e0 / (1 + exp(r (v0 - v))) and `c` the network's input:

        y0'' = A a S(y1 - y2) - 2 a y0' - a² y0
        y1'' = A a [p + C2 S(C1 y0) + c] - 2 a y1' - a² y1
        y2'' = B b C4 S(C3 y0) - 2 b y2' - b² y2

    State: `y0, y1, y2, y0_dot, y1_dot, y2_dot`. A region sends S(y1 - y2), and what it receives, c,
    adds to the rate p from outside; `y1 - y2` is what an EEG is taken to see. Times in s, rates in
    1/s, potentials in mV.

    Source: Jansen and Rit, Biol. Cybern. 73, 357 (1995); as a network: Clusella et al.,
    PLoS Comput. Biol. 19, e1010781 (2023).
    """

    variables: ClassVar[tuple[str, ...]] = ("y0", "y1", "y2", "y0_dot", "y1_dot", "y2_dot")
    units: ClassVar[tuple[str, ...]] = ("mV", "mV", "mV", "mV/s", "mV/s", "mV/s")
    time_unit: ClassVar[str] = "s"
    shown: ClassVar[str] = "y1 - y2"
    shown_unit: ClassVar[str] = "mV"
    nonnegative: ClassVar[tuple[str, ...]] = ()
    symbols: ClassVar[dict[str, str]] = {
        "y0": "$y_0$", "y1": "$y_1$", "y2": "$y_2$", "y1 - y2": "$y_1 - y_2$",
        "y0_dot": r"$\dot{y}_0$", "y1_dot": r"$\dot{y}_1$", "y2_dot": r"$\dot{y}_2$",
        "p": "$p$", "A": "$A$", "B": "$B$", "a": "$a$", "b": "$b$",
        "e0": "$e_0$", "v0": "$v_0$", "r": "$r$",
        "C1": "$C_1$", "C2": "$C_2$", "C3": "$C_3$", "C4": "$C_4$",
    }  # fmt: skip
    synaptic = "y1 - y2"
    plane: ClassVar[dict[str, tuple[float, float, int]]] = {
        "p": (0, 400, 81),
        "coupling": (0, 100, 41),
    }
    cut: ClassVar[float] = 50.0

    p: ParameterArray = parameter(120.0, unit="1/s", doc="external firing rate")
    A: ParameterArray = parameter(3.25, unit="mV", doc="excitatory synaptic gain")
    B: ParameterArray = parameter(22.0, unit="mV", doc="inhibitory synaptic gain")
    a: ParameterArray = parameter(100.0, unit="1/s", doc="excitatory synaptic rate", positive=True)
    b: ParameterArray = parameter(50.0, unit="1/s", doc="inhibitory synaptic rate", positive=True)
    e0: ParameterArray = parameter(
        2.5, unit="1/s", doc="half the largest firing rate", positive=True
    )
    v0: ParameterArray = parameter(6.0, unit="mV", doc="potential at half the largest rate")
    r: ParameterArray = parameter(0.56, unit="1/mV", doc="slope of the sigmoid", positive=True)
    C1: ParameterArray = parameter(135.0, unit="1", doc="pyramidal to excitatory")
    C2: ParameterArray = parameter(108.0, unit="1", doc="excitatory to pyramidal")
    C3: ParameterArray = parameter(33.75, unit="1", doc="pyramidal to inhibitory")
    C4: ParameterArray = parameter(33.75, unit="1", doc="inhibitory to pyramidal")

    def firing_rate(self, potential: Field) -> Field:
        """The sigmoid S: firing rate (1/s) of a population at a potential (mV)."""
        return 2 * self.e0 * jax.nn.sigmoid(self.r * (potential - self.v0))

    def vector_field(self, state: State, drive: Field) -> State:
        y0, y1, y2, y0_dot, y1_dot, y2_dot = state
        excitation = self.p + self.C2 * self.firing_rate(self.C1 * y0) + drive
        inhibition = self.C4 * self.firing_rate(self.C3 * y0)
        A, B, a, b = self.A, self.B, self.a, self.b
        return jnp.stack(
            [
                y0_dot,
                y1_dot,
                y2_dot,
                a * (A * self.firing_rate(y1 - y2) - 2 * y0_dot - a * y0),
                a * (A * excitation - 2 * y1_dot - a * y1),
                b * (B * inhibition - 2 * y2_dot - b * y2),
            ]
        )

    def output(self, state: State) -> Field:
        return self.firing_rate(state[1] - state[2])

    def observe(self, state: State) -> Field:
        return state[1] - state[2]

    def synaptic_currents(self, state: State, drive: Field) -> tuple[Field, Field]:
        """The postsynaptic potentials of the pyramidal cells, y1 and y2, in mV."""
        return state[1], state[2]

    def search_box(self) -> tuple[jax.Array, jax.Array]:
        low = jnp.array([0.0, -10.0, 0.0, 0.0, 0.0, 0.0])
        return low, jnp.array([0.2, 40.0, 40.0, 0.0, 0.0, 0.0])

    def fastest_time(self) -> Any:
        """That of the faster synapse."""
        return shortest(*self._synaptic_times())

    def typical_time(self) -> Any:
        """The geometric mean of both synapses'."""
        first, second = self._synaptic_times()
        return math_of((first, second)).sqrt(first * second)

    def _synaptic_times(self) -> list[Any]:
        return [1 / rate for rate in as_numbers(self.a, self.b)]

    def equilibrium_reduction(self, coupling: Scalar) -> EquilibriumReduction | None:
        """Scalar reduction in u = y1 - y2: y0, y1 and y2 follow from it in turn."""

        def function(u: Scalar) -> tuple[jax.Array, Scalar]:
            drive = coupling * self.firing_rate(u)
            y0 = self.A / self.a * self.firing_rate(u)
            y1 = self.A / self.a * (self.p + self.C2 * self.firing_rate(self.C1 * y0) + drive)
            y2 = self.B / self.b * self.C4 * self.firing_rate(self.C3 * y0)
            zero = jnp.zeros_like(u)
            return jnp.stack([y0, y1, y2, zero, zero, zero]), y1 - y2 - u

        return EquilibriumReduction(*self._range(coupling, jnp), function)

    def _range(self, coupling: Any, xp: Any) -> tuple[Any, Any]:
        """Bounds on y1 - y2 at rest."""
        largest = xp.abs(self.C2) + xp.abs(coupling)
        swing = 2 * self.e0 * xp.abs(self.A / self.a) * largest
        dip = 2 * self.e0 * xp.abs(self.B / self.b * self.C4)
        centre = self.A / self.a * self.p
        slack = 1 + 1e-9 * xp.abs(centre)
        return centre - swing - dip - slack, centre + swing + dip + slack

    def certain_reduction(self, coupling: Any) -> CertainReduction:
        """All equilibria: the function of u is a sum of sigmoids with known bounds on their slopes.

        y0 rises with u or falls; each sigmoid's slope falls to both sides of its middle.
        """
        gain, dip = self.A / self.a, self.B / self.b * self.C4
        terms = ((gain * self.C2, self.C1 * gain), (-dip, self.C3 * gain))
        steepest = self.e0 * self.r / 2

        def sigmoid(owner: Any, v: Any) -> Any:
            return 2 * self.e0[owner] * expit(self.r[owner] * (v - self.v0[owner]))

        def slope(owner: Any, *between: Any) -> tuple[Any, Any]:
            """Bounds on the sigmoid's slope between two potentials."""
            e0, r, v0 = self.e0[owner], self.r[owner], self.v0[owner]
            low, high = np.minimum(*between) - v0, np.maximum(*between) - v0
            near = r * np.maximum(np.maximum(low, -high), 0.0)
            far = r * np.maximum(np.abs(low), np.abs(high))
            least, most = (2 * e0 * r * expit(-z) * expit(z) for z in (far, near))
            return least * (1 - _SLACK), most * (1 + _SLACK)

        def value(owner: Any, u: Any) -> tuple[Any, Any]:
            rate = sigmoid(owner, u)
            base, drive = (gain * self.p)[owner], (gain * coupling)[owner] * rate
            doubt = self.r[owner] * (np.abs(u) + np.abs(self.v0[owner]))
            total = base + drive - u
            size = np.abs(base) + np.abs(drive) * (1 + doubt) + np.abs(u)
            for weight, inner in terms:
                part = weight[owner] * sigmoid(owner, inner[owner] * rate)
                # A sigmoid is known as well as its argument is.
                reach = np.abs(inner[owner]) * rate * (1 + doubt) + np.abs(self.v0[owner])
                reach = reach * np.abs(weight[owner]) * steepest[owner]
                total, size = total + part, size + np.abs(part) + reach
            return total, _SLACK * size

        def slopes(owner: Any, *ends: Any) -> tuple[Any, Any]:
            rates = [sigmoid(owner, u) for u in ends]
            own = slope(owner, *ends)
            low, high = _scaled((gain * coupling)[owner], *own)
            for weight, inner in terms:
                deep = slope(owner, *(inner[owner] * rate for rate in rates))
                product = tuple(a * b for a, b in zip(own, deep, strict=True))
                under, over = _scaled((weight * inner)[owner], *product)
                low, high = low + under, high + over
            slack = _SLACK * (np.abs(low) + np.abs(high) + 1)
            return low - 1 - slack, high - 1 + slack

        def states(owner: Any, u: Any) -> Any:
            rate = sigmoid(owner, u)
            deep = [weight[owner] * sigmoid(owner, k[owner] * rate) for weight, k in terms]
            y1 = gain[owner] * (self.p[owner] + coupling[owner] * rate) + deep[0]
            zero = np.zeros_like(rate)
            return np.stack([gain[owner] * rate, y1, -deep[1], zero, zero, zero], axis=-1)

        return over_interval(*self._range(coupling, np), value, slopes, states)


def _scaled(factor: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """Bounds on a multiple."""
    return np.minimum(factor * low, factor * high), np.maximum(factor * low, factor * high)
