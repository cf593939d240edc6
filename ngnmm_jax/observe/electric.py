"""Electric signals: synaptic currents, and proxies of the local field potential from them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.models.times import need_seconds, seconds_in
from ngnmm_jax.observe.arrived import arrived
from ngnmm_jax.observe.observation import (
    NAMED,
    AbstractObservation,
    Observed,
    System,
    check_single,
)
from ngnmm_jax.simulation.result import Simulation
from ngnmm_jax.systems.driven import Driven, Undriven, undriven
from ngnmm_jax.systems.network import Network


def synaptic_currents(system: System, run: Simulation) -> Float[Array, "current time ..."]:
    """Excitatory and inhibitory currents onto the excitatory population, (2, time, region).

    In the unit of the model's `synaptic_currents`: of `NextGenEI` that of its external currents;
    of `JansenRit` potentials, in mV. Inhibitory ones are counted as positive. Of a `Driven` system
    the stimulus at the run's times is in them; white noise, which has no value at a time, is not.

    With delays what arrives is interpolated between the run's samples (splines of order five), from
    its beginning on, and before that what it began with.

    Raises `ValueError` unless it is a single run of that system's shape that saved all variables,
    as it does by default; with delays also where samples are too far apart: where every second one
    does not tell the others to a hundredth of how much what is sent varies.
    """
    check_single(run)
    stimulus = system.stimulus if isinstance(system, Driven) else None
    system = undriven(system)
    rows = []
    for name in system.model.variables:
        if name not in run.variables:
            _checks.fail("run", "have saved all variables", f"{name!r} is missing")
        rows.append(run[name])
    states = jnp.stack(rows)  # (variable, time, region)
    shape = (len(rows), run.ts.shape[0], *system.state_shape[1:])
    _checks.shape("run", states, shape, "(variable, time, region) as the system")
    sums = arrived(system, run, states) if isinstance(system, Network) else {}
    # The last axis is a region's, or there is none: parameters broadcast.
    return _currents(system.bare(), stimulus, states, run.ts, sums)


@eqx.filter_jit
def _currents(
    system: Undriven, stimulus: Any, states: jax.Array, ts: jax.Array, sums: Any
) -> jax.Array:
    def one(state: jax.Array, t: jax.Array, sums: Any) -> jax.Array:
        output = system.model.output(state)
        drive = system.interaction.reached(sums, output) if sums else system.drive(output)
        if stimulus is not None:
            drive = drive + jnp.broadcast_to(stimulus(t), drive.shape).astype(drive.dtype)
        return jnp.stack(system.model.synaptic_currents(state, drive))

    return jax.vmap(one, in_axes=(1, 0, 0), out_axes=1)(states, ts, sums)


class AbsoluteSum(AbstractObservation):
    """A proxy of the local field potential: |excitatory| + |inhibitory| currents.

    It is told by its course, not by its size. Source: Mazzoni et al., PLoS Comput. Biol. 11,
    e1004584 (2015).
    """

    def __call__(self, system: System, run: Simulation) -> Observed:
        excitatory, inhibitory = synaptic_currents(system, run)
        return _lfp(run, jnp.abs(excitatory) + jnp.abs(inhibitory))


class WeightedSum(AbstractObservation):
    """A proxy of the local field potential: past excitatory minus weighted inhibitory currents.

    - `delay` (ms): how late excitation counts, a multiple of the run's sampling interval to
      0.25 ms; its first value is repeated for as long.
    - `weight`: of inhibition.

    The defaults followed a model's LFP best over its states. It is told by its course, not by its
    size. Source: Mazzoni et al., PLoS Comput. Biol. 11, e1004584 (2015).
    """

    delay: float = eqx.field(default=6.0, static=True)
    weight: float = eqx.field(default=1.65, static=True)

    def __call__(self, system: System, run: Simulation) -> Observed:
        excitatory, inhibitory = synaptic_currents(system, run)
        late = self._samples(run)
        if late >= len(excitatory):
            but = f"it has {len(excitatory)} samples"
            _checks.fail("run", f"last for more than {self.delay:g} ms", but)
        first = jnp.repeat(excitatory[:1], late, axis=0)
        delayed = jnp.concatenate([first, excitatory[: len(excitatory) - late]])
        return _lfp(run, delayed - self.weight * inhibitory)

    def _samples(self, run: Simulation) -> int:
        """The delay in samples."""
        need_seconds("run", run.time_unit, "a delay in ms")
        seconds = 1e-3 * self.delay
        late = round(seconds / run.sampling_interval)
        if abs(late * run.sampling_interval - seconds) > 0.25e-3 or (self.delay and not late):
            step = run.sampling_interval / seconds_in(run.time_unit)
            must = f"be saved at an interval that divides {self.delay:g} ms"
            _checks.fail("run", must, f"it is {step:g} {run.time_unit}")
        return late


def _lfp(run: Simulation, values: jax.Array) -> Observed:
    return Observed.of_regions(run, values, name="LFP", unit="arbitrary")


#: Proxies of the local field potential.
PROXIES: dict[str, AbstractObservation] = {
    "absolute_sum": AbsoluteSum(),
    "weighted_sum": WeightedSum(),
}
NAMED.update(PROXIES)


def lfp(
    system: System, run: Simulation, *, proxy: str = "weighted_sum"
) -> Float[Array, "time ..."]:
    """A proxy of each region's local field potential, from its synaptic currents, in their unit.

    **Arguments:**

    - `run`: a run of that system, with all variables, saved at even times.
    - `proxy`: "absolute_sum", |excitatory| + |inhibitory| (`AbsoluteSum`); or "weighted_sum",
      excitation 6 ms ago minus 1.65 times inhibition (`WeightedSum`), which has other delays and
      weights too, with `observe`.

    Source: Mazzoni et al., PLoS Comput. Biol. 11, e1004584 (2015).
    """
    _checks.one_of("proxy", proxy, PROXIES)
    return PROXIES[proxy](system, run).values
