"""What decides the numbers of long work, as named entries that JSON can hold.

A store, a checkpoint or a figure may give what it holds only where all of this is the same: the
versions, the arithmetic, the parameters by value, and the equations, functions, losses and
optimisers as traced programs (`programs`). What no trace shows needs a `key` from its user.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import bare, declared
from ngnmm_jax._core.programs import body, digest, is_number, program

# Values of more numbers than this are a digest.
_MANY = 1000
# What is given as a digest, however few the numbers.
_WEIGHTS = ["weights"]
# What a model's class says.
_DECLARED = ("variables", "units", "time_unit", "shown", "shown_unit", "nonnegative")


def definition(computation: str, system: Any, **entries: Any) -> dict[str, Any]:
    """What decides the numbers of a computation with a system: a network, driven or homogeneous.

    **Arguments:** `entries`: whatever else decides them, by names of their own. Raises `ValueError`
    where the system calls back into Python and has no `key`.
    """
    found = {**setting(computation), **described(system), **equations(system)}
    assert not found.keys() & entries.keys()  # one would hide the other
    return {**found, **{name: plain(value) for name, value in entries.items()}}


def setting(computation: str) -> dict[str, Any]:
    """What is computed, by which version, in which arithmetic, with which random numbers."""
    from ngnmm_jax._core.version import __version__

    config: Any = jax.config
    partitioned = "" if config.jax_threefry_partitionable else ", in one part"
    return {
        "computation": computation,
        "ngnmm_jax": __version__,
        "jax": jax.__version__,
        "bits": 64 if jax.config.read("jax_enable_x64") else 32,
        "precision": config.jax_default_matmul_precision,
        "random": f"{config.jax_default_prng_impl}{partitioned}",
    }


def described(system: Any) -> dict[str, Any]:
    """A system's values by name, from any PyTree; nothing is traced.

    Of a network: `model`, `parameters`, `coupling`, a digest of the `weights`, `noise`; other
    leaves by the names of the fields that hold them, or by what its class calls these (`CALLED`);
    `choices`, words and numbers in static fields of all that it holds. Of any other PyTree:
    `values`.
    """
    found: dict[str, Any] = {}
    model = getattr(system, "model", None)
    if model is not None:
        found["system"] = type(system).__name__
        found["model"] = type(model).__name__
        found["declared"] = {name: plain(getattr(model, name)) for name in _DECLARED}
        units = {name: field.metadata["unit"] for name, field in declared(model).items()}
        found["declared"]["parameters"] = units
    core = getattr(system, "system", system)  # of a stimulus the functions are traced
    parts = [*_held(core), (system, ())] if dataclasses.is_dataclass(system) else []
    choices = {name: value for part, path in parts for name, value in _choices(part, path)}
    if choices:
        found["choices"] = choices
    called = getattr(type(core), "CALLED", {})
    for path, leaf in jax.tree_util.tree_flatten_with_path(system)[0]:
        names = [_name(part) for part in path]
        names = names[1:] if names[:1] == ["system"] else names
        if model is None:
            names = ["values", ".".join(names)]
        elif names[0] == "model":
            names[0] = "parameters"
        names = list(called.get(tuple(names), names))
        value = plain(leaf, most=0 if names == _WEIGHTS else _MANY)
        if len(names) == 1:
            found[names[0]] = value
        else:
            found.setdefault(names[0], {})[".".join(names[1:])] = value
    return found


def _held(whole: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """A module and those that it holds, with the names of the fields that lead there."""
    if isinstance(whole, Mapping):
        items: Any = whole.items()
    elif isinstance(whole, list | tuple):
        items = enumerate(whole)
    elif dataclasses.is_dataclass(whole) and not isinstance(whole, type):
        yield whole, path
        fields = dataclasses.fields(whole)
        items = [(f.name, getattr(whole, f.name)) for f in fields if not f.metadata.get("static")]
    else:
        return
    for name, value in items:
        yield from _held(value, (*path, str(name)))


def _choices(part: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """What a module holds beside arrays: words and numbers in its static fields.

    But for those that say that they decide nothing.
    """
    for field in dataclasses.fields(part):
        value, says = getattr(part, field.name), field.metadata
        if says.get("static") and says.get("decides", True) and _is_plain(value):
            yield ".".join((*path, field.name)), plain(value)


def _is_plain(value: Any) -> bool:
    """Whether it is made of words and numbers alone."""
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return bool(value) and all(map(_is_plain, value.values()))
    return isinstance(value, str | int | float | bool | np.ndarray | np.generic)


def equations(system: Any) -> dict[str, Any]:
    """A system's equations, and its stimulus, as programs; what its classes say beside them."""
    core = getattr(system, "system", system)
    core = bare(core)
    stimuli = _parts(getattr(system, "stimulus", None))
    shape = tuple(core.state_shape)
    given = (len(core.model.inputs),) if core.model.inputs else ()
    shapes = shape, (*given, *shape[1:])
    state, drive = (jax.ShapeDtypeStruct(s, _precision(core)) for s in shapes)
    number = jax.ShapeDtypeStruct((), _precision(core))
    found: dict[str, Any] = {
        "equations": program(
            _computed,
            *(core, state, drive, number),
            key=None if "key" in declared(core.model) else getattr(core.model, "key", None),
            where="as the model's field `key`",
        ),
        "time_step": plain(core.time_step),
    }
    _forget(core, found["equations"])
    if stimuli:
        found["stimulus_function"] = [_stimulated(part) for part in stimuli]
        for part, text in zip(stimuli, found["stimulus_function"], strict=True):
            _forget(part, text)
    noises = _noises(system)
    if noises:
        found["noise_functions"] = {name: _noisy(core, noise) for name, noise in noises.items()}
        for name, noise in noises.items():
            _forget(noise, str(found["noise_functions"][name]))
    # What no trace shows of a class of a user is looked at as it is written.
    others = [*stimuli, *noises.values()]
    kinds = [type(part) for part, _ in _held(core)] + [type(part) for part in others]
    written = [
        [kind.__name__, body(kind, traced=getattr(kind, "TRACED", frozenset()))] for kind in kinds
    ]
    if any(text for _, text in written):
        found["classes"] = written
    return found


