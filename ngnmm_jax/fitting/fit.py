"""The fit: many starts at once, by gradients or without, kept on disk, and what it found."""

import contextlib
import dataclasses
import importlib.metadata
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix as optx

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.definition import described, ordered, setting
from ngnmm_jax._core.programs import Traced, digest, program
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax.fitting.checkpoints import Checkpoint, leaves, with_leaves_of
from ngnmm_jax.fitting.free import Free
from ngnmm_jax.fitting.gradients import (
    Loss,
    choose_mode,
    horizon,
    objective,
    value_and_gradient,
    warn_beyond,
)
from ngnmm_jax.fitting.search import Search

METHODS = ("gradient", "cma")
# Gradients are made no longer than this.
_LONGEST = 10.0
# How what a trace does not show is told, for errors.
_KEY = "as in `fit(…, key=…)`"
# A loss has fallen when it is lower by this fraction of how far it fell since the first step.
_BETTER = 1e-6


@dataclasses.dataclass(frozen=True)
class Fit:
    """What a fit found.

    - `system`: with the values of the best start; `free`: what was free.
    - `x` (start, parameter): each start's best, in unbounded space; `loss` (start,): there.
    - `status` (start,): OK where the loss had stopped to fall; MAX_STEPS where it still fell when
      the steps ended; NOT_FINITE where it never was finite.
    - `history`: by name, (step, start): "loss", the loss's terms; and "x" (step, start, parameter).
    - `method`, `explanation`: how gradients were taken and why, and warnings.
    - `seconds`: of the whole fit, all its sessions together.
    """

    system: Any
    free: Free
    x: np.ndarray
    loss: np.ndarray
    status: np.ndarray
    history: dict[str, np.ndarray]
    method: str
    explanation: tuple[str, ...]
    seconds: float

    @property
    def best(self) -> int:
        """The start of the lowest loss."""
        return int(np.nanargmin(np.where(np.isfinite(self.loss), self.loss, np.inf)))

    @property
    def ok(self) -> bool:
        """Whether the best start's loss had stopped to fall."""
        return bool(self.status[self.best] == Status.OK)

    def values(self, start: int | None = None) -> dict[str, np.ndarray]:
        """The parameters' values by name, of the best start or of another."""
        x = jnp.asarray(self.x[self.best if start is None else start])
        return {name: np.asarray(value) for name, value in self.free.values(x).items()}

    def to_xarray(self) -> Any:
        """An `xarray.Dataset`: history, each start's best x, loss and status."""
        xarray = _checks.require_module("xarray", "data")
        data: dict[str, Any] = {
            f"history_{name}": (("step", "start", "parameter")[: value.ndim], value)
            for name, value in self.history.items()
        }
        data["x"] = (("start", "parameter"), self.x)
        data["loss"] = (("start",), self.loss)
        data["status"] = (("start",), self.status)
        coords = {"parameter": list(self.free.names)}
        attrs = {"title": "ngnmm_jax fit", "method": self.method, "seconds": self.seconds}
        return xarray.Dataset(data, coords, {**attrs, "explanation": "; ".join(self.explanation)})


