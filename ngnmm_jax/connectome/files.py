"""Connectomes in files: the package's own `.npz`, and what other programs write."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.connectome import archives, containers, graphs
from ngnmm_jax.connectome.packed import PACKED, unpacked
from ngnmm_jax.connectome.parts import (
    Parts,
    Reading,
    chosen,
    completed,
    default_labels,
    lengths_too,
    names_of,
    one_called,
    own_names,
)
from ngnmm_jax.connectome.text import decoded, read_text

_TEXT = (".csv", ".txt", ".dat", ".tsv", ".edge", ".ssv")
_READERS: dict[str, Callable[[Path, Reading], Parts]] = {
    ".npz": lambda path, _: containers.read_npz(path),
    ".npy": lambda path, _: containers.read_npy(path),
    ".mat": lambda path, _: containers.read_mat(path),
    ".h5": lambda path, _: containers.read_hdf5(path),
    ".hdf5": lambda path, _: containers.read_hdf5(path),
    ".mtx": lambda path, _: graphs.read_mtx(path),
    ".graphml": graphs.read_graphml,
    ".zip": archives.read_zip,
    **dict.fromkeys(_TEXT, lambda path, reading: read_text(path.read_bytes(), reading)),
}


def read_embedded(name: str) -> dict[str, Any]:
    """What makes a connectome of the package's own: beside the modules, or in the checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "connectivity", package.parent / "connectivity"):
        path = folder / f"{name}.npz"
        if path.is_file():
            source = (
                "Human Connectome Project (Van Essen et al. 2013), Schaefer et al. 2018, "
                "cuBNM: see connectivity/README.md"
            )
            return _made(path, Reading()) | {"name": name, "source": source, "notes": ()}
    raise FileNotFoundError(
        f"The embedded connectome {name!r} is missing from this installation: reinstall ngnmm-jax."
    )


def check(path: Path) -> None:
    """Whether there is such a file or folder, of a kind that is read."""
    if not path.exists():
        raise FileNotFoundError(
            f"There is no connectome file {str(path)!r}. Give a path, or one of the names "
            "'hcp-schaefer100' and 'aal90'."
        )
    suffix = path.suffix.lower()
    if not path.is_dir() and suffix not in (*_READERS, *PACKED):
        endings = ", ".join((*_READERS, *PACKED))
        _checks.fail("name_or_path", f"end in one of {endings}", f"it is {str(path)!r}")


def read(path: Path, reading: Reading) -> dict[str, Any]:
    """What makes a connectome of a user's own file or folder; its ending tells its kind."""
    return _made(path, reading)


class Unreadable(ValueError):
    """A file that could not be read; the message says which, and why."""


@contextlib.contextmanager
def reasons(path: Path, what: str = "connectome file") -> Iterator[None]:
    """What goes wrong inside is said of the file, in one line."""
    try:
        yield
    except (ImportError, Unreadable):
        raise
    except Exception as error:  # whatever a format's library raises for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Unreadable(f"The {what} {str(path)!r} could not be read: {reason}") from error


def _made(path: Path, reading: Reading, parts: Parts | None = None) -> dict[str, Any]:
    """A connectome's arguments; `parts`: what the file holds, if it was read."""
    parts = _parts(path, reading) if parts is None else parts
    found = chosen(parts, reading, "it")
    named_inside = "labels" in found
    weights = np.asarray(found["weights"])
    if weights.ndim == 2 and weights.shape[0] == weights.shape[1] and weights.dtype.kind in "iufb":
        found["weights"] = completed(weights, parts, reading)
    n = len(weights) if weights.ndim else 0
    lengths = found.get("tract_lengths")
    if lengths is not None and np.shape(lengths) == (n, n):
        found["tract_lengths"] = lengths_too(np.asarray(lengths), parts, reading)
    for key in ("labels", "groups"):
        if key in found:
            notes = parts.notes if key == "labels" else []
            names = names_of(found[key], n, notes)
            found[key] = names if key == "labels" else tuple(map(str, np.ravel(found[key])))
    _name(found, path, n, parts)
    if reading.labels is not None and not named_inside:
        found["labels"] = _given_names(reading.labels, parts, n)
    if reading.lengths is not None and lengths is None:
        other = Path(reading.lengths)
        with reasons(other, "file of tract lengths"):
            found["tract_lengths"] = _lengths(found, other, reading, parts, n)
    return {"source": str(path), "notes": tuple(parts.notes)} | found


