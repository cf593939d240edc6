"""Electric signals: proxies of the local field potential from synaptic currents, and sensors."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.models.base import SECONDS
from ngnmm_jax.signals._arrays import Number, as_signal
from ngnmm_jax.simulation.single import Simulation
from ngnmm_jax.systems.driven import Driven, undriven
from ngnmm_jax.systems.network import Homogeneous, Network

#: Proxies of the local field potential.
PROXIES = ("absolute_sum", "weighted_sum")
# Mazzoni et al.'s reference weighted sum: how late excitation counts (ms), and inhibition's weight.
_DELAY, _INHIBITION = 6.0, 1.65


def synaptic_currents(
    system: Network | Homogeneous | Driven, run: Simulation
) -> Float[Array, "current time ..."]:
    """Excitatory and inhibitory currents onto the excitatory population, (2, time, region).

    In the unit of the model's `synaptic_currents`: of `NextGenEI` that of its external currents;
    of `JansenRit` potentials, in mV. Inhibitory ones are counted as positive. Of a `Driven` system
    the stimulus at the run's times is in them; white noise, which has no value at a time, is not.

    Raises `ValueError` unless it is a single run of that system's shape that saved all variables,
    as it does by default.
    """
    if np.ndim(run.status):
        _checks.fail("run", "be a single run", f"it is a batch of {run.status.shape[0]}")
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
    # The last axis is a region's, or there is none: parameters broadcast.
    return _currents(system.bare(), stimulus, states, run.ts)


@eqx.filter_jit
def _currents(
    system: Network | Homogeneous, stimulus: Any, states: jax.Array, ts: jax.Array
) -> jax.Array:
    def one(state: jax.Array, t: jax.Array) -> jax.Array:
        drive = system.drive(system.model.output(state))
        if stimulus is not None:
            drive = drive + jnp.broadcast_to(stimulus(t), drive.shape).astype(drive.dtype)
        return jnp.stack(system.model.synaptic_currents(state, drive))

    return jax.vmap(one, in_axes=(1, 0), out_axes=1)(states, ts)


def lfp(
    system: Network | Homogeneous | Driven, run: Simulation, *, proxy: str = "weighted_sum"
) -> Float[Array, "time ..."]:
    """A proxy of each region's local field potential, from its synaptic currents.

    **Arguments:**

    - `run`: a run of that system, with all variables, saved at even times.
    - `proxy`: "absolute_sum", |excitatory| + |inhibitory|; or "weighted_sum", excitation 6 ms ago
      minus 1.65 times inhibition, which followed a model's LFP best over its states. The first
      6 ms repeat their first value.

    In the unit of the currents. Source: Mazzoni et al., PLoS Comput. Biol. 11, e1004584 (2015).
    """
    _checks.one_of("proxy", proxy, PROXIES)
    excitatory, inhibitory = synaptic_currents(system, run)
    if proxy == "absolute_sum":
        return jnp.abs(excitatory) + jnp.abs(inhibitory)
    unit = SECONDS[run.time_unit]
    late = round(_DELAY * 1e-3 / run.sampling_interval)
    if late >= len(excitatory):
        _checks.fail("run", "last for more than 6 ms", f"it has {len(excitatory)} samples")
    if abs(late * run.sampling_interval - _DELAY * 1e-3) > 0.25e-3 or not late:
        step = run.sampling_interval / unit
        _checks.fail(
            "run", "be saved at an interval that divides 6 ms", f"it is {step:g} {run.time_unit}"
        )
    delayed = jnp.concatenate([jnp.repeat(excitatory[:1], late, axis=0), excitatory[:-late]])
    return delayed - _INHIBITION * inhibitory


def through_lead_field(
    sources: Any, lead_field: Any, *, sampling_interval: Number = 1.0
) -> Float[Array, "time sensor"]:
    """What sensors (EEG, MEG) see of sources: `lead_field @ source` at each time.

    **Arguments:**

    - `sources` (time, region): by habit `lfp(…)`, taken as dipole moments.
    - `lead_field` (sensor, region): in the sensors' unit per source's; computed elsewhere (MNE),
      for the orientations normal to the cortex.
    """
    array = as_signal(sources, sampling_interval, least=1, ndim=2)
    matrix = jnp.asarray(lead_field, float)
    _checks.finite("lead_field", matrix)
    if matrix.ndim != 2 or matrix.shape[1] != array.shape[1]:
        _checks.fail(
            "lead_field",
            f"have axes (sensor, {array.shape[1]} regions)",
            f"its shape is {matrix.shape}",
        )
    return array @ matrix.T


def average(signal: Any, groups: Any) -> tuple[Float[Array, "time group"], tuple[Any, ...]]:
    """The mean over each group of regions, and the groups' names in order of appearance.

    **Arguments:** `signal` (time, region); `groups` (region,): each region's group, such as
    `connectome.networks`.
    """
    array = as_signal(signal, least=1, ndim=2)
    listed = list(groups)
    if len(listed) != array.shape[1]:
        _checks.fail(
            "groups", f"name a group for {array.shape[1]} regions", f"it names {len(listed)}"
        )
    names = tuple(dict.fromkeys(listed))
    members = jnp.asarray([[one == name for one in listed] for name in names], array.dtype)
    return array @ (members / members.sum(axis=1, keepdims=True)).T, names
