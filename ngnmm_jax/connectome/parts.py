"""What a file holds, and which of it is what: the one place where a reader may not guess."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ngnmm_jax._core import checks as _checks

# Under which names other programs keep each part of a connectome, in lower case.
_NAMES = {
    "weights": (
        "weights", "sc", "w", "c", "connectivity", "a", "structural_connectivity", "connectome",
        "adjacency", "weight",
    ),
    "tract_lengths": (
        "tract_lengths", "tract_lengths_mm", "lengths", "d", "fiber_lengths", "fibre_lengths",
        "fiber_length", "fiber_len", "tract_length", "distances", "distance", "dist", "length",
    ),
    "labels": ("labels", "region_labels", "names", "roi_names", "regions"),
    "centroids": ("centroids", "centroids_mni_mm", "centres", "centers", "coords", "coordinates"),
    "groups": ("groups", "networks"),
    "functional_connectivity": (
        "functional_connectivity", "fc", "fc_matrix", "corr", "correlation", "correlations",
    ),
    "name": ("name",),
    "source": ("source",),
}  # fmt: skip
#: What of a reading is true or false.
FLAGS = ("transpose", "directed", "symmetric", "one_based", "edges")
# What of it may be left to the file.
_OPEN = ("one_based", "edges")
# What is a matrix (region, region).
_SQUARE = ("weights", "tract_lengths", "functional_connectivity")
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
    transpose: Any = False
    one_based: Any = None
    edges: Any = None
    directed: Any = False
    symmetric: Any = False
    separator: str | None = None

    def __post_init__(self) -> None:
        for name in FLAGS:
            value = getattr(self, name)
            if not isinstance(value, bool) and not (value is None and name in _OPEN):
                _checks.fail(name, "be true or false", f"it is {value!r}")
        if self.directed and self.symmetric:
            _checks.fail("directed", "not be given with `symmetric`: they exclude each other",
                         "both are")  # fmt: skip
        if self.separator is not None and len(self.separator) != 1:
            _checks.fail("separator", "be one character", f"it is {self.separator!r}")


def default_labels(n: int) -> tuple[str, ...]:
    """What regions are called that have no names."""
    return tuple(f"region {k}" for k in range(n))


@dataclasses.dataclass
class Parts:
    """What a file holds: arrays by the names they have there, and what had to be inferred.

    What stands in a group or a structure is called by its path. `one_way`: the weights are edges
    of which each pair of regions is listed once, so that nothing says whether they go both ways;
    `sure`: the file says itself how its connections are meant.
    """

    arrays: dict[str, Any]
    notes: list[str] = dataclasses.field(default_factory=list)
    one_way: bool = False
    sure: bool = False


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
    found = {key: name for key in _NAMES if (name := one_called(key, arrays, reading, where))}
    if reading.variable is not None:
        found["weights"] = _present(arrays, reading.variable, "variable", where)
    chosen_here = {"weights"} if reading.variable is not None else set()
    for key, given in (("labels", reading.labels), ("tract_lengths", reading.lengths)):
        names = _called(arrays, given) if isinstance(given, str) else []
        if len(names) == 1:
            found[key] = names[0]
            chosen_here.add(key)
    _together({key: name for key, name in found.items() if key not in chosen_here}, where)
    if "weights" not in found:
        known = set(found.values())
        found["weights"] = _unnamed(arrays, known, where)
        parts.notes.append(f"weights: {found['weights']!r}, its only other square matrix")
    elif _short(found["weights"]) != "weights":
        parts.notes.append(f"weights: {found['weights']!r}")
    for key, name in found.items():
        if key not in ("weights", "name", "source") and _short(name) != key:
            parts.notes.append(f"{key}: {name!r}")
    unused = sorted(set(arrays) - set(found.values()))
    if unused:
        parts.notes.append(f"not used: {', '.join(map(repr, unused[:6]))}{_more(unused, 6)}")
    return {key: arrays[name] for key, name in found.items()}


def one_called(key: str, arrays: dict[str, Any], reading: Reading, where: str) -> str | None:
    """The name under which a part stands; two that differ are refused."""
    option = {"weights": "variable", "labels": "labels", "tract_lengths": "lengths"}.get(key)
    if option is not None and getattr(reading, option) is not None:
        return None
    named = [name for name in arrays if _short(name).lower() in _NAMES[key]]
    named = [name for name in named if np.size(arrays[name])]
    if key in _SQUARE:
        shapes = {name: np.shape(arrays[name]) for name in named}
        named = [name for name in named if len(shapes[name]) == 2 and shapes[name][0] > 1]
    if not named:
        return None
    if all(_same(arrays[named[0]], arrays[name]) for name in named[1:]):
        return named[0]
    decide = f"choose one with `{option}=`" if option else "keep one of them"
    raise ValueError(f"{where} has {' and '.join(map(repr, named))} for the {key}: {decide}")


def _same(one: Any, other: Any) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other))


def _short(name: str) -> str:
    """The last part of a path in a file."""
    return name.split("/")[-1]


def _called(arrays: dict[str, Any], name: str) -> list[str]:
    """What a name stands for: itself, or the one thing whose path ends in it."""
    return [name] if name in arrays else [key for key in arrays if _short(key) == name]


def _together(found: dict[str, str], where: str) -> None:
    """Refuse parts of different groups, such as the weights of one subject with another's names."""
    homes = {key: name[: -len(_short(name))] for key, name in found.items()}
    if len(set(homes.values())) > 1:
        shown = ", ".join(f"{key}: {name!r}" for key, name in found.items())
        raise ValueError(
            f"{where} has its parts in different places ({shown}): choose what belongs together "
            "with `variable=`, `labels=` and `lengths=`, or keep one of them"
        )


