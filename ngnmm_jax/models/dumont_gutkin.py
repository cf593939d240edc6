"""Dumont and Gutkin's E-I mass: exact, with a synaptic variable for each connection."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.arrays import as_array
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
# The populations' places in the state.
_RATES, _POTENTIALS = slice(0, None, 4), slice(1, None, 4)


class DumontGutkin(AbstractNeuralMass):
    r"""Excitatory and inhibitory QIF neurons, with a synapse of its own for each connection.

    State of a region: rate and mean potential of each population, and what arrives through its
    two synapses, `r_e, v_e, s_ee, s_ei, r_i, v_i, s_ie, s_ii`. With `c` the network's input:

        tau_e  dr_e/dt  = delta_e / (π tau_e) + 2 r_e v_e
        tau_e  dv_e/dt  = v_e² + eta_e - (π tau_e r_e)² + i_ext_e + tau_e (s_ee - s_ei)
        tau_s  ds_ee/dt = -s_ee + j_ee r_e + c
        tau_s  ds_ei/dt = -s_ei + j_ei r_i
        tau_i  dr_i/dt  = delta_i / (π tau_i) + 2 r_i v_i
        tau_i  dv_i/dt  = v_i² + eta_i - (π tau_i r_i)² + i_ext_i + tau_i (s_ie - s_ii)
        tau_s  ds_ie/dt = -s_ie + j_ie r_e + gamma c
        tau_s  ds_ii/dt = -s_ii + j_ii r_i

    A region sends its excitatory rate r_e, and what it receives, c, passes through the synapses of
    excitation: onto excitatory neurons as it is, onto inhibitory ones times `gamma`. Times in ms,
    rates and gates in 1/ms, the rest without dimension. The synapses add currents: for
    conductances and reversal potentials see `CoombesByrne`.

    Source: Dumont and Gutkin, PLoS Comput. Biol. 15, e1007019 (2019), in the form that The Virtual
    Brain's `DumontGutkin` gives it, with the parameter values given there but for `i_ext_e`,
    `j_ei`, `j_ie` and `j_ii`, with which that model is at rest: here the two populations make a
    rhythm together (PING).
    """

    variables: ClassVar[tuple[str, ...]] = (
        "r_e", "v_e", "s_ee", "s_ei", "r_i", "v_i", "s_ie", "s_ii",
    )  # fmt: skip
    units: ClassVar[tuple[str, ...]] = ("1/ms", "1", "1/ms", "1/ms") * 2
    time_unit: ClassVar[str] = "ms"
    shown: ClassVar[str] = "v_e"
    shown_unit: ClassVar[str] = "1"
    nonnegative: ClassVar[tuple[str, ...]] = ("r_e", "r_i")
    symbols: ClassVar[dict[str, str]] = {
        "r_e": "$r_e$", "v_e": "$v_e$", "s_ee": "$s_{ee}$", "s_ei": "$s_{ei}$",
        "r_i": "$r_i$", "v_i": "$v_i$", "s_ie": "$s_{ie}$", "s_ii": "$s_{ii}$",
        "i_ext_e": r"$I_e^{\mathrm{ext}}$", "i_ext_i": r"$I_i^{\mathrm{ext}}$",
        "tau_e": r"$\tau_e$", "tau_i": r"$\tau_i$", "tau_s": r"$\tau_s$",
        "eta_e": r"$\eta_e$", "eta_i": r"$\eta_i$",
        "delta_e": r"$\Delta_e$", "delta_i": r"$\Delta_i$", "gamma": r"$\Gamma$",
        "j_ee": "$J_{ee}$", "j_ei": "$J_{ei}$", "j_ie": "$J_{ie}$", "j_ii": "$J_{ii}$",
    }  # fmt: skip
    synaptic = "r_e"
    plane: ClassVar[dict[str, tuple[float, float, int]]] = {
        "i_ext_e": (0, 30, 61),
        "coupling": (0, 10, 41),
    }
    cut: ClassVar[float] = 5.0

    i_ext_e: ParameterArray = parameter(15.0, unit="1", doc="external current, excitatory")
    i_ext_i: ParameterArray = parameter(0.0, unit="1", doc="external current, inhibitory")
    tau_e: ParameterArray = parameter(
        10.0, unit="ms", doc="membrane time constant, excitatory", positive=True
    )
    tau_i: ParameterArray = parameter(
        10.0, unit="ms", doc="membrane time constant, inhibitory", positive=True
    )
    tau_s: ParameterArray = parameter(1.0, unit="ms", doc="synaptic time constant", positive=True)
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
    j_ee: ParameterArray = parameter(0.0, unit="1", doc="synaptic weight to e from e")
    j_ei: ParameterArray = parameter(15.0, unit="1", doc="synaptic weight to e from i")
    j_ie: ParameterArray = parameter(15.0, unit="1", doc="synaptic weight to i from e")
    j_ii: ParameterArray = parameter(0.0, unit="1", doc="synaptic weight to i from i")
    gamma: ParameterArray = parameter(
        5.0, unit="1", doc="of the network's input, on inhibitory neurons"
    )

    def vector_field(self, state: State, drive: Field) -> State:
        r_e, v_e, s_ee, s_ei, r_i, v_i, s_ie, s_ii = state
        to_e, to_i = self._currents(state)
        x_e, x_i = _PI * self.tau_e * r_e, _PI * self.tau_i * r_i
        return jnp.stack(
            [
                (self.delta_e / (_PI * self.tau_e) + 2 * r_e * v_e) / self.tau_e,
                (v_e * v_e - x_e * x_e + to_e) / self.tau_e,
                (self.j_ee * r_e + drive - s_ee) / self.tau_s,
                (self.j_ei * r_i - s_ei) / self.tau_s,
                (self.delta_i / (_PI * self.tau_i) + 2 * r_i * v_i) / self.tau_i,
                (v_i * v_i - x_i * x_i + to_i) / self.tau_i,
                (self.j_ie * r_e + self.gamma * drive - s_ie) / self.tau_s,
                (self.j_ii * r_i - s_ii) / self.tau_s,
            ]
        )

    def _currents(self, state: State) -> tuple[Field, Field]:
        _, _, s_ee, s_ei, _, _, s_ie, s_ii = state
        to_e = self.eta_e + self.i_ext_e + self.tau_e * (s_ee - s_ei)
        return to_e, self.eta_i + self.i_ext_i + self.tau_i * (s_ie - s_ii)

    def output(self, state: State) -> Field:
        return state[0]

    def populations(self) -> tuple[QIFPopulation, ...]:
        return excitatory_and_inhibitory(self)

    def synaptic_currents(self, state: State, drive: Field) -> tuple[Field, Field]:
        """Onto the excitatory population: tau_e s_ee and tau_e s_ei."""
        return self.tau_e * state[2], self.tau_e * state[3]

    def exact_flow(self, dt: Scalar) -> ExactFlow | None:
        """Both populations' Möbius maps, and their synapses.

        Exact as that of `NextGenEI` is. The network's input is the last of its inputs: it moves
        synapses, not neurons.
        """
        gate = GateFlow.of(self.tau_s, dt)

        def inputs(state: State, drive: Field) -> jax.Array:
            to_e, to_i = self._currents(state)
            return jnp.stack([to_e, to_i, drive + jnp.zeros_like(to_e)])

        def advance(state: State, inputs: jax.Array, rise: jax.Array) -> tuple[State, State]:
            delta = beside((self.delta_e, self.delta_i), state.ndim)
            tau = beside((self.tau_e, self.tau_i), state.ndim)
            before, v = state[_RATES], state[_POTENTIALS]
            after, v, mean = population_flow(before, v, inputs[:2], rise[:2], delta, tau, dt)
            by_rate = beside((self.j_ee, self.j_ei, self.j_ie, self.j_ii), state.ndim)
            by_input = beside((1.0, 0.0, self.gamma, 0.0), state.ndim)
            source = jnp.array([0, 1, 0, 1])

            def driven(rates: jax.Array, c: Field) -> jax.Array:
                return by_rate * rates[source] + by_input * c

            c, half = inputs[2], rise[2] / 2
            gates, over_step = gate(
                jnp.concatenate([state[2:4], state[6:8]]),
                driven(before, c - half), driven(after, c + half), driven(mean, c),
            )  # fmt: skip
            zero = jnp.zeros_like(c)
            return (
                jnp.stack([after[0], v[0], *gates[:2], after[1], v[1], *gates[2:]]),
                jnp.stack([mean[0], zero, *over_step[:2], mean[1], zero, *over_step[2:]]),
            )

        return ExactFlow(inputs, advance)

    def fastest_time(self) -> Any:
        """The shorter of the synaptic time and the membranes' tau / (2 |w|), as in `NextGenEI`."""
        return shortest(self.typical_time(), *as_numbers(self.tau_s))

    def typical_time(self) -> Any:
        """That of the faster membrane."""
        e = (self.tau_e, (self.eta_e, self.i_ext_e), self.delta_e)
        i = (self.tau_i, (self.eta_i, self.i_ext_i), self.delta_i)
        return shortest(*(membrane_time(*values) for values in (e, i)))

    def search_box(self) -> tuple[jax.Array, jax.Array]:
        low = jnp.array([1e-3, -6.0, 0.0, 0.0] * 2)
        return low, jnp.array([0.5, 0.0, 5.0, 5.0] * 2)

    def equilibrium_reduction(self, coupling: Scalar) -> EquilibriumReduction | None:
        """Scalar reduction in the logarithm of a population's π tau r, as in `NextGenEI`."""
        c = self._at_rest(coupling)

        def function(u: Scalar) -> tuple[jax.Array, Scalar]:
            x_e, x_i = qif_rest.pair(c, u)
            state = jnp.stack(self._state(..., as_array(coupling), x_e, x_i))
            return state, self.vector_field(state, coupling * state[0])[1]

        return EquilibriumReduction(*qif_rest.ends(c), function)

    def certain_reduction(self, coupling: Any) -> CertainReduction:
        """All equilibria, for all parameters: `qif_rest`."""

        def states(owner: Any, x_e: Any, x_i: Any) -> Any:
            return np.stack(self._state(owner, coupling, x_e, x_i), axis=-1)

        return qif_rest.reduction(self._at_rest(coupling), states)

    def _state(self, owner: Any, coupling: Any, x_e: Any, x_i: Any) -> list[Any]:
        """The state at rest of the systems `owner`."""
        of = {name: getattr(self, name)[owner] for name in _AT_REST}
        c = coupling[owner]
        r_e, r_i = x_e / (_PI * of["tau_e"]), x_i / (_PI * of["tau_i"])
        v_e, v_i = -of["delta_e"] / (2 * x_e), -of["delta_i"] / (2 * x_i)
        return [
            r_e, v_e, (of["j_ee"] + c) * r_e, of["j_ei"] * r_i,
            r_i, v_i, (of["j_ie"] + of["gamma"] * c) * r_e, of["j_ii"] * r_i,
        ]  # fmt: skip

    def _at_rest(self, coupling: Any) -> qif_rest.Rest:
        return qif_rest.Rest(
            current_e=self.eta_e + self.i_ext_e,
            current_i=self.eta_i + self.i_ext_i,
            delta_e=self.delta_e,
            delta_i=self.delta_i,
            a=(self.j_ee + coupling) / _PI,
            b=self.tau_e * self.j_ei / (_PI * self.tau_i),
            d=self.tau_i * (self.j_ie + self.gamma * coupling) / (_PI * self.tau_e),
            h=self.j_ii / _PI,
        )


_AT_REST = ("tau_e", "tau_i", "delta_e", "delta_i", "j_ee", "j_ei", "j_ie", "j_ii", "gamma")
