"""Travelling waves: which way phases fall, how fast they go, how long they are."""

import enum
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.signals._arrays import (
    Band,
    Number,
    as_number,
    as_signal,
    at_once,
    real_type,
    rounding,
    square,
)
from ngnmm_jax.signals.phase import _FLANK, analytic_signal
from ngnmm_jax.signals.spaces import AbstractSpace, check_space

#: Steps of the phase beyond this are not told from others: fewer than three nodes a wavelength, or
#: samples a period. Around a triangle with smaller steps the phase comes back to itself.
LARGEST_STEP = 2 * np.pi / 3


class Undefined(enum.IntEnum):
    """Why a cell has no wave: `KNOWN` it has one.

    `SILENT`: no amplitude at one of its nodes. `COARSE`: the phase steps by over 2π/3 between two
    of its nodes (a wave that is too short for them, or a rotor inside). `FAST`: by that from one
    sample to the next.
    """

    KNOWN = 0
    SILENT = 1
    COARSE = 2
    FAST = 3


class TravellingWaves(AbstractResult):
    """The wave at each cell of a space, in each window of time.

    A wave is amplitude · cos(2π frequency t - wavevector · x): it goes where its wavevector points.

    - `times` (window,): the windows' centres, in s from the signal's first sample.
    - `wavevector` (window, cell, axis): minus the gradient of the phase, rad/mm; NaN where it is
      undefined.
    - `frequency` (window, cell): how fast the phase turns, Hz; NaN where it is undefined.
    - `amplitude` (window, cell): root of the mean square of the envelope, in the signal's unit.
    - `coherence` (window, cell): the least of its neighbours in the window, 0 … 1: how steady their
      phase difference is. 1 in windows of one sample.
    - `fit` (window, cell): the share of the phase's steps that one wavevector explains; 1 on the
      faces of a mesh, which have no more steps than that takes. NaN where it is undefined.
    - `undefined` (window, cell): `Undefined`, as numbers.
    - `space`: where cells are.
    - `status` (window,): NOT_FINITE where no cell has a wave.
    """

    times: Float[Array, "window"]
    wavevector: Float[Array, "window cell axis"]
    frequency: Float[Array, "window cell"]
    amplitude: Float[Array, "window cell"]
    coherence: Float[Array, "window cell"]
    fit: Float[Array, "window cell"]
    undefined: Int[Array, "window cell"]
    space: AbstractSpace

    @property
    def status(self) -> Int[Array, "window"]:
        """Whether any cell has a wave (`Status`)."""

        def found(xp: Any, why: Any) -> Any:
            some = (why == Undefined.KNOWN).any(axis=1)
            return xp.where(some, int(Status.OK), int(Status.NOT_FINITE))

        return at_once(found, self.undefined)

    @property
    def stats(self) -> dict[str, Any]:
        """Shares of cells and windows without a wave, by reason."""
        reasons = [reason for reason in Undefined if reason != Undefined.KNOWN]
        shares = at_once(lambda _, why: [(why == k).mean() for k in reasons], self.undefined)
        return {k.name.lower(): share for k, share in zip(reasons, shares, strict=True)}

    def summary(self) -> dict[str, Any]:
        """How many there are, and medians over cells and windows."""
        numbers = {"wavelength (mm)": self.wavelength, "speed (m/s)": self.speed}
        numbers |= {"frequency (Hz)": self.frequency, "directionality": self.directionality}
        medians = {f"median {name}": np.nanmedian(value) for name, value in numbers.items()}
        return {"windows": self.times.shape[0], "cells": self.areas.shape[0], **medians}

    @property
    def areas(self) -> Float[Array, "cell"]:
        """Of cells, mm² (mm on a line)."""
        return self.space.areas

    @property
    def wavenumber(self) -> Float[Array, "window cell"]:
        """Modulus of the wavevector, rad/mm."""
        return at_once(lambda xp, k: xp.linalg.norm(k, axis=-1), self.wavevector)

    @property
    def wavelength(self) -> Float[Array, "window cell"]:
        """2π / wavenumber, mm; infinite where neighbours are in phase."""
        return at_once(lambda xp, k: 2 * xp.pi / k, self.wavenumber)

    @property
    def speed(self) -> Float[Array, "window cell"]:
        """Of the phase, frequency · wavelength, m/s; infinite where neighbours are in phase.

        Negative where the phase turns backwards: such a wave goes against its wavevector.
        """
        return at_once(lambda _, f, length: f * length / 1000, self.frequency, self.wavelength)

    @property
    def direction(self) -> Float[Array, "window cell axis"]:
        """The wavevector over its modulus; NaN where neighbours are in phase."""
        return at_once(lambda _, k, size: k / size[..., None], self.wavevector, self.wavenumber)

    @property
    def directionality(self) -> Float[Array, "window"]:
        """Modulus of the mean wavevector over the mean of the moduli, by areas: 1 in a plane wave.

        Of cells with a wave; NaN where these have none, or are in phase. On a closed surface no
        wave can have 1.

        Source: "phase gradient directionality" of Rubino, Robbins and Hatsopoulos, Nat. Neurosci.
        9, 1549 (2006).
        """

        def found(xp: Any, why: Any, vectors: Any, areas: Any) -> Any:
            known = (why == Undefined.KNOWN)[..., None]
            weighted = xp.where(known, vectors, 0.0) * areas[:, None]
            total = xp.linalg.norm(weighted.sum(axis=1), axis=-1)
            return total / xp.linalg.norm(weighted, axis=-1).sum(axis=1)

        return at_once(found, self.undefined, self.wavevector, self.areas)

    @property
    def divergence(self) -> Float[Array, "window node"]:
        """Of wavevectors, rad/mm²: above zero where waves begin, below where they end.

        NaN on the rim, and beside cells without a wave.
        """
        return self.space.divergence(self.wavevector)


