"""Networks and results in files that a colleague can open: arrays and names, no code."""

import dataclasses
import enum
import importlib
import json
import os
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.files import write_npz
from ngnmm_jax._core.pictured import Listed
from ngnmm_jax._core.randomness import is_key
from ngnmm_jax.connectome import Connectome

_MANIFEST, _FORMAT = "ngnmm_jax", 1
_PACKAGE = __name__.partition(".")[0]
# What JAX set to 32 bits would cut short.
_WIDE = ("float64", "int64", "uint64", "complex128")


def save(path: str | Path, thing: Any) -> None:
    """Write a network, a model, a connectome, or any result (an orbit, a branch, a run, …).

    As `.npz`: the arrays with their types, and which class holds which. `load` makes the same
    again. What holds a function (a `Custom` stimulus, a fit's loss) is refused: a file has none.

    Raises `ValueError` for such things, and for a `path` that does not end in .npz.
    """
    if not isinstance(path, str | os.PathLike) and isinstance(thing, str | os.PathLike):
        must = "be where it is written: `save(path, thing)`"
        _checks.fail("path", must, f"it is {_checks.kind_of(path)}, and `thing` is {str(thing)!r}")
    path = _checks.path("path", path)
    if path.suffix != ".npz":
        _checks.fail("path", "end in .npz", f"it is {str(path)!r}")
    arrays: dict[str, np.ndarray] = {}
    from ngnmm_jax._core.version import __version__

    manifest = {"format": _FORMAT, "version": __version__, "holds": _packed(thing, arrays, "thing")}
    write_npz(path, {**arrays, _MANIFEST: np.array(json.dumps(manifest))})


def load(path: str | Path, *, classes: Sequence[type] = ()) -> Any:
    """What `save` wrote; no code of the file's runs.

    `classes`: the models and stimuli of one's own that it may hold.

    Raises `ValueError` for files that are damaged or not of this kind, and for classes that are
    neither this library's nor given; `RuntimeError` for 64-bit arrays where JAX is set to 32.
    """
    path = _checks.path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no archive of arrays")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if _MANIFEST not in arrays and "weights" in arrays:
            raise ValueError("it looks like a connectome's: `Connectome.load` reads these")
        manifest = json.loads(str(arrays.pop(_MANIFEST)[()]))
        holds = manifest["holds"]
    except Exception as error:  # whatever NumPy, zlib and JSON make of damaged bytes
        raise ValueError(
            f"The file {str(path)!r} is damaged, or none of `save`'s: {error}"
        ) from None
    if manifest.get("format") != _FORMAT:
        raise ValueError(
            f"The file {str(path)!r} is of version {manifest.get('version')} of this library, "
            "which wrote files in another form: update."
        )
    known: dict[str, type] = {}
    for kind in classes:
        if known.setdefault(_name(kind), kind) is not kind:
            but = f"two are called {kind.__qualname__!r} of {kind.__module__!r}"
            _checks.fail("classes", "have names of their own", but)
    try:
        return _unpacked(holds, arrays, known)
    except (KeyError, TypeError, AttributeError, StopIteration, IndexError) as error:
        raise ValueError(f"The file {str(path)!r} is damaged: {error!r}") from None


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _packed(value: Any, arrays: dict[str, np.ndarray], where: str) -> Any:
    """A value as JSON can hold it, its arrays apart."""
    if isinstance(value, enum.Enum):
        return {"member": value.name, "of": _name(type(value))}
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float) and not isinstance(value, np.generic):
        return {"number": int(value) if isinstance(value, int) else repr(float(value))}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _array(value, arrays, where)
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"`{where}` has a key {key!r}, which files cannot hold.")
        kind = "ordered" if isinstance(value, OrderedDict) else "dict"
        return {kind: {k: _packed(v, arrays, f"{where}.{k}") for k, v in value.items()}}
    if isinstance(value, tuple | list):
        if isinstance(value, Listed):
            return {"listed": [_packed(v, arrays, f"{where}[{k}]") for k, v in enumerate(value)]}
        kind = "tuple" if isinstance(value, tuple) else "list"
        items = [_packed(item, arrays, f"{where}[{k}]") for k, item in enumerate(value)]
        named = hasattr(value, "_fields")
        return {"named": _name(type(value)), "items": items} if named else {kind: items}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: _packed(getattr(value, field.name), arrays, f"{where}.{field.name}")
            for field in dataclasses.fields(value)
        }
        return {"class": _name(type(value)), "fields": fields}
    raise ValueError(f"`{where}` is {type(value).__name__}, which files cannot hold.")