def _parts(path: Path, reading: Reading) -> Parts:
    if path.is_dir():
        return archives.read_folder(path, reading)
    suffix = path.suffix.lower()
    if suffix not in PACKED:
        return _READERS[suffix](path, reading)
    inner = Path(path.stem).suffix.lower()
    if inner not in _READERS:
        raise ValueError(f"what is packed in it ends in {inner!r}, which is not read")
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.stem
        plain.write_bytes(unpacked(path.read_bytes(), suffix))
        return _READERS[inner](plain, reading)


def _given_names(labels: Any, parts: Parts, n: int) -> tuple[str, ...]:
    """Names that the caller gives, or has in a file of their own."""
    given, own = _labels(labels, parts), own_names(parts)
    known = None if own is None else names_of(own, n, [])
    if len(given) != n:
        raise ValueError(f"there are {len(given)} labels for {n} regions")
    if known is not None and known != given:
        if sorted(known) == sorted(given):
            raise ValueError(
                "`labels=` has the file's own names in another order: leave it out, and use "
                "`.take` to bring the regions into that order"
            )
        parts.notes.append(f"names replaced: {known[0]!r} is now {given[0]!r}, and so on")
    else:
        parts.notes.append("labels: as given")
    return given


def _lengths(
    found: dict[str, Any], path: Path, reading: Reading, parts: Parts, n: int
) -> np.ndarray:
    """Tract lengths of a file of their own, by the regions' names where both have names."""
    if not path.is_file():
        raise ValueError(f"there is no array and no file {str(path)!r} (`lengths=`)")
    both = reading.symmetric
    own = Reading(transpose=reading.transpose, symmetric=both, directed=not both)
    if reading.edges is False:
        own = dataclasses.replace(own, edges=False)
    inside = _parts(path, own)
    name = one_called("tract_lengths", inside.arrays, own, path.name)
    if name is not None:
        own = dataclasses.replace(own, variable=name)
    other = _made(path, own, inside)
    lengths, names = np.asarray(other["weights"]), other.get("labels", ())
    if tuple(names) == default_labels(n):
        names = ()
    parts.notes.append(f"tract lengths: {path.name}")
    if lengths.shape != (n, n):
        raise ValueError(f"it has lengths of {len(lengths)} regions, not of {n}")
    if "labels" not in found or not names or names == found["labels"]:
        return lengths
    if len(set(names)) < n or sorted(names) != sorted(found["labels"]):
        raise ValueError("it has other names than the weights")
    places = [names.index(name) for name in found["labels"]]
    return lengths[np.ix_(places, places)]


def _labels(given: Any, parts: Parts) -> tuple[str, ...]:
    if not isinstance(given, str | Path):
        return tuple(map(str, given))
    path = Path(given)
    if not path.is_file():
        raise ValueError(f"there is no array and no file {str(path)!r} (`labels=`)")
    lines = decoded(path.read_bytes(), parts.notes).splitlines()
    return tuple(line.strip() for line in lines if line.strip() and line.lstrip()[0] not in "#%")


def _name(found: dict[str, Any], path: Path, n: int, parts: Parts) -> None:
    """What it is called; DSI Studio keeps the regions' names as character codes there."""
    value = found.pop("name", None)
    if value is not None and np.asarray(value).dtype == np.uint8 and np.size(value) > 1:
        names = names_of(np.atleast_2d(value), n, parts.notes)
        if "labels" not in found and len(names) == n:
            found["labels"] = names
            parts.notes.append("labels: the character codes of 'name'")
        value = None
    text = "" if value is None else str(np.ravel(value)[0] if np.size(value) else "")
    found["name"] = text or path.stem
    if "source" in found:
        found["source"] = str(np.ravel(found["source"])[0])
