"""The E-I next-generation neural mass: exact mean field of two QIF populations."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.certain_roots import CertainReduction
from ngnmm_jax._core.types import Field, ParameterArray, Scalar, State
from ngnmm_jax.models import qif_rest
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.hooks import (
    EquilibriumReduction,
    ExactFlow,
    QIFPopulation,
    excitatory_and_inhibitory,
)
from ngnmm_jax.models.parameters import parameter
from ngnmm_jax.models.qif_flow import GateFlow, beside, membrane_time, population_flow
from ngnmm_jax.models.times import as_numbers, shortest

_PI = 3.141592653589793
# |π tau r + i v| of a population on typical activity, at least; with strong drive it is more.
_TYPICAL = 4.0


class NextGenEI(AbstractNeuralMass):
    r"""Excitatory and inhibitory populations of QIF neurons, exact in the limit of many neurons.

    State of a region: firing rate, mean membrane potential and synaptic gate of each
    population, `r_e, v_e, s_e, r_i, v_i, s_i`. With `c` the network's input:

        tau_e  dr_e/dt = delta_e / (π tau_e) + 2 r_e v_e
        tau_e  dv_e/dt = v_e² + eta_e - (π tau_e r_e)² + i_ext_e
                         + tau_e (j_ee s_e + gain_e c - j_ei s_i)
        tau_se ds_e/dt = r_e - s_e
        tau_i  dr_i/dt = delta_i / (π tau_i) + 2 r_i v_i
        tau_i  dv_i/dt = v_i² + eta_i - (π tau_i r_i)² + i_ext_i
                         + tau_i (j_ie s_e + gain_i c - j_ii s_i)
        tau_si ds_i/dt = r_i - s_i

    A region sends s_e. What it receives, c (a stimulus and noise on the input too), reaches both
    populations alike, as in the paper; `gain_e` and `gain_i` say otherwise: `gain_i=0` drives the
    excitatory one alone. Times in ms, rates and gates
    in 1/ms, the rest without dimension.

    Source: Delicado, Huguet and Clusella, arXiv 2512.03907, with its parameter values; the
    mean field is that of Montbrió, Pazó and Roxin, Phys. Rev. X 5, 021028 (2015).
    """

    variables: ClassVar[tuple[str, ...]] = ("r_e", "v_e", "s_e", "r_i", "v_i", "s_i")
    units: ClassVar[tuple[str, ...]] = ("1/ms", "1", "1/ms", "1/ms", "1", "1/ms")
    time_unit: ClassVar[str] = "ms"
    shown: ClassVar[str] = "v_e"
    shown_unit: ClassVar[str] = "1"
    nonnegative: ClassVar[tuple[str, ...]] = ("r_e", "s_e", "r_i", "s_i")
    symbols: ClassVar[dict[str, str]] = {
        "r_e": "$r_e$", "v_e": "$v_e$", "s_e": "$s_e$",
        "r_i": "$r_i$", "v_i": "$v_i$", "s_i": "$s_i$",
        "i_ext_e": r"$I_e^{\mathrm{ext}}$", "i_ext_i": r"$I_i^{\mathrm{ext}}$",
        "tau_e": r"$\tau_e$", "tau_i": r"$\tau_i$",
        "tau_se": r"$\tau_{se}$", "tau_si": r"$\tau_{si}$",
        "eta_e": r"$\eta_e$", "eta_i": r"$\eta_i$",
        "delta_e": r"$\Delta_e$", "delta_i": r"$\Delta_i$",
        "gain_e": "$g_e$", "gain_i": "$g_i$",
        "j_ee": "$J_{ee}$", "j_ei": "$J_{ei}$", "j_ie": "$J_{ie}$", "j_ii": "$J_{ii}$",
    }  # fmt: skip
    synaptic = "s_e"
    plane: ClassVar[dict[str, tuple[float, float, int]]] = {
        "i_ext_e": (0, 16, 65),
        "coupling": (0, 30, 61),
    }
    cut: ClassVar[float] = 9.0

    i_ext_e: ParameterArray = parameter(0.0, unit="1", doc="external current, excitatory")
    i_ext_i: ParameterArray = parameter(0.0, unit="1", doc="external current, inhibitory")
    tau_e: ParameterArray = parameter(
        8.0, unit="ms", doc="membrane time constant, excitatory", positive=True
    )
    tau_i: ParameterArray = parameter(
        8.0, unit="ms", doc="membrane time constant, inhibitory", positive=True
    )
    tau_se: ParameterArray = parameter(
        1.0, unit="ms", doc="synaptic time constant, excitatory", positive=True
    )
    tau_si: ParameterArray = parameter(
        5.0, unit="ms", doc="synaptic time constant, inhibitory", positive=True
    )
    eta_e: ParameterArray = parameter(
        -5.0, unit="1", doc="centre of the Lorentzian of excitabilities, excitatory"
    )
    eta_i: ParameterArray = parameter(
        -5.0, unit="1", doc="centre of the Lorentzian of excitabilities, inhibitory"
    )
    delta_e: ParameterArray = parameter(
        1.0, unit="1", doc="half width of that Lorentzian, excitatory", positive=True
    )
    delta_i: ParameterArray = parameter(
        1.0, unit="1", doc="half width of that Lorentzian, inhibitory", positive=True
    )
    j_ee: ParameterArray = parameter(5.0, unit="1", doc="synaptic weight to e from e")
    j_ei: ParameterArray = parameter(13.0, unit="1", doc="synaptic weight to e from i")
    j_ie: ParameterArray = parameter(13.0, unit="1", doc="synaptic weight to i from e")
    j_ii: ParameterArray = parameter(5.0, unit="1", doc="synaptic weight to i from i")

    gain_e: ParameterArray = parameter(1.0, unit="1", doc="of the network's input, on excitatory")
    gain_i: ParameterArray = parameter(1.0, unit="1", doc="of the network's input, on inhibitory")

    def vector_field(self, state: State, drive: Field) -> State:
        r_e, v_e, s_e, r_i, v_i, s_i = state
        x_e = _PI * self.tau_e * r_e
        x_i = _PI * self.tau_i * r_i
        current_e = self.eta_e + self.i_ext_e
        current_e = current_e + self.tau_e * (
            self.j_ee * s_e + self.gain_e * drive - self.j_ei * s_i
        )
        current_i = self.eta_i + self.i_ext_i
        current_i = current_i + self.tau_i * (
            self.j_ie * s_e + self.gain_i * drive - self.j_ii * s_i
        )
        return jnp.stack(
            [
                (self.delta_e / (_PI * self.tau_e) + 2 * r_e * v_e) / self.tau_e,
                (v_e * v_e - x_e * x_e + current_e) / self.tau_e,
                (r_e - s_e) / self.tau_se,
                (self.delta_i / (_PI * self.tau_i) + 2 * r_i * v_i) / self.tau_i,
                (v_i * v_i - x_i * x_i + current_i) / self.tau_i,
                (r_i - s_i) / self.tau_si,
            ]
        )

    def output(self, state: State) -> Field:
        return state[2]

    def populations(self) -> tuple[QIFPopulation, ...]:
        return excitatory_and_inhibitory(self)

    def synaptic_currents(self, state: State, drive: Field) -> tuple[Field, Field]:
        """Onto the excitatory population: tau_e (j_ee s_e + gain_e c), and tau_e j_ei s_i."""
        excitation = self.j_ee * state[2] + self.gain_e * drive
        return self.tau_e * excitation, self.tau_e * self.j_ei * state[5]

    def exact_flow(self, dt: Scalar) -> ExactFlow | None:
        """Both populations' Möbius maps, and their gates.

        For constant inputs with errors below 1e-10 of the state while (dt / tau)² times the
        currents is below 0.05; of order four where inputs change.
        """
        gate_e, gate_i = GateFlow.of(self.tau_se, dt), GateFlow.of(self.tau_si, dt)

        def inputs(state: State, drive: Field) -> jax.Array:
            s_e, s_i = state[2], state[5]
            to_e = self.tau_e * (self.j_ee * s_e + self.gain_e * drive - self.j_ei * s_i)
            to_i = self.tau_i * (self.j_ie * s_e + self.gain_i * drive - self.j_ii * s_i)
            return jnp.stack([self.eta_e + self.i_ext_e + to_e, self.eta_i + self.i_ext_i + to_i])

        def advance(state: State, inputs: jax.Array, rise: jax.Array) -> tuple[State, State]:
            # Both populations in one array: as few operations as one of them takes.
            delta = beside((self.delta_e, self.delta_i), state.ndim)
            tau = beside((self.tau_e, self.tau_i), state.ndim)
            before, v = state[0::3], state[1::3]
            after, v, mean = population_flow(before, v, inputs, rise, delta, tau, dt)
            s_e, mean_e = gate_e(state[2], before[0], after[0], mean[0])
            s_i, mean_i = gate_i(state[5], before[1], after[1], mean[1])
            zero = jnp.zeros_like(s_e)
            return (
                jnp.stack([after[0], v[0], s_e, after[1], v[1], s_i]),
                jnp.stack([mean[0], zero, mean_e, mean[1], zero, mean_i]),
            )

        return ExactFlow(inputs, advance)

    def fastest_time(self) -> Any:
        """The shortest of the synaptic times and the membranes' tau / (2 |w|).

        With w = π tau r + i v, a population obeys tau dw/dt = i (w² + I) + delta: it moves at
        2 |w| / tau, where |w| is taken as √|I + i delta| with I = eta + i_ext, and 4 at least.
        What other populations and regions add to I is not known here.
        """
        return shortest(self.typical_time(), *as_numbers(self.tau_se, self.tau_si))

    def typical_time(self) -> Any:
        """That of the faster membrane."""
        e = (self.tau_e, (self.eta_e, self.i_ext_e), self.delta_e)
        i = (self.tau_i, (self.eta_i, self.i_ext_i), self.delta_i)
        return shortest(*(membrane_time(*values) for values in (e, i)))

    def search_box(self) -> tuple[jax.Array, jax.Array]:
        low = jnp.array([1e-3, -6.0, 1e-3, 1e-3, -6.0, 1e-3])
        return low, jnp.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])

    def equilibrium_reduction(self, coupling: Scalar) -> EquilibriumReduction | None:
        r"""Scalar reduction in u = log x, with x = π tau r of a population, as in `qif_rest`.

        Where j_ii ≥ 0 x is that of the excitatory population, and x_i its only partner; where
        j_ii < 0 it is x_i, and x_e its partner, which there is none of where
        j_ie + gain_i coupling = 0.
        """
        c = self._at_rest(coupling)

        def function(u: Scalar) -> tuple[jax.Array, Scalar]:
            x_e, x_i = qif_rest.pair(c, u)
            r_e, r_i = x_e / (_PI * self.tau_e), x_i / (_PI * self.tau_i)
            v_e, v_i = -self.delta_e / (2 * x_e), -self.delta_i / (2 * x_i)
            state = jnp.stack([r_e, v_e, r_e, r_i, v_i, r_i])
            return state, self.vector_field(state, coupling * r_e)[1]

        return EquilibriumReduction(*qif_rest.ends(c), function)

    def certain_reduction(self, coupling: Any) -> CertainReduction:
        """All equilibria, for all parameters: `qif_rest`."""
        tau_e, tau_i, delta_e, delta_i = self.tau_e, self.tau_i, self.delta_e, self.delta_i

        def states(owner: Any, x_e: Any, x_i: Any) -> Any:
            r_e, r_i = x_e / (_PI * tau_e[owner]), x_i / (_PI * tau_i[owner])
            v_e, v_i = -delta_e[owner] / (2 * x_e), -delta_i[owner] / (2 * x_i)
            return np.stack([r_e, v_e, r_e, r_i, v_i, r_i], axis=-1)

        return qif_rest.reduction(self._at_rest(coupling), states)

    def _at_rest(self, coupling: Any) -> qif_rest.Rest:
        return qif_rest.Rest(
            current_e=self.eta_e + self.i_ext_e,
            current_i=self.eta_i + self.i_ext_i,
            delta_e=self.delta_e,
            delta_i=self.delta_i,
            a=(self.j_ee + self.gain_e * coupling) / _PI,
            b=self.tau_e * self.j_ei / (_PI * self.tau_i),
            d=self.tau_i * (self.j_ie + self.gain_i * coupling) / (_PI * self.tau_e),
            h=self.j_ii / _PI,
        )
