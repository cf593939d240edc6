"""What the rest relies on in couplings and graphs: shapes, and that runs are kept apart.

Checked when a network is made, once for each class and size; not of the library's own.
"""

from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.models.agreement import is_own

# Values must agree to this many roundings of the largest.
_ROUNDINGS = 1e4


def check_coupling(coupling: Any) -> None:
    """Refuse a coupling, or its graph, whose functions do not return what the rest expects."""
    if is_own(type(coupling)) and is_own(type(coupling.graph)):
        return
    _checks.positive_integer(f"{type(coupling.graph).__name__}.n_regions", coupling.graph.n_regions)
    leaves, structure = jax.tree.flatten(coupling.bare())
    for leaf in leaves:
        if not (eqx.is_array_like(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)):
            must = "hold numbers, and all else in fields that are `eqx.field(static=True)`"
            _checks.fail(type(coupling).__name__, must, f"it holds {leaf!r}")
    if _checks.is_concrete([leaf for leaf in leaves if not _drawable(leaf)]):
        _try(structure, tuple(map(like, leaves)))


def like(leaf: Any) -> tuple[Any, ...]:
    """Shape and type of a number; of anything else, as of indices, its values too."""
    values = None if _drawable(leaf) else np.asarray(leaf).tobytes()
    return jnp.shape(leaf), str(jnp.result_type(leaf)), values


def drawn(structure: Any, likes: Any, rng: np.random.Generator) -> Any:
    """A PyTree with random numbers in place of its own, from what `like` says of its leaves."""
    leaves = [
        rng.uniform(0.5, 1.5, shape).astype(dtype)
        if values is None
        else np.frombuffer(values, dtype).reshape(shape)
        for shape, dtype, values in likes
    ]
    return jax.tree.unflatten(structure, leaves)


def _drawable(leaf: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact))


@lru_cache(maxsize=128)
def _try(structure: Any, likes: Any) -> None:
    """Three runs at once, and one after another."""
    rng = np.random.default_rng(0)
    with jax.ensure_compile_time_eval():
        coupling = jax.tree.map(jnp.asarray, drawn(structure, likes, rng))
    n, dtype = coupling.graph.n_regions, coupling.strength.dtype
    runs = 3 if n != 3 else 2  # no shape does for the other
    values = rng.uniform(0.1, 0.9, (n, runs)).astype(dtype)
    over_runs = coupling.over_runs()
    with jax.ensure_compile_time_eval():
        for name, alone, together in (
            (f"{type(coupling.graph).__name__}.apply", coupling.graph.apply, None),
            (f"{type(coupling).__name__}.inputs", coupling.inputs, over_runs.inputs),
        ):
            together = together or alone
            for function, shape in ((alone, (n,)), (together, (n, runs))):
                _shape(name, function, shape, dtype)
            each = jax.jit(lambda v, alone=alone: jax.vmap(alone, 1, 1)(v))(values)
            _agree(name, np.asarray(jax.jit(lambda v, f=together: f(v))(values)), np.asarray(each))


def _shape(name: str, function: Any, shape: tuple[int, ...], dtype: Any) -> None:
    what = f"for values {shape}"
    try:
        result = jax.eval_shape(function, jax.ShapeDtypeStruct(shape, dtype))
    except Exception as error:
        raise ValueError(f"`{name}` could not be evaluated {what}: {error}") from error
    if getattr(result, "shape", None) != shape or getattr(result, "dtype", None) != dtype:
        found = result if not hasattr(result, "shape") else f"{result.shape} of {result.dtype}"
        _checks.fail(name, f"return an array {shape} of {dtype} {what}", f"it returns {found}")


def _agree(name: str, together: np.ndarray, alone: np.ndarray) -> None:
    size = np.nan_to_num(np.abs(alone), posinf=0.0).max()
    tolerance = _ROUNDINGS * float(np.finfo(alone.dtype).eps)
    if not np.allclose(together, alone, rtol=tolerance, atol=tolerance * size, equal_nan=True):
        _checks.fail(
            name,
            "keep runs apart: (region, run) gives what its columns give",
            f"values {alone.shape} give other numbers than one column after another",
        )
