"""How fast a model moves, from the times and rates that its parameters name."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import declared

#: Seconds in each of the time units that a model may use.
SECONDS = {"ms": 1e-3, "s": 1.0}
# Units of rates, each with that of its inverse.
_RATES = {"1/ms": "ms", "kHz": "ms", "1/s": "s", "Hz": "s"}
# Steps in a model's fastest time: RK4 then follows it to about 1e-6.
STEPS = 20
# A mean field moves so many times faster than its time constants where it spikes.
_FASTER = 8


def fastest_of(model: Any) -> Any:
    """An eighth of the shortest time that a model's parameters name; 1 ms where there is none."""
    times, nothing = _times(model), np.asarray(1e-3 / SECONDS[model.time_unit])
    if not times:
        return nothing
    xp, shortest_one = math_of(times), shortest(*times) / _FASTER
    return xp.where(xp.isfinite(shortest_one), shortest_one, nothing)


def typical_of(model: Any) -> Any:
    """An eighth of the geometric mean of those times, or the fastest where there is none."""
    times = _times(model)
    if not times:
        return model.fastest_time()
    xp = math_of(times)
    number = sum(xp.where(xp.isfinite(t), 1, 0) for t in times)
    logs = sum(xp.where(xp.isfinite(t), xp.log(xp.where(xp.isfinite(t), t, 1.0)), 0.0)
               for t in times)  # fmt: skip
    mean = xp.exp(logs / xp.maximum(number, 1)) / _FASTER
    return xp.where(number > 0, mean, model.fastest_time())


def _times(model: Any) -> list[Any]:
    """Times that the parameters name, in `time_unit`, those of rates included."""
    found = []
    for name, field in declared(model).items():
        unit, value = field.metadata["unit"], getattr(model, name)
        if unit in SECONDS or unit in _RATES:
            size = abs(as_numbers(value)[0])
            xp = math_of(size)
            known = xp.where(size > 0, size, 1.0)
            time = known if unit in SECONDS else 1 / known
            seconds = SECONDS[_RATES.get(unit, unit)]
            found.append(xp.where(size > 0, time * (seconds / SECONDS[model.time_unit]), np.inf))
    return found


def known_step(model: Any) -> float:
    """A model's `time_step` as a number: traced parameters without times count as defaults."""
    traced = [
        field
        for field in declared(model).values()
        if not _checks.is_concrete(getattr(model, field.name))
        and field.metadata["unit"] not in (*SECONDS, *_RATES)
    ]
    if traced:
        model = eqx.tree_at(
            lambda m: [getattr(m, field.name) for field in traced],
            model,
            [np.asarray(field.default, float) for field in traced],
        )
    step = model.time_step
    if not _checks.is_concrete(step):
        _checks.fail("dt", "be given where time constants are traced by JAX", "it is None")
    return float(step)


def smallest(steps: Any) -> Any:
    """The smallest of some steps: a `float`, or a scalar array where JAX traces them."""
    if _checks.is_concrete(steps):
        return float(np.min(steps))
    return jax.lax.stop_gradient(jnp.min(steps))


def smallest_step(model: Any) -> Any:
    """A model's `time_step`, also where its own has one for each region or run."""
    return smallest(model.time_step)


def math_of(values: Any) -> Any:
    """NumPy where all values are known, `jax.numpy` where JAX traces some."""
    return np if _checks.is_concrete(values) else jnp


def shortest(*times: Any) -> Any:
    """The smallest of some times, elementwise."""
    return functools.reduce(math_of(times).minimum, times)


def as_numbers(*values: Any) -> list[Any]:
    """Known values as NumPy's 64-bit arrays, from which nothing is compiled; traced ones as is."""
    if not _checks.is_concrete(values):
        return [jnp.asarray(value) for value in values]
    return [np.asarray(value, float) for value in values]
