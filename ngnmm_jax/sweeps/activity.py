"""Sweeps of simulated activity: which summaries, and how the runs are laid out."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.definition import described, ordered
from ngnmm_jax._core.lanes import map_chunks
from ngnmm_jax._core.parameters import INPUT, SCATTER, noise_name, noise_of
from ngnmm_jax._core.programs import body, program
from ngnmm_jax._core.types import Time
from ngnmm_jax.integrators import AbstractFixedStep, fixed, identified
from ngnmm_jax.integrators.steps import common_step
from ngnmm_jax.models.times import SECONDS
from ngnmm_jax.observe.balloon import BalloonWindkessel
from ngnmm_jax.observe.bold import bold
from ngnmm_jax.signals.spectra import BANDS
from ngnmm_jax.simulation.precision import cast
from ngnmm_jax.simulation.start import initial_states
from ngnmm_jax.sweeps.measures import AbstractMeasure, Output, Points, System
from ngnmm_jax.sweeps.streaming import SUMMARIES, Plan, streamed
from ngnmm_jax.systems.driven import Driven, driven, noise_key, undriven
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network

# Runs that a CPU core takes at a time: a tile of the state stays in its cache.
_CPU_RUNS = 32
# Of a GPU's memory, what the runs may fill; arrays of the state's size that a step holds
# beside what is gathered; and runs at most.
_SHARE, _COPIES, _GPU_RUNS = 0.5, 40, 65_536
# Samples of a window, about.
_WINDOW = 256


@dataclasses.dataclass(frozen=True)
class Activity(AbstractMeasure):
    """Summaries of simulated activity, taken while it is integrated.

    Memory does not grow with the duration ("trace" excepted, and "bold" by a volume at a time).
    Each run starts at its own equilibrium plus noise, as `simulate` does, with the seed of its
    replicate. Of a `Driven` network the noise and the stimulus act in all runs.

    **Arguments:** times are in the model's unit.

    - `duration`: how long activity is measured, after `transient`.
    - `transient`: time left out before that.
    - `integrator`: any of `simulate`'s with a fixed step; by default "rk4" where `dt` is given,
      else "moebius" where the model has an exact flow and "rk4" where it has none.
    - `dt`: the step; by default the longest up to the integrator's `longest_step` (the model's
      `time_step`, with "moebius" twice that) that divides the other times.
    - `sample`: time between samples, by default 1 ms; extrema are those of the samples.
    - `signals`: variables, or what the model shows; by default that.
    - `keep`: names of summaries: "mean", "variance", "minimum", "maximum", "spectrum" (Welch's
      density), "peak_frequency", "band_power", all of them per region; "fc" (Pearson's correlation
      between regions), "fc_mean" (of all pairs); "field_variance", "field_spectrum",
      "field_peak_frequency", "field_band_power" of the mean over regions; "bold" (what a scanner
      sees of the signal, and "bold_fc", its correlations); "trace" (the samples). Correlations and
      peaks are NaN where a signal is constant to rounding, band powers in bands that hold none of
      the spectrum's frequencies or go beyond half the sampling rate.
    - `segment`: of Welch's windows (Hann, overlapping by half); by default half the duration or
      less, about 500 samples at most.
    - `bands`: of "band_power": name and (low, high) in Hz.
    - `scatter`: standard deviation of the initial noise.
    - `repetition_time`: between volumes of BOLD, which the duration must be a multiple of;
      `haemodynamics`: its `BalloonWindkessel`.
    - `dtype`: "float32" or "float64"; by default that of the network.

    Beside what is kept comes "below_zero": the fraction of values of `nonnegative` variables, in
    all steps, that white noise took below zero (see `Driven`).

    A design can also vary "scatter", the strengths of white noise ("input_noise", "v_e_noise",
    …; see `Driven`), and initial values as "v_e(0)" (the other variables start as before).
    """

    duration: Time = 2000.0
    transient: Time = 500.0
    integrator: AbstractFixedStep | str | None = None
    dt: Time | None = None
    sample: Time | None = None
    signals: Sequence[str] = ()
    keep: Sequence[str] = (
        "mean",
        "variance",
        "minimum",
        "maximum",
        "peak_frequency",
        "band_power",
        "fc_mean",
        "field_variance",
        "field_peak_frequency",
    )
    segment: Time | None = None
    bands: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=lambda: BANDS)
    scatter: float = 0.01
    repetition_time: Time | None = None
    haemodynamics: BalloonWindkessel | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        for name in ("duration", "transient", "dt", "sample", "segment", "repetition_time"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _checks.time(name, value))

    def extras(self, system: System) -> tuple[str, ...]:
        names = system.model.variables
        noises = map(noise_name, (INPUT, *names))
        return (SCATTER, *noises, *(f"{name}(0)" for name in names))

    def plan(self, system: System) -> tuple[Plan, float]:
        """Numbers of steps and samples, and the step; `ValueError` where they do not fit."""
        self._check(system)
        dt, second = self._step(system), SECONDS[system.model.time_unit]
        sample = max(1, round(1e-3 / second / dt)) * dt if self.sample is None else self.sample
        stride = _whole("sample", sample, dt, "steps `dt`")
        n = _whole("duration", self.duration, sample, "samples")
        transient = _whole("transient", self.transient, sample, "samples") if self.transient else 0
        volume = self._volume(system, n, sample)
        window = self._window(n, sample, volume)
        plan = Plan(
            method=self._method(system),
            stride=stride,
            window=window,
            windows=n // window,
            transient=transient,
            interval=float(sample * second),
            signals=self._signals(system),
            keep=tuple(self.keep),
            bands=tuple((float(low), float(high)) for low, high in self.bands.values()),
            volume=volume // window if volume else 1,
            blood_step=(self.haemodynamics or BalloonWindkessel()).time_step,
        )
        return plan, float(dt)

    def _check(self, system: System) -> None:
        model = system.model
        self._method(system)
        _checks.positive("dt", self._step(system))
        for name in ("sample", "duration", "transient", "segment"):
            if getattr(self, name):
                _checks.positive(name, getattr(self, name))
        if not (math.isfinite(self.scatter) and self.scatter >= 0):
            but = f"it is {self.scatter}"
            _checks.fail("scatter", "be a finite number that is not negative", but)
        if isinstance(self.keep, str) or not self.keep:
            _checks.fail("keep", "be a list of summaries", f"it is {self.keep!r}")
        for name in self.keep:
            _checks.one_of("keep", name, SUMMARIES)
        for name in self._signals(system):
            _checks.one_of("signals", name, dict.fromkeys((*model.variables, model.shown)))
        for name, band in self.bands.items():
            if np.shape(band) != (2,) or not 0 <= band[0] < band[1]:
                _checks.fail("bands", f"rise from 0 Hz or above in {name!r}", f"it is {band}")

    def _volume(self, system: System, n: int, sample: float) -> int:
        """Samples from one volume of BOLD to the next; 0 where there is none."""
        if not any(name.startswith("bold") for name in self.keep):
            return 0
        if self.repetition_time is None:
            _checks.fail("repetition_time", "be given for BOLD", "it is not")
        samples = _whole("repetition_time", self.repetition_time, sample, "samples")
        if n % samples:
            time = f"{self.repetition_time:g} {system.model.time_unit}"
            _checks.fail("duration", f"be a multiple of {time}", f"it is {self.duration:g}")
        return samples

    def _window(self, n: int, sample: float, volume: int) -> int:
        """Samples of a window, half a segment, which divides all `n`, and each volume."""
        divided = math.gcd(n, volume) if volume else n
        if self.segment is None:
            most = max(1, min(_WINDOW, n // 4))
            window = max(k for k in range(1, most + 1) if divided % k == 0)
        else:
            window = _whole("segment", self.segment, 2 * sample, "pairs of samples")
        spectral = any("frequency" in k or "spectrum" in k or "band" in k for k in self.keep)
        if divided % window or (spectral and (window < 4 or n < 2 * window)):
            few = ", two at least, of 4 samples or more" if spectral else ""
            _checks.fail(
                "duration",
                f"be a whole number of half segments{few}",
                f"it is {n} samples and half a segment {window}",
            )
        return window

    def _method(self, system: System) -> AbstractFixedStep:
        return fixed(system.model, self.integrator, self.dt)

    def over(self, system: System, design: Any) -> "Activity":
        """With a step that follows the fastest of the design's points."""
        if self.dt is not None:
            return self
        step = self._step(system, design.points())
        return dataclasses.replace(self, dt=step, integrator=self._method(system))

    def _step(self, system: System, points: Points | None = None) -> float:
        if self.dt is not None:
            return self.dt
        longest = self._method(system).longest_step(system, points)
        sample = 1e-3 / SECONDS[system.model.time_unit] if self.sample is None else self.sample
        times = [t for t in (sample, self.transient, self.duration) if t > 0]
        return common_step(np.array(times), longest) or longest

    def _signals(self, system: System) -> tuple[str, ...]:
        if isinstance(self.signals, str):
            return (self.signals,)
        return tuple(self.signals) or (system.model.shown,)

    def _core(self, system: System) -> System:
        return system.bare() if self.dtype is None else cast(system.bare(), self.dtype)

    def outputs(self, system: System) -> dict[str, Output]:
        plan, _ = self.plan(system)
        model = system.model
        regions = system.state_shape[1] if len(system.state_shape) > 1 else 1
        sizes = {
            "region": regions,
            "other_region": regions,
            "frequency": plan.window + 1,
            "band": len(plan.bands),
            "time": plan.window * plan.windows,
            "volume": plan.windows // plan.volume,
        }
        dtype = str(self._core(system).coupling.dtype)
        units = {**dict(zip(model.variables, model.units, strict=True)),
                 model.shown: model.shown_unit}  # fmt: skip
        result = {}
        for signal in plan.signals:
            for name in plan.keep:
                dims = SUMMARIES[name]
                if isinstance(undriven(system), Homogeneous):
                    dims = tuple(d for d in dims if d not in ("region", "other_region"))
                shape = tuple(sizes[d] for d in dims)
                attrs = {"units": _unit(name, units[signal]), "long_name": _title(signal, name)}
                result[f"{signal}_{name}"] = Output(dims, shape, dtype, attrs)
        attrs = {"units": "1", "long_name": "values of rates and gates that noise took below zero"}
        return result | {"below_zero": Output((), (), dtype, attrs)}

    def coordinates(self, system: System) -> dict[str, tuple[Any, dict[str, Any]]]:
        plan, dt = self.plan(system)
        found: dict[str, tuple[Any, dict[str, Any]]] = {}
        network = undriven(system)
        if isinstance(network, Network):
            found["region"] = (list(network.labels), {})
            found["other_region"] = (list(network.labels), {})
        found["frequency"] = (plan.frequencies, {"units": "Hz"})
        limits = ", ".join(f"{name} {low:g}-{high:g}" for name, (low, high) in self.bands.items())
        found["band"] = (list(self.bands), {"limits_Hz": limits})
        after = plan.stride * dt * (plan.transient + 1 + np.arange(plan.window * plan.windows))
        found["time"] = (after, {"units": system.model.time_unit})
        found["volume"] = (after[plan.window * plan.volume - 1 :: plan.window * plan.volume],
                           {"units": system.model.time_unit})  # fmt: skip
        return found

    def width(self, system: System) -> int:
        device = jax.local_devices()[0]
        if device.platform == "cpu":
            return _CPU_RUNS
        free = (device.memory_stats() or {}).get("bytes_limit", 8 * 2**30) * _SHARE
        plan, _ = self.plan(system)
        variables, *regions = self._core(system).state_shape
        state = variables * math.prod(regions)
        gathered = 4 * plan.window * len(plan.signals) * math.prod(regions)
        if plan.needs("bold", "bold_fc"):
            volume = 3 * plan.windows + 2 * plan.lots[0]
            gathered += volume * len(plan.signals) * math.prod(regions)
        if plan.needs("fc", "fc_mean", "bold_fc"):
            gathered += 3 * len(plan.signals) * math.prod(regions) ** 2
        each = (_COPIES * state + gathered) * np.dtype(self._core(system).coupling.dtype).itemsize
        return int(min(_GPU_RUNS, max(1, 2 ** int(math.log2(max(1.0, free / each))))))

    def evaluate(
        self, system: System, points: Points, seeds: np.ndarray, width: int | None
    ) -> dict[str, np.ndarray]:
        core, n = self._core(system), seeds.size
        width = self.width(system) if width is None else width
        given = dict(points)
        scatter = np.broadcast_to(given.pop(SCATTER, np.array(self.scatter)), (n,))
        initial = {name: given.pop(f"{name}(0)", None) for name in core.model.variables}
        plan, dt = self.plan(system)
        numbers = jnp.asarray(seeds)
        core_at_rest = undriven(system).bare()
        starts = initial_states(core_at_rest, given, scatter, seeds, in_blocks=True)
        for k, value in enumerate(initial.values()):
            if value is not None:
                starts[:, k] = value.reshape(n, *[-1] * (starts.ndim - 2))
        dtype = core.coupling.dtype
        lanes = {
            "point": {name: value.astype(dtype) for name, value in given.items()},
            "start": starts.astype(dtype),
            "key": jax.vmap(noise_key)(numbers),
        }
        haemodynamics = self.haemodynamics or BalloonWindkessel()
        shared = (
            _with_noise(core, given),
            jnp.asarray(dt, dtype),
            plan.steps,
            jax.tree.map(lambda leaf: _over_runs(leaf, dtype), haemodynamics),
        )
        fields = map_chunks(
            streamed(plan), shared, lanes, chunk=width, progress=False, lockstep=True
        )
        if isinstance(undriven(system), Network):
            return fields
        return _without_region(fields, plan)

    def refined(self, system: System) -> "Activity":
        _, dt = self.plan(system)
        sample = self.plan(system)[0].stride * dt
        method = self._method(system)
        return dataclasses.replace(self, dt=dt / 2, sample=sample, integrator=method)

    def definition(self, system: System) -> dict[str, Any]:
        plan, dt = self.plan(system)
        return {
            "measure": "activity",
            **dataclasses.asdict(plan),
            "method": identified(plan.method, undriven(system).bare()),
            "dt": dt,
            "bands": ordered(self.bands),
            "scatter": self.scatter,
            **(self._seen() if plan.needs("bold", "bold_fc") else {}),
            "dtype": str(self._core(system).coupling.dtype),
        }

    def _seen(self) -> dict[str, Any]:
        """The haemodynamics: their constants, and their equations where they are a user's."""
        system = self.haemodynamics or BalloonWindkessel()
        found: dict[str, Any] = {"haemodynamics": described(system)["values"]}
        if type(system) is not BalloonWindkessel:
            samples = jax.ShapeDtypeStruct((4,), jnp.result_type(float))
            found["haemodynamics"]["equations"] = program(
                lambda seen, z: bold(z, 0.1, 0.2, haemodynamics=seen), system, samples
            )
            found["haemodynamics"]["class"] = body(type(system))
        return found


