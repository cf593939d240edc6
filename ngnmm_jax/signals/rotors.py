"""Rotors: places that a phase winds around."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.signals._arrays import Band, Number, as_number, at_once, real_type, square
from ngnmm_jax.signals.spaces import AbstractSpace
from ngnmm_jax.signals.waves import about_one, analytic, phases


class PhaseSingularities(AbstractResult):
    """Where the phase winds around a cell.

    - `times` (time,): s from the signal's first sample.
    - `charge` (time, cell): how often the phase goes around 2π on the way around a cell,
      counter-clockwise seen from outside (from above): 1, -1, or 0 where nothing turns.
    - `undefined` (time, cell): whether one of the cell's nodes has no amplitude, so no phase;
      its charge counts as 0.
    - `space`: where cells are.
    - `status` (time,): NOT_FINITE where all are undefined.
    """

    times: Float[Array, "time"]
    charge: Int[Array, "time cell"]
    undefined: Bool[Array, "time cell"]
    space: AbstractSpace

    @property
    def status(self) -> Int[Array, "time"]:
        """Whether anything is known (`Status`)."""
        return at_once(
            lambda xp, lost: xp.where(lost.all(axis=1), int(Status.NOT_FINITE), int(Status.OK)),
            self.undefined,
        )

    @property
    def stats(self) -> dict[str, Any]:
        """The share of cells and times where a node has no phase."""
        return {"undefined": at_once(lambda _, lost: lost.mean(), self.undefined)}

    def summary(self) -> dict[str, Any]:
        """How many there are, of each sign, and what they add up to."""
        counts = {"positive": self.positive, "negative": self.negative, "total": self.total}
        return {"times": self.times, **counts}

    @property
    def positive(self) -> Int[Array, "time"]:
        """How many have charge 1."""
        return at_once(lambda _, charge: (charge > 0).sum(axis=1), self.charge)

    @property
    def negative(self) -> Int[Array, "time"]:
        """How many have charge -1."""
        return at_once(lambda _, charge: (charge < 0).sum(axis=1), self.charge)

    @property
    def total(self) -> Int[Array, "time"]:
        """The sum of charges: 0 on a closed surface or a torus, where all phases are known.

        On a surface with a rim it is how often the phase winds along that.
        """
        return at_once(lambda _, charge: charge.sum(axis=1), self.charge)

    def places(self, index: int) -> dict[str, np.ndarray]:
        """At a time's index: `centres` (rotor, axis) in mm, `charges` and `cells` (rotor,)."""
        charge = np.asarray(self.charge[index])
        cells = np.flatnonzero(charge)
        centres = np.asarray(self.space.centres)[cells]
        return {"centres": centres, "charges": charge[cells], "cells": cells}


def phase_singularities(
    signal: ArrayLike,
    sampling_interval: Number,
    space: AbstractSpace,
    band: Band | None = None,
) -> PhaseSingularities:
    """Rotors: cells around which the phase winds once, at each time.

    The phase's steps along the sides of a cell, each between -π and π, add up to 2π times an
    integer. A side that two cells share steps forth in one and back in the other, so that charges
    of all cells add up to the winding along the rim: to 0 on a closed surface. Where waves have
    fewer than three nodes a wavelength, or noise is as strong as they are, such sums are chance;
    see `TravellingWaves.undefined` (`COARSE`) for how many cells are in doubt.

    **Arguments:** as those of `travelling_waves`; `space` is a `Mesh`, or a `Grid` of two axes.
    Of phases alone give exp(i phase).

    Source: Iyer and Gray, Ann. Biomed. Eng. 29, 47 (2001).
    """
    z, first, least = analytic(signal, sampling_interval, space, band)
    space.check_turns()
    charge, undefined = _windings(z, space, least)
    times = (first + np.arange(z.shape[0])) * as_number(sampling_interval)
    return PhaseSingularities(jax.device_put(times.astype(real_type(z))), charge, undefined, space)


@jax.jit
def _windings(z: jax.Array, space: AbstractSpace, least: jax.Array) -> tuple[jax.Array, jax.Array]:
    z, least, _ = about_one(z, least)

    def one(now: jax.Array) -> tuple[jax.Array, jax.Array]:
        steps = phases(now[space.pairs[:, 0]].conj() * now[space.pairs[:, 1]])
        silent = (square(now) <= least**2)[space.corners].any(axis=-1)
        turns = jnp.round(space.around(steps) / (2 * jnp.pi)).astype(int)
        return jnp.where(silent, 0, turns), silent

    return jax.lax.map(one, z)
