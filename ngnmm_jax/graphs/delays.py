"""How long what regions send is on its way."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import with_fields
from ngnmm_jax._core.pictured import Pictured
from ngnmm_jax._core.types import ParameterArray
from ngnmm_jax.models.parameters import as_parameter, parameter

#: The unit of speeds and of a common delay.
SPEED, MILLISECOND = "mm/ms", 1e-3


class AbstractDelays(Pictured):
    """The time from each region to each other one, in the unit of the model's time.

    A PyTree. What `parameter` declares in it (a speed, say) is a parameter of the network, by name.
    """

    @abc.abstractmethod
    def between(self) -> Float[Array, "..."]:
        """Delays (region, region), row by row those of what a region receives; or () one for all.

        After `over_runs` with a last axis `run`, or one of length 1.
        """

    def card(self) -> tuple[str, dict[str, Any]]:
        """Its class, and what it holds."""
        return type(self).__name__, dict(vars(self))

    @property
    def common(self) -> bool:
        """Whether all connections have the same."""
        return False

    def over_runs(self) -> "AbstractDelays":
        """The same with a last axis, for runs, on what has values per region."""
        spread = {
            name: value[..., None]
            for name, value in vars(self).items()
            if eqx.is_array(value) and value.ndim
        }
        return with_fields(self, **spread)


class CommonDelay(AbstractDelays):
    """One delay for all connections, from a region to itself included.

    **Arguments:**

    - `delay`: in the unit of the model's time. It is the parameter "delay".
    """

    delay: ParameterArray = parameter(
        10.0, unit="unit of time", doc="delay of all connections", positive=True
    )

    def __check_init__(self) -> None:
        _checks.positive("delay", self.delay)
        if jnp.ndim(self.delay):
            _checks.fail("delay", "be one number", f"its shape is {jnp.shape(self.delay)}")

    def between(self) -> Float[Array, "..."]:
        """The delay."""
        return self.delay

    @property
    def common(self) -> bool:
        """All connections have the same."""
        return True


class GivenDelays(AbstractDelays):
    """A delay for each connection.

    **Arguments:**

    - `times` (region, region): in the unit of the model's time, row by row those of what a region
      receives; where there is no connection, they are not looked at.
    """

    times: Float[Array, "region region *run"] = eqx.field(
        converter=lambda value: as_parameter("delays", value)
    )

    def __check_init__(self) -> None:
        _square("delays", self.times)

    def between(self) -> Float[Array, "..."]:
        """The times."""
        return self.times


class TractDelays(AbstractDelays):
    """Lengths of tracts over a speed of conduction.

    **Arguments:**

    - `lengths` (region, region): mm, row by row those of what a region receives.
    - `speed`: mm/ms (which is m/s), for all or for each connection, (region, region). It is the
      parameter "speed".
    - `unit`: that of the model's time, in ms.
    """

    lengths: Float[Array, "region region *run"] = eqx.field(
        converter=lambda value: as_parameter("tract_lengths", value)
    )
    speed: ParameterArray = parameter(10.0, unit=SPEED, doc="conduction speed", positive=True)
    unit: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        _square("tract_lengths", self.lengths)
        _checks.positive("speed", self.speed)
        if jnp.ndim(self.speed) > 1:
            shape = self.lengths.shape
            _checks.shape("speed", self.speed, shape, "one for all, or one for each connection")
        elif jnp.ndim(self.speed):
            must = "be one for all, or (region, region)"
            _checks.fail("speed", must, f"its shape is {jnp.shape(self.speed)}")

    def between(self) -> Float[Array, "..."]:
        """The lengths over the speed; NaN, without derivatives, where there is no length."""
        known = ~jnp.isnan(self.lengths)
        times = jnp.where(known, self.lengths, 1.0) / (self.speed * self.unit)
        return jnp.where(known, times, jnp.nan)


def as_delays(delays: Any) -> AbstractDelays:
    """Delays from one number, from a matrix, or themselves."""
    if isinstance(delays, AbstractDelays):
        return delays
    value = as_parameter("delays", delays)
    if not value.ndim:
        _checks.positive("delays", value)
    return GivenDelays(value) if value.ndim else CommonDelay(value)


def _square(name: str, value: Any) -> None:
    shape = jnp.shape(value)
    if len(shape) not in (2, 3) or shape[0] != shape[1]:
        _checks.fail(name, "have shape (region, region)", f"its shape is {shape}")


def span_of(times: Any, weights: Any) -> tuple[float, float]:
    """The shortest and the longest delay (region, region, …) of connections that there are.

    `ValueError` says which have none: NaN, or not above zero.
    """
    times, weights = np.asarray(times, float), np.asarray(weights)
    each = times.reshape(*times.shape[:2], -1) if times.ndim >= 2 else times.reshape(1, 1, -1)
    there = np.broadcast_to((weights != 0)[..., None], (*weights.shape, each.shape[-1]))
    each = np.broadcast_to(each, there.shape)
    bad = there & ~(np.isfinite(each) & (each > 0))
    if bad.any():
        pairs = np.argwhere(bad.any(axis=-1))
        some = ", ".join(f"{k} → {j}" for j, k in pairs[:5].tolist())
        more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
        _checks.fail(
            "delays",
            "be positive for each connection: give the missing tract lengths (of a region to "
            "itself too), `delays=`, or remove these connections",
            f"those of regions {some}{more} are not",
        )
    if not there.any():
        return 1.0, 1.0
    found = each[there]
    return float(found.min()), float(found.max())
