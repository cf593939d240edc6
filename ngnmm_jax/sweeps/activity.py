"""Sweeps of simulated activity: which summaries, and how the runs are laid out."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.definition import described
from ngnmm_jax._core.lanes import map_chunks
from ngnmm_jax._core.memory import amount, memory
from ngnmm_jax._core.parameters import SCATTER, noise_name, noise_of
from ngnmm_jax._core.placement import devices
from ngnmm_jax._core.programs import digest
from ngnmm_jax._core.starting import first_state
from ngnmm_jax._core.types import Time
from ngnmm_jax.integrators import AbstractFixedStep, Fused, fixed, identified
from ngnmm_jax.integrators.steps import common_step
from ngnmm_jax.models.declarations import visible
from ngnmm_jax.models.notation import notation_of
from ngnmm_jax.models.times import usual_sample, without_hertz
from ngnmm_jax.observe.balloon import BalloonWindkessel
from ngnmm_jax.signals.spectra import BANDS
from ngnmm_jax.simulation.history import past_of
from ngnmm_jax.simulation.precision import cast
from ngnmm_jax.simulation.start import initial_states
from ngnmm_jax.sweeps.along import Along
from ngnmm_jax.sweeps.connectomes import joined
from ngnmm_jax.sweeps.folding import LIMIT
from ngnmm_jax.sweeps.fused import fused, room
from ngnmm_jax.sweeps.measures import AbstractMeasure, Points, System
from ngnmm_jax.sweeps.outputs import Output
from ngnmm_jax.sweeps.streaming import BELOW_ZERO, ENDS, Plan, Shared, streamed
from ngnmm_jax.sweeps.summaries import AbstractSummary, Layout, named
from ngnmm_jax.sweeps.summaries.base import Coordinates, is_regional, whole
from ngnmm_jax.sweeps.summaries.gathering import Gathering
from ngnmm_jax.sweeps.summaries.separate import check_separate
from ngnmm_jax.sweeps.summaries.spectral import PeakFrequency
from ngnmm_jax.systems.delayed import on_grid, spans_of
from ngnmm_jax.systems.driven import Driven, driven, noise_key, undriven
from ngnmm_jax.systems.network import Network
from ngnmm_jax.systems.noises import places

# Runs that a CPU core takes at a time: their states stay in its cache.
_CPU_RUNS = 32
# Of a device's memory, what the runs may fill; arrays of the state's size that a step holds; how
# often a window, and all that is gathered and found, is there; and runs at most.
_SHARE, _COPIES, _GATHERED, _GPU_RUNS = 0.5, 40, 2, 65_536
# Samples of a window, about.
_WINDOW = 256


@dataclasses.dataclass(frozen=True, repr=False)
class Activity(AbstractMeasure):
    """Summaries of simulated activity, taken while it is integrated.

    Memory does not grow with the duration ("trace" excepted, and "bold" by a volume at a time).
    By default each run starts at its own equilibrium plus noise, as `simulate` does, with the seed
    of its replicate. Of a `Driven` network the noise and the stimulus act in all runs.

    **Arguments:** times are in the model's unit.

    - `duration`: how long activity is measured, after `transient`.
    - `transient`: time left out before that.
    - `integrator`: any of `simulate`'s with a fixed step; by default "rk4" where `dt` is given,
      else "moebius" where the model has an exact flow and "rk4" where it has none. On a GPU
      `integrators.Fused` is several times as fast.
    - `dt`: the step; by default the longest up to the integrator's `longest_step` (the model's
      `time_step`, with "moebius" twice that) that divides the other times.
    - `sample`: time between samples, by default 1 ms; extrema are those of the samples, and what
      is faster than half their rate (500 Hz) is folded into spectra: `sweep` warns of peaks in its
      upper quarter.
    - `signals`: variables, or what the model shows; by default that.
    - `keep`: summaries: names of those that are built in, or an `AbstractSummary`, built in
      (`ngnmm_jax.sweeps.summaries`) or your own. Names are "mean", "variance", "minimum",
      "maximum", "spectrum" (Welch's density), "peak_frequency", "band_power", all of them per
      region; "fc" (Pearson's correlation between regions), "fc_mean" (of all pairs);
      "field_variance", "field_spectrum", "field_peak_frequency", "field_band_power" of the mean
      over regions; "bold" (what a scanner sees of the signal, and "bold_fc", its correlations);
      "trace" (the samples). Correlations and peaks are NaN where a signal is constant to rounding,
      band powers in bands that hold none of the spectrum's frequencies or go beyond half the
      sampling rate.
    - `segment`: of Welch's windows (Hann, overlapping by half); by default half the duration or
      less, about 500 samples at most.
    - `bands`: of "band_power" and "field_band_power": name and (low, high) in Hz.
    - `start`: where all runs start, as `simulate` has it: a state (variable, region), or
      (variable,) of all regions, a run (of a network with delays what was sent before goes on), an
      `Orbit`, `Equilibria`, a `SpecialPoint`; or `Along("i_ext_e")`, each at the end of the run
      before it along that axis. By default each at its own equilibrium.
    - `scatter`: standard deviation of the initial noise, about that equilibrium.
    - `repetition_time`: of "bold" and "bold_fc": between volumes, which the duration must be a
      multiple of; `haemodynamics`: their `BalloonWindkessel`.
    - `dtype`: "float32" or "float64"; by default that of the network.

    Beside what is kept comes "below_zero": the fraction of values of `nonnegative` variables, in
    all steps, that white noise took below zero (see `Driven`).

    A design can also vary "scatter", the strengths of noise ("input_noise", "v_e_noise",
    …; see `Driven`), and initial values as "v_e(0)" (the other variables start as before; of
    `Along` those of the first points).
    """

    duration: Time = 2000.0
    transient: Time = 500.0
    integrator: AbstractFixedStep | str | None = None
    dt: Time | None = None
    sample: Time | None = None
    signals: Sequence[str] = ()
    keep: Sequence[str | AbstractSummary] = (
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
    bands: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=lambda: dict(BANDS))
    start: Any = None
    scatter: float = 0.01
    repetition_time: Time | None = None
    haemodynamics: BalloonWindkessel | None = None
    dtype: str | None = None
    # From the shortest to the longest delay of all points, of each coupling that has any.
    _spans: Any = dataclasses.field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("duration", "transient", "dt", "sample", "segment", "repetition_time"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _checks.time(name, value))

    def extras(self, system: System) -> tuple[str, ...]:
        names = system.model.variables
        noises = map(noise_name, places(system.model))
        return (SCATTER, *noises, *(f"{name}(0)" for name in names))

    def plan(self, system: System) -> tuple[Plan, float]:
        """How it is computed, and the step; `ValueError` where the times do not fit."""
        self._check(system)
        dt, unit = self._step(system), system.model.time_unit
        sample = (
            max(1, round(usual_sample(system.model) / dt)) * dt
            if self.sample is None
            else self.sample
        )
        transient = whole("transient", self.transient, sample, "samples") if self.transient else 0
        gathering = self._gathering()
        plan = Plan(
            integrator=self._integrator(system),
            stride=whole("sample", sample, dt, "steps `dt`"),
            transient=transient,
            layout=self._layout(gathering, sample, unit),
            signals=self._signals(system),
            gathering=gathering,
        )
        return plan, float(dt)

    def _check(self, system: System) -> None:
        model = system.model
        self._integrator(system)
        _checks.positive("dt", self._step(system))
        for name in ("sample", "duration", "transient", "segment"):
            if getattr(self, name):
                _checks.positive(name, getattr(self, name))
        if not (math.isfinite(self.scatter) and self.scatter >= 0):
            but = f"it is {self.scatter}"
            _checks.fail("scatter", "be a finite number that is not negative", but)
        if self._first is not None:
            self._given(system)
        for name in self._signals(system):
            _checks.one_of("signals", name, visible(model))

    def _gathering(self) -> Gathering:
        """The summaries, and all that they need."""
        if isinstance(self.keep, str) or not self.keep:
            _checks.fail("keep", "be a list of summaries", f"it is {self.keep!r}")
        found = [named(summary, self) for summary in self.keep]
        names = [summary.name for summary in found]
        for name in names:
            if names.count(name) > 1:
                _checks.fail("keep", "hold summaries of different names", f"two are {name!r}")
        return Gathering.of(found)

    def _layout(self, gathering: Gathering, sample: float, unit: str) -> Layout:
        """Windows, half a segment each, which divide the duration, and what summaries ask for."""
        n = whole("duration", self.duration, sample, "samples")
        every = [part.every(sample) for part in gathering.parts]
        for samples in filter(None, every):
            if n % samples:
                must = f"be a multiple of {samples * sample:g} {unit}"
                _checks.fail("duration", must, f"it is {self.duration:g}")
        divided = math.gcd(n, *every)
        if self.segment is None:
            most = max(1, min(_WINDOW, n // 4))
            window = max(k for k in range(1, most + 1) if divided % k == 0)
        else:
            window = whole("segment", self.segment, 2 * sample, "pairs of samples")
        if divided % window:
            but = f"it is {n} samples and half a segment {window}"
            _checks.fail("duration", "be a whole number of half segments", but)
        layout = Layout(window, n // window, sample, unit)
        for part in gathering.parts:
            part.check(layout)
        return layout

    def _integrator(self, system: System) -> AbstractFixedStep:
        found = fixed(system, self.integrator, self.dt)
        _checks.hashable("integrator", found)
        return found

    def over(self, system: System, design: Any) -> "Activity":
        """With a step that follows the fastest of the design's points, of all its systems."""
        self._check_starts(design)
        delayed = getattr(undriven(system), "delays", None) is not None
        systems = design.systems(system) if delayed else [system]
        points = design.points()
        if self.dt is None:
            step = min(self._step(one, points) for one in systems)
            own = dataclasses.replace(self, dt=step, integrator=self._integrator(system))
        else:
            own = dataclasses.replace(self)
        if delayed:
            object.__setattr__(
                own, "_spans", joined([spans_of(undriven(s), points) for s in systems])
            )
        return own

    @property
    def scanned(self) -> str | None:
        """The dimension whose points start at the ends of those before them."""
        return self.start.dim if isinstance(self.start, Along) else None

    @property
    def _first(self) -> Any:
        """Where runs start that start at no other's end."""
        return self.start.first if isinstance(self.start, Along) else self.start

    def _check_starts(self, design: Any) -> None:
        """Refuse what varies where it decides nothing: of runs that start elsewhere."""
        for name, (dim, _) in design.parameters.items():
            initial = name == SCATTER or name.endswith("(0)")
            if initial and dim == self.scanned:
                must = f"not vary along {dim!r}, where runs start at the ends of others"
                _checks.fail(name, must, "it does")
            if name == SCATTER and self._first is not None:
                _checks.fail(name, "not vary where a `start` is given, to which no noise is added",
                             "it does")  # fmt: skip

    def _step(self, system: System, points: Points | None = None) -> float:
        if self.dt is not None:
            return self.dt
        longest = self._integrator(system).longest_step(system, points)
        sample = usual_sample(system.model) if self.sample is None else self.sample
        times = [t for t in (sample, self.transient, self.duration) if t > 0]
        return common_step(np.array(times), longest) or longest

    def _signals(self, system: System) -> tuple[str, ...]:
        if isinstance(self.signals, str):
            return (self.signals,)
        return tuple(self.signals) or (system.model.shown,)

    def _core(self, system: System) -> System:
        return system.bare() if self.dtype is None else cast(system.bare(), self.dtype)

    def _dtype(self, system: System) -> Any:
        return self._core(system).coupling.dtype

    def _sample(self, plan: Plan, system: System) -> jax.ShapeDtypeStruct:
        """The shape of a sample of one run (signal, region, run)."""
        regions = system.state_shape[1] if len(system.state_shape) > 1 else 1
        return jax.ShapeDtypeStruct((len(plan.signals), regions, 1), self._dtype(system))

    def outputs(self, system: System) -> dict[str, Output]:
        plan, _ = self.plan(system)
        model = system.model
        units = {**dict(zip(model.variables, model.units, strict=True)),
                 model.shown: model.shown_unit}  # fmt: skip
        sample = self._sample(plan, system)
        _, _, values = plan.gathering.shapes(sample, plan.layout)
        alone = undriven(system).alone
        result = {}
        for signal in plan.signals:
            for summary, like in zip(plan.gathering.summaries, values, strict=True):
                sizes = _sizes(summary, like, len(plan.signals))
                sizes = [(d, n) for d, n in sizes if not (alone and is_regional(d))]
                result[f"{signal}_{summary.name}"] = Output(
                    dims=tuple(dim for dim, _ in sizes),
                    shape=tuple(size for _, size in sizes),
                    dtype=str(like.dtype),
                    units=without_hertz(summary.unit(units[signal]), model.time_unit),
                    title=f"{signal}, {summary.title}",
                    more={
                        "symbol": f"{notation_of(system).symbol(signal)}, {summary.title}",
                        **_up_to(summary, plan.layout),
                    },
                )
        check_separate(plan.gathering, sample, plan.layout)
        title = "values of rates and gates that noise took below zero"
        below = Output(dtype=str(self._dtype(system)), units="1", title=title)
        return result | {BELOW_ZERO: below}

    def coordinates(self, system: System) -> Coordinates:
        plan, dt = self.plan(system)
        network, layout = undriven(system), plan.layout
        found: Coordinates = {}
        if isinstance(network, Network):
            found = {dim: (list(network.labels), {}) for dim in ("region", "other_region")}
        times = plan.stride * dt * (plan.transient + 1 + np.arange(layout.samples))
        for summary in plan.gathering.summaries:
            for dim, (values, attrs) in summary.coordinates(layout, times).items():
                known, _ = found.setdefault(dim, (values, attrs))
                if not np.array_equal(known, values):
                    but = f"{summary.name!r} has others than those before it"
                    _checks.fail("keep", f"agree on the values along {dim!r}", but)
        return found

    def chunk(self, system: System) -> int:
        device = devices()[0]
        on_cpu = device.platform == "cpu"
        known = (device.memory_stats() or {}).get("bytes_limit", 8 * 2**30)
        free = _SHARE * (memory() if on_cpu else known)
        plan, _ = self.plan(system)
        sample = self._sample(plan, system)
        totals, emitted, values = plan.gathering.shapes(sample, plan.layout)
        held = plan.layout.window * _bytes(sample) + plan.layout.windows * _bytes(emitted)
        held += _bytes(totals) + _bytes(values)
        state = math.prod(system.state_shape) * sample.dtype.itemsize
        each = _COPIES * state + _GATHERED * held
        most = free / each
        if most < 1:
            must = "take less memory for each run: leave out correlations between all pairs of "
            must += 'regions ("fc", "fc_mean", "bold_fc"), shorten `segment`, or keep fewer'
            _checks.fail("keep", must, f"a run takes {amount(float(each))}")
        if on_cpu:
            return int(min(_CPU_RUNS, most))
        if isinstance(plan.integrator, Fused) and plan.integrator.on == "gpu":
            most = min(most, room(plan.layout.window * _bytes(sample), state))
        return int(min(_GPU_RUNS, 2 ** int(math.log2(most))))

    def evaluate(
        self, system: System, points: Points, seeds: np.ndarray, chunk: int | None
    ) -> dict[str, np.ndarray]:
        return self.evaluate_after(system, points, seeds, chunk, None)[0]

    def evaluate_after(
        self, system: System, points: Points, seeds: np.ndarray, chunk: int | None, ends: Any
    ) -> tuple[dict[str, np.ndarray], Any]:
        plan, dt = self.plan(system)
        given = dict(points)
        core = on_grid(self._core(system), dt, given, self._spans)
        starts = self._starts(system, given, seeds, None if ends is None else ends["end"])
        dtype = self._dtype(system)
        lanes = {
            "point": {name: value.astype(dtype) for name, value in given.items()},
            "start": starts.astype(dtype),
            "key": jax.vmap(noise_key)(as_array(seeds)),
        }
        past = past_of(self._first, core, dt, runs=seeds.size) if ends is None else ends.get("past")
        if past is not None:
            lanes["past"] = jax.tree.map(np.asarray, past)
        function, arrays = streamed(plan, dtype, ends=self.scanned is not None)
        shared = Shared(_with_noise(core, given), as_array(dt, dtype), plan.steps, arrays)
        chunk = self.chunk(system) if chunk is None else chunk
        kernel = fused(function, shared, lanes, chunk)
        if kernel is None:
            fields = map_chunks(function, shared, lanes, chunk=chunk, progress=False, lockstep=True)
        else:
            fields = kernel(lanes)
        ends = {name: fields.pop(name) for name in ENDS if name in fields}
        if undriven(system).alone:
            fields = _without_regions(fields, plan)
        return fields, ends

    def _starts(
        self, system: System, given: dict[str, np.ndarray], seeds: np.ndarray, ends: Any
    ) -> np.ndarray:
        """States (run, *state); what of the points is about them is taken out of `given`."""
        n = seeds.size
        scatter = np.broadcast_to(given.pop(SCATTER, np.array(self.scatter)), (n,))
        initial = [given.pop(f"{name}(0)", None) for name in system.model.variables]
        if ends is not None:
            return np.asarray(ends)
        if self._first is None:
            rest = undriven(system).bare()
            starts = initial_states(rest, given, scatter, seeds, in_blocks=True)
        else:
            starts = np.tile(self._given(system), (n, *(1,) * len(system.state_shape)))
        for k, value in enumerate(initial):
            if value is not None:
                starts[:, k] = value.reshape(n, *[-1] * (starts.ndim - 2))
        return starts

    def _given(self, system: System) -> np.ndarray:
        """The state (*state) that is given as a start."""
        return np.asarray(first_state(self._first, system, dtype=self._dtype(system)))

    def refined(self, system: System) -> "Activity":
        _, dt = self.plan(system)
        sample = self.plan(system)[0].stride * dt
        chosen = self._integrator(system)
        finer = dataclasses.replace(self, dt=dt / 2, sample=sample, integrator=chosen)
        object.__setattr__(finer, "_spans", self._spans)
        return finer

    def definition(self, system: System) -> dict[str, Any]:
        plan, dt = self.plan(system)
        return {
            "measure": "activity",
            "integrator": identified(plan.integrator, undriven(system).bare()),
            "signals": plan.signals,
            "dt": dt,
            "stride": plan.stride,
            "transient": plan.transient,
            "windows": dataclasses.asdict(plan.layout),
            "scatter": self.scatter,
            "dtype": str(self._dtype(system)),
            **({} if self.start is None else {"start": self._decided(system)}),
            **plan.gathering.definition(self._sample(plan, system), plan.layout),
        }

    def _decided(self, system: System) -> dict[str, Any]:
        """What decides numbers of where runs start."""
        history = getattr(self._first, "history", None)
        return {
            "along": self.scanned,
            "state": None if self._first is None else digest(self._given(system)),
            "before": None if history is None else described(history),
        }


def _with_noise(core: System, points: dict[str, Any]) -> Driven:
    """The system with room for the noise that a design varies."""
    system = driven(core)
    varied = [key for name in points if (key := noise_of(name))]
    noise = {**{name: jnp.zeros((), core.coupling.dtype) for name in varied}, **system.noise}
    return Driven(system.system, noise, system.stimulus, system.below_zero)


def _up_to(summary: AbstractSummary, layout: Layout) -> dict[str, float]:
    """Of a summary that is a spectrum's frequency: the highest that samples can tell."""
    of = getattr(summary, "of", summary)
    return {LIMIT: 0.5 / layout.interval} if isinstance(of, PeakFrequency) else {}


def _sizes(summary: AbstractSummary, values: Any, signals: int) -> list[tuple[str, int]]:
    """Names and sizes of a summary's dimensions, by the shape of its values for one run."""
    shape, kind = values.shape, values.dtype
    if len(shape) != len(summary.dims) + 2 or (shape[0], shape[-1]) != (signals, 1):
        axes = ", ".join(("signal", *summary.dims, "run"))
        but = f"for {signals} signals of one run they are {shape}"
        _checks.fail("keep", f"give values ({axes}) of {summary.name!r}", but)
    if kind.kind not in "fiu":
        _checks.fail("keep", f"give real numbers of {summary.name!r}", f"they are {kind}")
    return list(zip(summary.dims, shape[1:-1], strict=True))


def _without_regions(fields: dict[str, np.ndarray], plan: Plan) -> dict[str, np.ndarray]:
    """Fields (run, …) of a homogeneous system, which has no axes of regions."""
    result = dict(fields)
    for names, summary in zip(plan.names(), plan.gathering.summaries, strict=True):
        gone = tuple(1 + k for k, dim in enumerate(summary.dims) if is_regional(dim))
        result |= {name: fields[name].squeeze(gone) for name in names}
    return result


def _bytes(shapes: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
