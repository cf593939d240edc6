"""Primitives of JAX that are neither elementwise nor a matter of places, written out in C.

Each takes a walk, the parameters and the arguments, and gives an array of names.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax.kernels import primitives
from ngnmm_jax.kernels.layout import narrow, wide
from ngnmm_jax.kernels.markers import CannotFuse
from ngnmm_jax.kernels.walk import Known, Names, Walk


def _product(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    operand = walk.names(args[0]).text.item()
    return np.array(walk.product(operand), dtype=object)


def _normal(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    number = walk.names(args[1]).text.item()
    source = params["source"]
    text = f"ng_normal(key{source}_0, key{source}_1, (unsigned){number}, (unsigned)j)"
    return np.array(walk.write("real", text), dtype=object)


def _stimulus(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    return np.array(walk.write("real", f"STIMULUS({params['moment']})"), dtype=object)


def _dot(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    sums, batches = params["dimension_numbers"]
    sides = [walk.names(x) for x in args]
    rows = [
        _rows(side, axes, batch) for side, axes, batch in zip(sides, sums, batches, strict=True)
    ]
    if any(side.dtype.kind != "f" for side in sides):
        raise CannotFuse("The step has a matrix product of whole numbers in it.")
    left, right = rows
    result = np.empty((left.shape[0], left.shape[1], right.shape[1]), dtype=object)
    for n, i, k in np.ndindex(result.shape):
        terms = [walk.times(x, y) for x, y in zip(left[n, i], right[n, k], strict=True)]
        result[n, i, k] = walk.total(terms)
    return result


def _rows(side: Names, sums: Sequence[int], batch: Sequence[int]) -> np.ndarray:
    """One side of a product of arrays, as (batch, row, summed)."""
    if wide(tuple(side.shape[k] for k in sums)):
        raise CannotFuse("The step adds up regions, or runs, without its graph.")
    others = [k for k in range(side.text.ndim) if k not in (*sums, *batch)]
    moved = np.transpose(side.text, (*batch, *others, *sums))
    sizes = [math.prod(side.text.shape[k] for k in axes) for axes in (batch, others, sums)]
    return moved.reshape(sizes)


def _reduction(join: Callable[[Walk, list[str], str], str]) -> Callable[..., np.ndarray]:
    def rule(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
        array = walk.names(args[0])
        axes = tuple(params["axes"])
        if wide(tuple(array.shape[k] for k in axes)):
            raise CannotFuse("The step joins values of regions, or of runs, without its graph.")
        if not array.text.size:
            raise CannotFuse("The step joins no values at all.")
        moved = np.moveaxis(array.text, axes, range(len(axes)))
        rows = moved.reshape(-1, *moved.shape[len(axes) :])
        result = np.empty(rows.shape[1:], dtype=object)
        for place in np.ndindex(result.shape):
            kind = walk.kind(array.dtype)
            result[place] = join(walk, [*rows[(slice(None), *place)]], kind)
        return result

    return rule


def _joined(name: str) -> Callable[..., str]:
    def join(walk: Walk, terms: list[str], kind: str) -> str:
        result = terms[0]
        for term in terms[1:]:
            result = walk.write(kind, _pair(name, result, term, kind))
        return result

    return join


def _pair(name: str, a: str, b: str, kind: str) -> str:
    """Two values joined."""
    dtype = np.dtype(next(dtype for dtype, known in primitives.TYPES.items() if known == kind))
    text = primitives.expression(name, {}, [a, b], [dtype, dtype])
    assert text is not None
    return text


def _sum(walk: Walk, terms: list[str], kind: str) -> str:
    return walk.total(terms, kind=kind)


def _cumulative(join: Callable[[Walk, list[str], str], str]) -> Callable[..., np.ndarray]:
    def rule(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
        array, axis = walk.names(args[0]), params["axis"]
        if wide((array.shape[axis],)):
            raise CannotFuse("The step joins values of regions, or of runs, without its graph.")
        kind, turn = walk.kind(array.dtype), -1 if params["reverse"] else 1
        rows = np.moveaxis(array.text, axis, 0)[::turn].copy()
        for k, *place in np.ndindex(rows.shape):
            if k:
                at = tuple(place)
                rows[(k, *at)] = join(walk, [rows[(k - 1, *at)], rows[(k, *at)]], kind)
        return np.moveaxis(rows[::turn], 0, axis)

    return rule


def _place(sign: str) -> Callable[..., np.ndarray]:
    """Of the first of the largest values, or of the smallest; of NaN, where there is one."""

    def rule(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
        array, (axis,) = walk.names(args[0]), params["axes"]
        if wide((array.shape[axis],)):
            raise CannotFuse("The step joins values of regions, or of runs, without its graph.")
        kind, number = walk.kind(array.dtype), walk.kind(params["index_dtype"])
        rows = np.moveaxis(array.text, axis, 0)
        result = np.empty(rows.shape[1:], dtype=object)
        for place in np.ndindex(result.shape):
            best, at = str(rows[(0, *place)]), primitives.literal(0, params["index_dtype"])
            for k in range(1, rows.shape[0]):
                x = str(rows[(k, *place)])
                lost = f" || ({x} != {x} && {best} == {best})" if kind == "real" else ""
                better = walk.write("bool", f"{x} {sign} {best}{lost}")
                index = primitives.literal(k, params["index_dtype"])
                at = walk.write(number, f"({better} ? {index} : {at})")
                best = walk.write(kind, f"({better} ? {x} : {best})")
            result[place] = at
        return result

    return rule


def _gather(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    """Values at known indices: the same done with the values' places."""
    array, index = walk.names(args[0]), args[1]
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    if not isinstance(index, Known):
        raise CannotFuse("The step takes values by an index that differs between runs or in time.")
    if any(wide((array.shape[k],)) for k in numbers.start_index_map):
        raise CannotFuse("The step takes some regions, or runs, out of all.")
    places = jnp.arange(array.text.size).reshape(array.text.shape)
    found = np.asarray(
        jax.lax.gather_p.bind(
            places, index.value, **{**params, "slice_sizes": narrow(sizes), "fill_value": -1}
        )
    )
    if (found < 0).any():
        raise CannotFuse("The step takes values beyond an array's end.")
    return array.text.ravel()[found]