def fit(
    system: Any,
    free: Free | Any,
    loss: Loss,
    *,
    steps: int = 300,
    n_starts: int | Any = 1,
    method: str = "gradient",
    mode: str | None = None,
    learning_rate: Any = 0.05,
    optimiser: Any = None,
    patience: int = 50,
    resample: bool = False,
    polish: int = 0,
    through: Any = None,
    monitor: int = 50,
    seed: int = 0,
    store: str | Path | None = None,
    save_every: int = 25,
    key: Any = None,
    progress: bool | None = None,
    throw: bool = True,
) -> Fit:
    """Find the parameters at which a loss is smallest, from many starts in one compiled step.

        free = Free(network, {"coupling": interval(0, 30)})
        result = fit(network, free, lambda network, key: …, n_starts=32)

    **Arguments:**

    - `system`: a network, a `Driven` one, or any PyTree; `free`: what is free in it, a `Free` or a
      dict for one.
    - `loss(system, key)`: a number, or several by name, which are added, made of JAX operations.
      Priors are added to it. Where it is not finite, a start goes back half the way to its best.
    - `steps`: at most. A start whose loss has not fallen for `patience` of them rests; when all
      rest, the fit ends.
    - `n_starts`: how many random ones, the first of which is the system as it is; or x themselves
      (start, parameter). They run in one `vmap`.
    - `method`: "gradient" (optax), or "cma": no gradients, by CMA-ES (the package `cma`).
    - `mode`: "reverse" or "forward"; by default the cheaper one (`choose_mode`).
    - `learning_rate`: of Adam, in unbounded space, falling as a cosine; a schedule of optax; or
      `optimiser` instead.
    - `resample`: another key at every step, for losses with noise of their own; else always the
      same, which makes the loss a smooth function.
    - `polish`: at most so many steps of BFGS (optimistix) from each start's best at the end, for
      smooth losses with narrow valleys.
    - `through`: how long the time is, in the model's unit, that gradients go through, for losses
      that simulate. The leading Lyapunov exponent of the best start is then looked at every
      `monitor` steps, and a `GradientWarning` tells when this is longer than its inverse.
    - `seed`: of the starts and of the loss's keys.
    - `store`: a folder in which all is kept every `save_every` steps; the same call goes on there,
      to the same result as without interruption. Processes that are given the same folder take
      turns: one fits, and the others wait for what it finds, or go on where it was killed.
    - `key`: identifies the loss for a store where its operations do not, since it calls back into
      Python (`jax.pure_callback`): any text that is another one when its numbers are.
    - `throw`: raise `SolverError` where no start ever had a finite loss.
    """
    _checks.require_x64("fit")
    if not isinstance(free, Free):
        free = Free(system, free)
    for name, value in (
        ("steps", steps), ("patience", patience), ("monitor", monitor), ("save_every", save_every)
    ):  # fmt: skip
        _checks.positive_integer(name, value)
    _checks.one_of("method", method, METHODS)
    told, key = key, stream(seed, Purpose.LOSS)
    first = _starts(free, n_starts, stream(seed, Purpose.GUESSES))
    function = objective(loss, free)
    if method == "cma":
        work: Any = Search(function, first, seed)
        notes = ["CMA-ES, without gradients"]
    else:
        chosen, why = choose_mode(free.size, mode)
        work = _Descent(function, chosen, first, steps, learning_rate, optimiser)
        notes = [why]
    checkpoint = None
    if store is not None:
        options = {
            "method": method,
            "seed": seed,
            "resample": resample,
            "steps": steps,
            "patience": patience,
        }
        definition = {**_definition(free, function, work, first, key, told), **options}
        checkpoint = Checkpoint(Path(store), definition)
    with contextlib.nullcontext() if checkpoint is None else checkpoint.alone():
        history: list[dict[str, np.ndarray]] = []
        done, spent = 0, 0.0
        kept = None if checkpoint is None else checkpoint.read(work.restored)
        if kept is None:
            state = work.begin()
        else:
            state, history, done, spent = kept
        track = _Track(np.array(first))
        for row in history:
            track.add(row)
        began = time.monotonic() - spent
        saved = done
        # A state and its number of steps in one, so that an interrupt does not part them.
        stand: tuple[Any, int] = state, done

        def save() -> None:
            nonlocal saved
            here, steps = stand
            if checkpoint is not None and steps > saved:
                seconds = time.monotonic() - began
                checkpoint.write(work.kept(here, steps), history[:steps], steps, seconds)
                saved = steps

        with progress_bar(steps, "fit", "step", progress, initial=done) as bar:
            try:
                for number in range(done, steps):
                    if (track.waited >= patience).all():
                        break
                    if through is not None and number % monitor == 0:
                        here = free.put(track.x[int(np.argmin(track.loss))])
                        text = warn_beyond(horizon(here), through, here.model.time_unit)
                        notes += [text] if text and text not in notes else []
                    now = jax.random.fold_in(key, number + 1) if resample else key
                    state, row = work.advance(stand[0], now)
                    history.append(row)
                    stand = state, number + 1
                    track.add(row)
                    bar.set_postfix_str(f"loss {track.loss.min():.5g}", refresh=False)
                    bar.update(1)
                    if (number + 1) % save_every == 0:
                        save()
            finally:  # whatever stops it
                save()
    resting = track.waited >= patience
    if polish:
        now = jax.random.fold_in(key, steps) if resample else key
        resting |= track.polish(function, now, polish)
        notes.append(f"then at most {polish} steps of BFGS")
    status = np.where(resting, Status.OK, Status.MAX_STEPS)
    status = np.where(np.isfinite(track.loss), status, Status.NOT_FINITE).astype(np.int8)
    columns = {name: np.stack([row[name] for row in history]) for name in history[0]}
    best = free.put(track.x[int(np.argmin(track.loss))])
    seconds = time.monotonic() - began
    result = Fit(best, free, track.x, track.loss, status, columns, method, tuple(notes), seconds)
    if throw and not np.isfinite(track.loss).any():
        raise SolverError("fit", Status.NOT_FINITE, result)
    return result