def _computed(system: Any, state: Any, drive: Any, number: Any) -> dict[str, Any]:
    """All that the equations of a system compute of a state, an input and a number."""
    model = system.model
    output = model.output(state)
    delayed = getattr(system, "delays", None) is not None
    at_once = system.undelayed() if delayed else system
    found: dict[str, Any] = {
        "vector_field": model.vector_field(state, drive),
        "output": output,
        "observe": model.observe(state),
        "search_box": model.search_box(),
        "slopes": _slopes(model, state, drive),
        "coupled": (
            at_once.vector_field(state, drive[0] if model.inputs else drive),
            at_once.drive(output),
        ),
    }
    if delayed:
        everywhere = output
        if system.alone:
            regions = system.interaction.graph.n_regions
            everywhere = jnp.broadcast_to(output[..., None], (*jnp.shape(output), regions))
        for name, part in system.interaction.delayed().items():
            sent = part.sent(everywhere)
            found[f"{name}delayed"] = part.graph.times(), sent, part.received(sent, everywhere)
    with contextlib.suppress(_checks.Disagreement):
        for p in model.populations():
            names = {key: part for key, part in p._asdict().items() if isinstance(part, str)}
            found[f"population {names}"] = [v for v in p if not isinstance(v, str | type(None))]
    # A hook that is refused, since it does not follow from the equations, decides nothing.
    with contextlib.suppress(_checks.Disagreement):
        flow = model.exact_flow(number)
        if flow is not None:
            inputs = flow.inputs(state, drive)
            found["exact_flow"] = (inputs, flow.advance(state, inputs, inputs))
    with contextlib.suppress(_checks.Disagreement):
        mean = system.averaged() if hasattr(system, "averaged") else at_once
        reduction = mean.reduction()
        if reduction is not None:
            found["reduction"] = (reduction.low, reduction.high, reduction.function(number))
    return found


