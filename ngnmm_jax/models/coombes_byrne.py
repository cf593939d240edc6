"""Coombes and Byrne's E-I mass: exact, with conductances, alpha synapses and gap junctions."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ngnmm_jax._core.types import Field, ParameterArray, Scalar, State
from ngnmm_jax.models import conductance_rest
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.hooks import EquilibriumReduction, QIFPopulation, excitatory_and_inhibitory
from ngnmm_jax.models.parameters import parameter
from ngnmm_jax.models.qif_flow import membrane_time
from ngnmm_jax.models.times import as_numbers, shortest

_PI = 3.141592653589793
# |π tau r + i v| of a population on typical activity, at least; with strong drive it is more.
_TYPICAL = 4.0


def _kappa(default: float, doc: str) -> Any:
    return parameter(default, unit="ms", doc=f"strength of synapses {doc}")


def _rate(default: float, doc: str) -> Any:
    return parameter(default, unit="1/ms", doc=f"rate of synapses {doc}", positive=True)


def _gap(doc: str) -> Any:
    return parameter(0.0, unit="1", doc=f"gap junctions {doc}")


class CoombesByrne(AbstractNeuralMass):
    r"""Excitatory and inhibitory QIF neurons, coupled by conductances and by gap junctions.

    With `c` the network's input, and conductances g in units of 1 / membrane resistance:

        tau_e dr_e/dt = delta_e / (π tau_e) + 2 r_e v_e
                        - r_e (g_ee + g_ei + g_ext + kappa_v_ee + kappa_v_ei)
        tau_e dv_e/dt = v_e² + eta_e - (π tau_e r_e)² + kappa_v_ei (v_i - v_e)
                        + g_ee (v_syn_e - v_e) + g_ei (v_syn_i - v_e) + g_ext (v_ext - v_e)
        tau_i dr_i/dt = delta_i / (π tau_i) + 2 r_i v_i
                        - r_i (g_ie + g_ii + gain_i g_ext + kappa_v_ii + kappa_v_ie)
        tau_i dv_i/dt = v_i² + eta_i - (π tau_i r_i)² + kappa_v_ie (v_e - v_i)
                        + g_ie (v_syn_e - v_i) + g_ii (v_syn_i - v_i)
                        + gain_i g_ext (v_ext - v_i)

    Each conductance follows a rate through an alpha synapse, (1 + 1/alpha d/dt)² g = kappa r: with
    h its first stage,

        dg_ab/dt  = alpha_ab (h_ab - g_ab),      dh_ab/dt  = alpha_ab (kappa_ab r_b - h_ab)
        dg_ext/dt = alpha_ext (h_ext - g_ext),   dh_ext/dt = alpha_ext (c - h_ext)

    where ab is *to* a *from* b. A region sends its excitatory rate r_e; what it receives, c (a
    stimulus and noise on the input too), is a rate times a strength, which becomes the long-range
    conductance g_ext: the network's `coupling` is that strength, in ms. It reaches excitatory
    neurons alone unless `gain_i` says otherwise. Times in ms, rates in 1/ms, potentials and
    conductances without dimension. The gap junctions of a population with itself act on its rate
    alone, as its mean potential is what all its neurons are drawn to.

    Strengths, gap junctions, `gain_i` and the coupling are meant to be 0 or positive.

    Source: the mean field of Coombes and Byrne, in Nonlinear Dynamics in Computational
    Neuroscience (Springer, 2019), p. 1; with gap junctions Byrne et al., J. Neurophysiol. 123, 726
    (2020); the network and the equations in this form: Forrester et al., PLoS Comput. Biol. 20,
    e1012647 (2024), as in its authors' program (the example NextGenNMM of NFESOLVE). Centres,
    widths and reversal potentials are those that Neuroblox states for Byrne et al. (2020), times
    and strengths our own: a rhythm of some 26 Hz.
    """

    variables: ClassVar[tuple[str, ...]] = (
        "r_e", "v_e", "r_i", "v_i", "g_ee", "h_ee", "g_ei", "h_ei", "g_ie", "h_ie", "g_ii", "h_ii",
        "g_ext", "h_ext",
    )  # fmt: skip
    units: ClassVar[tuple[str, ...]] = ("1/ms", "1", "1/ms", "1", *("1",) * 10)
    time_unit: ClassVar[str] = "ms"
    shown: ClassVar[str] = "v_e"
    shown_unit: ClassVar[str] = "1"
    nonnegative: ClassVar[tuple[str, ...]] = ("r_e", "r_i", *variables[4:])
    symbols: ClassVar[dict[str, str]] = {
        "r_e": "$r_e$", "v_e": "$v_e$", "r_i": "$r_i$", "v_i": "$v_i$",
        **{f"{k}_{of}": f"${k}_{{{of}}}$" for k in "gh" for of in ("ee", "ei", "ie", "ii")},
        "g_ext": r"$g_{\mathrm{ext}}$", "h_ext": r"$h_{\mathrm{ext}}$",
        "eta_e": r"$\eta_e$", "eta_i": r"$\eta_i$",
        "delta_e": r"$\Delta_e$", "delta_i": r"$\Delta_i$",
        "tau_e": r"$\tau_e$", "tau_i": r"$\tau_i$",
        **{f"kappa_{of}": rf"$\kappa_{{{of}}}$" for of in ("ee", "ei", "ie", "ii")},
        **{f"alpha_{of}": rf"$\alpha_{{{of}}}$" for of in ("ee", "ei", "ie", "ii")},
        **{f"kappa_v_{of}": rf"$\kappa^v_{{{of}}}$" for of in ("ee", "ei", "ie", "ii")},
        "alpha_ext": r"$\alpha_{\mathrm{ext}}$", "gain_i": "$g_i$",
        "v_syn_e": r"$v^{\mathrm{syn}}_e$", "v_syn_i": r"$v^{\mathrm{syn}}_i$",
        "v_ext": r"$v^{\mathrm{syn}}_{\mathrm{ext}}$",
    }  # fmt: skip
    synaptic = "r_e"
    plane: ClassVar[dict[str, tuple[float, float, int]]] = {
        "eta_e": (0, 20, 41),
        "coupling": (0, 20, 41),
    }
    cut: ClassVar[float] = 5.0

    eta_e: ParameterArray = parameter(
        10.0, unit="1", doc="centre of the Lorentzian of excitabilities, excitatory"
    )
    eta_i: ParameterArray = parameter(
        0.0, unit="1", doc="centre of the Lorentzian of excitabilities, inhibitory"
    )
    delta_e: ParameterArray = parameter(
        0.5, unit="1", doc="half width of that Lorentzian, excitatory", positive=True
    )
    delta_i: ParameterArray = parameter(
        0.5, unit="1", doc="half width of that Lorentzian, inhibitory", positive=True
    )
    tau_e: ParameterArray = parameter(
        10.0, unit="ms", doc="membrane time constant, excitatory", positive=True
    )
    tau_i: ParameterArray = parameter(
        10.0, unit="ms", doc="membrane time constant, inhibitory", positive=True
    )
    kappa_ee: ParameterArray = _kappa(0.0, "to e from e")
    kappa_ei: ParameterArray = _kappa(20.0, "to e from i")
    kappa_ie: ParameterArray = _kappa(26.0, "to i from e")
    kappa_ii: ParameterArray = _kappa(0.0, "to i from i")
    alpha_ee: ParameterArray = _rate(0.5, "to e from e")
    alpha_ei: ParameterArray = _rate(0.2, "to e from i")
    alpha_ie: ParameterArray = _rate(0.5, "to i from e")
    alpha_ii: ParameterArray = _rate(0.2, "to i from i")
    alpha_ext: ParameterArray = _rate(0.5, "from other regions")
    v_syn_e: ParameterArray = parameter(10.0, unit="1", doc="reversal potential of excitation")
    v_syn_i: ParameterArray = parameter(-10.0, unit="1", doc="reversal potential of inhibition")
    v_ext: ParameterArray = parameter(
        10.0, unit="1", doc="reversal potential of synapses from other regions"
    )
    kappa_v_ee: ParameterArray = _gap("between excitatory neurons")
    kappa_v_ei: ParameterArray = _gap("of excitatory neurons with inhibitory ones")
    kappa_v_ie: ParameterArray = _gap("of inhibitory neurons with excitatory ones")
    kappa_v_ii: ParameterArray = _gap("between inhibitory neurons")
    gain_i: ParameterArray = parameter(
        0.0, unit="1", doc="of the long-range conductance, on inhibitory neurons"
    )

    def vector_field(self, state: State, drive: Field) -> State:
        r_e, v_e, r_i, v_i, g_ee, h_ee, g_ei, h_ei, g_ie, h_ie, g_ii, h_ii, g_ext, h_ext = state
        (b_e, c_e), (b_i, c_i) = self._onto(state)
        x_e, x_i = _PI * self.tau_e * r_e, _PI * self.tau_i * r_i
        return jnp.stack(
            [
                (self.delta_e / (_PI * self.tau_e) + (2 * v_e + b_e) * r_e) / self.tau_e,
                (v_e * v_e + b_e * v_e - x_e * x_e + c_e) / self.tau_e,
                (self.delta_i / (_PI * self.tau_i) + (2 * v_i + b_i) * r_i) / self.tau_i,
                (v_i * v_i + b_i * v_i - x_i * x_i + c_i) / self.tau_i,
                self.alpha_ee * (h_ee - g_ee),
                self.alpha_ee * (self.kappa_ee * r_e - h_ee),
                self.alpha_ei * (h_ei - g_ei),
                self.alpha_ei * (self.kappa_ei * r_i - h_ei),
                self.alpha_ie * (h_ie - g_ie),
                self.alpha_ie * (self.kappa_ie * r_e - h_ie),
                self.alpha_ii * (h_ii - g_ii),
                self.alpha_ii * (self.kappa_ii * r_i - h_ii),
                self.alpha_ext * (h_ext - g_ext),
                self.alpha_ext * (drive - h_ext),
            ]
        )

    def _onto(self, state: State) -> tuple[tuple[Field, Field], tuple[Field, Field]]:
        """What the neurons of each population obey, tau V' = V² + b V + c: b and c.

        Every current of the form g (E - V) adds -g to b and g E to c; of gap junctions E is the
        mean potential of the others. A population's own mean potential stands in its c, too: where
        its gap junctions with itself draw its neurons to.
        """
        _, v_e, _, v_i, g_ee, _, g_ei, _, g_ie, _, g_ii, _, g_ext, _ = state
        far = self.gain_i * g_ext
        b_e = -(g_ee + g_ei + g_ext + self.kappa_v_ee + self.kappa_v_ei)
        b_i = -(g_ie + g_ii + far + self.kappa_v_ii + self.kappa_v_ie)
        c_e = self.eta_e + self.kappa_v_ee * v_e + self.kappa_v_ei * v_i
        c_i = self.eta_i + self.kappa_v_ie * v_e + self.kappa_v_ii * v_i
        c_e = c_e + g_ee * self.v_syn_e + g_ei * self.v_syn_i + g_ext * self.v_ext
        c_i = c_i + g_ie * self.v_syn_e + g_ii * self.v_syn_i + far * self.v_ext
        return (b_e, c_e), (b_i, c_i)

    def output(self, state: State) -> Field:
        return state[0]

    def populations(self) -> tuple[QIFPopulation, ...]:
        return excitatory_and_inhibitory(self)

    def synaptic_currents(self, state: State, drive: Field) -> tuple[Field, Field]:
        """Onto the excitatory population, at its mean potential v_e.

        g_ee (v_syn_e - v_e) + g_ext (v_ext - v_e), and g_ei (v_e - v_syn_i); negative where v_e is
        beyond the reversal potential.
        """
        v_e = state[1]
        excitation = state[4] * (self.v_syn_e - v_e) + state[12] * (self.v_ext - v_e)
        return excitation, state[6] * (v_e - self.v_syn_i)

    def fastest_time(self) -> Any:
        """The shortest of the synaptic times and the membranes' tau / (2 |w|).

        With w = π tau r + i v, of which |w| is taken as the largest of √|eta + i delta| and of the
        reversal potentials, which strong conductances draw neurons to.
        """
        rates = (self.alpha_ee, self.alpha_ei, self.alpha_ie, self.alpha_ii, self.alpha_ext)
        return shortest(self.typical_time(), *(1 / rate for rate in as_numbers(*rates)))

    def typical_time(self) -> Any:
        """That of the faster membrane."""
        reversal = (self.v_syn_e, self.v_syn_i, self.v_ext)
        e = (self.tau_e, (self.eta_e,), self.delta_e)
        i = (self.tau_i, (self.eta_i,), self.delta_i)
        return shortest(*(membrane_time(*of, potentials=reversal) for of in (e, i)))

    def search_box(self) -> tuple[jax.Array, jax.Array]:
        low = jnp.array([1e-3, -5.0, 1e-3, -5.0, *(0.0,) * 10])
        return low, jnp.array([0.2, 3.0, 0.2, 3.0, *(3.0,) * 10])

    def equilibrium_reduction(self, coupling: Scalar) -> EquilibriumReduction | None:
        """Scalar reduction in log x, with x = π tau r of the excitatory population.

        For strengths and couplings that are not negative; see `conductance_rest`.
        """
        rest = conductance_rest.Rest(
            e=self._population("e", self.kappa_ee, self.kappa_ei, coupling),
            i=self._population("i", self.kappa_ie, self.kappa_ii, self.gain_i * coupling),
            v_syn_e=self.v_syn_e, v_syn_i=self.v_syn_i, v_ext=self.v_ext,
        )  # fmt: skip

        def function(u: Scalar) -> tuple[jax.Array, Scalar]:
            r_e, v_e, r_i, v_i = conductance_rest.at(rest, u)
            g = [self.kappa_ee * r_e, self.kappa_ei * r_i, self.kappa_ie * r_e, self.kappa_ii * r_i]
            every = [value for each in (*g, coupling * r_e) for value in (each, each)]
            state = jnp.stack([r_e, v_e, r_i, v_i, *every])
            return state, self.vector_field(state, coupling * r_e)[1]

        return EquilibriumReduction(*conductance_rest.ends(rest), function)

    def _population(self, of: str, by_e: Any, by_i: Any, far: Any) -> conductance_rest.Population:
        own, other = (of, "i") if of == "e" else ("i", "e")
        return conductance_rest.Population(
            tau=getattr(self, f"tau_{of}"),
            eta=getattr(self, f"eta_{of}"),
            delta=getattr(self, f"delta_{of}"),
            by_e=by_e,
            by_i=by_i,
            far=far,
            gap_own=getattr(self, f"kappa_v_{of}{own}"),
            gap_other=getattr(self, f"kappa_v_{of}{other}"),
        )
