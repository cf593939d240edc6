"""The mean field of one QIF population with short-term plasticity of its synapses."""

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
from ngnmm_jax.models.qif_flow import membrane_time, population_flow

_PI = 3.141592653589793


class QIFPlasticity(AbstractNeuralMass):
    r"""One population of QIF neurons whose synapses facilitate and depress as they are used.

    State of a region: firing rate, mean membrane potential, available resources and their
    utilisation, `r, v, x, u` (Tsodyks and Markram's). With `c` the network's input:

        tau dr/dt = delta / (π tau) + 2 r v
        tau dv/dt = v² + eta - (π tau r)² + i_ext + tau (j u x r + c)
            dx/dt = (1 - x) / tau_d - u x r
            du/dt = (u0 - u) / tau_f + u0 (1 - u) r

    A region sends u x r: the synapses that reach other regions are as tired as its own, and
    `coupling` is a weight as `j` is. Times in ms, rates in 1/ms, the rest without dimension.

    The mean field is exact for synapses that follow their population's rate. Where each follows
    its own neuron's spikes it is an approximation, as u and x are correlated then.

    Source: Taher, Torcini and Olmi, PLoS Comput. Biol. 16, e1008533 (2020), with the parameters
    of its figure 1, where two pulses `i_ext = 2` of 150 ms are given; `eta` is its H + I_B.
    """

    variables: ClassVar[tuple[str, ...]] = ("r", "v", "x", "u")
    units: ClassVar[tuple[str, ...]] = ("1/ms", "1", "1", "1")
    time_unit: ClassVar[str] = "ms"
    shown: ClassVar[str] = "r"
    shown_unit: ClassVar[str] = "1/ms"
    nonnegative: ClassVar[tuple[str, ...]] = ("r", "x", "u")
    symbols: ClassVar[dict[str, str]] = {
        "r": "$r$", "v": "$v$", "x": "$x$", "u": "$u$",
        "eta": r"$\eta$", "i_ext": r"$I^{\mathrm{ext}}$", "j": "$J$",
        "tau": r"$\tau$", "delta": r"$\Delta$",
        "u0": "$U_0$", "tau_d": r"$\tau_d$", "tau_f": r"$\tau_f$",
    }  # fmt: skip
    synaptic = "r"
    plane: ClassVar[dict[str, tuple[float, float, int]]] = {
        "eta": (-2, 1, 61),
        "coupling": (0, 30, 41),
    }
    cut: ClassVar[float] = 5.0

    eta: ParameterArray = parameter(
        -1.0, unit="1", doc="centre of the Lorentzian of excitabilities"
    )
    i_ext: ParameterArray = parameter(0.0, unit="1", doc="external current")
    j: ParameterArray = parameter(15.0, unit="1", doc="synaptic weight at full use, u x = 1")
    tau: ParameterArray = parameter(15.0, unit="ms", doc="membrane time constant", positive=True)
    delta: ParameterArray = parameter(
        0.25, unit="1", doc="half width of the Lorentzian of excitabilities", positive=True
    )
    u0: ParameterArray = parameter(0.2, unit="1", doc="utilisation at rest", positive=True)
    tau_d: ParameterArray = parameter(
        200.0, unit="ms", doc="time constant of the resources' recovery", positive=True
    )
    tau_f: ParameterArray = parameter(
        1500.0, unit="ms", doc="time constant of facilitation", positive=True
    )

    def vector_field(self, state: State, drive: Field) -> State:
        r, v, x, u = state
        fast = _PI * self.tau * r
        return jnp.stack(
            [
                (self.delta / (_PI * self.tau) + 2 * r * v) / self.tau,
                (v * v - fast * fast + self._current(u * x * r, drive)) / self.tau,
                *self._synapse(x, u, r),
            ]
        )

    def _current(self, used: Field, drive: Field) -> Field:
        return self.eta + self.i_ext + self.tau * (self.j * used + drive)

    def _synapse(self, x: Field, u: Field, r: Field) -> tuple[Field, Field]:
        return (1 - x) / self.tau_d - u * x * r, (self.u0 - u) / self.tau_f + self.u0 * (1 - u) * r

    def output(self, state: State) -> Field:
        return state[3] * state[2] * state[0]

    def populations(self) -> tuple[QIFPopulation, ...]:
        return (
            QIFPopulation(
                name="population", rate="r", potential="v", tau=self.tau, delta=self.delta,
                note="where each synapse follows its own neuron, not the population's rate",
            ),
        )  # fmt: skip

    def synaptic_currents(self, state: State, drive: Field) -> tuple[Field, Field]:
        """Onto the population: what is positive of tau (j u x r + c), and what is negative."""
        current = self.tau * (self.j * self.output(state) + drive)
        return jnp.maximum(current, 0.0), jnp.maximum(-current, 0.0)

    def exact_flow(self, dt: Scalar) -> ExactFlow | None:
        """The population's Möbius map; the synapses by a step of Runge and Kutta's under its rate.

        For a constant current the population's errors are below 1e-10 of the state while
        (dt / tau)² times the current is below 0.05; of order four where it changes, as u x r does.
        """

        def inputs(state: State, drive: Field) -> jax.Array:
            return self._current(self.output(state), drive)[None]

        def advance(state: State, inputs: jax.Array, rise: jax.Array) -> tuple[State, State]:
            before, v, x, u = state
            after, v, rate = population_flow(
                before, v, inputs[0], rise[0], self.delta, self.tau, dt
            )
            # The parabola with the rate's values at both ends and its mean.
            middle = (6 * rate - before - after) / 4
            first = self._synapse(x, u, before)
            second = self._synapse(x + dt / 2 * first[0], u + dt / 2 * first[1], middle)
            third = self._synapse(x + dt / 2 * second[0], u + dt / 2 * second[1], middle)
            last = self._synapse(x + dt * third[0], u + dt * third[1], after)
            ends = [
                start + dt / 6 * (a + 2 * b + 2 * c + d)
                for start, a, b, c, d in zip((x, u), first, second, third, last, strict=True)
            ]
            halfway = [
                (start + end) / 2 + dt / 8 * (a - d)
                for start, end, a, d in zip(
                    (x, u), ends, first, self._synapse(ends[0], ends[1], after), strict=True
                )
            ]
            used = _mean(
                u * x * before, halfway[1] * halfway[0] * middle, ends[1] * ends[0] * after
            )
            x, u = (_mean(*y) for y in zip((x, u), halfway, ends, strict=True))
            # A rate that gives the mean of u x r with the means of the two.
            over = jnp.stack([used / (u * x), jnp.zeros_like(v), x, u])
            return jnp.stack([after, v, *ends]), over

        return ExactFlow(inputs, advance)

    def fastest_time(self) -> Any:
        """That of the membrane, as in `qif_flow`: plasticity is slower."""
        return membrane_time(self.tau, (self.eta, self.i_ext), self.delta, self.j)

    def search_box(self) -> tuple[jax.Array, jax.Array]:
        return jnp.array([1e-3, -3.0, 0.0, 0.0]), jnp.array([0.2, 0.0, 1.0, 1.0])

    def equilibrium_reduction(self, coupling: Scalar) -> EquilibriumReduction | None:
        """Scalar reduction in log π tau r: u and x follow from r."""
        low, high = self._ends(coupling, jnp)

        def function(u: Scalar) -> tuple[jax.Array, Scalar]:
            fast = jnp.exp(u)
            r = fast / (_PI * self.tau)
            use, left = self._at_rest(r)
            state = jnp.stack([r, -self.delta / (2 * fast), left, use])
            return state, self.vector_field(state, coupling * self.output(state))[1]

        return EquilibriumReduction(jnp.log(low), jnp.log(high), function)

    def _at_rest(self, r: Any) -> tuple[Any, Any]:
        """Utilisation and resources at a rate."""
        use = self.u0 * (1 + self.tau_f * r) / (1 + self.u0 * self.tau_f * r)
        return use, 1 / (1 + self.tau_d * use * r)

    def _ends(self, coupling: Any, xp: Any) -> tuple[Any, Any]:
        """Lowest and highest π tau r at rest: u x r is between 0 and 1 / tau_d."""
        most = xp.abs(self.eta + self.i_ext) + self.tau * xp.abs(self.j + coupling) / self.tau_d
        high = 1.1 * (xp.sqrt(most) + xp.sqrt(self.delta / 2))
        return self.delta / (2.2 * xp.sqrt(most + high * high)), high

    def certain_reduction(self, coupling: Any) -> CertainReduction:
        """All equilibria, for all parameters.

        At rest u x r = u0 r (1 + tau_f r) / D, D = 1 + u0 (tau_d + tau_f) r + u0 tau_d tau_f r²,
        whose slope is u0 (1 + 2 tau_f r + u0 tau_f² r²) / D²: it rises, and so do both of these.
        """
        weight, u0 = self.tau * (self.j + coupling), self.u0

        def parts(owner: Any, fast: Any) -> tuple[Any, Any, Any, Any]:
            r, f, d = fast / (_PI * self.tau[owner]), self.tau_f[owner], self.tau_d[owner]
            below = 1 + u0[owner] * (d + f) * r + u0[owner] * d * f * r * r
            above = u0[owner] * r * (1 + f * r)
            return r, above, below, u0[owner] * r * (1 + 2 * f * r + u0[owner] * (f * r) ** 2)

        def terms(owner: Any, fast: Any) -> tuple[Any, ...]:
            _, above, below, _ = parts(owner, fast)
            return (-weight[owner] * above / below,)

        def slopes(owner: Any, low: Any, high: Any) -> tuple[Any, Any]:
            (*_, under, rise), (*_, over, most) = parts(owner, low), parts(owner, high)
            ends = -weight[owner] * rise / over**2, -weight[owner] * most / under**2
            return np.minimum(*ends), np.maximum(*ends)

        def states(owner: Any, fast: Any) -> Any:
            r, above, below, _ = parts(owner, fast)
            f = self.tau_f[owner]
            use = u0[owner] * (1 + f * r) / (1 + u0[owner] * f * r)
            v = -self.delta[owner] / (2 * fast)
            return np.stack([r, v, above / below / (use * r), use], axis=-1)

        current, ends = self.eta + self.i_ext, self._ends(coupling, np)
        return qif_alone.reduction_of(current, self.delta, ends, terms, slopes, states)


def _mean(before: Any, middle: Any, after: Any) -> Any:
    """Simpson's."""
    return (before + 4 * middle + after) / 6
