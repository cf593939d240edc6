"""How time goes along a cycle, whose profile is on [0, 1]: freely, or as a drive says."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import ParametrisedField
from ngnmm_jax.dynamics.forced.system import fractions_of


class AbstractClock(eqx.Module):
    """Of unknown scalars: the period, and the slope in units of [0, 1].

    The parameters come first among the scalars, `count` of them; then what the clock adds.
    """

    #: Whether any time can be the first one: then a condition fixes it, and one multiplier is 1.
    phased: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def scalars(self, parameters: Any, period: Any) -> np.ndarray:
        """The parameters, and what the clock adds to them."""

    @abc.abstractmethod
    def period(self, field: ParametrisedField, scalars: Any) -> Float[Array, ""]:
        """The cycle's."""

    @abc.abstractmethod
    def slope(self, field: ParametrisedField, x: Any, scalars: Any, at: Any) -> Any:
        """dx/ds at a place s = `at` of [0, 1]."""

    @abc.abstractmethod
    def half(self) -> "AbstractClock":
        """That of a cycle which this one's runs through twice."""

    @abc.abstractmethod
    def may_halve(self) -> bool:
        """Whether there can be such a cycle."""

    def turned(self, scalars: Any, factor: float) -> Any:
        """The scalars of a cycle whose period is so many times as long."""
        return scalars

    def snapped(self, mesh: Float[np.ndarray, "point"]) -> Float[np.ndarray, "point"]:
        """A mesh with points where slopes jump."""
        return mesh

    @property
    def added(self) -> int:
        """How many scalars it adds."""
        return 0


class Free(AbstractClock):
    """The period is unknown: its logarithm follows the parameters."""

    phased: ClassVar[bool] = True

    def scalars(self, parameters: Any, period: Any) -> Any:
        return np.append(parameters, np.log(period))

    def period(self, field: ParametrisedField, scalars: Any) -> Float[Array, ""]:
        return jnp.exp(scalars[len(field.names)])

    def slope(self, field: ParametrisedField, x: Any, scalars: Any, at: Any) -> Any:
        return self.period(field, scalars) * field(x, scalars[: len(field.names)])

    def half(self) -> "Free":
        return self

    def may_halve(self) -> bool:
        return True

    def turned(self, scalars: Any, factor: float) -> Any:
        return scalars + np.eye(scalars.size)[-1] * np.log(factor)

    @property
    def added(self) -> int:
        return 1


class Kept(AbstractClock):
    """The period is given."""

    duration: Float[Array, ""]
    phased: ClassVar[bool] = True

    def scalars(self, parameters: Any, period: Any) -> Any:
        return np.asarray(parameters)

    def period(self, field: ParametrisedField, scalars: Any) -> Float[Array, ""]:
        return self.duration

    def slope(self, field: ParametrisedField, x: Any, scalars: Any, at: Any) -> Any:
        return self.duration * field(x, scalars[: len(field.names)])

    def half(self) -> "Kept":
        return Kept(self.duration / 2)

    def may_halve(self) -> bool:
        return True


class Drive(AbstractClock):
    """A drive's, through so many of its periods (`turns`).

    `edges` (edge,): where pieces of one of its periods begin, as fractions of it, at the
    parameters at which the curve begins: they keep their places on [0, 1] where the drive's
    own move, so that slopes jump at points of the mesh alone.
    """

    edges: Float[Array, "edge"]
    turns: int = eqx.field(static=True)
    phased: ClassVar[bool] = False

    @classmethod
    def of(cls, system: Any, turns: int) -> "Drive":
        """That of a system's drive."""
        return cls(as_array(fractions_of(system)), turns)

    def scalars(self, parameters: Any, period: Any) -> Any:
        return np.asarray(parameters)

    def period(self, field: ParametrisedField, scalars: Any) -> Float[Array, ""]:
        return self.turns * field.at(as_array(scalars[: len(field.names)])).drive_period

    def slope(self, field: ParametrisedField, x: Any, scalars: Any, at: Any) -> Any:
        p = scalars[: len(field.names)]
        system = field.at(p)
        turn = jnp.clip(jnp.floor(at * self.turns), 0, self.turns - 1)
        place = at * self.turns - turn
        here, now = self.edges, fractions_of(system)
        widths, lengths = (jnp.diff(jnp.append(edges, 1.0)) for edges in (here, now))
        k = jnp.searchsorted(here, place, side="right") - 1
        rate = lengths[k] / widths[k]
        fraction = now[k] + (place - here[k]) * rate
        # A piece that has no place on [0, 1] would be left out.
        rate = jnp.where(((widths == 0) & (lengths > 0)).any(), jnp.nan, rate)
        period = system.drive_period
        return self.turns * period * rate * field(x, p, period * (turn + fraction))

    def half(self) -> "Drive":
        return Drive(self.edges, self.turns // 2)

    def may_halve(self) -> bool:
        return self.turns % 2 == 0

    def snapped(self, mesh: Float[np.ndarray, "point"]) -> Float[np.ndarray, "point"]:
        if self.turns * self.edges.shape[0] == 1:
            return mesh
        places = (np.arange(self.turns)[:, None] + np.asarray(self.edges)).ravel() / self.turns
        nearest = np.abs(mesh[:, None] - places).argmin(axis=0)
        snapped = mesh.copy()
        snapped[nearest] = places
        return snapped
