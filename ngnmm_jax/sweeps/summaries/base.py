"""What is gathered of a run while it is integrated: window by window, so that memory stays small.

Samples are taken in windows, and each window is reduced before the next one is computed. A
*statistic* says how; a *summary* is a statistic with a name, dimensions and units. Summaries share
the statistics that they need, which are gathered once.
"""

import abc
import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown
from ngnmm_jax.models.times import seconds_in

#: Of a dimension: its values, and attributes such as units.
Coordinates = dict[str, tuple[Any, dict[str, Any]]]


@dataclasses.dataclass(frozen=True, repr=False)
class Layout(Shown):
    """How a run is cut.

    - `window`: samples of a window; `windows`: how many there are.
    - `sample`: time between samples, in units of `time_unit`.
    """

    window: int
    windows: int
    sample: float
    time_unit: str

    @property
    def samples(self) -> int:
        """All samples."""
        return self.window * self.windows

    @property
    def interval(self) -> float:
        """Time between samples, s."""
        return float(self.sample * seconds_in(self.time_unit))

    @property
    def frequencies(self) -> np.ndarray:
        """Of spectra whose segments are two windows (frequency,), Hz."""
        return np.fft.rfftfreq(2 * self.window, self.interval)


@dataclasses.dataclass(frozen=True, repr=False)
class Needed(Shown):
    """What was gathered of the statistics that another one needs.

    `parts`: each of them, with its total or its value.
    """

    parts: tuple[tuple["AbstractStatistic", Any], ...] = ()

    def __getitem__(self, which: Any) -> Any:
        """Of a statistic; or of a class, where one of that class is needed."""
        if isinstance(which, type):
            found = [value for part, value in self.parts if type(part) is which]
            name, others = which.__name__, "several are: look them up by themselves"
        else:
            found = [value for part, value in self.parts if alike(part, which)]
            name, others = f"{which!r}", "several are alike"
        if len(found) != 1:
            but = others if found else "none is"
            _checks.fail("needs", f"name {name}, which is looked up, once", but)
        return found[0]

    @property
    def averaged(self) -> "Needed":
        """Those of the mean over regions, as the statistics that they are made of."""
        found = ((part.of, value) for part, value in self.parts if isinstance(part, OnAverage))
        return Needed(tuple(found))


@dataclasses.dataclass(frozen=True, repr=False)
class Window(Shown):
    """What `AbstractStatistic.add` sees of a run.

    - `values` (sample, signal, region, run); a homogeneous system is one region.
    - `number`: of the window, from 0; it is traced.
    - `layout`: how the run is cut.

    `window[Moments()]` is what that statistic, one of `needs()`, had gathered before this window;
    `window[Moments]` the same where only one of that class is needed.
    """

    values: jax.Array
    number: jax.Array
    layout: Layout
    needed: Needed

    def __getitem__(self, which: Any) -> Any:
        return self.needed[which]

    @property
    def averaged(self) -> "Window":
        """The same of the mean over regions, as one region."""
        mean = self.values.mean(axis=2, keepdims=True)
        return dataclasses.replace(self, values=mean, needed=self.needed.averaged)


@dataclasses.dataclass(frozen=True, repr=False)
class Run(Shown):
    """What `AbstractStatistic.value` sees of a run that has ended.

    - `layout`: how it was cut.
    - `emitted` (window, …): what `emit` returned of each window.

    `run[Moments()]` is the value of that statistic, one of `needs()`; `run[Moments]` the same where
    only one of that class is needed.
    """

    layout: Layout
    emitted: Any
    needed: Needed

    def __getitem__(self, which: Any) -> Any:
        return self.needed[which]


class AbstractStatistic(Shown, eqx.Module):
    """Something gathered of a run while it is integrated.

    An Equinox module: its fields are its options. Arrays among them are traced, so that statistics
    that differ in nothing else share what is compiled; numbers are constants of the program.
    """

    def needs(self) -> tuple["AbstractStatistic", ...]:
        """Other statistics that `add` and `value` look at, each of them gathered once for all.

        It is asked once, before anything is traced.
        """
        return ()

    def start(self, zero: jax.Array, layout: Layout) -> Any:
        """The total before the first window; `zero` is a sample of zeros (signal, region, run)."""
        return None

    def add(self, total: Any, window: Window) -> Any:
        """The total with one more window, of the same shapes and types: how windows merge."""
        return total

    def emit(self, total: Any, window: Window) -> Any:
        """What is kept of each window beside the total, which is the one with it."""
        return None

    @abc.abstractmethod
    def value(self, total: Any, run: Run) -> Any:
        """What the total says in the end."""

    def sound(self, value: Any) -> jax.Array | None:
        """Where the value is one (run,): other runs are NOT_FINITE. None: wherever the run is."""
        return None

    def every(self, sample: float) -> int:
        """A number of samples that windows have to divide, and that divides the run; 0: any.

        `sample`: time between samples, in the model's unit. Raises `ValueError` for options that
        do not suit it.
        """
        return 0

    def check(self, layout: Layout) -> None:
        """Raise `ValueError` where a run that is cut like this does not suit."""


