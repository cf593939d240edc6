"""The steps of a fit: each start's best so far, what is kept on disk, when it ends."""

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.status import Status
from ngnmm_jax.fitting.checkpoints import Arrays, Checkpoint
from ngnmm_jax.fitting.gradients import GradientWarning
from ngnmm_jax.fitting.method import AbstractMethod, Problem
from ngnmm_jax.fitting.result import Fit

# A loss has fallen when it is lower by this fraction of how far it fell since the first step.
_BETTER = 1e-6


@dataclasses.dataclass
class Loop:
    """Steps of a method, from the start or from where a checkpoint stands.

    - `step`: the method's, compiled where it can be.
    - `patience`: a start whose loss has not fallen for so many steps rests; when all rest, the loop
      ends.
    - `key`: of the loss; `resample`: another one at every step.
    """

    problem: Problem
    method: AbstractMethod
    step: Callable[[Any, Any], Any]
    key: Any
    resample: bool
    patience: int
    checkpoint: Checkpoint | None
    save_every: int

    def __post_init__(self) -> None:
        self.track = Track(self.problem.starts, self.patience)
        self.history: list[Arrays] = []
        self.notes = [self.method.explained(self.problem)]
        self.spent = 0.0
        # A state and its number of steps in one, so that an interrupt does not part them.
        self._stand: tuple[Any, int] = None, 0
        self._saved = 0

    def run(self, progress: bool | None) -> None:
        """All steps that are left to do; whatever stops them, they are kept."""
        began = time.monotonic() - self._resume()
        done, steps = self._stand[1], self.problem.steps
        bar = progress_bar(steps, "fit", "step", progress, initial=done)
        with self._keeping(), bar:
            try:
                for number in range(done, steps):
                    if self.track.resting.all():
                        break
                    self._advance(number)
                    bar.set_postfix_str(f"loss {self.track.loss.min():.5g}", refresh=False)
                    bar.update(1)
                    if (number + 1) % self.save_every == 0:
                        self._save(began)
            finally:
                self._save(began)
            self._finish()
        self.spent = time.monotonic() - began

    def result(self) -> Fit:
        """What was found."""
        loss, x = self.track.loss, self.track.x
        status = np.where(self.track.resting, Status.OK, Status.MAX_STEPS)
        status = np.where(np.isfinite(loss), status, Status.NOT_FINITE).astype(np.int8)
        history = {name: np.stack([row[name] for row in self.history]) for name in self.history[0]}
        free = self.problem.free
        best = free.put(self.track.best)
        notes = tuple(self.notes)
        return Fit(best, free, x, loss, status, history, self.method, notes, self.spent)

    def _resume(self) -> float:
        """Where the checkpoint stands, or the start; the seconds that were spent."""
        found = None
        if self.checkpoint is not None:
            found = self.checkpoint.read(
                lambda arrays, done: self.method.restored(self.problem, arrays, done)
            )
        if found is None:
            self._stand = self.method.begin(self.problem), 0
            return 0.0
        self.history = found.history
        for row in found.history:
            self.track.add(row)
        self._stand, self._saved = (found.state, found.done), found.done
        return found.seconds

    def _advance(self, number: int) -> None:
        text = self.method.notice(self.problem, number, self.track.best)
        if text:
            warnings.warn(text, GradientWarning, stacklevel=4)
            self.notes += [text] if text not in self.notes else []
        state, row = self._checked(self.step(self._stand[0], self._key(number + 1)))
        self.history.append(row)
        self._stand = state, number + 1
        self.track.add(row)

    def _checked(self, found: Any) -> tuple[Any, Arrays]:
        """What `advance` returns: a state, and what a history needs, of shapes that it can hold."""
        name = f"{type(self.method).__name__}.advance"
        if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Mapping)):
            but = f"it returns a {type(found).__name__}"
            _checks.fail(name, "return the state and a dict of what was found", but)
        row = {entry: np.asarray(value) for entry, value in found[1].items()}
        starts = self.problem.starts.shape
        for entry, shape, axes in (
            ("loss", starts[:1], "(start,)"),
            ("x", starts, "(start, parameter)"),
        ):
            if entry not in row:
                but = f"there is none among {', '.join(map(repr, row)) or 'nothing'}"
                _checks.fail(name, f'return "{entry}" {axes}', but)
            _checks.shape(f'{name}["{entry}"]', row[entry], shape, axes)
        return found[0], row

    def _finish(self) -> None:
        ended = self.method.finish(self.problem, self.track.x, self._key(self.problem.steps))
        if ended is not None:
            self.track.end(*ended)

    def _key(self, number: int) -> Any:
        return jax.random.fold_in(self.key, number) if self.resample else self.key

    def _keeping(self) -> contextlib.AbstractContextManager[None]:
        if self.checkpoint is None:
            return contextlib.nullcontext()
        return self.checkpoint.keeping(self.problem.steps, lambda: self._saved)

    def _save(self, began: float) -> None:
        state, done = self._stand
        if self.checkpoint is not None and done > self._saved:
            arrays = self.method.kept(state, done)
            self.checkpoint.write(arrays, self.history[:done], done, time.monotonic() - began)
            self._saved = done


class Track:
    """Each start's best so far, and for how many steps it has been that.

    - `x` (start, parameter), `loss` (start,); `resting` (start,): whether it fell no more.
    """

    def __init__(self, first: np.ndarray, patience: int) -> None:
        self.x = np.array(first)
        self.loss = np.full(first.shape[0], np.inf)
        self.first = np.full(first.shape[0], np.nan)
        self.waited = np.zeros(first.shape[0], dtype=int)
        self.patience = patience
        self.converged = np.zeros(first.shape[0], dtype=bool)

    @property
    def best(self) -> np.ndarray:
        """The x (parameter,) of the lowest loss."""
        return self.x[int(np.argmin(self.loss))]

    @property
    def resting(self) -> np.ndarray:
        return (self.waited >= self.patience) | self.converged

    def add(self, row: Arrays) -> None:
        """Another step's losses and x."""
        value = np.where(np.isfinite(row["loss"]), row["loss"], np.inf)
        self.first = np.where(np.isfinite(self.first), self.first, row["loss"])
        enough = _BETTER * np.nan_to_num(self.first - value, nan=0.0, posinf=0.0, neginf=0.0)
        clearly = value < self.loss - np.maximum(enough, 0.0)
        lower = value < self.loss
        self.x = np.where(lower[:, None], row["x"], self.x)
        self.loss = np.where(lower, value, self.loss)
        self.waited = np.where(clearly, 0, self.waited + 1)

    def end(self, x: np.ndarray, loss: np.ndarray, converged: np.ndarray) -> None:
        """What was found from each start's best, and whether it converged."""
        lower = np.isfinite(loss) & (loss < self.loss)
        self.x = np.where(lower[:, None], x, self.x)
        self.loss = np.where(lower, loss, self.loss)
        self.converged = converged
