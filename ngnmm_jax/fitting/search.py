"""Search without gradients: the covariance matrix adaptation evolution strategy.

For losses that have no useful gradient, such as statistics of chaotic activity. The package `cma`
(Hansen) does it; each generation of every start is one vmapped evaluation.

Source: Hansen and Ostermeier, Evol. Comput. 9, 159 (2001).
"""

import pickle
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax import _checks
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

    def begin(self) -> Any:
        options = {"verbose": -9, "tolfun": 0, "tolx": 0, "tolstagnation": np.inf,
                   "tolflatfitness": np.inf, "maxiter": np.inf}  # fmt: skip
        seeds = run_seeds(self.seed, len(self.first), Purpose.SEARCH) & 0xFFFFFFFF  # NumPy's range
        strategies = [
            self._cma.CMAEvolutionStrategy(x, _WIDTH, {**options, "seed": int(seed) or 1})
            for x, seed in zip(self.first, seeds, strict=True)
        ]
        return _Packed.of((strategies, np.random.get_state()))  # noqa: NPY002

    def advance(self, state: Any, key: Any) -> tuple[Any, dict[str, np.ndarray]]:
        """A generation: each start's best of it is the row."""
        strategies, random = state.open()
        # `cma` draws from NumPy's global generator.
        outside = np.random.get_state()  # noqa: NPY002
        np.random.set_state(random)  # noqa: NPY002
        try:
            asked = [strategy.ask() for strategy in strategies]
            sizes = [len(some) for some in asked]
            found = self._evaluate(jnp.asarray(np.concatenate([np.array(a) for a in asked])), key)
            found = {name: np.array(value) for name, value in found.items()}
            loss = np.where(np.isfinite(found["loss"]), found["loss"], 1e10)
            rows: dict[str, list[Any]] = {name: [] for name in (*found, "x")}
            edges = np.cumsum([0, *sizes])
            for strategy, some, low, high in zip(
                strategies, asked, edges[:-1], edges[1:], strict=True
            ):
                strategy.tell(some, loss[low:high].tolist())
                best = int(np.argmin(loss[low:high]))
                rows["x"].append(np.array(some[best]))
                for name, value in found.items():
                    rows[name].append(value[low + best])
            packed = _Packed.of((strategies, np.random.get_state()))  # noqa: NPY002
        finally:
            np.random.set_state(outside)  # noqa: NPY002
        return packed, {name: np.stack(value) for name, value in rows.items()}


class _Packed:
    """Any state, as an array of bytes, for a checkpoint."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @classmethod
    def of(cls, value: Any) -> "_Packed":
        return cls(np.frombuffer(pickle.dumps(value), dtype=np.uint8))

    def open(self) -> Any:
        return pickle.loads(self.array.tobytes())


jax.tree_util.register_pytree_node(
    _Packed, lambda packed: ((packed.array,), None), lambda _, leaves: _Packed(leaves[0])
)