def travelling_waves(
    signal: ArrayLike,
    sampling_interval: Number,
    space: AbstractSpace,
    band: Band | None = None,
    *,
    window: Number | None = None,
) -> TravellingWaves:
    """Wavevectors and frequencies of a rhythm, from the phase's steps between neighbours.

    The step from one node to the next is the angle of the mean over a window of conj(z_j) z_k, z
    the analytic signal: between -π and π, so that nothing has to be unwrapped. Plane waves on flat
    meshes and on grids come out exactly, whatever their length above that of three nodes; where
    waves bend, errors are of first order in the distance of nodes. Noise is averaged out over
    windows, by amplitude. Where waves are shorter than that (a phase may step by
    over 2π/3), a sampled phase says too little: such cells are NaN, and counted. Waves with fewer
    than two nodes a wavelength cannot be told from longer ones by any method.

    **Arguments:**

    - `signal` (time, node): real, or analytic already (complex), as `analytic_signal` gives it.
    - `sampling_interval`: s.
    - `space`: a `Mesh`, a `Grid` or `Points`.
    - `band`: of the rhythm, its lowest and highest frequency in Hz; of real signals only. As much
      time as the inverse of the filter's flanks, 4 / (highest - lowest), is left out at either end,
      which see each other in the filter. Of a rhythm that does not fit into the signal a whole
      number of times, 2 % of frequency and wavenumber are in doubt next to that, and less inside.
    - `window`: s, one after the other (what is left at the end is left out); by default each
      sample is one.

    Arrays of the result have a place for each window and cell: at 10^5 nodes take windows.

    Raises `ValueError` for bad arguments, and where the signal is too short for its band.

    Source: of wavevectors from phase gradients, Rubino, Robbins and Hatsopoulos, Nat. Neurosci. 9,
    1549 (2006); of products in place of unwrapped phases, Davis et al., Nature 587, 432 (2020).
    """
    z, first, least = analytic(signal, sampling_interval, space, band)
    dt = as_number(sampling_interval)
    length = 1
    if window is not None:
        _checks.positive("window", window)
        length = max(1, round(as_number(window) / dt))
    count = (z.shape[0] - 2) // length
    if count < 1:
        lasts = (z.shape[0] - 2) * dt
        _checks.fail("window", f"be {lasts:g} s or less, what is left", f"it is {window:g}")
    found = _waves(z, dt, space, least, length, count)
    times = (first + 1 + length * np.arange(count) + (length - 1) / 2) * dt
    return TravellingWaves(jax.device_put(times.astype(real_type(z))), space=space, **found)


