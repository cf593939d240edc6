"""Connectomes in files: the package's own `.npz`, and what other programs write."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ngnmm_jax import _checks
from ngnmm_jax.connectome.core import Connectome

# Under which names other programs keep each array of a connectome (.npz and .mat).
_NAMES = {
    "weights": ("weights", "SC", "sc", "W", "C", "connectivity", "A"),
    "tract_lengths": ("tract_lengths", "tract_lengths_mm", "lengths", "D"),
    "labels": ("labels", "region_labels", "names"),
    "centroids": ("centroids", "centroids_mni_mm", "centres", "coords"),
    "groups": ("groups", "networks"),
    "functional_connectivity": ("functional_connectivity", "FC", "fc"),
    "name": ("name",),
    "source": ("source",),
}


def read_embedded(name: str) -> Connectome:
    """A connectome that comes with the package: beside the modules, or in the checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "connectivity", package.parent / "connectivity"):
        path = folder / f"{name}.npz"
        if path.is_file():
            arrays = _read_npz(path)
            arrays |= {
                "name": name,
                "source": (
                    "Human Connectome Project (Van Essen et al. 2013), Schaefer et al. 2018, "
                    "cuBNM: see connectivity/README.md"
                ),
            }
            return Connectome(**arrays)
    raise FileNotFoundError(
        f"The embedded connectome {name!r} is missing from this installation: reinstall ngnmm-jax."
    )


def read(path: Path) -> Connectome:
    """A user's own file; its kind is told by its ending."""
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no connectome file {str(path)!r}. Give a path, or one of the names "
            "'hcp-schaefer100' and 'aal90'."
        )
    readers = {
        ".npz": _read_npz,
        ".npy": _read_npy,
        ".csv": _read_text,
        ".txt": _read_text,
        ".dat": _read_text,
        ".tsv": _read_text,
        ".mat": _read_mat,
        ".zip": _read_tvb,
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        _checks.fail("name_or_path", f"end in one of {', '.join(readers)}", f"it is {str(path)!r}")
    try:
        arrays = readers[suffix](path)
        return Connectome(**({"name": path.stem, "source": str(path)} | arrays))
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"The connectome file {str(path)!r} could not be read: {error}") from error


def _named(arrays: dict[str, Any], where: str) -> dict[str, Any]:
    """Pick a connectome's arrays out of a file's, whatever they are called there."""
    found: dict[str, Any] = {}
    for key, names in _NAMES.items():
        for name in names:
            if name in arrays:
                found[key] = arrays[name]
                break
    if "weights" not in found:
        square = [k for k, v in arrays.items() if v.ndim == 2 and v.shape[0] == v.shape[1] > 1]
        if len(square) != 1:
            raise ValueError(
                f"{where} has no array named {' or '.join(map(repr, _NAMES['weights'][:3]))} "
                f"(it has {', '.join(sorted(arrays)) or 'none'})"
            )
        found["weights"] = arrays[square[0]]
    for key in ("labels", "groups"):
        if key in found:
            found[key] = tuple(str(label).strip() for label in np.ravel(found[key]))
    for key in ("name", "source"):
        if key in found:
            found[key] = str(found[key])
    return found


def _read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as stored:
        return _named({name: stored[name] for name in stored.files}, "the .npz file")


def _read_npy(path: Path) -> dict[str, Any]:
    return {"weights": np.load(path, allow_pickle=False)}


def _read_mat(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        stored = loadmat(path, chars_as_strings=True)
    except NotImplementedError:
        raise ValueError("it is a MATLAB v7.3 file; save it with `save(..., '-v7')`") from None
    except (MatReadError, TypeError, IndexError) as error:
        raise ValueError(f"it is not a MATLAB file ({error})") from None
    arrays = {k: v for k, v in stored.items() if isinstance(v, np.ndarray)}
    for name, value in arrays.items():
        if value.dtype == object:  # a cell array of strings
            arrays[name] = np.array([str(np.ravel(cell)[0]) for cell in value.ravel()])
    return _named(arrays, "the .mat file")


def _read_tvb(path: Path) -> dict[str, Any]:
    """The Virtual Brain's connectivity archive: weights, tract lengths, centres (with labels)."""
    with zipfile.ZipFile(path) as archive:
        inside = {Path(name).name: name for name in archive.namelist()}

        def text(stem: str) -> str | None:
            name = inside.get(f"{stem}.txt")
            return None if name is None else archive.read(name).decode("utf-8", "replace")

        weights = text("weights")
        if weights is None:
            raise ValueError("the archive holds no weights.txt")
        result: dict[str, Any] = {"weights": np.loadtxt(io.StringIO(weights), ndmin=2)}
        lengths = text("tract_lengths")
        if lengths is not None:
            result["tract_lengths"] = np.loadtxt(io.StringIO(lengths), ndmin=2)
        centres = text("centres") or text("centers")
        if centres is not None:
            rows = [line.split() for line in centres.splitlines() if line.strip()]
            result["labels"] = tuple(row[0] for row in rows)
            result["centroids"] = np.array([[float(x) for x in row[1:4]] for row in rows])
        return result


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _read_text(path: Path) -> dict[str, Any]:
    """A dense matrix (with a row and a column of labels, or neither), or lines `i j w`."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    separator = "," if any("," in line for line in lines) else None
    rows = [
        [token.strip().strip('"') for token in line.split(separator)]
        for line in lines
        if line.strip() and line.lstrip()[0] not in "#%"
    ]
    if not rows:
        raise ValueError("it holds no numbers")
    if len(rows) > 1 and len(rows[0]) == 1 and all(len(row) == 3 for row in rows[1:]):
        return {"weights": _edges(rows[1:], int(rows[0][0]))}
    if len(rows) != 3 and all(len(row) == 3 and all(map(_is_number, row)) for row in rows):
        return {"weights": _edges(rows, None)}
    result: dict[str, Any] = {}
    if not all(map(_is_number, filter(None, rows[0]))):
        labels, rows = rows[0], rows[1:]
        if rows and not _is_number(rows[0][0]):  # the labels stand in a first column as well
            rows = [row[1:] for row in rows]
            labels = labels[-len(rows[0]) :]
        result["labels"] = tuple(labels)
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise ValueError(f"its lines have different numbers of entries ({sorted(lengths)})")
    try:
        result["weights"] = np.array(rows, dtype=float)
    except ValueError:
        bad = next(token for row in rows for token in row if not _is_number(token))
        raise ValueError(f"{bad!r} is not a number") from None
    return result


def _edges(rows: list[list[str]], n: int | None) -> NDArray[np.float64]:
    """Lines `i j w`, zero-based, or one-based where no index is 0 (and none is beyond n)."""
    table = np.array(rows, dtype=float)
    index = table[:, :2].astype(int)
    if (index != table[:, :2]).any() or (index < 0).any():
        raise ValueError("the first two entries of each line `i j w` must be indices of regions")
    base = int(index.min() > 0 and (n is None or index.max() == n))
    size = int(index.max()) + 1 - base if n is None else n
    if index.max() - base >= size:
        raise ValueError(f"it names region {index.max()}, but has {size} regions")
    weights = np.zeros((size, size))
    weights[index[:, 0] - base, index[:, 1] - base] = table[:, 2]
    return weights
