"""The E-I next-generation neural mass: exact mean field of two QIF populations."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax import _checks
from ngnmm_jax._types import Field, ParameterArray, Scalar, State
from ngnmm_jax.models.base import (
    AbstractNeuralMass,
    EquilibriumReduction,
    ExactFlow,
    QIFPopulation,
    parameter,
)
from ngnmm_jax.models.riccati import GateFlow, population_flow

_PI = 3.141592653589793
# Where equilibria are looked for, as x = pi tau_e r_e: at rest the drive of a population is
# x² - (delta / 2x)², so these bounds stand for drives of -2.5e5 and 1e6 at delta = 1.
_X_LOW, _X_HIGH = 1e-3, 1e3
# Enough for the quartic at every drive in that range (the error halves at worst).
_NEWTON_STEPS = 25


class NextGenEI(AbstractNeuralMass):
    r"""Excitatory and inhibitory populations of QIF neurons, exact in the limit of many neurons.

    State of a region: firing rate, mean membrane potential and synaptic gate of each
    population, `r_e, v_e, s_e, r_i, v_i, s_i`. With `c` the network's input:

        tau_e  dr_e/dt = delta_e / (π tau_e) + 2 r_e v_e
        tau_e  dv_e/dt = v_e² + eta_e - (π tau_e r_e)² + i_ext_e + tau_e (j_ee s_e + c - j_ei s_i)
        tau_se ds_e/dt = r_e - s_e
        tau_i  dr_i/dt = delta_i / (π tau_i) + 2 r_i v_i
        tau_i  dv_i/dt = v_i² + eta_i - (π tau_i r_i)² + i_ext_i + tau_i (j_ie s_e + c - j_ii s_i)
        tau_si ds_i/dt = r_i - s_i

    A region sends s_e. Times in ms, rates and gates in 1/ms, the rest without dimension.

    Source: Delicado, Huguet and Clusella, arXiv 2512.03907, with its parameter values; the
    mean field is that of Montbrió, Pazó and Roxin, Phys. Rev. X 5, 021028 (2015).
    """

    variables: ClassVar[tuple[str, ...]] = ("r_e", "v_e", "s_e", "r_i", "v_i", "s_i")
    units: ClassVar[tuple[str, ...]] = ("1/ms", "1", "1/ms", "1/ms", "1", "1/ms")
    time_unit: ClassVar[str] = "ms"
    shown: ClassVar[str] = "v_e"
    shown_unit: ClassVar[str] = "1"
    nonnegative: ClassVar[tuple[str, ...]] = ("r_e", "s_e", "r_i", "s_i")

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

    def vector_field(self, state: State, drive: Field) -> State:
        r_e, v_e, s_e, r_i, v_i, s_i = state
        x_e = _PI * self.tau_e * r_e
        x_i = _PI * self.tau_i * r_i
        current_e = self.eta_e + self.i_ext_e
        current_e = current_e + self.tau_e * (self.j_ee * s_e + drive - self.j_ei * s_i)
        current_i = self.eta_i + self.i_ext_i
        current_i = current_i + self.tau_i * (self.j_ie * s_e + drive - self.j_ii * s_i)
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
        return (
            QIFPopulation("excitatory", "r_e", "v_e", "s_e", self.tau_e, self.delta_e, self.tau_se),
            QIFPopulation("inhibitory", "r_i", "v_i", "s_i", self.tau_i, self.delta_i, self.tau_si),
        )

    def synaptic_currents(self, state: State, drive: Field) -> tuple[Field, Field]:
        """Onto the excitatory population: tau_e (j_ee s_e + c), and tau_e j_ei s_i."""
        return self.tau_e * (self.j_ee * state[2] + drive), self.tau_e * self.j_ei * state[5]

    def exact_flow(self, dt: Scalar) -> ExactFlow | None:
        gate_e, gate_i = GateFlow.of(self.tau_se, dt), GateFlow.of(self.tau_si, dt)

        def inputs(state: State, drive: Field) -> jax.Array:
            s_e, s_i = state[2], state[5]
            to_e = self.tau_e * (self.j_ee * s_e + drive - self.j_ei * s_i)
            to_i = self.tau_i * (self.j_ie * s_e + drive - self.j_ii * s_i)
            return jnp.stack([self.eta_e + self.i_ext_e + to_e, self.eta_i + self.i_ext_i + to_i])

        def advance(state: State, inputs: jax.Array, rise: jax.Array) -> tuple[State, State]:
            # Both populations in one array: as few operations as one of them takes.
            delta = _both(self.delta_e, self.delta_i, state.ndim)
            tau = _both(self.tau_e, self.tau_i, state.ndim)
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

    @property
    def reducible(self) -> Any:
        """Where j_ii ≥ 0 the quartic below has one positive root."""
        return np.asarray(self.j_ii) >= 0 if _checks.is_concrete(self.j_ii) else True

    def search_box(self) -> tuple[jax.Array, jax.Array]:
        low = jnp.array([1e-3, -6.0, 1e-3, 1e-3, -6.0, 1e-3])
        return low, jnp.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])

    def equilibrium_reduction(self, coupling: Scalar) -> EquilibriumReduction | None:
        r"""Scalar reduction in u = log x_e, with x = π tau r of each population.

        At rest s = r and v = -delta / (2 x). With r_e given, the equation of v_i becomes a
        quartic, x_i⁴ + (j_ii / π) x_i³ - κ x_i² - delta_i²/4 = 0, which has one positive root
        (Descartes) where j_ii ≥ 0; the equation of v_e remains.
        """
        if not np.all(self.reducible):
            return None

        def function(u: Scalar) -> tuple[jax.Array, Scalar]:
            x_e = jnp.exp(u)
            r_e = x_e / (_PI * self.tau_e)
            drive = coupling * r_e
            kappa = self.eta_i + self.i_ext_i + self.tau_i * (self.j_ie * r_e + drive)
            x_i = _inhibitory_root(self.j_ii / _PI, kappa, self.delta_i)
            r_i = x_i / (_PI * self.tau_i)
            v_e, v_i = -self.delta_e / (2 * x_e), -self.delta_i / (2 * x_i)
            state = jnp.stack([r_e, v_e, r_e, r_i, v_i, r_i])
            return state, self.vector_field(state, drive)[1]

        return EquilibriumReduction(jnp.log(_X_LOW), jnp.log(_X_HIGH), function)


def _both(first: jax.Array, second: jax.Array, ndim: int) -> jax.Array:
    """Two parameters along a first axis (population,), before the axes of the regions."""
    pair = jnp.stack(jnp.broadcast_arrays(first, second))
    return pair.reshape(2, *(1,) * (ndim - pair.ndim), *pair.shape[1:])


def _inhibitory_root(beta: Scalar, kappa: Scalar, delta: Scalar) -> Scalar:
    """The positive root of x⁴ + beta x³ - kappa x² - delta²/4.

    Newton's iteration from above the root, where the quartic is convex: it falls monotonely.
    """

    def step(_: Any, x: Scalar) -> Scalar:
        value = ((x + beta) * x - kappa) * x * x - delta * delta / 4
        slope = ((4 * x + 3 * beta) * x - 2 * kappa) * x
        return x - value / slope

    start = jnp.sqrt(jnp.maximum(kappa, 0)) + jnp.sqrt(delta / 2)
    return jax.lax.fori_loop(0, _NEWTON_STEPS, step, start)