def analytic(
    signal: Any, sampling_interval: Any, space: AbstractSpace | None, band: Band | None
) -> tuple[jax.Array, int, jax.Array]:
    """An analytic signal (time, node) without its ends, its first sample, and what is silence.

    `space` is None where nothing is asked of the nodes.
    """
    signal = signal if isinstance(signal, jax.Array) else np.asanyarray(signal)
    if jnp.iscomplexobj(signal):
        if band is not None:
            _checks.fail("band", "be left out for analytic signals", f"it is {band}")
        halves = at_once(lambda xp, z: (xp.real(z), xp.imag(z)), signal)
        parts = [as_signal(half, sampling_interval, ndim=2) for half in halves]
        z, margin = at_once(lambda _, real, imag: real + 1j * imag, *parts), 0
    else:
        array = as_signal(signal, sampling_interval, ndim=2)
        if band is None:
            _checks.fail("band", "say which rhythm is meant, (lowest, highest) in Hz", "it is None")
        z = analytic_signal(array, sampling_interval, band)
        low, high = map(as_number, band)
        margin = int(np.ceil(1 / (_FLANK * (high - low)) / as_number(sampling_interval)))
    if space is not None:
        check_space(space, "signal", z.shape)
    if z.shape[0] - 2 * margin < 3:
        lasts = (2 * margin + 3) * as_number(sampling_interval)
        must = f"last {lasts:.3g} s or more for this band (a wider one needs less)"
        _checks.fail("signal", must, f"it lasts {z.shape[0] * as_number(sampling_interval):.3g} s")
    real = jax.ShapeDtypeStruct((), np.real(np.zeros((), signal.dtype)).dtype)
    small, last = rounding(real), z.shape[0] - margin
    least = at_once(lambda xp, x: (small * xp.abs(x).max()).astype(real_type(z)), signal)
    return at_once(lambda _, x: x[margin:last], z), margin, least


@partial(jax.jit, static_argnames=("length", "count"))
def _waves(
    z: jax.Array, dt: Any, space: AbstractSpace, least: jax.Array, length: int, count: int
) -> dict[str, jax.Array]:
    """Of each window, what `TravellingWaves` has between `times` and `space`."""
    z, least, top = about_one(z, least)

    def one(start: jax.Array) -> dict[str, jax.Array]:
        # A sample before and after the window too.
        part = jax.lax.dynamic_slice_in_dim(z, start, length + 2)
        inside = part[1:-1]
        power = square(inside).mean(axis=0)
        silent = (power <= least**2)[space.corners].any(axis=-1)
        product = (inside[:, space.pairs[:, 0]].conj() * inside[:, space.pairs[:, 1]]).mean(axis=0)
        size = power[space.pairs[:, 0]] * power[space.pairs[:, 1]]
        known = size > 0
        coherence = jnp.where(known, square(product) / jnp.where(known, size, 1.0), 0.0)
        steps = phases(product)
        onward = part[:-1].conj() * part[1:]
        turning = phases((onward[:-1] + onward[1:]).mean(axis=0))
        coarse = (jnp.abs(steps) > LARGEST_STEP)[space.sides].any(axis=-1)
        fast = (jnp.abs(turning) > LARGEST_STEP)[space.corners].any(axis=-1)
        why = jnp.where(coarse, Undefined.COARSE, jnp.where(fast, Undefined.FAST, Undefined.KNOWN))
        why = jnp.where(silent, Undefined.SILENT, why)
        lost = why != Undefined.KNOWN
        gradient = space.gradient(steps)
        turns = space.at_cells(turning) / (2 * jnp.pi * dt)
        return {
            "wavevector": jnp.where(lost[:, None], jnp.nan, -gradient),
            "frequency": jnp.where(lost, jnp.nan, turns),
            "amplitude": top * jnp.sqrt(space.at_cells(power)),
            "coherence": jnp.sqrt(coherence[space.sides].min(axis=-1)),
            "fit": jnp.where(lost, jnp.nan, _fit(space, steps, gradient)),
            "undefined": why,
        }

    return jax.lax.map(one, length * jnp.arange(count))


def about_one(z: jax.Array, least: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """An analytic signal and what is silence, over the largest part, and that: squares are safe."""
    top = jnp.maximum(jnp.abs(z.real).max(), jnp.abs(z.imag).max())
    top = jax.lax.stop_gradient(jnp.where(top > 0, top, 1.0))
    return z / top, least / top, top


def phases(product: jax.Array) -> jax.Array:
    """The angle of products, zero where it is rounding, or there is none; so is its derivative."""
    eps = 16 * jnp.finfo(product.dtype).eps
    some = (jnp.abs(product.imag) > eps * product.real) | (product.real < 0)
    return jnp.where(some, jnp.angle(jnp.where(some, product, 1.0)), 0.0)


def _fit(space: AbstractSpace, steps: jax.Array, gradient: jax.Array) -> jax.Array:
    """The share of the squared steps of each cell that its gradient explains."""
    each = steps[space.sides]
    left = each - jnp.einsum("ca,csa->cs", gradient, space.ways)
    total = (each**2).sum(axis=-1)
    some = total > 0
    return jnp.where(some, 1 - (left**2).sum(axis=-1) / jnp.where(some, total, 1.0), 1.0)
