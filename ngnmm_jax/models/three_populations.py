"""Pyramidal cells with fast and slow interneurons: the mean field of three QIF populations."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ngnmm_jax._core.types import Field, ParameterArray, Scalar, State
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.hooks import ExactFlow, QIFPopulation
from ngnmm_jax.models.parameters import parameter
from ngnmm_jax.models.qif_flow import GateFlow, membrane_time, population_flow
from ngnmm_jax.models.times import as_numbers, shortest

_PI = 3.141592653589793
# Of the populations in the state, of three variables each.
_NAMES = ("e", "f", "s")


def _time(default: float, doc: str) -> Any:
    return parameter(default, unit="ms", doc=doc, positive=True)


def _weight(default: float, doc: str) -> Any:
    return parameter(default, unit="1", doc=doc)


class ThreePopulations(AbstractNeuralMass):
    r"""Excitatory (e), fast inhibitory (f) and slow inhibitory (s) QIF neurons, exact for many.

    State of a region: firing rate, mean membrane potential and synaptic gate of each population,
    `r_e, v_e, s_e, r_f, v_f, s_f, r_s, v_s, s_s`. With `c` the network's input, for each k of e,
    f and s:

        tau_k  dr_k/dt = delta_k / (π tau_k) + 2 r_k v_k
        tau_k  dv_k/dt = v_k² + eta_k - (π tau_k r_k)² + i_ext_k
                         + tau_k (j_ke s_e + gain_k c - j_kf s_f - j_ks s_s)
        tau_sk ds_k/dt = r_k - s_k

    A region sends s_e. Times in ms, rates and gates in 1/ms, the rest without dimension.

    Fast interneurons (basket cells, PV) inhibit all but the slow ones; slow ones (Martinotti
    cells, SST) inhibit all but themselves: j_sf = j_ss = 0, Pfeffer et al., Nat. Neurosci. 16,
    1068 (2013). e and f are `NextGenEI`'s populations, equations and values (Delicado, Huguet and
    Clusella, arXiv 2512.03907), to which the model falls back where j_es = j_fs = 0. Two kinds of
    inhibition that differ in their synaptic times are those of Ceni, Olmi, Torcini and
    Angulo-Garcia, Chaos 30, 053121 (2020), whose populations inhibit each other. The values of s
    are this library's choice: a synapse of 20 ms, weights that leave e and f their rhythm.
    """

    variables: ClassVar[tuple[str, ...]] = (
        "r_e", "v_e", "s_e", "r_f", "v_f", "s_f", "r_s", "v_s", "s_s",
    )  # fmt: skip
    units: ClassVar[tuple[str, ...]] = 3 * ("1/ms", "1", "1/ms")
    time_unit: ClassVar[str] = "ms"
    shown: ClassVar[str] = "v_e"
    shown_unit: ClassVar[str] = "1"
    nonnegative: ClassVar[tuple[str, ...]] = ("r_e", "s_e", "r_f", "s_f", "r_s", "s_s")
    symbols: ClassVar[dict[str, str]] = {
        symbol: f"${text}$"
        for k in _NAMES
        for symbol, text in (
            *((f"{name}_{k}", f"{name}_{k}") for name in ("r", "v", "s")),
            (f"i_ext_{k}", rf"I_{k}^{{\mathrm{{ext}}}}"),
            *((f"{name}_{k}", rf"\{name}_{k}") for name in ("tau", "eta")),
            (f"tau_s{k}", rf"\tau_{{s{k}}}"),
            (f"delta_{k}", rf"\Delta_{k}"),
            (f"gain_{k}", f"g_{k}"),
            *((f"j_{k}{other}", f"J_{{{k}{other}}}") for other in _NAMES),
        )
    }
    synaptic = "s_e"
    plane: ClassVar[dict[str, tuple[float, float, int]]] = {
        "i_ext_e": (0, 16, 65),
        "coupling": (0, 30, 61),
    }
    cut: ClassVar[float] = 9.0

    i_ext_e: ParameterArray = _weight(0.0, "external current, excitatory")
    i_ext_f: ParameterArray = _weight(0.0, "external current, fast inhibitory")
    i_ext_s: ParameterArray = _weight(0.0, "external current, slow inhibitory")
    tau_e: ParameterArray = _time(8.0, "membrane time constant, excitatory")
    tau_f: ParameterArray = _time(8.0, "membrane time constant, fast inhibitory")
    tau_s: ParameterArray = _time(8.0, "membrane time constant, slow inhibitory")
    tau_se: ParameterArray = _time(1.0, "synaptic time constant, excitatory")
    tau_sf: ParameterArray = _time(5.0, "synaptic time constant, fast inhibitory")
    tau_ss: ParameterArray = _time(20.0, "synaptic time constant, slow inhibitory")
    eta_e: ParameterArray = _weight(-5.0, "centre of the excitabilities, excitatory")
    eta_f: ParameterArray = _weight(-5.0, "centre of the excitabilities, fast inhibitory")
    eta_s: ParameterArray = _weight(-5.0, "centre of the excitabilities, slow inhibitory")
    delta_e: ParameterArray = parameter(
        1.0, unit="1", doc="half width of the excitabilities, excitatory", positive=True
    )
    delta_f: ParameterArray = parameter(
        1.0, unit="1", doc="half width of the excitabilities, fast inhibitory", positive=True
    )
    delta_s: ParameterArray = parameter(
        1.0, unit="1", doc="half width of the excitabilities, slow inhibitory", positive=True
    )
    j_ee: ParameterArray = _weight(5.0, "synaptic weight to e from e")
    j_ef: ParameterArray = _weight(13.0, "synaptic weight to e from f")
    j_es: ParameterArray = _weight(5.0, "synaptic weight to e from s")
    j_fe: ParameterArray = _weight(13.0, "synaptic weight to f from e")
    j_ff: ParameterArray = _weight(5.0, "synaptic weight to f from f")
    j_fs: ParameterArray = _weight(5.0, "synaptic weight to f from s")
    j_se: ParameterArray = _weight(13.0, "synaptic weight to s from e")
    j_sf: ParameterArray = _weight(0.0, "synaptic weight to s from f")
    j_ss: ParameterArray = _weight(0.0, "synaptic weight to s from s")
    gain_e: ParameterArray = _weight(1.0, "of the network's input, on e")
    gain_f: ParameterArray = _weight(1.0, "of the network's input, on f")
    gain_s: ParameterArray = _weight(0.0, "of the network's input, on s")

    def vector_field(self, state: State, drive: Field) -> State:
        found: list[Field] = []
        for k, current in enumerate(self._currents(state, drive)):
            r, v, s = state[3 * k : 3 * k + 3]
            tau, delta, tau_s = self._of("tau", k), self._of("delta", k), self._of("tau_s", k)
            x = _PI * tau * r
            found += [
                (delta / (_PI * tau) + 2 * r * v) / tau,
                (v * v - x * x + current) / tau,
                (r - s) / tau_s,
            ]
        return jnp.stack(found)

    def _of(self, name: str, k: int) -> Any:
        """A parameter of the population of that number."""
        gap = "" if name == "tau_s" else "_"
        return getattr(self, f"{name}{gap}{_NAMES[k]}")

    def _currents(self, state: State, drive: Field) -> list[Field]:
        found = []
        for k, name in enumerate(_NAMES):
            to_e, to_f, to_s = (getattr(self, f"j_{name}{other}") for other in _NAMES)
            synaptic = to_e * state[2] + self._of("gain", k) * drive
            synaptic = synaptic - to_f * state[5] - to_s * state[8]
            own = self._of("eta", k) + self._of("i_ext", k)
            found.append(own + self._of("tau", k) * synaptic)
        return found

    def output(self, state: State) -> Field:
        return state[2]

    def populations(self) -> tuple[QIFPopulation, ...]:
        names = ("excitatory", "fast inhibitory", "slow inhibitory")
        return tuple(
            QIFPopulation(
                name=name,
                rate=f"r_{_NAMES[k]}",
                potential=f"v_{_NAMES[k]}",
                tau=self._of("tau", k),
                delta=self._of("delta", k),
            )
            for k, name in enumerate(names)
        )

    def synaptic_currents(self, state: State, drive: Field) -> tuple[Field, Field]:
        """Onto e: tau_e (j_ee s_e + gain_e c), and tau_e (j_ef s_f + j_es s_s)."""
        excitation = self.j_ee * state[2] + self.gain_e * drive
        inhibition = self.j_ef * state[5] + self.j_es * state[8]
        return self.tau_e * excitation, self.tau_e * inhibition

    def exact_flow(self, dt: Scalar) -> ExactFlow | None:
        """The populations' Möbius maps, and their gates.

        For constant inputs with errors below 1e-10 of the state while (dt / tau)² times the
        currents is below 0.05; of order four where inputs change.
        """
        gates = [GateFlow.of(self._of("tau_s", k), dt) for k in range(3)]

        def inputs(state: State, drive: Field) -> jax.Array:
            return jnp.stack(self._currents(state, drive))

        def advance(state: State, inputs: jax.Array, rise: jax.Array) -> tuple[State, State]:
            after: list[Field] = []
            over: list[Field] = []
            for k, gate in enumerate(gates):
                before, v, s = state[3 * k : 3 * k + 3]
                delta, tau = self._of("delta", k), self._of("tau", k)
                r, v, mean = population_flow(before, v, inputs[k], rise[k], delta, tau, dt)
                s, mean_s = gate(s, before, r, mean)
                after += [r, v, s]
                over += [mean, jnp.zeros_like(v), mean_s]
            return jnp.stack(after), jnp.stack(over)

        return ExactFlow(inputs, advance)

    def fastest_time(self) -> Any:
        """The shortest of the synaptic times and the membranes', as in `qif_flow`."""
        synaptic = as_numbers(*(self._of("tau_s", k) for k in range(3)))
        return shortest(self.typical_time(), *synaptic)

    def typical_time(self) -> Any:
        """That of the fastest membrane."""
        times = [
            membrane_time(
                self._of("tau", k),
                (self._of("eta", k), self._of("i_ext", k)),
                self._of("delta", k),
            )
            for k in range(3)
        ]
        return shortest(*times)

    def search_box(self) -> tuple[jax.Array, jax.Array]:
        low, high = jnp.array([1e-3, -6.0, 1e-3]), jnp.array([1.0, 0.0, 1.0])
        return jnp.tile(low, 3), jnp.tile(high, 3)
