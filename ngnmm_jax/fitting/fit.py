"""The fit: many starts at once, by gradients or without, kept on disk."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.definition import described, ordered, setting
from ngnmm_jax._core.programs import digest, program
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax.fitting.checkpoints import Checkpoint
from ngnmm_jax.fitting.compiled import Compiled
from ngnmm_jax.fitting.descent import KEY, Gradient
from ngnmm_jax.fitting.evolution import CMA
from ngnmm_jax.fitting.free import Free
from ngnmm_jax.fitting.gradients import Loss
from ngnmm_jax.fitting.loop import Loop
from ngnmm_jax.fitting.method import AbstractMethod, Problem, step_of
from ngnmm_jax.fitting.result import Fit

#: The methods that have a short name, with which they are made as they are by default.
METHODS: dict[str, type[AbstractMethod]] = {"gradient": Gradient, "cma": CMA}


def fit(
    system: Any,
    parameters: Free | Mapping[str, Any],
    loss: Loss,
    *,
    method: str | AbstractMethod = "gradient",
    steps: int = 300,
    n_starts: int | Any = 1,
    patience: int = 50,
    resample: bool = False,
    seed: int = 0,
    store: str | Path | None = None,
    save_every: int = 25,
    key: Any = None,
    progress: bool | None = None,
    throw: bool = True,
) -> Fit:
    """Find the parameters at which a loss is smallest, from many starts in one compiled step.

        parameters = {"coupling": interval(0, 30)}
        result = fit(network, parameters, lambda network, key: …, n_starts=32)

    Fits whose losses are traced to the same program, constants included, share what is compiled.

    **Arguments:**

    - `system`: a network, a `Driven` one, or any PyTree; `parameters`: what is free in it, by name,
      or a `Free`.
    - `loss(system, key)`: a number, or several by name, which are added, made of JAX operations.
      Priors are added to it.
    - `method`: "gradient", "cma", or an object with options: `fitting.Gradient(…)` (optax),
      `fitting.CMA(…)` (no gradients, by the package `cma`), or an own `AbstractMethod`.
    - `steps`: at most. A start whose loss has not fallen for `patience` of them rests; when all
      rest, the fit ends.
    - `n_starts`: how many random ones, the first of which is the system as it is; or x themselves
      (start, parameter). They run in one `vmap`.
    - `resample`: another key at every step, for losses with noise of their own; else always the
      same, which makes the loss a smooth function.
    - `seed`: of the starts and of the loss's keys.
    - `store`: a folder in which all is kept every `save_every` steps; the same call goes on there,
      to the same result as without interruption. Processes that are given the same folder take
      turns: one fits, and the others wait for what it finds, or go on where it was killed.
    - `key`: identifies the loss for a store where its operations do not, since it calls back into
      Python (`jax.pure_callback`): any text that is another one when its numbers are.
    - `throw`: raise `SolverError` where no start ever had a finite loss.
    """
    _checks.seed(seed)
    _checks.require_x64("fit")
    for name, value in (("steps", steps), ("patience", patience), ("save_every", save_every)):
        _checks.positive_integer(name, value)
    chosen = _named(method)
    free = _free(system, parameters)
    starts = _starts(free, n_starts, stream(seed, Purpose.GUESSES))
    problem = Problem(free, loss, starts, steps, seed)
    drawn, step = stream(seed, Purpose.LOSS), step_of(chosen, problem)
    checkpoint = None
    if store is not None:
        found = _definition(problem, chosen, step, drawn, key)
        counts = {"seed": seed, "resample": resample, "steps": steps, "patience": patience}
        checkpoint = Checkpoint(_checks.path("store", store), {**found, **counts})
    loop = Loop(problem, chosen, step, drawn, resample, patience, checkpoint, save_every)
    with contextlib.nullcontext() if checkpoint is None else checkpoint.alone():
        loop.run(progress)
    result = loop.result()
    if throw and not np.isfinite(result.loss).any():
        raise SolverError("fit", Status.NOT_FINITE, result, result.never_finite())
    return result


def _named(method: Any) -> AbstractMethod:
    """A method by its name, or as it is."""
    if isinstance(method, AbstractMethod):
        return method
    _checks.an_object("method", method)
    if not isinstance(method, str):
        kind = type(method).__name__
        _checks.fail("method", 'be "gradient", "cma" or an `AbstractMethod`', f"it is a {kind}")
    _checks.one_of("method", method, tuple(METHODS))
    return METHODS[method]()


def _free(system: Any, parameters: Any) -> Free:
    """What is free in this system: a `Free` of another one names the parameters."""
    if isinstance(parameters, Free):
        if parameters.system is system:
            return parameters
        parameters = parameters.parameters
    return Free(system, parameters)


def _starts(free: Free, starts: Any, key: Any) -> np.ndarray:
    if isinstance(starts, int | np.integer) and not isinstance(starts, bool):
        _checks.positive_integer("n_starts", starts)
        here = free.of(free.system)[None]
        drawn = free.draw(key, int(starts) - 1) if starts > 1 else here[:0]
        return np.concatenate([here, drawn])
    given = np.array(starts, dtype=float)
    if given.ndim != 2 or given.shape[1] != free.size:
        _checks.fail("n_starts", f"have axes (start, {free.size})", f"its shape is {given.shape}")
    _checks.finite("n_starts", given)
    return given


def _definition(
    problem: Problem, method: AbstractMethod, step: Any, drawn: Any, key: Any
) -> dict[str, Any]:
    """All that decides the numbers of a fit."""
    free = problem.free
    found = {
        **setting("fit"),
        **described(free.system),
        "free": ordered({name: (u.low, u.high) for name, u in free.parameters.items()}),
        "free_names": list(free.names),
        "loss": program(problem.function, problem.starts[0], drawn, key=key, where=KEY),
        "starts": digest(problem.starts),
        "method": type(method).__name__,
    }
    for name, value in method.definition(problem, key).items():
        found[f"method_{name}"] = value
    if isinstance(step, Compiled):  # the very program that then runs, so that it is traced once
        found["begin"] = program(lambda: method.begin(problem), key=key, where=KEY)
        state = jax.eval_shape(lambda: method.begin(problem))
        found["step"] = step.operations(state, drawn).digest(key, KEY)
    return found
