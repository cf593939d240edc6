"""How fast a model moves, from the times and rates that its parameters name."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import declared

#: Seconds in each of the time units that a model may use.
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
#: The unit of times without one: of equations that are made dimensionless.
NO_UNIT = "1"
#: All that `time_unit` may be.
TIME_UNITS = (*SECONDS, NO_UNIT)
# Units of rates, each with that of its inverse.
_RATES = {f"1/{unit}": unit for unit in SECONDS} | {"MHz": "us", "kHz": "ms", "Hz": "s"}
# Steps in a model's fastest time: RK4 then follows it to about 1e-6.
STEPS = 20
# A mean field moves so many times faster than its time constants where it spikes.
_FASTER = 8


def seconds_in(unit: str) -> float:
    """Seconds in a unit of time; of times without unit, that unit, in place of seconds.

    Frequencies are in Hz, or then cycles per unit of time: `frequency_unit` says which.
    """
    return SECONDS.get(unit, 1.0)


def frequency_unit(unit: str) -> str:
    """The unit of frequencies where that of time is this."""
    return "Hz" if unit in SECONDS else "per unit of time"


def rate_unit(unit: str) -> str:
    """The unit of rates of growth where that of time is this."""
    return f"1/{unit}" if unit in SECONDS else "1"


def per_time(unit: str) -> str:
    """The same in words."""
    return f"per {unit}" if unit in SECONDS else "per unit of time"


def units_of(unit: str) -> dict[str, str]:
    """The units of times, rates of growth and frequencies, for titles."""
    return {"unit": unit, "rate": rate_unit(unit), "hertz": frequency_unit(unit)}


def without_hertz(unit: str, time_unit: str) -> str:
    """A unit that was made with Hz, where frequencies are in other ones."""
    return unit if time_unit in SECONDS else unit.removesuffix("/Hz").replace("Hz", "1")


def need_seconds(argument: str, unit: str, what: str) -> None:
    """Refuse times without unit where seconds count."""
    if unit not in SECONDS:
        units = ", ".join(map(repr, SECONDS))
        must = f"have times in a unit for {what}: give its class a `time_unit` ({units})"
        _checks.fail(argument, must, "its times have none")


def usual_sample(model: Any) -> float:
    """Between samples where nobody says it: 1 ms, or a step where that is longer.

    Of times without unit, as many steps as are in the model's fastest time.
    """
    unit = model.time_unit
    if unit not in SECONDS:
        return STEPS * concrete_step(model)
    step = model.time_step  # where JAX traces it, it is not compared
    usual = 1e-3 / SECONDS[unit]
    return max(usual, float(step)) if _checks.is_concrete(step) else usual


def concrete_step(model: Any) -> float:
    """A model's `time_step` as a number, also where JAX traces its parameters."""
    step = model.time_step
    return float(step) if _checks.is_concrete(step) else float(model.known_time_step)


def fastest_of(model: Any) -> Any:
    """An eighth of the shortest time that a model's parameters name; 1 ms where there is none.

    Of times without unit, which parameters do not name, an eighth of that unit.
    """
    times, nothing = _times(model), np.asarray(_nothing_named(model.time_unit))
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


def _nothing_named(unit: str) -> float:
    return 1e-3 / SECONDS[unit] if unit in SECONDS else 1 / _FASTER


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
            found.append(xp.where(size > 0, time * (seconds / seconds_in(model.time_unit)), np.inf))
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
        return [as_array(value) for value in values]
    return [np.asarray(value, float) for value in values]
