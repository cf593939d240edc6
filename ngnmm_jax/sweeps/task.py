"""A sweep as a task: all that a process needs to compute any block of it."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.lanes import within_memory
from ngnmm_jax._core.status import Status
from ngnmm_jax.sweeps.designs import Design
from ngnmm_jax.sweeps.measures import AbstractMeasure, System
from ngnmm_jax.sweeps.outputs import Output
from ngnmm_jax.sweeps.storage import Blocks, SweepStore

# Runs that are computed together at least: fewer cost as much.
_FEWEST = 4


@dataclasses.dataclass
class Task:
    """All that a process needs to compute any block of a sweep."""

    system: System
    design: Design
    measure: AbstractMeasure
    outputs: dict[str, Output]
    blocks: Blocks
    checked: np.ndarray
    chunk: int | None
    store: SweepStore | None
    # The systems of the design, made when one is first asked for.
    made: tuple[System, ...] = dataclasses.field(default=(), repr=False)

    @property
    def todo(self) -> list[int]:
        """Numbers of the blocks; the last, where errors are estimated, is one more."""
        return list(range(len(self.blocks) + (self.checked.size > 0)))

    def compute(self, number: int) -> dict[str, np.ndarray]:
        """The fields of a block (*box, …), or the estimate of the error (check, …)."""
        if number == len(self.blocks):
            fields = self._evaluate(self.measure, self.checked)
            finer = self.measure.refined(self.system)
            assert finer is not None
            halved = self._evaluate(finer, self.checked)
            return {
                name: value - halved[name] for name, value in fields.items() if name != "status"
            }
        runs, shape = self.blocks.runs(number)
        fields = self._evaluate(self.measure, runs)
        return {name: value.reshape(*shape, *value.shape[1:]) for name, value in fields.items()}

    def finish(self, number: int) -> tuple[dict[str, np.ndarray] | None, int]:
        """Compute a block, and keep it where there is a store; how many of its runs failed."""
        fields = self.compute(number)
        failed = int((fields["status"] != Status.OK).sum()) if "status" in fields else 0
        if self.store is None:
            return fields, failed
        self.store.write(number, self.blocks, fields)
        return None, failed

    def _evaluate(self, measure: AbstractMeasure, runs: np.ndarray) -> dict[str, np.ndarray]:
        """All outputs of some runs, those of each system together."""
        if not self.made:
            self.made = self.design.systems(self.system)
        found = {
            name: np.empty((runs.size, *output.shape), output.dtype)
            for name, output in self.outputs.items()
        }
        for place, some in self.design.parts(runs):
            of = self._lines if measure.scanned is not None else self._points
            for name, value in of(measure, self.made[place], runs[some]).items():
                found[name][some] = value
        return found

    def _points(
        self, measure: AbstractMeasure, system: System, runs: np.ndarray
    ) -> dict[str, np.ndarray]:
        """The outputs of runs of one system; with fewer at a time, from then on, where they do not
        fit.
        """
        points, seeds = self.design.at(runs)
        fields = self._fitting(lambda lanes: measure.evaluate(system, points, seeds, lanes), 1)
        return self._checked(fields, runs.size)

    def _lines(
        self, measure: AbstractMeasure, system: System, runs: np.ndarray
    ) -> dict[str, np.ndarray]:
        """The same where each point starts at the end of that before it along a dimension."""
        design = self.design
        axis = design.names.index(measure.scanned or "")
        length, step = design.shape[axis], math.prod(design.shape[axis + 1 :])
        place = design.places(runs)[design.names[axis]]
        lines, line = np.unique(runs - place * step, return_inverse=True)
        ends: Any = None
        found = []
        for k in range(int(place.max()) + 1):
            work = partial(self._after, measure, system, lines + k * step, ends)
            fields, ends = self._fitting(work, length)
            found.append(self._checked(fields, lines.size))
        return {name: np.stack([one[name] for one in found])[place, line] for name in found[0]}

    def _after(
        self, measure: AbstractMeasure, system: System, runs: np.ndarray, ends: Any, lanes: int
    ) -> tuple[dict[str, np.ndarray], Any]:
        """Outputs of runs, each from the end of the one before it; and their own ends."""
        points, seeds = self.design.at(runs)
        return measure.evaluate_after(system, points, seeds, lanes, ends)

    def _fitting(self, work: Callable[[int], Any], length: int) -> Any:
        """Work with so many lanes as fit; from then on, where these are fewer.

        `length`: of the lines whose points are computed one after another.
        """
        chunk = self.chunk
        if chunk is None:
            together = max(1, self.design.together // length)
            chunk = lanes_for(together, self.measure.chunk(self.system))
        found, fits = within_memory(work, chunk)
        if fits < chunk:
            self.chunk = fits
        return found

    def _checked(self, fields: Mapping[str, Any], runs: int) -> dict[str, np.ndarray]:
        """What a measure returned, in its types; `ValueError` where it is not what it said."""
        missing = [name for name in self.outputs if name not in fields]
        if missing:
            but = f"it returns {', '.join(map(repr, fields)) or 'nothing'}"
            names = ", ".join(map(repr, missing))
            _checks.fail("measure", f"return {names} from `evaluate`", but)
        found = {}
        for name, output in self.outputs.items():
            found[name] = np.asarray(fields[name], output.dtype)
            if found[name].shape != (runs, *output.shape):
                must = f"return {name!r} of shape {(runs, *output.shape)}, the runs in front"
                _checks.fail("measure", must, f"its shape is {found[name].shape}")
        return found


def lanes_for(runs: int, most: int) -> int:
    """Runs at a time for a design of so many: a power of two, four at least, `most` at most.

    One of few numbers, so that programs are shared; of the whole design, so that all blocks have
    the same, on any number of devices.
    """
    return min(most, max(_FEWEST, 1 << (runs - 1).bit_length()))