def _present(arrays: dict[str, Any], name: str, option: str, where: str) -> str:
    names = _called(arrays, name)
    if len(names) == 1:
        return names[0]
    raise ValueError(
        f"{where} has {len(names) or 'nothing'} called {name!r} (`{option}=`); it has "
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
    single = [name for name in arrays if name not in known and np.size(arrays[name]) == 1]
    if single and len(single) == len(arrays) - len(known):
        raise ValueError(f"{where} holds single numbers, and no matrix of two regions or more")
    has = ", ".join(f"{name!r} {np.shape(arrays[name])}" for name in sorted(arrays)) or "nothing"
    raise ValueError(
        f"{where} has no array named 'weights', 'SC' or the like (it has {has}): say which one "
        "holds the weights with `variable=`"
    )


def completed(weights: NDArray[Any], parts: Parts, reading: Reading) -> NDArray[Any]:
    """Weights as they are meant: transposed, or completed below the diagonal, where asked for."""
    if reading.transpose:
        weights = weights.T
        parts.notes.append("transposed: column j of the file holds what region j receives")
    if reading.symmetric:
        if _one_sided(weights) or parts.one_way:
            parts.notes.append("each connection stands once in the file and is taken both ways")
            return both_ways(weights)
        if not np.allclose(weights, weights.T, rtol=1e-12, atol=0.0):
            raise ValueError(
                "`symmetric=True` completes connections that stand once, but here pairs of "
                "regions have two weights that differ: use `.symmetrised()`"
            )
    elif (is_half(weights) or parts.one_way) and not (reading.directed or parts.sure):
        what = "listed once" if parts.one_way else "on one side of the diagonal only"
        raise ValueError(
            f"its connections stand {what}: say `symmetric=True` if they go both ways (as "
            "tck2connectome writes them), `directed=True` if they go one way"
        )
    return weights


def is_half(weights: NDArray[Any]) -> bool:
    """Whether weights stand on one side of the diagonal only, of three regions or more."""
    return len(weights) > 2 and _one_sided(weights)


def _one_sided(weights: NDArray[Any]) -> bool:
    return bool(np.triu(weights, 1).any() != np.tril(weights, -1).any())


def lengths_too(lengths: NDArray[Any], parts: Parts, reading: Reading) -> NDArray[Any]:
    """Tract lengths as the weights are meant: transposed, and of both ways."""
    lengths = lengths.T if reading.transpose else lengths
    if reading.symmetric and (_one_sided(lengths) or parts.one_way):
        if not np.allclose(lengths, lengths.T, rtol=1e-12, atol=0.0):
            lengths = both_ways(lengths)
    elif is_half(lengths) and not (reading.directed or parts.sure):
        raise ValueError(
            "its tract lengths stand on one side of the diagonal only: say `symmetric=True` if "
            "they are those of both ways, `directed=True` if of one"
        )
    return lengths


def both_ways(weights: NDArray[Any]) -> NDArray[Any]:
    """Weights of which each pair has one, given to both."""
    return weights + weights.T - np.diag(np.diag(weights))


def own_names(parts: Parts) -> Any:
    """What a file itself has for the regions' names, or None."""
    named = (v for k, v in parts.arrays.items() if _short(k).lower() in _NAMES["labels"])
    return next(named, None)


def names_of(value: Any, n: int, notes: list[str]) -> tuple[str, ...]:
    """Names of regions out of what a file holds for them: text, bytes, or character codes."""
    array = np.asarray(value)
    if array.dtype == np.uint8 and array.ndim == 2 and array.size > n:  # of characters
        text = "".join(chr(code) for code in array.ravel())
        names = [line.strip() for line in text.splitlines() if line.strip()]
        if len(names) != n and len(array) == n:
            names = ["".join(chr(code) for code in row).strip() for row in array]
    elif array.dtype.kind in "iuf" and array.size == n and (array == array.round()).all():
        names = [str(int(number)) for number in array.ravel()]
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
