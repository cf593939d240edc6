"""What the rest relies on in a model: shapes, and that it is elementwise over all axes but one.

Checked when a system is made of a model, once for each class; not of the library's own.
"""

import dataclasses
import inspect
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import declared, with_fields
from ngnmm_jax.models.agreement import is_own
from ngnmm_jax.models.comparisons import (
    digest,
    identity,
    linearised,
    random_state,
    usual,
)
from ngnmm_jax.models.declarations import definer
from ngnmm_jax.models.times import per_time

# Regions and runs of the state at which a model is tried.
_AXES = (2, 3)
# A step may be this many times the fastest time at most: Runge and Kutta's is stable to 2.8.
_STABLE = 1.5

_passed: set[Any] = set()


def check_contract(model: Any) -> None:
    """Refuse a model whose functions do not return what the rest expects of them."""
    if is_own(type(model)):
        return
    key = identity(model)
    if key is None or (type(model), key) in _passed:
        return
    with jax.ensure_compile_time_eval():
        _fields(model)
        _box(model)
        _shapes(model)
        _elementwise(model)
    _passed.add((type(model), key))


def _fail(model: Any, name: str, must: str, but: str) -> None:
    _checks.fail(f"{type(model).__name__}.{name}", must, but)


def _fields(model: Any) -> None:
    """Parameters stay what is given; nothing else changes with them, has axes, or is no number.

    `with_parameters`, sweeps and fits put in values without making the model anew, and take axes
    of fields for regions or runs. JAX takes numbers as arguments of programs, and nothing else.
    """
    names = declared(model)
    for field in dataclasses.fields(model):
        leaves = jax.tree.leaves(None if field.name in names else getattr(model, field.name))
        for leaf in () if field.metadata.get("static") else leaves:
            if not eqx.is_array_like(leaf) or isinstance(leaf, np.str_ | np.bytes_):
                must = f"be static, as in `{field.name}: {_kind(field)} = eqx.field(static=True)`"
                _fail(model, field.name, must, f"it holds a {type(leaf).__name__}, no number")
        if any(eqx.is_array_like(leaf) and np.ndim(leaf) for leaf in leaves):
            must = "be declared by `parameter`, or hold no array"
            _fail(model, field.name, must, "it holds one: keep what is constant in the class")
    given = [{name: getattr(m, name) for name in names} for m in (usual(model), usual(model, 0.2))]
    try:
        made = [type(model)(**values) for values in given]
    except Exception:  # made in a way of its own
        return
    for one, values in zip(made, given, strict=True):
        for name in names:
            if not np.array_equal(getattr(one, name), values[name]):
                _fail(model, name, "be kept as it is given", "the class changes it")
    for field in dataclasses.fields(model):
        if field.name not in names:
            both = [jax.tree.leaves(getattr(one, field.name)) for one in made]
            if list(map(digest, both[0])) != list(map(digest, both[1])):
                must = "not depend on the parameters: compute it where it is used"
                _fail(model, field.name, must, "it is computed when the model is made")


def _kind(field: Any) -> str:
    return getattr(field.type, "__name__", None) or str(field.type)


def _box(model: Any) -> None:
    corners, n = usual(model).search_box(), len(model.variables)
    if not isinstance(corners, tuple | list) or len(corners) != 2:
        _fail(model, "search_box", "return a low and a high corner", f"it returns {corners!r}")
    corners = [np.asarray(corner) for corner in corners]
    shapes = [corner.shape for corner in corners]
    if shapes != [(n,), (n,)]:
        _fail(model, "search_box", f"return two corners, each ({n},)", f"their shapes are {shapes}")
    low, high = corners
    if not (np.isfinite(low) & np.isfinite(high) & (low <= high)).all():
        _fail(model, "search_box", "return a low and a high corner, finite", f"{low}, {high}")