def _with_noise(core: System, points: dict[str, Any]) -> Driven:
    """The system with room for the noise that a design varies."""
    system = driven(core)
    varied = [key for name in points if (key := noise_of(name))]
    noise = {**{name: jnp.zeros((), core.coupling.dtype) for name in varied}, **system.noise}
    return Driven(system.system, noise, system.stimulus, system.below_zero)


def _over_runs(leaf: jax.Array, dtype: Any) -> jax.Array:
    """A constant of the haemodynamics, broadcast over (…, region, run)."""
    leaf = leaf.astype(dtype)
    return leaf[:, None] if leaf.ndim else leaf


def _whole(argument: str, value: float, unit: float, of: str) -> int:
    """`value` in units of `unit`, which must be a whole number."""
    count = round(value / unit)
    if count < 1 or abs(count * unit - value) > 1e-6 * unit:
        _checks.fail(argument, f"be a whole number of {of} ({unit:g})", f"it is {value:g}")
    return count


def _unit(summary: str, unit: str) -> str:
    if summary.endswith("frequency"):
        return "Hz"
    if summary in ("fc", "fc_mean", "bold", "bold_fc"):
        return "1"
    square = "1" if unit == "1" else f"({unit})^2"
    if summary.endswith("spectrum"):
        return f"{square}/Hz"
    return square if summary.endswith(("variance", "power")) else unit


def _title(signal: str, summary: str) -> str:
    text = summary.replace("field_", "of the regions' mean: ").replace("_", " ")
    text = text.replace("fc", "functional connectivity").replace("bold", "BOLD")
    return f"{signal}, {text}"


def _without_region(fields: dict[str, np.ndarray], plan: Plan) -> dict[str, np.ndarray]:
    """The fields of a homogeneous system, which has no axes of regions."""
    result = {}
    for name, value in fields.items():
        summary = next((k for k in plan.keep if name.endswith(f"_{k}")), None)
        gone = [] if summary is None or name == "status" else [
            1 + axis for axis, dim in enumerate(SUMMARIES[summary]) if "region" in dim
        ]  # fmt: skip
        result[name] = value.squeeze(tuple(gone))
    return result
