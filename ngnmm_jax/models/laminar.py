"""The laminar neural mass of Sanchez-Todo and colleagues: a slow and a fast circuit, coupled."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ngnmm_jax._core.types import Field, ParameterArray, Scalar, State
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.hooks import EquilibriumReduction
from ngnmm_jax.models.parameters import parameter
from ngnmm_jax.models.times import as_numbers, math_of, shortest

# Halvings of the fast interneurons' rate at rest: to rounding.
_HALVINGS = 60
# How near a rate comes to its bounds, relative to them.
_NEAR = 1e-280


def _weight(default: float, doc: str) -> Any:
    return parameter(default, unit="1", doc=doc)


class LaminarMass(AbstractNeuralMass):
    r"""Deep pyramidal cells with their Jansen-Rit circuit, superficial ones with fast inhibition.

    Five populations: deep pyramidal cells (P1), spiny stellate cells (SS), slow interneurons
    (SST), superficial pyramidal cells (P2) and fast interneurons (PV). Each has one kind of
    synapse, of second order, and the rate S(v) = 2 e0 / (1 + exp(r (v0 - v))), with v0_p2 in
    place of v0 for P2. With `c` the network's input and L y = y'' + 2 q y' + q² y:

        L y0 = A a S(v1),      v1 = C0 y1 - C1 y2 + C10 y3 + A / a p1 + gain_1 c    (P1)
        L y1 = A a S(C3 y0)                                                         (SS)
        L y2 = B b S(C4 y0)                                                         (SST)
        L y3 = A a S(v2),      v2 = C5 y3 - C6 y4 + C11 y0 + A / a p2 + gain_2 c    (P2)
        L y4 = G g S(C8 y3 - C9 y4 + C12 y0)                                        (PV)

    with q = a for y0, y1 and y3, b for y2 and g for y4. State: y0 … y4 and their derivatives. A
    region sends y0, the potential that its deep pyramidal cells evoke wherever they reach, and
    `coupling` is a weight as C11 is. Shown is v1 without the network's part. Times in s, rates in
    1/s, potentials in mV.

    Classical masses: no population of neurons has them as its mean field. Source: Sanchez-Todo et
    al., NeuroImage 270, 119938 (2023); equations and values are those of the code beside De Palma
    Aristides et al., PLoS Comput. Biol. 22, e1014022 (2026), which has inhibitory gains as negative
    numbers. Its three programs differ a little: `lanmm.py` has C6 = 300 where the others have
    550, and `lanmm.f90` C1 = 33.7 where the others have 33.75.
    """

    variables: ClassVar[tuple[str, ...]] = (
        "y0", "y1", "y2", "y3", "y4", "y0_dot", "y1_dot", "y2_dot", "y3_dot", "y4_dot",
    )  # fmt: skip
    units: ClassVar[tuple[str, ...]] = 5 * ("mV",) + 5 * ("mV/s",)
    time_unit: ClassVar[str] = "s"
    shown: ClassVar[str] = "v1"
    shown_unit: ClassVar[str] = "mV"
    nonnegative: ClassVar[tuple[str, ...]] = ()
    symbols: ClassVar[dict[str, str]] = {
        **{f"y{k}": f"$y_{k}$" for k in range(5)},
        **{f"y{k}_dot": rf"$\dot{{y}}_{k}$" for k in range(5)},
        **{f"C{k}": f"$C_{{{k}}}$" for k in (0, 1, 3, 4, 5, 6, 8, 9, 10, 11, 12)},
        **{name: f"${name}$" for name in ("A", "B", "G", "a", "b", "g", "r")},
        "v1": "$v_1$", "p1": "$p_1$", "p2": "$p_2$", "e0": "$e_0$", "v0": "$v_0$",
        "v0_p2": r"$v_0^{\mathrm{P2}}$", "gain_1": "$g_1$", "gain_2": "$g_2$",
    }  # fmt: skip
    synaptic = "y0"
    plane: ClassVar[dict[str, tuple[float, float, int]]] = {
        "p1": (-100, 500, 81),
        "coupling": (0, 100, 41),
    }
    cut: ClassVar[float] = 50.0

    p1: ParameterArray = parameter(200.0, unit="1/s", doc="external rate, to deep pyramidal cells")
    p2: ParameterArray = parameter(90.0, unit="1/s", doc="external rate, to superficial ones")
    A: ParameterArray = parameter(3.25, unit="mV", doc="excitatory synaptic gain", positive=True)
    B: ParameterArray = parameter(22.0, unit="mV", doc="slow inhibitory synaptic gain")
    G: ParameterArray = parameter(30.0, unit="mV", doc="fast inhibitory synaptic gain")
    a: ParameterArray = parameter(100.0, unit="1/s", doc="excitatory synaptic rate", positive=True)
    b: ParameterArray = parameter(50.0, unit="1/s", doc="slow inhibitory rate", positive=True)
    g: ParameterArray = parameter(220.0, unit="1/s", doc="fast inhibitory rate", positive=True)
    e0: ParameterArray = parameter(
        2.5, unit="1/s", doc="half the largest firing rate", positive=True
    )
    v0: ParameterArray = parameter(6.0, unit="mV", doc="potential at half the largest rate")
    v0_p2: ParameterArray = parameter(1.0, unit="mV", doc="the same, of superficial ones")
    r: ParameterArray = parameter(0.56, unit="1/mV", doc="slope of the sigmoid", positive=True)
    C0: ParameterArray = _weight(108.0, "stellate to deep pyramidal")
    C1: ParameterArray = _weight(33.75, "slow interneurons to deep pyramidal")
    C3: ParameterArray = _weight(135.0, "deep pyramidal to stellate")
    C4: ParameterArray = _weight(33.75, "deep pyramidal to slow interneurons")
    C5: ParameterArray = _weight(70.0, "superficial pyramidal to themselves")
    C6: ParameterArray = _weight(550.0, "fast interneurons to superficial pyramidal")
    C8: ParameterArray = _weight(200.0, "superficial pyramidal to fast interneurons")
    C9: ParameterArray = _weight(100.0, "fast interneurons to themselves")
    C10: ParameterArray = _weight(80.0, "superficial pyramidal to deep pyramidal")
    C11: ParameterArray = _weight(200.0, "deep pyramidal to superficial pyramidal")
    C12: ParameterArray = _weight(30.0, "deep pyramidal to fast interneurons")
    gain_1: ParameterArray = _weight(1.0, "of the network's input, on deep pyramidal cells")
    gain_2: ParameterArray = _weight(0.0, "of the network's input, on superficial ones")

    def vector_field(self, state: State, drive: Field) -> State:
        y, y_dot = state[:5], state[5:]
        v1, v2, v_pv = self._potentials(y, drive)
        rates = (
            self.firing_rate(v1),
            self.firing_rate(self.C3 * y[0]),
            self.firing_rate(self.C4 * y[0]),
            self._superficial_rate(v2),
            self.firing_rate(v_pv),
        )
        gains = (self.A, self.A, self.B, self.A, self.G)
        speeds = (self.a, self.a, self.b, self.a, self.g)
        bent = [
            q * (gain * rate - 2 * z - q * x)
            for q, gain, rate, x, z in zip(speeds, gains, rates, y, y_dot, strict=True)
        ]
        return jnp.concatenate([y_dot, jnp.stack(bent)])

    def firing_rate(self, potential: Field) -> Field:
        """The sigmoid S: firing rate (1/s) of all but P2 at a potential (mV)."""
        return 2 * self.e0 * jax.nn.sigmoid(self.r * (potential - self.v0))

    def _superficial_rate(self, potential: Field) -> Field:
        return self.firing_rate(potential + self.v0 - self.v0_p2)

    def _potentials(self, y: Any, drive: Field) -> tuple[Field, ...]:
        """Of P1, P2 and PV."""
        gain = self.A / self.a
        return (
            self._deep(y) + self.gain_1 * drive,
            self.C5 * y[3] - self.C6 * y[4] + self.C11 * y[0]
            + gain * self.p2 + self.gain_2 * drive,
            self.C8 * y[3] - self.C9 * y[4] + self.C12 * y[0],
        )  # fmt: skip

    def _deep(self, y: Any) -> Field:
        """Of P1, the network aside."""
        local = self.C0 * y[1] - self.C1 * y[2] + self.C10 * y[3]
        return local + self.A / self.a * self.p1

    def output(self, state: State) -> Field:
        return state[0]

    def observe(self, state: State) -> Field:
        return self._deep(state)

    def synaptic_currents(self, state: State, drive: Field) -> tuple[Field, Field]:
        """The postsynaptic potentials of deep pyramidal cells, in mV."""
        inhibition = self.C1 * state[2]
        return self._potentials(state[:5], drive)[0] + inhibition, inhibition

    def fastest_time(self) -> Any:
        """That of the fastest synapse."""
        return shortest(*self._synaptic_times())

    def typical_time(self) -> Any:
        """The geometric mean of the synapses'."""
        first, second, third = self._synaptic_times()
        return math_of((first, second, third)).cbrt(first * second * third)

    def _synaptic_times(self) -> list[Any]:
        return [1 / rate for rate in as_numbers(self.a, self.b, self.g)]

    def search_box(self) -> tuple[jax.Array, jax.Array]:
        high = jnp.array([0.16, 0.16, 2.2, 0.16, 0.7])
        return jnp.zeros(10), jnp.concatenate([high, jnp.zeros(5)])

    def equilibrium_reduction(self, coupling: Scalar) -> EquilibriumReduction | None:
        """Scalar reduction in u = v1: y0, y1 and y2 follow, then y3, v2 and y4, if C10 is not 0.

        y4 is the only solution of its equation where G and C9 are not negative.
        """
        gain, most = self.A / self.a, 2 * self.e0

        def function(u: Scalar) -> tuple[jax.Array, Scalar]:
            y0 = gain * self.firing_rate(u)
            y1 = gain * self.firing_rate(self.C3 * y0)
            y2 = self.B / self.b * self.firing_rate(self.C4 * y0)
            rest = self.C0 * y1 - self.C1 * y2 + gain * self.p1 + self.gain_1 * coupling * y0
            share = (u - rest) / (self.C10 * gain * most)
            # Outside of its bounds the rate of P2 stays at them, with potentials far off.
            share = jnp.clip(share, _NEAR, 1 - jnp.finfo(share.dtype).epsneg)
            y3 = gain * most * share
            v2 = self.v0_p2 + (jnp.log(share) - jnp.log1p(-share)) / self.r
            y4 = self._fast_inhibition(y0, y3)
            y = jnp.stack([y0, y1, y2, y3, y4])
            return jnp.concatenate([y, jnp.zeros_like(y)]), v2 - self._superficial(y, coupling)

        reach = gain * most * (
            jnp.abs(self.C0) + jnp.abs(self.C10) + jnp.abs(self.gain_1 * coupling)
        ) + self.B / self.b * most * jnp.abs(self.C1)  # fmt: skip
        centre = gain * self.p1
        return EquilibriumReduction(centre - reach - 1, centre + reach + 1, function)

    def _superficial(self, y: Any, coupling: Scalar) -> Scalar:
        """The potential of P2 where all regions are alike."""
        return self._potentials(y, coupling * y[0])[1]

    def _fast_inhibition(self, y0: Scalar, y3: Scalar) -> Scalar:
        """y4 at rest, by halving."""
        gain = self.G / self.g

        def halve(_: Any, ends: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
            low, high = ends
            middle = (low + high) / 2
            potential = self.C8 * y3 - self.C9 * middle + self.C12 * y0
            above = gain * self.firing_rate(potential) > middle
            return jnp.where(above, middle, low), jnp.where(above, high, middle)

        ends = jnp.zeros_like(y0), 2 * self.e0 * gain + jnp.zeros_like(y0)
        low, high = jax.lax.fori_loop(0, _HALVINGS, halve, ends)
        return (low + high) / 2