def _shapes(model: Any) -> None:
    n, dtype = len(model.variables), jnp.result_type(float)
    for axes in ((), _AXES):
        state = jax.ShapeDtypeStruct((n, *axes), dtype)
        sent, given = ((len(names),) if names else () for names in (model.outputs, model.inputs))
        drive = jax.ShapeDtypeStruct((*given, *axes), dtype)
        for name, arguments, expected in (
            ("vector_field", (state, drive), (n, *axes)),
            ("output", (state,), (*sent, *axes)),
            ("observe", (state,), axes),
        ):
            function, what = getattr(usual(model), name), f"for a state {(n, *axes)}"
            try:
                result = jax.eval_shape(function, *arguments)
            except Exception as error:
                kind = type(model).__name__
                raise ValueError(
                    f"`{kind}.{name}` could not be evaluated {what}: {error}"
                ) from error
            found = getattr(result, "shape", None), getattr(result, "dtype", None)
            if found != (expected, dtype):
                must = f"return an array {expected} of {dtype} {what}"
                but = f"it returns {found[0]} of {found[1]}" if found[1] else f"it is {result!r}"
                _fail(model, name, must, but)


def _elementwise(model: Any) -> None:
    """Two regions of different parameters in three runs each, at once and one after another."""
    names, pair = declared(model), (usual(model), usual(model, 0.2))
    columns = {name: np.stack([getattr(m, name) for m in pair]) for name in names}
    state, drive = random_state(pair[0], _AXES), np.linspace(0.1, 0.9, 6).reshape(_AXES)
    if model.inputs:
        drive = np.stack([drive * (1 + k) for k in range(len(model.inputs))])
    drive = drive.astype(state.dtype)
    rest = with_fields(model, **dict.fromkeys(names))
    try:
        together, alone = jax.tree.map(np.asarray, _both_ways(rest, columns, state, drive))
    except Exception as error:
        kind = type(model).__name__
        raise ValueError(f"`{kind}` could not be evaluated by `jax.vmap`: {error}") from error
    tolerance = 1e4 * float(np.finfo(state.dtype).eps)
    for name, a, b in zip(("vector_field", "output", "observe"), together, alone, strict=True):
        size = np.nan_to_num(np.abs(b), posinf=0.0).max()
        if not np.allclose(a, b, rtol=tolerance, atol=tolerance * size, equal_nan=True):
            _fail(
                model,
                name,
                "be elementwise over all axes of the state but the first, with parameters that "
                "broadcast against them",
                f"a state {state.shape} gives other numbers than its columns, one by one",
            )
    if _stale_step(type(model)):
        _step(pair[0], state[:, 0], drive[:, 0] if model.inputs else drive[0])


@eqx.filter_jit
def _both_ways(rest: Any, columns: Any, y: Any, c: Any) -> Any:
    """Slopes, outputs and observed values of all columns at once, and of each alone."""

    def seen(values: Any, y: jax.Array, c: jax.Array) -> Any:
        model = with_fields(rest, **values)
        return model.vector_field(y, c), model.output(y), model.observe(y)

    first = 1 if rest.inputs else 0  # of the axes of a drive, after those of inputs
    over_runs = partial(jax.vmap, in_axes=(None, 1, first))
    over_regions = partial(jax.vmap, in_axes=(0, 1, first))
    out = (1, first, 0)
    alone = over_regions(over_runs(seen, out_axes=out), out_axes=out)(columns, y, c)
    return seen({name: value[:, None] for name, value in columns.items()}, y, c), alone


def _stale_step(kind: type) -> bool:
    """Whether what a step is taken from was made for older equations."""
    names = [name for name in ("time_step", "fastest_time") if hasattr(kind, name)]
    owners = [definer(kind, name) for name in names]
    owner = min(owners, key=kind.__mro__.index)
    older = kind.__mro__.index(owner) > kind.__mro__.index(definer(kind, "vector_field"))
    return older and not inspect.isabstract(owner)  # that of all models was made for none of them


def _step(model: Any, state: np.ndarray, drive: np.ndarray) -> None:
    """A time step that is inherited must suit new equations, at states (variable, state)."""
    matrices = np.moveaxis(linearised(model, state, drive)[1], -1, 0)
    if not np.isfinite(matrices).all():
        return
    fastest = np.abs(np.linalg.eigvals(matrices)).max()
    step = float(np.min(np.asarray(model.time_step)))
    if step * fastest > _STABLE:
        _fail(
            model,
            "time_step",
            "suit the model's own `vector_field`",
            f"it is inherited, {step:.3g} {model.time_unit}, and states in the model's box move at "
            f"rates of {fastest:.3g} {per_time(model.time_unit)}: define `fastest_time`",
        )
