"""The mean field of one QIF population with spike-frequency adaptation."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.certain_roots import CertainReduction
from ngnmm_jax._core.types import Field, ParameterArray, Scalar, State
from ngnmm_jax.models import qif_alone
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.hooks import EquilibriumReduction, ExactFlow, QIFPopulation
from ngnmm_jax.models.parameters import parameter
from ngnmm_jax.models.qif_flow import GateFlow, membrane_time, population_flow

_PI = 3.141592653589793


class QIFAdaptation(AbstractNeuralMass):
    r"""One population of QIF neurons that drive themselves at once, and tire as they fire.

    State of a region: firing rate, mean membrane potential, adaptation, and how it is moving,
    `r, v, a, b`. With `c` the network's input:

        tau   dr/dt = delta / (π tau) + 2 r v
        tau   dv/dt = v² + eta - (π tau r)² + i_ext + j tau r - a + c
        tau_a da/dt = b
        tau_a db/dt = alpha tau_a r - a - 2 b

    Each spike adds an alpha function of area alpha tau_a to a, the current that all neurons of
    the population lose: at rest a = alpha tau_a r. (The Virtual Brain's `GastSchmidtKnosche_SF`
    calls alpha what is alpha tau_a here.) A region sends r, and c is not multiplied by tau, as in
    `MontbrioPazoRoxin`. Times in ms, rates in 1/ms, the rest without dimension.

    The mean field is exact for neurons that tire by their population's rate. Where each tires by
    its own spikes it is an approximation: neurons that fire more tire more.

    Source: Gast, Schmidt and Knösche, Neural Comput. 32, 1615 (2020), as in PyRates (`qif_sfa`)
    and PyCoBi's example of it: delta = 2, j = 15 √2, tau_a = 10 and alpha = 1, in units of tau,
    and eta = -2, where the population bursts. At alpha = 0.5 and eta between -6.8 and -5.0 rest
    and firing are both stable.
    """

    variables: ClassVar[tuple[str, ...]] = ("r", "v", "a", "b")
    units: ClassVar[tuple[str, ...]] = ("1/ms", "1", "1", "1")
    time_unit: ClassVar[str] = "ms"
    shown: ClassVar[str] = "r"
    shown_unit: ClassVar[str] = "1/ms"
    nonnegative: ClassVar[tuple[str, ...]] = ("r",)
    symbols: ClassVar[dict[str, str]] = {
        "r": "$r$", "v": "$v$", "a": "$a$", "b": "$b$",
        "eta": r"$\eta$", "i_ext": r"$I^{\mathrm{ext}}$", "j": "$J$",
        "tau": r"$\tau$", "delta": r"$\Delta$",
        "alpha": r"$\alpha$", "tau_a": r"$\tau_a$",
    }  # fmt: skip
    synaptic = "r"
    plane: ClassVar[dict[str, tuple[float, float, int]]] = {
        "eta": (-6, 2, 65),
        "coupling": (0, 10, 41),
    }
    cut: ClassVar[float] = 2.0

    eta: ParameterArray = parameter(
        -2.0, unit="1", doc="centre of the Lorentzian of excitabilities"
    )
    i_ext: ParameterArray = parameter(0.0, unit="1", doc="external current")
    j: ParameterArray = parameter(21.213203435596427, unit="1", doc="synaptic weight, 15 √2")
    tau: ParameterArray = parameter(1.0, unit="ms", doc="membrane time constant", positive=True)
    delta: ParameterArray = parameter(
        2.0, unit="1", doc="half width of the Lorentzian of excitabilities", positive=True
    )
    alpha: ParameterArray = parameter(1.0, unit="1", doc="adaptation by a spike, over tau_a")
    tau_a: ParameterArray = parameter(
        10.0, unit="ms", doc="time constant of the adaptation", positive=True
    )

    def vector_field(self, state: State, drive: Field) -> State:
        r, v, a, b = state
        x = _PI * self.tau * r
        return jnp.stack(
            [
                (self.delta / (_PI * self.tau) + 2 * r * v) / self.tau,
                (v * v - x * x + self._current(r, a, drive)) / self.tau,
                b / self.tau_a,
                self.alpha * r - (a + 2 * b) / self.tau_a,
            ]
        )

    def _current(self, r: Field, a: Field, drive: Field) -> Field:
        return self.eta + self.i_ext + self.j * self.tau * r - a + drive

    def output(self, state: State) -> Field:
        return state[0]

    def populations(self) -> tuple[QIFPopulation, ...]:
        return (
            QIFPopulation(
                name="population", rate="r", potential="v", tau=self.tau, delta=self.delta,
                note="where each neuron tires by its own spikes, not by the population's rate",
            ),
        )  # fmt: skip

    def synaptic_currents(self, state: State, drive: Field) -> tuple[Field, Field]:
        """Onto the population: what is positive of j tau r + c, and what is negative."""
        current = self.j * self.tau * state[0] + drive
        return jnp.maximum(current, 0.0), jnp.maximum(-current, 0.0)

    def exact_flow(self, dt: Scalar) -> ExactFlow | None:
        """The population's Möbius map, and the adaptation: a + b follows the rate, a follows a + b.

        For a constant current with errors below 1e-10 of the state while (dt / tau)² times the
        current is below 0.05; of order four where it changes, as j tau r and a do.
        """
        gate = GateFlow.of(self.tau_a, dt)

        def inputs(state: State, drive: Field) -> jax.Array:
            return self._current(state[0], state[2], drive)[None]

        def advance(state: State, inputs: jax.Array, rise: jax.Array) -> tuple[State, State]:
            before, v, a, b = state
            after, v, rate = population_flow(
                before, v, inputs[0], rise[0], self.delta, self.tau, dt
            )
            area, first = self.alpha * self.tau_a, a + b
            then, mean = gate(first, area * before, area * after, area * rate)
            a, mean_a = gate(a, first, then, mean)
            zero = jnp.zeros_like(v)
            return jnp.stack([after, v, a, then - a]), jnp.stack([rate, zero, mean_a, zero])

        return ExactFlow(inputs, advance)

    def fastest_time(self) -> Any:
        """That of the membrane, as in `qif_flow`: adaptation is slower, or does little."""
        return membrane_time(self.tau, (self.eta, self.i_ext), self.delta, self.j)

    def search_box(self) -> tuple[jax.Array, jax.Array]:
        return jnp.array([1e-3, -6.0, 0.0, 0.0]), jnp.array([2.0, 0.0, 10.0, 0.0])

    def equilibrium_reduction(self, coupling: Scalar) -> EquilibriumReduction | None:
        """Scalar reduction in u = log x, with x = π tau r, as in `qif_alone`."""
        low, high = qif_alone.bounds(self._at_rest(coupling), jnp)

        def function(u: Scalar) -> tuple[jax.Array, Scalar]:
            x = jnp.exp(u)
            r = x / (_PI * self.tau)
            state = jnp.stack(
                [r, -self.delta / (2 * x), self.alpha * self.tau_a * r, jnp.zeros_like(r)]
            )
            return state, self.vector_field(state, coupling * r)[1]

        return EquilibriumReduction(jnp.log(low), jnp.log(high), function)

    def certain_reduction(self, coupling: Any) -> CertainReduction:
        """All equilibria, for all parameters: `qif_alone`."""

        def states(owner: Any, x: Any) -> Any:
            r = x / (_PI * self.tau[owner])
            a = (self.alpha * self.tau_a)[owner] * r
            return np.stack([r, -self.delta[owner] / (2 * x), a, np.zeros_like(r)], axis=-1)

        return qif_alone.reduction(self._at_rest(coupling), states)

    def _at_rest(self, coupling: Any) -> qif_alone.Rest:
        return qif_alone.Rest(
            current=self.eta + self.i_ext,
            delta=self.delta,
            a=(self.j + (coupling - self.alpha * self.tau_a) / self.tau) / _PI,
            b=0 * self.delta,
        )
