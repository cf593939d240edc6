"""Search without gradients: the covariance matrix adaptation evolution strategy.

For losses that have no useful gradient, such as statistics of chaotic activity. The package `cma`
(Hansen) does it; each generation of every start is one vmapped evaluation.

Source: Hansen and Ostermeier, Evol. Comput. 9, 159 (2001).
"""

import contextlib
import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import equinox as eqx
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.definition import plain
from ngnmm_jax._core.randomness import Purpose, run_seeds
from ngnmm_jax.fitting.checkpoints import Arrays
from ngnmm_jax.fitting.method import AbstractMethod, Problem


class CMA(AbstractMethod):
    """One strategy for each start; a step is a generation of all.

    - `width`: first standard deviation of the search, in unbounded space.
    """

    step_name: ClassVar[str] = "generation"
    traced: ClassVar[bool] = False

    width: float = eqx.field(static=True, default=0.5)

    def __check_init__(self) -> None:
        _checks.positive("width", self.width)

    def explained(self, problem: Problem) -> str:
        return "CMA-ES, without gradients"

    def begin(self, problem: Problem) -> "_State":
        cma = _package(problem)
        options = {"verbose": -9, "tolfun": 0, "tolx": 0, "tolstagnation": np.inf,
                   "tolflatfitness": np.inf, "maxiter": np.inf}  # fmt: skip
        first = problem.starts
        seeds = run_seeds(problem.seed, len(first), Purpose.SEARCH) & 0xFFFFFFFF  # NumPy's range
        with _generator() as generator:
            strategies = [
                cma.CMAEvolutionStrategy(x, self.width, {**options, "seed": int(seed) or 1})
                for x, seed in zip(first, seeds, strict=True)
            ]
            return _State(strategies, generator())

    def advance(
        self, problem: Problem, state: "_State", key: Any
    ) -> tuple["_State", dict[str, np.ndarray]]:
        """A generation: each start's best of it is the row."""
        with _generator(state.random) as generator:
            some = state.ask()
            found = problem.evaluate(as_array(np.concatenate(list(some))), key)
            by_start = {
                name: np.array(value).reshape(*some.shape[:2], *value.shape[1:])
                for name, value in found.items()
            }
            loss = np.where(np.isfinite(by_start["loss"]), by_start["loss"], 1e10)
            state.tell(some, loss)
            state.random = generator()
        best = loss.argmin(axis=1)
        pick = (np.arange(best.size), best)
        return state, {"x": some[pick], **{name: value[pick] for name, value in by_start.items()}}

    def definition(self, problem: Problem, key: Any) -> dict[str, Any]:
        _package(problem)
        return {"width": plain(self.width), "cma": importlib.metadata.version("cma")}

    def kept(self, state: "_State", done: int) -> Arrays:
        """All that was asked and told, which can be replayed."""
        return {"asked": np.stack(state.asked[:done]), "told": np.stack(state.told[:done])}

    def restored(self, problem: Problem, arrays: Arrays, done: int) -> "_State":
        """The state after what was asked was told again; `ValueError` where that is not to be."""
        if set(arrays) != {"asked", "told"}:
            raise ValueError(f"it holds {sorted(arrays)} of a search")
        asked, told = arrays["asked"], arrays["told"]
        starts, free = problem.starts.shape
        form = (done, starts, *told.shape[2:], free)
        kinds = {asked.dtype, told.dtype}
        if told.shape[:2] != form[:2] or asked.shape != form or kinds != {problem.starts.dtype}:
            raise ValueError(f"its populations have the shapes {asked.shape} and {told.shape}")
        state = self.begin(problem)
        with _generator(state.random) as generator:
            for there, loss in zip(asked, told, strict=True):
                some = state.ask()
                if some.shape != there.shape or not np.allclose(some, there, rtol=1e-9, atol=1e-9):
                    raise ValueError("its populations are not what this version of cma asks for")
                state.tell(some, loss)
            state.random = generator()
        return state


def _package(problem: Problem) -> Any:
    """The package, which takes two parameters at least."""
    if problem.free.size < 2:
        _checks.fail("method", "be 'gradient' for a single parameter", "it is 'cma'")
    return _checks.require_module("cma", "fit")


class _State:
    """The strategies, the random numbers to come, and all that was asked and told.

    `asked`: for each generation (start, candidate, parameter); `told` (start, candidate): losses.
    """

    def __init__(self, strategies: list[Any], random: Any) -> None:
        self.strategies, self.random = strategies, random
        self.asked: list[np.ndarray] = []
        self.told: list[np.ndarray] = []

    def ask(self) -> np.ndarray:
        self._some = [strategy.ask() for strategy in self.strategies]
        return np.array(self._some)

    def tell(self, some: np.ndarray, loss: np.ndarray) -> None:
        for strategy, own, values in zip(self.strategies, self._some, loss, strict=True):
            strategy.tell(own, values.tolist())
        self.asked.append(some)
        self.told.append(loss)


@contextlib.contextmanager
def _generator(state: Any = None) -> Iterator[Callable[[], Any]]:
    """NumPy's global generator, from which `cma` draws, in a state; outside it is as it was."""
    outside = np.random.get_state()  # noqa: NPY002
    try:
        if state is not None:
            np.random.set_state(state)  # noqa: NPY002
        yield np.random.get_state
    finally:
        np.random.set_state(outside)  # noqa: NPY002