class _Track:
    """Each start's best so far, and for how many steps it has been that."""

    def __init__(self, first: np.ndarray) -> None:
        self.x = first
        self.loss = np.full(first.shape[0], np.inf)
        self.first = np.full(first.shape[0], np.nan)
        self.waited = np.zeros(first.shape[0], dtype=int)

    def add(self, row: dict[str, np.ndarray]) -> None:
        """Another step's losses and x."""
        value = np.where(np.isfinite(row["loss"]), row["loss"], np.inf)
        self.first = np.where(np.isfinite(self.first), self.first, row["loss"])
        enough = _BETTER * np.nan_to_num(self.first - value, nan=0.0, posinf=0.0, neginf=0.0)
        clearly = value < self.loss - np.maximum(enough, 0.0)
        lower = value < self.loss
        self.x = np.where(lower[:, None], row["x"], self.x)
        self.loss = np.where(lower, value, self.loss)
        self.waited = np.where(clearly, 0, self.waited + 1)

    def polish(self, function: Any, key: Any, steps: int) -> np.ndarray:
        """Steps of BFGS from each start's best; whether they converged."""
        solver: Any = optx.BFGS(rtol=1e-8, atol=1e-8)

        def one(x: jax.Array) -> Any:
            found: Any = optx.minimise(
                lambda x, _: function(x, key)[0], solver, x, max_steps=steps, throw=False
            )
            return (
                found.value,
                function(found.value, key)[0],
                found.result == optx.RESULTS.successful,
            )

        x, value, converged = map(np.asarray, jax.jit(jax.vmap(one))(jnp.asarray(self.x)))
        lower = np.isfinite(value) & (value < self.loss)
        self.x = np.where(lower[:, None], x, self.x)
        self.loss = np.where(lower, value, self.loss)
        return converged


def _starts(free: Free, starts: Any, key: Any) -> np.ndarray:
    if isinstance(starts, int | np.integer) and not isinstance(starts, bool):
        _checks.positive_integer("starts", starts)
        here = free.of(free.system)[None]
        drawn = free.draw(key, int(starts) - 1) if starts > 1 else here[:0]
        return np.concatenate([here, drawn])
    given = np.array(starts, dtype=float)
    if given.ndim != 2 or given.shape[1] != free.size:
        _checks.fail("starts", f"have axes (start, {free.size})", f"its shape is {given.shape}")
    _checks.finite("starts", given)
    return given


def _definition(
    free: Free, function: Any, work: Any, first: np.ndarray, seed: Any, key: Any
) -> dict[str, Any]:
    """All that decides the numbers of a fit."""
    found = {
        **setting("fit"),
        **described(free.system),
        "free": ordered({name: (u.low, u.high) for name, u in free.parameters.items()}),
        "free_names": list(free.names),
        "loss": program(function, first[0], seed, key=key, where=_KEY),
        "starts": digest(first),
    }
    if isinstance(work, _Descent):
        return {**found, **work.definition(seed, key)}
    return {**found, "cma": importlib.metadata.version("cma")}


class _Descent:
    """Steps of optax for all starts, compiled once."""

    def __init__(
        self, function: Any, mode: str, first: np.ndarray, steps: int, rate: Any, optimiser: Any
    ) -> None:
        if optimiser is None:
            if not callable(rate):
                _checks.positive("learning_rate", rate)
                rate = optax.cosine_decay_schedule(float(rate), steps, alpha=0.02)
            optimiser = optax.chain(optax.clip_by_global_norm(_LONGEST), optax.adam(rate))
        elif not isinstance(optimiser, optax.GradientTransformation):
            kind = type(optimiser).__name__
            _checks.fail("optimiser", "be a transformation of optax", f"it is a {kind}")
        self.optimiser, self.first, self.mode = optimiser, jnp.asarray(first), mode
        differentiated = value_and_gradient(function, mode)

        def one(x: jax.Array, inner: Any, good: jax.Array, key: Any) -> Any:
            value, terms, gradient = differentiated(x, key)
            fine = jnp.isfinite(value) & jnp.isfinite(gradient).all()
            change, after = optimiser.update(jnp.where(fine, gradient, 0.0), inner, x)
            moved = jnp.where(fine, x + change, (x + good) / 2)
            inner = jax.tree.map(lambda new, old: jnp.where(fine, new, old), after, inner)
            row = {**terms, "loss": jnp.where(fine, value, jnp.nan), "x": x}
            return moved, inner, jnp.where(fine, x, good), row

        self._step = jax.jit(jax.vmap(one, in_axes=(0, 0, 0, None)))

    def definition(self, seed: Any, key: Any) -> dict[str, Any]:
        """What a step does: the very program that then runs, so that it is traced once."""

        def update(x: jax.Array) -> Any:
            inner = self.optimiser.init(x)
            return inner, self.optimiser.update(x, inner, x)

        step = self._step.trace(*jax.eval_shape(self.begin), seed)
        return {
            "mode": self.mode,
            "optimiser": program(update, self.first[0], key=key, where=_KEY),
            "step": Traced(step.jaxpr, step.out_info).operations.digest(key, _KEY),
        }

    def begin(self) -> Any:
        return self.first, jax.vmap(self.optimiser.init)(self.first), self.first

    def advance(self, state: Any, key: Any) -> tuple[Any, dict[str, np.ndarray]]:
        *state, row = self._step(*state, key)
        return tuple(state), {name: np.asarray(value) for name, value in row.items()}

    def kept(self, state: Any, _: int) -> dict[str, np.ndarray]:
        """What a checkpoint holds."""
        return leaves(state)

    def restored(self, arrays: dict[str, np.ndarray], _: int) -> Any:
        """The state again; `ValueError` where it is another optimiser's."""
        return with_leaves_of(self.begin(), arrays)