class AbstractSummary(AbstractStatistic):
    """One result for each signal of a run, gathered while it is integrated.

    A new one has a `name`, its `dims` where they are not ("region",), and `start`, `add` and
    `value`, which returns an array (signal, *dims, run).
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Of the result, after that of its signal: `v_e_mean`."""

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the result's dimensions beside those of the sweep.

        "region" and "other_region" are left out where the system is homogeneous.
        """
        return ("region",)

    @property
    def title(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    def unit(self, unit: str) -> str:
        """The result's unit, of a signal of that unit."""
        return unit

    def coordinates(self, layout: Layout, times: np.ndarray) -> Coordinates:
        """Values along the dimensions other than regions, with their attributes.

        `times` (time,): of the samples, in units of `layout.time_unit`.
        """
        return {}


class OnAverage(AbstractStatistic):
    """A statistic of the mean over regions, which is one region."""

    of: AbstractStatistic

    def needs(self) -> tuple[AbstractStatistic, ...]:
        return tuple(OnAverage(needed) for needed in self.of.needs())

    def start(self, zero: jax.Array, layout: Layout) -> Any:
        return self.of.start(zero[:, :1], layout)

    def add(self, total: Any, window: Window) -> Any:
        return self.of.add(total, window.averaged)

    def emit(self, total: Any, window: Window) -> Any:
        return self.of.emit(total, window.averaged)

    def value(self, total: Any, run: Run) -> Any:
        return self.of.value(total, dataclasses.replace(run, needed=run.needed.averaged))

    def sound(self, value: Any) -> jax.Array | None:
        return self.of.sound(value)

    def every(self, sample: float) -> int:
        return self.of.every(sample)

    def check(self, layout: Layout) -> None:
        self.of.check(layout)


class Field(AbstractSummary):
    """Another summary, of the signals' mean over regions: `Field(Variance())`."""

    of: AbstractSummary

    @property
    def name(self) -> str:
        return f"field_{self.of.name}"

    @property
    def dims(self) -> tuple[str, ...]:
        return tuple(dim for dim in self.of.dims if not is_regional(dim))

    @property
    def title(self) -> str:
        return f"of the regions' mean: {self.of.title}"

    def unit(self, unit: str) -> str:
        return self.of.unit(unit)

    def needs(self) -> tuple[AbstractStatistic, ...]:
        return (OnAverage(self.of),)

    def value(self, total: Any, run: Run) -> Any:
        gone = [1 + axis for axis, dim in enumerate(self.of.dims) if is_regional(dim)]
        return run[OnAverage].squeeze(tuple(gone))

    def coordinates(self, layout: Layout, times: np.ndarray) -> Coordinates:
        return self.of.coordinates(layout, times)


def is_array(leaf: Any) -> bool:
    """Whether a field of a statistic is an argument of the compiled program."""
    return isinstance(leaf, jax.Array | np.ndarray)


def alike(one: AbstractStatistic, other: Any) -> bool:
    """Whether two statistics are the same, or would be with other numbers in their arrays."""
    structure: Any = jax.tree.structure(one)
    if type(one) is not type(other) or structure != jax.tree.structure(other):
        return False
    return all(
        np.shape(a) == np.shape(b)
        if is_array(a) and is_array(b)
        else type(a) is type(b) and np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


def is_regional(dim: str) -> bool:
    """Whether a dimension goes over regions."""
    return dim in ("region", "other_region")


def squared(unit: str) -> str:
    """The unit of a square."""
    simple = unit.isalpha()
    return "1" if unit == "1" else f"{unit}^2" if simple else f"({unit})^2"


def whole(argument: str, value: float, unit: float, of: str) -> int:
    """`value` in units of `unit`, which must be a whole number."""
    count = round(value / unit)
    if count < 1 or abs(count * unit - value) > 1e-6 * unit:
        _checks.fail(argument, f"be a whole number of {of} ({unit:g})", f"it is {value:g}")
    return count
