"""Whether summaries of one's own keep runs apart, compared on a few runs before their first use.

A summary that looks at other runs would depend on what is computed together: on chunks and blocks.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.sweeps.summaries.base import Layout
from ngnmm_jax.sweeps.summaries.gathering import Gathering, classes

# Runs that are gathered together, and numbers that windows may emit of them.
_RUNS, _MOST = 3, 2**24
# What was found before, the newest last: None, or what is wrong.
_KEPT = 256
_found: dict[Any, tuple[str, str] | None] = {}


def check_separate(gathering: Gathering, like: jax.ShapeDtypeStruct, layout: Layout) -> None:
    """Refuse summaries that mix runs, or whose values have no axis of runs.

    Not the library's own, which its tests compare. `like`: a sample (signal, region, run).
    """
    some = Gathering.of(list(_own(gathering)))
    if not some.parts:
        return
    static, arrays = some.split(like.dtype)
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arrays))
    key = (static, static.written, shapes, like, layout)
    if key not in _found:
        while len(_found) >= _KEPT:
            _found.pop(next(iter(_found)))
        _found[key] = _compared(some, arrays, like, layout)
    wrong = _found[key]
    if wrong is not None:
        _checks.fail("keep", *wrong)


def _own(gathering: Gathering) -> Iterator[Any]:
    """Summaries that are none of the library's, or need such statistics."""
    own: list[bool] = []
    for part, needs in zip(gathering.parts, gathering.needed, strict=True):
        foreign = any(not kind.__module__.startswith("ngnmm_jax.") for kind in classes(part))
        own.append(foreign or any(own[k] for k in needs))
    return (gathering.parts[k] for k in gathering.kept if own[k])


def _compared(
    some: Gathering, arrays: Any, like: jax.ShapeDtypeStruct, layout: Layout
) -> tuple[str, str] | None:
    """What is wrong with several runs at a time against one of them: what must be, and what is."""
    size = (min(2, layout.windows), layout.window, *like.shape[:-1], _RUNS)
    function = partial(_gathered, some, layout=layout)
    together, alone = (
        jax.eval_shape(function, arrays, jax.ShapeDtypeStruct((*size[:-1], runs), like.dtype))
        for runs in (_RUNS, 1)
    )
    for part, several, one in zip(some.summaries, together[0], alone[0], strict=True):
        expected = (*one.shape[:-1], _RUNS)
        if several.shape != expected:
            must = f"give values {expected} of {part.name!r} for {_RUNS} runs"
            return must, f"they are {several.shape}"
    for where in together[1]:
        if where.shape != (_RUNS,):
            must = f"say of each run where a value is `sound`, {(_RUNS,)}"
            return must, f"its shape is {where.shape}"
    if sum(leaf.size for leaf in jax.tree.leaves(together[2])) > _MOST:
        return None
    x = np.random.default_rng(0).uniform(size=size).astype(like.dtype)
    several, one = (jax.jit(function)(arrays, some_of)[0] for some_of in (x, x[..., -1:]))
    near = float(np.sqrt(jnp.finfo(like.dtype).eps))
    for part, a, b in zip(some.summaries, several, one, strict=True):
        a, b = np.asarray(a)[..., -1], np.asarray(b)[..., 0]
        scale = near * float(np.nanmax(np.abs(b), initial=0.0, where=np.isfinite(b)))
        if not np.allclose(a, b, rtol=near, atol=scale, equal_nan=True):
            must = f"keep runs apart in {part.name!r}, along the last axis"
            return must, "the values of a run change with those that are computed with it"
    return None


def _gathered(some: Gathering, arrays: Any, x: Any, *, layout: Layout) -> tuple[Any, Any, Any]:
    """Values, where they are sound, and what is emitted, of windows like the first two, x (window,
    sample, signal, region, run).
    """
    gathering = some.joined(arrays)
    start = gathering.start(jnp.zeros(x.shape[2:], x.dtype), layout)

    def window(totals: Any, item: tuple[jax.Array, jax.Array]) -> Any:
        number, values = item
        return gathering.add(totals, values, number, layout)

    totals, emitted = jax.lax.scan(window, start, (jnp.arange(len(x)), x))
    every = jnp.arange(layout.windows) % len(x)
    emitted = jax.tree.map(lambda value: value[every], emitted)
    return *gathering.values(totals, emitted, layout), emitted
