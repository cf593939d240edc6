"""Summaries of activity, taken while it is integrated: memory does not grow with the time.

Samples are gathered in windows, and each window is reduced before the next one is computed. Two
windows are a segment of Welch's spectral estimate, whose segments overlap by half.
"""

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.parameters import with_leaves
from ngnmm_jax._core.status import Status
from ngnmm_jax.integrators import AbstractFixedStep
from ngnmm_jax.integrators.loops import settled
from ngnmm_jax.observe.balloon import BalloonWindkessel
from ngnmm_jax.observe.bold import places_of, steps_of, through
from ngnmm_jax.signals.connectivity import correlation
from ngnmm_jax.signals.spectra import inside_band
from ngnmm_jax.simulation.saving import select

#: What can be kept of each signal, and its dimensions beside those of the sweep.
SUMMARIES: dict[str, tuple[str, ...]] = {
    "mean": ("region",),
    "variance": ("region",),
    "minimum": ("region",),
    "maximum": ("region",),
    "spectrum": ("frequency", "region"),
    "peak_frequency": ("region",),
    "band_power": ("band", "region"),
    "fc": ("region", "other_region"),
    "fc_mean": (),
    "field_variance": (),
    "field_spectrum": ("frequency",),
    "field_peak_frequency": (),
    "field_band_power": ("band",),
    "bold": ("volume", "region"),
    "bold_fc": ("region", "other_region"),
    "trace": ("time", "region"),
}

# A signal whose standard deviation is this many roundings of its mean, or less, is constant: it
# has no correlation and no peak.
_STILL = 4096


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run's numbers of steps, of samples and of windows, and what is kept of it."""

    method: AbstractFixedStep
    stride: int  # steps from one sample to the next
    window: int  # samples
    windows: int
    transient: int  # samples
    interval: float  # between samples, s
    signals: tuple[str, ...]
    keep: tuple[str, ...]
    bands: tuple[tuple[float, float], ...]
    volume: int  # windows from one volume of BOLD to the next
    blood_step: float = 0.02  # of the haemodynamics, s

    def needs(self, *summaries: str) -> bool:
        """Whether any of these is kept."""
        return any(name in self.keep for name in summaries)

    @property
    def lots(self) -> tuple[int, int, int]:
        """Lots of samples in a volume of BOLD, samples and steps in each, as `bold` has them."""
        samples = self.window * self.volume
        together, steps = steps_of(samples, self.interval, self.blood_step)
        return samples // together, together, steps

    @property
    def compiled(self) -> "Plan":
        """What decides what is compiled: all but `steps`."""
        return dataclasses.replace(self, stride=0, transient=0)

    @property
    def steps(self) -> tuple[jax.Array, jax.Array]:
        """Steps between samples, and samples left out before the first window."""
        return jnp.asarray(self.stride), jnp.asarray(self.transient)

    @property
    def frequencies(self) -> np.ndarray:
        """Those of the spectra (frequency,), Hz."""
        return np.fft.rfftfreq(2 * self.window, self.interval)


def streamed(plan: Plan) -> Callable[[Any, Any], dict[str, jax.Array]]:
    """The one function that takes runs through such a plan in lock-step, for `map_chunks`.

    It takes (driven system, dt, `plan.steps`, haemodynamics); and, with a leading axis of runs,
    "point" (values of parameters), "start" (states) and "key" (of the noise). It returns the
    summaries (run, …).
    """
    return _streamed(plan.compiled)


