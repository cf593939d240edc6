"""What a file holds, and which of it is what: the one place where a reader may not guess."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Under which names other programs keep each part of a connectome, in lower case.
_NAMES = {
    "weights": (
        "weights", "sc", "w", "c", "connectivity", "a", "structural_connectivity", "connectome",
        "adjacency", "weight",
    ),
    "tract_lengths": ("tract_lengths", "tract_lengths_mm", "lengths", "d", "fiber_lengths",
                      "fibre_lengths", "tract_length", "distances"),
    "labels": ("labels", "region_labels", "names", "roi_names", "regions"),
    "centroids": ("centroids", "centroids_mni_mm", "centres", "centers", "coords", "coordinates"),
    "groups": ("groups", "networks"),
    "functional_connectivity": ("functional_connectivity", "fc"),
    "name": ("name",),
    "source": ("source",),
}  # fmt: skip
#: A dense matrix of more bytes than this is refused before it is made.
MOST_BYTES = 4 << 30


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a file is to be read, where it does not say so itself; None leaves it to the file.

    - `variable`: the array (.npz, .mat, .h5), member (.zip, folder) or edge attribute (.graphml)
      that holds the weights.
    - `labels`: the array or member that holds the names, a text file of them, or the names.
    - `lengths`: the array, member or attribute that holds the tract lengths, or a file of them.
    - `transpose`: whether column j, not row j, holds what region j receives.
    - `one_based`: whether the regions of an edge list are numbered from one.
    - `edges`: whether a table of three columns is an edge list (source, target, weight).
    - `directed`: take weights that stand on one side of the diagonal only, or pairs of regions
      that are listed once, as one-way connections; `symmetric`: as connections both ways.
    - `separator`: between the entries of a text file.
    """

    variable: str | None = None
    labels: str | Path | Sequence[str] | None = None
    lengths: str | Path | None = None
    transpose: bool = False
    one_based: bool | None = None
    edges: bool | None = None
    directed: bool = False
    symmetric: bool = False
    separator: str | None = None


@dataclasses.dataclass
class Parts:
    """What a file holds: arrays by the names they have there, and what had to be inferred.

    `one_way`: that the weights are edges of which each pair of regions is listed once, so that
    nothing says whether they go both ways.
    """

    arrays: dict[str, Any]
    notes: list[str] = dataclasses.field(default_factory=list)
    one_way: bool = False


def dense_size(n: int, where: str) -> None:
    """Refuse a number of regions whose matrix would not fit."""
    if 8 * n * n > MOST_BYTES:
        raise ValueError(
            f"{where} has {n} regions, whose dense matrix needs {8 * n * n / 1e9:.3g} GB: more "
            f"than {MOST_BYTES / 1e9:.2g} GB are not read"
        )


def dense(matrix: Any, where: str) -> NDArray[Any]:
    """A sparse matrix of SciPy's, whose indices are checked first: a file may hold any."""
    dense_size(max(matrix.shape), where)
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)
    result: NDArray[Any] = matrix.toarray()
    return result


def chosen(parts: Parts, reading: Reading, where: str) -> dict[str, Any]:
    """A connectome's arguments out of a file's arrays, whatever they are called there.

    What is named is taken by its name, and by one name only; weights without a name are taken
    where there is one square matrix that is not known as something else.
    """
    arrays = parts.arrays
    found = {key: name for key in _NAMES if (name := _one(arrays, key, reading, where))}
    if reading.variable is not None:
        found["weights"] = _present(arrays, reading.variable, "variable", where)
    for key, given in (("labels", reading.labels), ("tract_lengths", reading.lengths)):
        if isinstance(given, str) and given in arrays:
            found[key] = given
    if "weights" not in found:
        known = set(found.values())
        found["weights"] = _unnamed(arrays, known, where)
        parts.notes.append(f"weights: {found['weights']!r}, its only other square matrix")
    elif found["weights"] != "weights":
        parts.notes.append(f"weights: {found['weights']!r}")
    for key, name in found.items():
        if key not in ("weights", "name", "source") and name != key:
            parts.notes.append(f"{key}: {name!r}")
    unused = sorted(set(arrays) - set(found.values()))
    if unused:
        parts.notes.append(f"not used: {', '.join(map(repr, unused[:6]))}{_more(unused, 6)}")
    return {key: arrays[name] for key, name in found.items()}


def _one(arrays: dict[str, Any], key: str, reading: Reading, where: str) -> str | None:
    """The name under which a part stands; two that differ are refused."""
    option = {"weights": "variable", "labels": "labels", "tract_lengths": "lengths"}.get(key)
    if option is not None and getattr(reading, option) is not None:
        return None
    named = [name for name in arrays if name.lower() in _NAMES[key] and np.size(arrays[name])]
    if not named:
        return None
    if all(_same(arrays[named[0]], arrays[name]) for name in named[1:]):
        return named[0]
    decide = f"choose one with `{option}=`" if option else "keep one of them"
    raise ValueError(f"{where} has {' and '.join(map(repr, named))} for the {key}: {decide}")