def _index(walk: Walk, value: Any, most: int) -> Any:
    """An index that may be known, between 0 and `most`."""
    if isinstance(value, Known):
        return int(np.clip(value.value.item(), 0, most))
    text = walk.names(value).text.item()
    return walk.write("int", f"({text} < 0 ? 0 : {text} > {most} ? {most} : (int){text})")


def _dynamic_slice(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    array, indices = walk.names(args[0]), args[1:]
    text = array.text
    for axis, (index, size) in enumerate(zip(indices, params["slice_sizes"], strict=True)):
        full = array.shape[axis]
        if size == full:
            continue
        if wide((full,)):
            raise CannotFuse("The step takes some regions, or runs, out of all.")
        at = _index(walk, index, full - size)
        choices = [np.take(text, range(k, k + size), axis) for k in range(full - size + 1)]
        text = choices[at] if isinstance(at, int) else _chosen(walk, at, choices, array.dtype)
    return text


def _chosen(walk: Walk, at: str, choices: list[np.ndarray], dtype: Any) -> np.ndarray:
    """One of several arrays by an index."""
    kind = walk.kind(dtype, moved=True)
    result = np.empty(choices[0].shape, dtype=object)
    for place in np.ndindex(result.shape):
        texts = [str(choice[place]) for choice in choices]
        numbers = [number for text in texts if (number := walk.value(text)) is not None]
        if kind == "real" and len(numbers) == len(texts):
            result[place] = walk.table(numbers, at)
            continue
        chosen = str(texts[0])
        for k, text in enumerate(texts[1:], 1):
            chosen = walk.write(kind, f"({at} == {k} ? {text} : {chosen})")
        result[place] = chosen
    return result


def _dynamic_update(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    array, update, indices = walk.names(args[0]), walk.names(args[1]), args[2:]
    moving = [k for k in range(array.text.ndim) if array.shape[k] != update.shape[k]]
    if len(moving) > 1 or wide(tuple(array.shape[k] for k in moving)):
        raise CannotFuse("The step writes a block into several axes of an array.")
    if not moving:
        return update.text
    (axis,) = moving
    size, full = update.shape[axis], array.shape[axis]
    at = _index(walk, indices[axis], full - size)
    return _written(walk, array, update.text, axis, size, at, lambda old, new: new)


def _written(
    walk: Walk, array: Names, update: np.ndarray, axis: int, size: int, at: Any, join: Any
) -> np.ndarray:
    """An array with a block of it replaced, from an index on that may be known."""
    kind = walk.kind(array.dtype)
    text = np.moveaxis(array.text, axis, 0).copy()
    shape = [size if k == axis else d for k, d in enumerate(array.text.shape)]
    new = np.moveaxis(np.broadcast_to(update, shape), axis, 0)
    for k in range(text.shape[0]):
        for part in range(size):
            for place in np.ndindex(text.shape[1:]):
                old, value = text[(k, *place)], new[(part, *place)]
                if isinstance(at, int):
                    if k == at + part:
                        text[(k, *place)] = join(old, value)
                elif 0 <= k - part <= text.shape[0] - size:
                    chosen = f"({at} == {k - part} ? {join(old, value)} : {old})"
                    text[(k, *place)] = walk.write(kind, chosen)
    return np.moveaxis(text, 0, axis)


def _scatter(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    """Values set at known indices: the same done with the values' places."""
    array, index, update = walk.names(args[0]), args[1], walk.names(args[2])
    if not isinstance(index, Known):
        return _at_one(None)(walk, params, args)
    axes = params["dimension_numbers"].scatter_dims_to_operand_dims
    if any(wide((array.shape[k],)) for k in axes):
        raise CannotFuse("The step writes into some regions, or runs, out of all.")
    places = jnp.arange(array.text.size + update.text.size)
    old, new = places[: array.text.size], places[array.text.size :]
    found = jax.lax.scatter_p.bind(
        old.reshape(array.text.shape), index.value, new.reshape(update.text.shape), **params
    )
    return np.concatenate([array.text.ravel(), update.text.ravel()])[np.asarray(found)]


def _at_one(name: str | None) -> Callable[..., np.ndarray]:
    """Of `array.at[index].add(…)` and others, with one index of the first axis."""

    def rule(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
        array, index, update = walk.names(args[0]), args[1], walk.names(args[2])
        numbers = params["dimension_numbers"]
        simple = (
            tuple(numbers.inserted_window_dims) == (0,)
            and tuple(numbers.scatter_dims_to_operand_dims) == (0,)
            and not numbers.operand_batching_dims
            and tuple(numbers.update_window_dims) == tuple(range(array.text.ndim - 1))
        )
        if not simple or wide(array.shape[:1]):
            raise CannotFuse("The step writes into an array at several indices.")
        if params["mode"] == jax.lax.GatherScatterMode.CLIP:
            at = _index(walk, index, array.text.shape[0] - 1)
        elif isinstance(index, Known):
            at = int(index.value.item())
        else:
            at = walk.names(index).text.item()
        kind = walk.kind(array.dtype)

        def join(old: str, new: str) -> str:
            return new if name is None else walk.write(kind, _pair(name, old, new, kind))

        return _written(walk, array, update.text[None], 0, 1, at, join)

    return rule


RULES: dict[str, Callable[..., np.ndarray]] = {
    "ngnmm_product": _product,
    "ngnmm_normal": _normal,
    "ngnmm_stimulus": _stimulus,
    "dot_general": _dot,
    "reduce_sum": _reduction(_sum),
    "reduce_max": _reduction(_joined("max")),
    "reduce_min": _reduction(_joined("min")),
    "reduce_and": _reduction(_joined("and")),
    "reduce_or": _reduction(_joined("or")),
    "reduce_prod": _reduction(_joined("mul")),
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update,
    "cumsum": _cumulative(_sum),
    "cumprod": _cumulative(_joined("mul")),
    "cummax": _cumulative(_joined("max")),
    "cummin": _cumulative(_joined("min")),
    "argmax": _place(">"),
    "argmin": _place("<"),
    "gather": _gather,
    "scatter": _scatter,
    **{
        f"scatter{mark}{name}": _at_one(name)
        for name in ("add", "mul", "min", "max", "sub")
        for mark in "-_"
    },
}
