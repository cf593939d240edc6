"""The mean field of one QIF population: Montbrió, Pazó and Roxin's neural mass."""

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
from ngnmm_jax.models.qif_flow import membrane_time, population_flow_with_means

_PI = 3.141592653589793


class MontbrioPazoRoxin(AbstractNeuralMass):
    r"""One population of QIF neurons that drive themselves at once: exact for many neurons.

    State of a region: firing rate and mean membrane potential, `r, v`. With `c` the network's
    input:

        tau dr/dt = delta / (π tau) + 2 r v
        tau dv/dt = v² + eta - (π tau r)² + i_ext + j tau r + c

    A region sends cr r + cv v. As in The Virtual Brain (`MontbrioPazoRoxin`), c is not multiplied
    by tau, and `cr`, `cv` weigh the coupling through rates and through potentials. There the two
    are weighed where they arrive, here where they leave, and summed into one input: for a linear
    coupling and values of cr and cv that all regions share this is the same. Times in ms, rates in
    1/ms, the rest without dimension (the paper has no units; The Virtual Brain reads them as ms).

    Source: Montbrió, Pazó and Roxin, Phys. Rev. X 5, 021028 (2015). The defaults, delta = 1,
    j = 15, eta = -5, tau = 1, cr = 1, cv = 0, are those of The Virtual Brain's class; a population
    alone is bistable there, at rest or firing. Studies of resting states with it take
    `eta=-4.6, j=14.5, delta=0.7`.
    """

    variables: ClassVar[tuple[str, ...]] = ("r", "v")
    units: ClassVar[tuple[str, ...]] = ("1/ms", "1")
    time_unit: ClassVar[str] = "ms"
    shown: ClassVar[str] = "r"
    shown_unit: ClassVar[str] = "1/ms"
    nonnegative: ClassVar[tuple[str, ...]] = ("r",)
    symbols: ClassVar[dict[str, str]] = {
        "r": "$r$", "v": "$v$",
        "eta": r"$\eta$", "i_ext": r"$I^{\mathrm{ext}}$", "j": "$J$",
        "tau": r"$\tau$", "delta": r"$\Delta$", "cr": "$c_r$", "cv": "$c_v$",
    }  # fmt: skip
    synaptic = "r"
    plane: ClassVar[dict[str, tuple[float, float, int]]] = {
        "eta": (-10, 0, 81),
        "coupling": (0, 10, 41),
    }
    cut: ClassVar[float] = 2.0

    eta: ParameterArray = parameter(
        -5.0, unit="1", doc="centre of the Lorentzian of excitabilities"
    )
    i_ext: ParameterArray = parameter(0.0, unit="1", doc="external current")
    j: ParameterArray = parameter(15.0, unit="1", doc="synaptic weight")
    tau: ParameterArray = parameter(1.0, unit="ms", doc="membrane time constant", positive=True)
    delta: ParameterArray = parameter(
        1.0, unit="1", doc="half width of the Lorentzian of excitabilities", positive=True
    )
    cr: ParameterArray = parameter(1.0, unit="1", doc="weight of the rate in what is sent")
    cv: ParameterArray = parameter(0.0, unit="1", doc="weight of the potential in what is sent")

    def vector_field(self, state: State, drive: Field) -> State:
        r, v = state
        x = _PI * self.tau * r
        return jnp.stack(
            [
                (self.delta / (_PI * self.tau) + 2 * r * v) / self.tau,
                (v * v - x * x + self._current(r, drive)) / self.tau,
            ]
        )

    def _current(self, r: Field, drive: Field) -> Field:
        return self.eta + self.i_ext + self.j * self.tau * r + drive

    def output(self, state: State) -> Field:
        return self.cr * state[0] + self.cv * state[1]

    def populations(self) -> tuple[QIFPopulation, ...]:
        return (
            QIFPopulation(
                name="population", rate="r", potential="v", tau=self.tau, delta=self.delta
            ),
        )

    def synaptic_currents(self, state: State, drive: Field) -> tuple[Field, Field]:
        """Onto the population: what is positive of j tau r + c, and what is negative."""
        current = self.j * self.tau * state[0] + drive
        return jnp.maximum(current, 0.0), jnp.maximum(-current, 0.0)

    def exact_flow(self, dt: Scalar) -> ExactFlow | None:
        """The population's Möbius map, with the means of rate and potential over the step.

        For a constant current with errors below 1e-10 of the state while (dt / tau)² times the
        current is below 0.05; of order four where it changes, as j tau r does.
        """

        def inputs(state: State, drive: Field) -> jax.Array:
            return self._current(state[0], drive)[None]

        def advance(state: State, inputs: jax.Array, rise: jax.Array) -> tuple[State, State]:
            r, v, mean_r, mean_v = population_flow_with_means(
                state[0], state[1], inputs[0], rise[0], self.delta, self.tau, dt
            )
            return jnp.stack([r, v]), jnp.stack([mean_r, mean_v])

        return ExactFlow(inputs, advance)

    def fastest_time(self) -> Any:
        """That of the membrane, tau / (2 |w|).

        As in `qif_flow`, for I = eta + i_ext and a weight j.
        """
        return membrane_time(self.tau, (self.eta, self.i_ext), self.delta, self.j)

    def typical_time(self) -> Any:
        return self.fastest_time()

    def search_box(self) -> tuple[jax.Array, jax.Array]:
        return jnp.array([1e-3, -6.0]), jnp.array([2.0, 0.0])

    def equilibrium_reduction(self, coupling: Scalar) -> EquilibriumReduction | None:
        """Scalar reduction in u = log x, with x = π tau r, as in `qif_alone`."""
        low, high = qif_alone.bounds(self._at_rest(coupling), jnp)

        def function(u: Scalar) -> tuple[jax.Array, Scalar]:
            x = jnp.exp(u)
            state = jnp.stack([x / (_PI * self.tau), -self.delta / (2 * x)])
            return state, self.vector_field(state, coupling * self.output(state))[1]

        return EquilibriumReduction(jnp.log(low), jnp.log(high), function)

    def certain_reduction(self, coupling: Any) -> CertainReduction:
        """All equilibria, for all parameters: `qif_alone`."""

        def states(owner: Any, x: Any) -> Any:
            return np.stack([x / (_PI * self.tau[owner]), -self.delta[owner] / (2 * x)], axis=-1)

        return qif_alone.reduction(self._at_rest(coupling), states)

    def _at_rest(self, coupling: Any) -> qif_alone.Rest:
        return qif_alone.Rest(
            current=self.eta + self.i_ext,
            delta=self.delta,
            a=(self.j + coupling * self.cr / self.tau) / _PI,
            b=coupling * self.cv * self.delta / 2,
        )
