"""Primitives of JAX that put values in other places, on arrays of names."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ngnmm_jax.kernels.markers import CannotFuse, stand_ins

# Longest other axis: what is written out is a statement for each entry.
_LONGEST = 512


def wide(shape: tuple[int, ...]) -> bool:
    """Whether there is an axis of regions or of runs."""
    return any(length in shape for length in stand_ins())


def narrow(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with such axes of length one."""
    return tuple(1 if size in stand_ins() else size for size in shape)


def only_narrow(shape: tuple[int, ...], name: str) -> None:
    """Refuse a shape that mixes regions or runs with others, or has them twice."""
    if any(shape.count(length) > 1 for length in stand_ins()):
        raise CannotFuse(f"`{name}` has two axes of regions, or of runs.")
    if any(size > _LONGEST for size in narrow(shape)):
        raise CannotFuse(f"`{name}` gives an array {shape}: regions and runs are mixed, or long.")


def _broadcast(params: Any, texts: Any, shapes: Any) -> np.ndarray:
    shape, axes = narrow(params["shape"]), params["broadcast_dimensions"]
    spread = [1] * len(shape)
    for axis, size in zip(axes, texts[0].shape, strict=True):
        spread[axis] = size
    return np.broadcast_to(texts[0].reshape(spread), shape)


def _reshape(params: Any, texts: Any, shapes: Any) -> np.ndarray:
    new = tuple(params["new_sizes"])
    before, after = ([d for d in s if d in stand_ins()] for s in (shapes[0], new))
    if before != after or params.get("dimensions") is not None:
        raise CannotFuse(f"An array {shapes[0]} is given the shape {new}: regions are mixed.")
    # Wide axes keep their place among values: those before them hold as many in both shapes.
    for size in before:
        ahead = [int(np.prod(narrow(s[: s.index(size)]))) for s in (tuple(shapes[0]), new)]
        if ahead[0] != ahead[1]:
            raise CannotFuse(f"An array {shapes[0]} is given the shape {new}: regions are mixed.")
    return texts[0].reshape(narrow(new))


def _slice(params: Any, texts: Any, shapes: Any) -> np.ndarray:
    strides = params["strides"] or [1] * len(shapes[0])
    index = []
    for size, start, stop, step in zip(
        shapes[0], params["start_indices"], params["limit_indices"], strides, strict=True
    ):
        if size in stand_ins():
            if (start, stop, step) != (0, size, 1):
                raise CannotFuse("The step takes some regions, or runs, out of all.")
            index.append(slice(None))
        else:
            index.append(slice(start, stop, step))
    return texts[0][tuple(index)]


def _along(axis: int, shapes: Any) -> None:
    if any(wide((shape[axis],)) for shape in shapes):
        raise CannotFuse("The step joins regions, or runs, or takes them apart.")


def _concatenate(params: Any, texts: Any, shapes: Any) -> np.ndarray:
    _along(params["dimension"], shapes)
    return np.concatenate(texts, axis=params["dimension"])


def _split(params: Any, texts: Any, shapes: Any) -> list[np.ndarray]:
    _along(params["axis"], shapes)
    return list(np.split(texts[0], np.cumsum(params["sizes"])[:-1], axis=params["axis"]))


def _unstack(params: Any, texts: Any, shapes: Any) -> list[np.ndarray]:
    axis = params.get("axis", 0)
    _along(axis, shapes)
    return [np.take(texts[0], k, axis) for k in range(texts[0].shape[axis])]


def _reverse(params: Any, texts: Any, shapes: Any) -> np.ndarray:
    for axis in params["dimensions"]:
        _along(axis, shapes)
    return np.flip(texts[0], params["dimensions"])


LAYOUTS: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "slice": _slice,
    "concatenate": _concatenate,
    "split": _split,
    "unstack": _unstack,
    "rev": _reverse,
    "squeeze": lambda params, texts, shapes: np.squeeze(texts[0], tuple(params["dimensions"])),
    "expand_dims": lambda params, texts, shapes: np.expand_dims(
        texts[0], tuple(params["dimensions"])
    ),
    "transpose": lambda params, texts, shapes: np.transpose(texts[0], params["permutation"]),
    "stack": lambda params, texts, shapes: np.stack(texts, axis=params.get("axis", 0)),
}
