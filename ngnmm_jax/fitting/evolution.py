"""Search without gradients: the covariance matrix adaptation evolution strategy.

For losses that have no useful gradient, such as statistics of chaotic activity. The package `cma`
(Hansen) does it; each generation of every start is one vmapped evaluation.

Source: Hansen and Ostermeier, Evol. Comput. 9, 159 (2001).
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.randomness import Purpose, run_seeds

# First standard deviation of the search, in unbounded space.
_WIDTH = 0.5


class Search:
    """One strategy for each start; `advance` is a generation of all."""

    def __init__(
        self, function: Callable[..., tuple[jax.Array, Any]], first: np.ndarray, seed: int
    ) -> None:
        self._cma = _checks.require_module("cma", "fit")
        if first.shape[1] < 2:
            _checks.fail("method", "be 'gradient' for a single parameter", "it is 'cma'")
        self.first, self.seed = first, seed

        def one(x: jax.Array, key: Any) -> Any:
            value, terms = function(x, key)
            return {**terms, "loss": value}

        self._evaluate = jax.jit(jax.vmap(one, in_axes=(0, None)))

    def begin(self) -> "_State":
        options = {"verbose": -9, "tolfun": 0, "tolx": 0, "tolstagnation": np.inf,
                   "tolflatfitness": np.inf, "maxiter": np.inf}  # fmt: skip
        seeds = run_seeds(self.seed, len(self.first), Purpose.SEARCH) & 0xFFFFFFFF  # NumPy's range
        with _generator() as generator:
            strategies = [
                self._cma.CMAEvolutionStrategy(x, _WIDTH, {**options, "seed": int(seed) or 1})
                for x, seed in zip(self.first, seeds, strict=True)
            ]
            return _State(strategies, generator())

    def advance(self, state: "_State", key: Any) -> tuple["_State", dict[str, np.ndarray]]:
        """A generation: each start's best of it is the row."""
        with _generator(state.random) as generator:
            some = state.ask()
            found = self._evaluate(jnp.asarray(np.concatenate(list(some))), key)
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

    def kept(self, state: "_State", done: int) -> dict[str, np.ndarray]:
        """What a checkpoint holds: all that was asked and told, which can be replayed."""
        return {"asked": np.stack(state.asked[:done]), "told": np.stack(state.told[:done])}

    def restored(self, arrays: dict[str, np.ndarray], done: int) -> "_State":
        """The state after what was asked was told again; `ValueError` where that is not to be."""
        if set(arrays) != {"asked", "told"}:
            raise ValueError(f"it holds {sorted(arrays)} of a search")
        asked, told = arrays["asked"], arrays["told"]
        starts, free = self.first.shape
        form = (done, starts, *told.shape[2:], free)
        kinds = {asked.dtype, told.dtype}
        if told.shape[:2] != form[:2] or asked.shape != form or kinds != {self.first.dtype}:
            raise ValueError(f"its populations have the shapes {asked.shape} and {told.shape}")
        state = self.begin()
        with _generator(state.random) as generator:
            for there, loss in zip(asked, told, strict=True):
                some = state.ask()
                if some.shape != there.shape or not np.allclose(some, there, rtol=1e-9, atol=1e-9):
                    raise ValueError("its populations are not what this version of cma asks for")
                state.tell(some, loss)
            state.random = generator()
        return state


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