@lru_cache(maxsize=16)
def _streamed(plan: Plan) -> Callable[[Any, Any], dict[str, jax.Array]]:
    def run(shared: tuple[Any, jax.Array, Any, Any], lanes: dict[str, Any]) -> dict[str, jax.Array]:
        core, dt, (stride, transient), haemodynamics = shared
        points = {name: jnp.moveaxis(value, 0, -1) for name, value in lanes["point"].items()}
        system = with_leaves(core.over_runs(), points)
        start = jnp.moveaxis(lanes["start"], 0, -1)
        stepper = system.stepper(plan.method, dt, lanes["key"])

        def advance(memory: Any) -> Any:
            return stepper.advance(memory, None)

        def sample(memory: Any) -> jax.Array:
            """Signals (signal, region, run); a homogeneous system is one region."""
            state = stepper.state(memory)
            values = select(system.model, plan.signals, state)
            return values.reshape(len(plan.signals), -1, state.shape[-1])

        def samples(carry: Any, count: jax.Array) -> tuple[Any, Any]:
            """A window's signals (sample, …), or the last ones of a longer stretch."""

            def one(k: jax.Array, carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
                memory, values = carry
                memory = jax.lax.fori_loop(0, stride, lambda _, memory: advance(memory), memory)
                return memory, values.at[jnp.minimum(k, plan.window - 1)].set(sample(memory))

            values = jnp.zeros((plan.window, *zero.shape), zero.dtype)
            return jax.lax.fori_loop(0, count, one, (carry, values))

        regions = start.size // start.shape[0] // start.shape[-1]
        zero = jnp.zeros((len(plan.signals), regions, start.shape[-1]), start.dtype)

        def window(carry: Any, number: jax.Array) -> tuple[Any, Any]:
            # Before the first window, number -1, comes what is left out: in the same loop, so that
            # a step is compiled once.
            carry, before = carry
            left_out = number < 0
            carry, values = samples(carry, jnp.where(left_out, transient, plan.window))
            totals = _add(plan, before, values, jnp.maximum(number, 0))
            volume = None
            if "blood" in totals:
                totals["blood"] = _perfused(plan, haemodynamics, totals["blood"], values, number)
                volume = haemodynamics.signal(totals["blood"][0])
            totals = jax.tree.map(lambda a, b: jnp.where(left_out, a, b), before, totals)
            return (carry, totals), (values if plan.needs("trace") else None, volume)

        carry = (stepper.start(start), _empty(plan, zero))
        found = jax.lax.scan(window, carry, jnp.arange(-1, plan.windows))
        (carry, totals), (traces, volumes) = found[0], jax.tree.map(lambda v: v[1:], found[1])
        result = _summaries(plan, totals)
        if volumes is not None:
            result |= _scanned(plan, volumes[plan.volume - 1 :: plan.volume])
        if plan.needs("trace"):
            flat = traces.reshape(-1, *traces.shape[2:])
            result |= {f"{s}_trace": flat[:, k] for k, s in enumerate(plan.signals)}
        result = {name: jnp.moveaxis(value, -1, 0) for name, value in result.items()}
        below, last = stepper.below(carry), stepper.state(carry)
        result["below_zero"] = jnp.zeros(last.shape[-1], last.dtype)
        if below is not None:
            count = below.reshape(-1, last.shape[-1]).sum(axis=0).astype(last.dtype)
            steps = stride.astype(last.dtype) * (transient + plan.window * plan.windows)
            result["below_zero"] = count / (steps * (regions * len(system.may_go_below_zero)))
        finite = settled(last).reshape(-1, last.shape[-1]).all(axis=0)
        if volumes is not None:  # NaN where the blood stopped to flow
            finite &= jnp.isfinite(volumes).reshape(-1, last.shape[-1]).all(axis=0)
        lost = ~jnp.isfinite(start).reshape(-1, start.shape[-1]).all(axis=0)
        status = jnp.where(finite, Status.OK, Status.NOT_FINITE)
        result["status"] = jnp.where(lost, Status.NONE_FOUND, status).astype(jnp.int8)
        return result

    return run


def _empty(plan: Plan, zero: jax.Array) -> dict[str, Any]:
    """Totals before the first window; `zero` has the shape of a sample (signal, region, run)."""
    field = zero[:, :1]
    totals: dict[str, Any] = {"mean": zero, "square": zero, "field": (field, field)}
    if plan.needs("bold", "bold_fc"):
        lots, _, _ = plan.lots
        totals["blood"] = (
            jnp.zeros((4, *zero.shape), zero.dtype),
            jnp.zeros((2, lots, *zero.shape), zero.dtype),
        )
    if plan.needs("minimum"):
        totals["minimum"] = zero + jnp.inf
    if plan.needs("maximum"):
        totals["maximum"] = zero - jnp.inf
    if plan.needs("fc", "fc_mean"):
        signals, regions, runs = zero.shape
        totals["products"] = jnp.zeros((signals, runs, regions, regions), zero.dtype)
    frequencies = plan.window + 1
    for name, like in _spectra(plan, zero, field).items():
        totals[name] = (
            jnp.zeros((plan.window, *like.shape), zero.dtype),
            jnp.zeros((frequencies, *like.shape), zero.dtype),
        )
    return totals


def _spectra(plan: Plan, regions: Any, field: Any) -> dict[str, Any]:
    """The signals whose spectra are needed: of the regions, of their mean."""
    wanted = {}
    if plan.needs("spectrum", "peak_frequency", "band_power"):
        wanted["spectrum"] = regions
    if plan.needs("field_spectrum", "field_peak_frequency", "field_band_power"):
        wanted["field_spectrum"] = field
    return wanted


def _add(
    plan: Plan, totals: dict[str, Any], values: jax.Array, number: jax.Array
) -> dict[str, Any]:
    """Totals with one more window (sample, signal, region, run).

    Means and products are merged as by Chan, Golub and LeVeque (COMPSTAT 1982).
    """
    new = dict(totals)
    field = values.mean(axis=2, keepdims=True)
    n, m = number.astype(values.dtype) * plan.window, float(plan.window)
    mean, centred, step = _merged(totals["mean"], values, n, m)
    between = n * m / (n + m)
    new["mean"] = mean
    new["square"] = totals["square"] + (centred**2).sum(axis=0) + between * step**2
    field_mean, field_centred, field_step = _merged(totals["field"][0], field, n, m)
    field_square = (field_centred**2).sum(axis=0) + between * field_step**2
    new["field"] = (field_mean, totals["field"][1] + field_square)
    if "minimum" in totals:
        new["minimum"] = jnp.minimum(totals["minimum"], values.min(axis=0))
    if "maximum" in totals:
        new["maximum"] = jnp.maximum(totals["maximum"], values.max(axis=0))
    if "products" in totals:
        within = jnp.einsum("tsnr,tsmr->srnm", centred, centred)
        apart = jnp.einsum("snr,smr->srnm", step, step)
        new["products"] = totals["products"] + within + between * apart
    for name, signal in _spectra(plan, values, field).items():
        before, power = totals[name]
        segment = jnp.concatenate([before, signal])
        segment = segment - segment.mean(axis=0)
        hann = jnp.asarray(_hann(2 * plan.window), values.dtype)
        line = jnp.fft.rfft(segment * hann.reshape(-1, 1, 1, 1), axis=0)
        size = line.real**2 + line.imag**2
        new[name] = (signal, power + jnp.where(number > 0, size, 0))
    return new


def _perfused(
    plan: Plan, haemodynamics: BalloonWindkessel, blood: Any, values: jax.Array, number: Any
) -> tuple[jax.Array, jax.Array]:
    """The haemodynamic state, and sums over the lots of a volume, after a window of activity.

    The state goes on volume by volume, so that it depends neither on the windows nor on what is
    computed together; it begins where the first volume's mean leads to.
    """
    state, sums = blood
    _, together, steps = plan.lots
    places = jnp.asarray(places_of(together), values.dtype)
    offset = (number % plan.volume) * plan.window
    sums = jnp.where(offset > 0, sums, 0)

    def gather(k: jax.Array, sums: jax.Array) -> jax.Array:
        lot, place = (offset + k) // together, (offset + k) % together
        more = jnp.stack([values[k], places[place] * values[k]])
        return sums.at[:, lot].add(more)

    sums = jax.lax.fori_loop(0, plan.window, gather, sums)

    def on(state: jax.Array) -> jax.Array:
        start = haemodynamics.steady(sums[0].mean(axis=0) / together)
        state = jnp.where(number < plan.volume, start, state)
        dt = jnp.asarray(plan.interval, values.dtype)
        return through(haemodynamics, state, sums, together, steps, dt)

    full = (number >= 0) & ((number + 1) % plan.volume == 0)
    return jax.lax.cond(full, on, lambda state: state, state), sums


def _scanned(plan: Plan, volumes: jax.Array) -> dict[str, jax.Array]:
    """BOLD (volume, signal, region, run) by name of signal, and its correlations."""
    found = {}
    for k, signal in enumerate(plan.signals):
        bold = volumes[:, k]
        if plan.needs("bold"):
            found[f"{signal}_bold"] = bold
        if plan.needs("bold_fc"):
            least = _STILL * float(jnp.finfo(bold.dtype).eps)
            found[f"{signal}_bold_fc"] = correlation(bold, least)
    return found


def _merged(mean: jax.Array, values: jax.Array, n: Any, m: float) -> tuple[Any, Any, Any]:
    """The mean with one more window, the window about its own mean, and how far apart they were."""
    own = values.mean(axis=0)
    step = own - mean
    return mean + step * (m / (n + m)), values - own, step


def _hann(n: int) -> np.ndarray:
    """A periodic Hann window, as `scipy.signal.welch` takes it."""
    return np.sin(np.pi * np.arange(n) / n) ** 2


def _summaries(plan: Plan, totals: dict[str, Any]) -> dict[str, jax.Array]:
    """What is kept, by name of signal and summary, with the runs along the last axis."""
    count = plan.window * plan.windows
    mean, variance = totals["mean"], totals["square"] / count
    least = _STILL * float(jnp.finfo(mean.dtype).eps)
    still = variance <= (least * jnp.abs(mean)) ** 2
    field_mean, field_square = totals["field"]
    field_still = field_square / count <= (least * jnp.abs(field_mean)) ** 2
    frequencies = jnp.asarray(plan.frequencies, totals["mean"].dtype)
    found: dict[str, jax.Array] = {
        "mean": mean,
        "variance": variance,
        "field_variance": field_square[:, 0] / count,
    }
    found |= {name: totals[name] for name in ("minimum", "maximum") if name in totals}
    if "products" in totals:
        products = totals["products"]
        sd = jnp.sqrt(jnp.diagonal(products, axis1=-2, axis2=-1))
        sd = jnp.where(jnp.swapaxes(still, 1, 2), jnp.nan, sd)
        fc = products / (sd[..., :, None] * sd[..., None, :])
        rows, columns = np.triu_indices(fc.shape[-1], 1)
        found["fc"] = jnp.moveaxis(fc, 1, -1)
        found["fc_mean"] = fc[..., rows, columns].mean(axis=-1)
    for name in ("spectrum", "field_spectrum"):
        if name not in totals:
            continue
        prefix = name.removesuffix("spectrum")
        # One-sided density: all frequencies but zero and Nyquist's count twice.
        scale = np.full(plan.window + 1, 2.0)
        scale[[0, -1]] = 1.0
        scale *= plan.interval / ((_hann(2 * plan.window) ** 2).sum() * (plan.windows - 1))
        power = totals[name][1] * jnp.asarray(scale, frequencies.dtype).reshape(-1, 1, 1, 1)
        power = jnp.moveaxis(power, 0, 1)  # (signal, frequency, region, run)
        peak = frequencies[1:][jnp.argmax(power[:, 1:], axis=1)]
        peak = jnp.where(field_still if prefix else still, jnp.nan, peak)
        bands = [_in_band(plan, power, *band) for band in plan.bands]
        parts = {name: power, f"{prefix}peak_frequency": peak}
        parts[f"{prefix}band_power"] = jnp.stack(bands, axis=1) if bands else power[:, :0]
        if prefix:  # the mean over regions has no axis of them
            parts = {key: value[..., 0, :] for key, value in parts.items()}
        found |= parts
    return {
        f"{signal}_{name}": found[name][k]
        for k, signal in enumerate(plan.signals)
        for name in plan.keep
        if name in found
    }


def _in_band(plan: Plan, power: jax.Array, low: float, high: float) -> jax.Array:
    """Power (signal, frequency, region, run) in a band; NaN where the spectrum does not have it."""
    inside, missing = inside_band(plan.frequencies, low, high)
    if missing:
        return jnp.full_like(power[:, 0], jnp.nan)
    some = jnp.where(inside.reshape(1, -1, 1, 1), power, 0).sum(axis=1)
    return some * jnp.asarray(plan.frequencies[1], power.dtype)
