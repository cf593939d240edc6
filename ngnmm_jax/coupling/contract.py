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
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.coupling.base import AbstractSum
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
        coupling = jax.tree.map(as_array, drawn(structure, likes, rng))
        n = coupling.graph.n_regions
        runs = 3 if n != 3 else 2  # no shape does for the other
        dtype = jnp.result_type(*filter(_drawable, jax.tree.leaves(coupling)))
        values = rng.uniform(0.1, 0.9, (n, runs)).astype(dtype)
        for graph in (coupling.graph, coupling.linear()):
            if graph is not None:
                name = f"{type(graph).__name__}.apply"
                each = _apart(name, graph.apply, graph.apply, values)
                _a_matrix(graph, values, each)
        name = f"{type(coupling).__name__}.inputs"
        each = _apart(name, coupling.inputs, coupling.over_runs().inputs, values)
        if isinstance(coupling, AbstractSum) and not is_own(type(coupling)):
            _a_sum(coupling, values, each)


def _a_sum(coupling: AbstractSum, values: np.ndarray, inputs: np.ndarray) -> None:
    """What is sent and received is elementwise over regions and runs, and makes the inputs."""
    kind = type(coupling).__name__
    together: Any = coupling.over_runs()
    _shaped(f"{kind}.sent", coupling.sent, values[:, 0], values.shape[:1])
    sent = np.stack([np.asarray(coupling.sent(as_array(v))) for v in values.T], axis=-1)
    _shaped(f"{kind}.sent", together.sent, values, values.shape)
    through = coupling.graph.apply if sent.ndim == values.ndim else jax.vmap(coupling.graph.apply)
    sums = np.asarray(through(as_array(sent)))
    whole: dict[str, Any] = {
        "sent": (lambda x: together.sent(x), (values,), sent),
        "received": (lambda x, s: together.received(s, x), (values, sums), inputs),
    }
    for name, (function, arguments, expected) in whole.items():
        found = np.asarray(jax.jit(function)(*map(as_array, arguments)))
        if found.shape != expected.shape or not _alike(found, expected):
            must = "keep runs apart, and with the graph's sums make the inputs"
            _checks.fail(f"{kind}.{name}", must, "it gives other numbers")
        # One region's values are changed: what becomes of the others' must not.
        changed = [v.copy() for v in arguments]
        for v in changed:
            v[..., 0, :] = 2 * v[..., 0, :] + 0.1
        other = np.asarray(jax.jit(function)(*map(as_array, changed)))
        if not _alike(other[..., 1:, :], found[..., 1:, :]):
            must = "act region by region: what one has changes nothing in others"
            _checks.fail(f"{kind}.{name}", must, "it mixes regions: that is the graph's")


def _shaped(name: str, function: Any, values: np.ndarray, shape: tuple[int, ...]) -> None:
    """What is sent: of the outputs' shape, or with an axis of channels before."""
    try:
        sent = jax.eval_shape(function, jax.ShapeDtypeStruct(values.shape, values.dtype))
    except Exception as error:
        raise ValueError(f"`{name}` could not be evaluated for {shape}: {error}") from error
    found = getattr(sent, "shape", None)
    if found is None or (found != shape and found[1:] != shape):
        must = f"return {shape}, or (channel, …) of these, for values {shape}"
        _checks.fail(name, must, f"it returns {sent if found is None else found}")


def _apart(name: str, alone: Any, together: Any, values: np.ndarray) -> np.ndarray:
    """What is made of values (region, run), a column `alone` and all `together`: the same."""
    for function, shape in ((alone, values.shape[:1]), (together, values.shape)):
        _shape(name, function, shape, values.dtype)
    each = np.asarray(jax.jit(lambda v: jax.vmap(alone, 1, 1)(v))(values))
    if not _alike(np.asarray(jax.jit(lambda v: together(v))(values)), each):
        _checks.fail(
            name,
            "keep runs apart: (region, run) gives what its columns give",
            f"values {values.shape} give other numbers than one column after another",
        )
    return each


def _shape(name: str, function: Any, shape: tuple[int, ...], dtype: Any) -> None:
    what = f"for values {shape}"
    try:
        result = jax.eval_shape(function, jax.ShapeDtypeStruct(shape, dtype))
    except Exception as error:
        raise ValueError(f"`{name}` could not be evaluated {what}: {error}") from error
    if getattr(result, "shape", None) != shape or getattr(result, "dtype", None) != dtype:
        found = result if not hasattr(result, "shape") else f"{result.shape} of {result.dtype}"
        _checks.fail(name, f"return an array {shape} of {dtype} {what}", f"it returns {found}")


def _a_matrix(graph: Any, values: np.ndarray, applied: np.ndarray) -> None:
    """A graph is linear, and what else it says of its matrix is what it says by `apply`."""
    n, kind = graph.n_regions, type(graph).__name__
    if n > graph.DENSE_LIMIT:
        _a_large_matrix(graph, values, applied)
        return
    matrix = np.asarray(jax.jit(lambda: graph.apply(jnp.eye(n)))())
    size = float(np.abs(matrix).sum(axis=1).max())  # of rows whose sums may cancel
    if not _alike(applied, matrix @ values, size):
        _checks.fail(f"{kind}.apply", "be linear: what bends is a coupling's", "it is not")
    for name, found in (("matrix", graph.matrix()), ("row_sums", graph.row_sums())):
        expected = matrix if name == "matrix" else matrix.sum(axis=1)
        if np.shape(found) != expected.shape or not _alike(np.asarray(found), expected, size):
            _checks.fail(f"{kind}.{name}", "be that of `apply`", "it gives other numbers")


def _a_large_matrix(graph: Any, values: np.ndarray, applied: np.ndarray) -> None:
    """The same, of what can be seen without the matrix: sums of values, and of rows."""
    kind, size = type(graph).__name__, float(np.abs(applied).max())
    together = np.asarray(jax.jit(lambda v: graph.apply(v))(2 * values[:, 0] - values[:, 1]))
    if not _alike(together, 2 * applied[:, 0] - applied[:, 1], size):
        _checks.fail(f"{kind}.apply", "be linear: what bends is a coupling's", "it is not")
    sums = np.asarray(jax.jit(lambda: graph.apply(jnp.ones(len(values))))())
    found = graph.row_sums()
    if np.shape(found) != sums.shape or not _alike(np.asarray(found), sums, size):
        _checks.fail(f"{kind}.row_sums", "be that of `apply`", "it gives other numbers")


def _alike(found: np.ndarray, expected: np.ndarray, size: float = 0.0) -> bool:
    """Equal to some roundings of the largest, or of `size`, in the coarser precision."""
    size = max(size, float(np.nan_to_num(np.abs(expected), posinf=0.0).max()))
    kinds = [array.dtype for array in (found, expected) if array.dtype.kind == "f"]
    tolerance = _ROUNDINGS * max(float(np.finfo(kind).eps) for kind in kinds)
    return np.allclose(found, expected, rtol=tolerance, atol=tolerance * size, equal_nan=True)