def _slopes(model: Any, state: Any, drive: Any) -> Any:
    """Derivatives, which may have rules of their own (`jax.custom_jvp`)."""

    def of(state: Any, drive: Any) -> Any:
        return model.vector_field(state, drive), model.output(state)

    try:
        return jax.jvp(of, (state, drive), (state, drive))[1]
    except TypeError:  # `jax.custom_vjp` has no forward mode
        values, back = jax.vjp(of, state, drive)
        return back(values)


def _precision(system: Any) -> Any:
    return jnp.result_type(*jax.tree.leaves(system.model), system.coupling)


def _parts(stimulus: Any) -> list[Any]:
    """A stimulus, or those that make a sum."""
    if stimulus is None:
        return []
    parts = getattr(stimulus, "parts", None)
    return [stimulus] if parts is None else [one for part in parts for one in _parts(part)]


def _noises(system: Any) -> dict[str, Any]:
    """A driven system's noises that are objects."""
    every = getattr(system, "noise", {}).items()
    return {name: noise for name, noise in every if dataclasses.is_dataclass(noise)}


def _noisy(core: Any, noise: Any) -> list[Any]:
    """What a noise is beside its numbers: its kind, the words in it, its factor as a program."""
    state = jax.ShapeDtypeStruct(tuple(core.state_shape), _precision(core))
    words = {name: value for name, value in _choices(noise, ())}
    amplitude = program(type(noise).amplitude, noise, core.model, state)
    return [type(noise).__name__, words, amplitude]


def _stimulated(stimulus: Any) -> str:
    def function(stimulus: Any, t: Any) -> Any:
        return stimulus(t), stimulus.jumps

    key = getattr(stimulus, "key", None)
    time = jax.ShapeDtypeStruct((), jnp.result_type(float))
    return program(function, stimulus, time, key=key, where="as in `Custom(…, key=…)`")


# The programs of systems and stimuli of a kind, as they were when they were last looked at.
_LOOKED_AT: dict[Any, str] = {}
_MOST = 64


def _forget(part: Any, text: str) -> None:
    """Forget what is compiled where a class or a function computes something else by now.

    JAX knows compiled programs by classes and functions, so that a constant of theirs that was
    changed since would go on with its old value.
    """
    leaves, structure = jax.tree.flatten(part)
    what = (structure, str([(np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]))
    if _LOOKED_AT.get(what, text) != text:
        jax.clear_caches()
    elif len(_LOOKED_AT) >= _MOST:
        _LOOKED_AT.clear()
    _LOOKED_AT[what] = text


def plain(value: Any, most: int = _MANY) -> Any:
    """A value that JSON can hold: arrays as lists, or as a digest where they have many numbers."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Mapping):
        return {str(name): plain(part, most) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part, most) for part in value]
    if not is_number(value):
        return f"an object of {type(value).__qualname__}"
    array = np.asarray(value)
    usual = array.dtype in (jnp.result_type(float), jnp.result_type(int), np.dtype(bool))
    exact = array.dtype.kind != "f" or (
        np.isfinite(array).all() and not np.signbit(array[array == 0]).any()
    )
    return array.tolist() if usual and exact and array.size <= most else digest(array)


def ordered(values: Mapping[str, Any]) -> list[list[Any]]:
    """A dict whose order counts, as pairs."""
    return [[name, plain(value)] for name, value in values.items()]


def _name(part: Any) -> str:
    """The name of a part of a PyTree's path: of a field, a key, or a place in a list."""
    for kind in ("name", "key", "idx"):
        if hasattr(part, kind):
            return str(getattr(part, kind))
    return str(part)