def _same(one: Any, other: Any) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other))


def _present(arrays: dict[str, Any], name: str, option: str, where: str) -> str:
    if name in arrays:
        return name
    raise ValueError(
        f"{where} has nothing called {name!r} (`{option}=`); it has "
        f"{', '.join(map(repr, sorted(arrays))) or 'nothing'}"
    )


def _unnamed(arrays: dict[str, Any], known: set[str], where: str) -> str:
    square = [
        name
        for name, value in arrays.items()
        if name not in known
        and np.ndim(value) == 2
        and np.shape(value)[0] == np.shape(value)[1] > 1
        and np.asarray(value).dtype.kind in "iufb"
    ]
    if len(square) == 1:
        return square[0]
    has = ", ".join(f"{name!r} {np.shape(arrays[name])}" for name in sorted(arrays)) or "nothing"
    raise ValueError(
        f"{where} has no array named 'weights', 'SC' or the like (it has {has}): say which one "
        "holds the weights with `variable=`"
    )


def completed(
    weights: NDArray[Any], parts: Parts, reading: Reading
) -> NDArray[Any]:  # both ways, or one, as the caller says where the file does not
    """Weights as they are meant: transposed, or completed below the diagonal, where asked for."""
    if reading.directed and reading.symmetric:
        raise ValueError("`directed=` and `symmetric=` exclude each other")
    if reading.transpose:
        weights = weights.T
        parts.notes.append("transposed: column j of the file holds what region j receives")
    half = is_half(weights)
    if reading.symmetric:
        if half or parts.one_way:
            parts.notes.append("each connection stands once in the file and is taken both ways")
            return both_ways(weights)
        if not np.array_equal(weights, weights.T):
            raise ValueError(
                "`symmetric=True` completes connections that stand once, but here pairs of "
                "regions have two weights that differ: use `.symmetrised()`"
            )
    elif (half or parts.one_way) and not reading.directed:
        what = "listed once" if parts.one_way else "on one side of the diagonal only"
        raise ValueError(
            f"its connections stand {what}: say `symmetric=True` if they go both ways (as "
            "tck2connectome writes them), `directed=True` if they go one way"
        )
    return weights


def is_half(weights: NDArray[Any]) -> bool:
    """Whether weights stand on one side of the diagonal only, of three regions or more."""
    upper, lower = np.triu(weights, 1).any(), np.tril(weights, -1).any()
    return bool(len(weights) > 2 and upper != lower)


def both_ways(weights: NDArray[Any]) -> NDArray[Any]:
    """Weights of which each pair has one, given to both."""
    return weights + weights.T - np.diag(np.diag(weights))


def names_of(value: Any, n: int, notes: list[str]) -> tuple[str, ...]:
    """Names of regions out of what a file holds for them: text, bytes, or character codes."""
    array = np.asarray(value)
    if array.dtype.kind in "iuf" and array.ndim == 2 and 1 in array.shape and array.size > n:
        text = "".join(chr(int(code)) for code in array.ravel())
        names = [line.strip() for line in text.splitlines() if line.strip()]
    elif array.dtype.kind in "iuf" and array.ndim == 2 and len(array) == n:  # a char matrix
        names = ["".join(chr(int(code)) for code in row).strip() for row in array]
    elif array.dtype.kind == "U" and array.ndim == 2 and len(array) == n > array.shape[1]:
        names = ["".join(row).strip() for row in array]
    else:
        names = [_text(entry) for entry in array.ravel()]
    return numbered(names, notes)


def _text(entry: Any) -> str:
    if isinstance(entry, bytes):
        return entry.decode("utf-8", "replace").strip()
    if isinstance(entry, np.ndarray):
        return _text(entry.ravel()[0]) if entry.size else ""
    return str(entry).strip()


def numbered(names: Sequence[str], notes: list[str]) -> tuple[str, ...]:
    """Names made unique: what stands more than once is numbered, what is empty gets its index."""
    empty = sum(not name for name in names)
    if empty:
        notes.append(f"{empty} region(s) without a name are called by their index")
    names = [name or f"region {k}" for k, name in enumerate(names)]
    repeated = {name for name in names if names.count(name) > 1}
    if not repeated:
        return tuple(names)
    notes.append(f"{len(repeated)} name(s) stand more than once and are numbered")
    taken, result = set(names) - repeated, []
    count = dict.fromkeys(repeated, 0)
    for name in names:
        new = name
        while name in repeated and (new == name or new in taken):
            count[name] += 1
            new = f"{name} {count[name]}"
        taken.add(new)
        result.append(new)
    return tuple(result)


def _more(items: Sequence[Any], shown: int) -> str:
    return ", …" if len(items) > shown else ""