def _array(value: Any, arrays: dict[str, np.ndarray], where: str) -> dict[str, Any]:
    if is_key(value):
        raise ValueError(f"`{where}` is a random key, which files cannot hold: keep its seed.")
    if isinstance(value, jax.core.Tracer):
        raise ValueError(f"`{where}` is being traced: save it outside of JAX's transformations.")
    array = np.asarray(value)
    if array.dtype.kind not in "biufcUS":
        raise ValueError(f"`{where}` is an array of {array.dtype}, which files cannot hold.")
    name = f"array{len(arrays)}"
    arrays[name] = array
    return {
        "array": name,
        "jax": isinstance(value, jax.Array),
        "scalar": isinstance(value, np.generic),
    }


def _unpacked(value: Any, arrays: dict[str, np.ndarray], known: dict[str, type]) -> Any:
    if not isinstance(value, dict):
        return value
    if "number" in value:
        number = value["number"]
        return float(number) if isinstance(number, str) else int(number)
    if "member" in value:
        return _class(value["of"], known)[value["member"]]
    if "array" in value:
        array = arrays[value["array"]]
        if value["jax"] and array.dtype.name in _WIDE:
            _checks.require_x64("load of 64-bit arrays")
        if value.get("scalar"):
            return array[()]
        return as_array(array) if value["jax"] else array
    for kind, made in (("dict", dict), ("ordered", OrderedDict)):
        if kind in value:
            return made((k, _unpacked(item, arrays, known)) for k, item in value[kind].items())
    if "class" in value:
        fields = {k: _unpacked(v, arrays, known) for k, v in value["fields"].items()}
        return _made(_class(value["class"], known), fields)
    several: dict[str, Any] = {"tuple": tuple, "list": list, "listed": Listed}
    kind = next(key for key in (*several, "items") if key in value)
    items = [_unpacked(item, arrays, known) for item in value[kind]]
    if kind == "items":
        return _class(value["named"], known)(*items)
    return several[kind](items)


def _class(name: str, known: dict[str, type]) -> Any:
    """A class of this library, or one of those given."""
    if name in known:
        return known[name]
    module, _, place = name.partition(":")
    parts = module.split(".")
    data = parts[0] == _PACKAGE and parts[1:2] != ["cli"] and not any("__" in p for p in parts)
    if not data or "." in place:
        raise ValueError(f"The file holds {place!r} of {module!r}: give that class in `classes=`.")
    try:
        kind = getattr(importlib.import_module(module), place)
    except (ImportError, AttributeError):
        raise ValueError(f"The file holds {name!r}, which this version does not have.") from None
    holds = isinstance(kind, type) and (
        dataclasses.is_dataclass(kind) or issubclass(kind, tuple | enum.Enum)
    )
    if not holds:
        raise ValueError(f"The file names {name!r}, which holds no data.")
    return kind


def _made(kind: type, fields: dict[str, Any]) -> Any:
    """An object with these fields, which are the ones that it has, checked as new ones are."""
    names = {field.name for field in dataclasses.fields(kind)}
    if names != set(fields):
        differ = sorted(names ^ set(fields))
        raise ValueError(f"The file's {kind.__name__} differs from this version's in {differ}.")
    if kind is Connectome:
        return Connectome(**fields)
    made: Any = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    for base in reversed(kind.__mro__):
        if "__check_init__" in vars(base):
            vars(base)["__check_init__"](made)
    return made
