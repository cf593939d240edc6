"""What is asked of a system under a periodic drive; the pieces of time in which it is smooth."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.names import STIMULUS

# What stands against noise.
_WHY = {
    "lyapunov_spectrum": (
        ", which compares steps with their halves and needs a trajectory that is smooth in time"
    ),
    "find_orbit": ": nothing returns exactly under it",
}
# States are asked for this part of a piece inside of it: a jump's value is that of its side.
_INSIDE = 1e-12


@runtime_checkable
class ForcedSystem(Protocol):
    """A system whose slope depends on time, and repeats itself: `Driven` is one."""

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Of a state."""
        ...

    @property
    def drive_period(self) -> Any:
        """After which the drive is as it was; None where it does not repeat itself."""
        ...

    @property
    def drive_edges(self) -> Any:
        """When, within a period, the drive is not smooth, (edge,)."""
        ...

    @property
    def time_step(self) -> Any:
        """A step at which RK4 follows it to about 1e-6."""
        ...

    def slope_at(self, t: Any, state: Any) -> Any:
        """Time derivative of a state."""
        ...

    def observed(self, state: Any) -> Any:
        """The quantity whose cycles are counted."""
        ...


def is_driven(system: Any) -> bool:
    """Whether a system may be under a drive."""
    return hasattr(type(system), "slope_at")


def without_noise(system: Any, what: str) -> Any:
    """The system that a driven one is where nothing drives it, or itself.

    `ValueError` where it has noise, or delays beside a drive.
    """
    _checks.a_system(system)
    if not is_driven(system):
        return system
    if getattr(system, "noise", None):
        names = ", ".join(system.noise)
        must = f"be without noise for `{what}`{_WHY.get(what, '')}: `Driven(system, stimulus=…)`"
        _checks.fail("system", must, f"it has noise in {names}")
    if hasattr(system, "stimulus") and system.stimulus is None:
        return system.system
    if getattr(system, "delays", None) is not None:
        must = f"be without delays where it is driven, for `{what}`: `simulate` takes both"
        _checks.fail("system", must, "it has delays")
    return system


def deterministic(system: Any, what: str) -> Any:
    """The same, `ValueError` also where its drive does not repeat itself."""
    system = without_noise(system, what)
    if is_driven(system) and system.drive_period is None:
        kind = type(system.stimulus).__name__
        must = "repeat itself, as `Sine`, `Periodic`, or a sum of such whose periods are as whole"
        _checks.fail("stimulus", f"{must} numbers", f"a {kind} is not known to")
    return system


def undriven(system: Any, what: str, instead: str) -> Any:
    """The system that a driven one is where nothing drives it, or itself.

    `ValueError` where anything does: `instead` says what there is for it.
    """
    _checks.a_system(system)
    if not is_driven(system):
        return system
    noise, stimulus = getattr(system, "noise", None), getattr(system, "stimulus", system)
    if not noise and stimulus is None:
        return system.system
    has = " and ".join(name for name, it in (("noise", noise), ("a stimulus", stimulus)) if it)
    must = f"be without what drives it for `{what}`{instead}"
    _checks.fail("system", must, f"it has {has}: its `system` alone has none")


def only_together(system: Any, names: Any) -> None:
    """Refuse to vary the period of one part of a sum, which would then not repeat itself."""
    if getattr(getattr(system, "stimulus", None), "turns", None) is None:
        return
    for name in names:
        if name.startswith(STIMULUS) and name.endswith("_period"):
            must = (
                "leave the periods of a sum's parts as they are, which together repeat themselves"
            )
            _checks.fail("parameters", must, f"{name} is among them")


class Pieces(NamedTuple):
    """Stretches of time in which the drive is smooth, one after another: when each begins, and how
    long it is, (piece,).
    """

    begins: Any
    lengths: Any


def fractions_of(system: Any) -> Any:
    """Where pieces of one period of the drive begin, (edge,), as fractions of it, from 0 on: on the
    host where they are known.
    """
    edges, period = system.drive_edges, system.drive_period
    xp: Any = np if _checks.is_concrete(edges, period) else jnp
    fractions = xp.asarray(edges) / xp.asarray(period)
    return xp.sort(xp.append(xp.clip(fractions, 0.0, 1.0), 0.0))


def pieces_of(system: Any, turns: int, fewest: int) -> Pieces:
    """Of so many periods of the drive: at least `fewest`, as many in each smooth stretch."""
    edges = fractions_of(system)
    xp: Any = np if isinstance(edges, np.ndarray) else jnp
    period = xp.asarray(system.drive_period, float)
    begins = (xp.arange(turns)[:, None] + edges).ravel()
    lengths = xp.tile(xp.diff(xp.append(edges, 1.0)), turns)
    each = -(-fewest // begins.size)
    parts = xp.arange(each) / each
    begins = (begins[:, None] + lengths[:, None] * parts).ravel()
    return Pieces(period * begins, period * xp.repeat(lengths / each, each))


class Clocked(eqx.Module):
    """A driven system on flat states with a clock behind: (*state, time, low, high).

    The drive is that of times between `low` and `high`, the piece's ends, which stand still: at a
    jump it is that of the piece's own side.
    """

    system: Any

    @property
    def size(self) -> int:
        """Of the state alone."""
        return int(np.prod(self.system.state_shape))

    def slope(self, flat: Float[Array, "size"], clock: Float[Array, "3"]) -> Float[Array, "size"]:
        """Of the state."""
        t = jnp.clip(clock[0], clock[1], clock[2])
        return self.system.slope_at(t, flat.reshape(self.system.state_shape)).ravel()

    def field(self, packed: Float[Array, "packed"]) -> Float[Array, "packed"]:
        """Of the state and the clock."""
        n = self.size
        slope = self.slope(packed[:n], packed[n:])
        return jnp.concatenate([slope, jnp.array([1.0, 0.0, 0.0])])

    def linear(self, packed: Float[Array, "packed"]) -> Float[Array, "size size"]:
        """The state's Jacobian."""
        n = self.size
        return jax.jacfwd(self.slope)(packed[:n], packed[n:])


def packed(xp: Any, flat: Any, pieces: Pieces) -> Any:
    """Flat states (piece, size) at the beginnings of pieces, with their clocks."""
    begins, lengths = map(xp.asarray, pieces)
    clocks = xp.stack([begins, *inside(begins, lengths)], axis=1)
    return xp.concatenate([flat, clocks], axis=1)


def inside(begins: Any, lengths: Any) -> tuple[Any, Any]:
    """The earliest and the latest time of pieces at which the drive is asked for."""
    return begins + _INSIDE * lengths, begins + (1 - _INSIDE) * lengths
