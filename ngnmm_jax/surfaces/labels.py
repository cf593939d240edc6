"""Labels of vertices in files: GIFTI, FreeSurfer, CIFTI, text and NumPy's."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.surfaces.files import is_gifti, reasons

#: What names of the outside are made of, in lower case and without `lh.`, spaces and the like.
_OUTSIDE = {"", "unknown", "none", "medialwall", "corpuscallosum", "backgroundmedialwall"}
_OUTSIDE |= {"backgroundfreesurferdefinedmedialwall", "background"}
#: Structures of CIFTI's, and their order on a surface.
_CORTEX = ("CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT")
_TEXT = (".csv", ".txt", ".tsv", ".1d")


@dataclasses.dataclass(frozen=True)
class Labels:
    """Of each vertex, the index among `names` or -1; None of them where labels are numbers."""

    parcels: NDArray[np.int64]
    names: list[str] | None
    notes: list[str]

    def arguments(self) -> dict[str, Any]:
        """Those of a `Parcellation`."""
        return {"parcels": self.parcels, "names": self.names or ()}


#: Numbers (vertex,) and what they are called, where that is known.
Keys = tuple[NDArray[np.int64], Mapping[int, str] | None]


def of_array(labels: ArrayLike, names: Mapping[int, str] | None = None) -> Labels:
    """Of integers or names (vertex,); see `Parcellation.of_labels`."""
    return _of_keys(*_keys(labels, names))


def _of_keys(keys: NDArray[np.int64], names: Mapping[int, str] | None) -> Labels:
    return _numbered(keys) if names is None else _named(keys, names)


def _keys(labels: ArrayLike, names: Mapping[int, str] | None = None) -> Keys:
    """Numbers of labels (vertex,), which may be names themselves."""
    array = np.asarray(labels)
    if array.ndim == 2 and 1 in array.shape:
        array = array.ravel()
    if array.ndim != 1 or not array.size:
        _checks.fail("labels", "be one for each vertex (vertex,)", f"their shape is {array.shape}")
    if array.dtype.kind in "USO" and names is None:
        known, keys = np.unique(array.astype(str), return_inverse=True)
        return keys, dict(enumerate(map(str, known)))
    array = _checks.numbers("labels", array, "be integers or names, one for each vertex")
    if array.dtype.kind == "f":
        broken = np.flatnonzero(array != np.floor(array))  # NaN as well
        if broken.size:
            but = f"that of vertex {broken[0]} is {array[broken[0]]}"
            _checks.fail("labels", "be whole numbers", but)
    return array.astype(np.int64), names


def _numbered(keys: NDArray[np.int64]) -> Labels:
    """Of numbers without names: 1 to n, and 0 or -1 outside."""
    inside = keys > 0
    if keys.min() < -1 or not inside.any():
        must = "be numbers from 1, and 0 or -1 outside"
        _checks.fail("labels", must, f"they are {keys.min()} to {keys.max()}")
    found = np.unique(keys[inside])
    left = " and ".join(str(k) for k in np.unique(keys[~inside]))
    notes = [f"label {left}: outside of all parcels"] if left else []
    names = None
    if found.size < found[-1]:  # they cannot be counted through
        names = [f"parcel {k}" for k in found]
        gap = np.setdiff1d(np.arange(1, found[-1] + 1), found)[0]
        notes.append(f"no label is {gap}: parcels are named by their numbers")
    return Labels(np.where(inside, np.searchsorted(found, keys), -1), names, notes)


def _named(keys: NDArray[np.int64], names: Mapping[int, str]) -> Labels:
    """Of numbers with names, some of which mean that there is no parcel."""
    used = np.unique(keys)
    unnamed = [int(k) for k in used if int(k) not in names]
    outside = [int(k) for k in used if int(k) in names and is_outside(names[int(k)])]
    inside = [int(k) for k in used if int(k) in names and int(k) not in outside]
    if not inside:
        but = f"all are outside: {sorted(set(map(str, names.values())))[:5]}"
        _checks.fail("labels", "name parcels", but)
    place = np.full(used.size, -1)
    place[np.searchsorted(used, inside)] = np.arange(len(inside))
    notes = []
    if outside:
        said = ", ".join(repr(str(names[k])) for k in outside)
        notes.append(f"{said}: outside of all parcels")
    if unnamed:
        said = ", ".join(map(str, unnamed[:5])) + (" …" if len(unnamed) > 5 else "")
        notes.append(f"labels without a name are outside of all parcels: {said}")
    parcels = place[np.searchsorted(used, keys)]
    return Labels(parcels.astype(np.int64), [str(names[k]) for k in inside], notes)


def is_outside(name: str) -> bool:
    """Whether a name says that there is no parcel: "unknown", "???", "Medial_Wall" …"""
    short = name.strip().lower()
    for begin in ("lh.", "rh.", "lh_", "rh_", "l_", "r_", "ctx-lh-", "ctx-rh-"):
        short = short.removeprefix(begin)
    return "".join(letter for letter in short if letter.isalnum()) in _OUTSIDE


def read(left: Path, right: Path | None) -> Labels:
    """Of one file or two."""
    if right is None:
        return _of_keys(*_read(left))
    if left.resolve() == right.resolve():
        _checks.fail("right", "be another file than `left`", f"it is {str(right)!r}, too")
    (left_keys, left_names), (right_keys, right_names) = _read(left), _read(right)
    if left_names is None and right_names is None:
        return _side_by_side(left_keys, right_keys)
    if left_names is None or right_names is None:
        _checks.fail("right", "have names as `left` has", "only one of them has names")
    one, two = _named(left_keys, left_names), _named(right_keys, right_names)
    notes = [f"{p.name}: {n}" for p, part in ((left, one), (right, two)) for n in part.notes]
    names = [one.names or [], two.names or []]
    both = sorted(set(names[0]) & set(names[1]))
    if both:
        names = [[f"{side}.{name}" for name in names[k]] for k, side in enumerate(("lh", "rh"))]
        notes.append(f"names got lh. and rh.: {both[0]!r} stands in both")
    shifted = np.where(two.parcels < 0, -1, two.parcels + len(names[0]))
    return Labels(np.concatenate([one.parcels, shifted]), names[0] + names[1], notes)


def _side_by_side(left: NDArray[np.int64], right: NDArray[np.int64]) -> Labels:
    """Numbers of two hemispheres: which must be different ones, together 1 to n."""
    both = np.intersect1d(left[left > 0], right[right > 0])
    if both.size:
        must = "have other numbers than `left`, where they have no names"
        but = (
            f"{both[0]} stands in both ({both.size} do), for one parcel or two. If they are two: "
            "`Parcellation.of_labels(np.concatenate([left, np.where(right > 0, right + left.max(), "
            "0)]))` of the arrays"
        )
        _checks.fail("right", must, but)
    return _numbered(np.concatenate([left, right]))


def _read(path: Path) -> Keys:
    """Of one file; its ending tells its kind."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of labels {str(path)!r}.")
    name = path.name.lower()
    with reasons(path, "label"):
        if is_gifti(path):
            return _read_gifti(path)
        if name.endswith(".annot"):
            return _read_annot(path)
        if name.endswith(".dlabel.nii"):
            return _read_cifti(path)
        if name.endswith(".npy"):
            return _keys(np.load(path, allow_pickle=False))
        if name.endswith(_TEXT):
            return _keys(_words(path))
    endings = ".label.gii, .annot, .dlabel.nii, .npy, .csv, .txt"
    _checks.fail("path", f"end in one of {endings}", f"it is {str(path)!r}")


def _words(path: Path) -> NDArray[Any]:
    """What stands in a text: numbers between commas, semicolons and white space; or names.

    Names, which may have spaces, stand in a line each, or between commas in one line.
    """
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    rows = [row for line in lines if (row := line.split("#")[0].strip(" \t,;"))]
    words = [row.replace(",", " ").replace(";", " ").split() for row in rows]
    if len(words) > 1 and any(len(row) > 1 for row in words) and _are_numbers(words):
        widest = max(map(len, words))
        raise ValueError(f"it has {len(words)} rows of up to {widest} numbers: one is meant")
    if _are_numbers(words):
        return np.array([word for row in words for word in row], dtype=float)
    if _are_numbers(words[1:]):
        raise ValueError(f"its first line is {rows[0]!r}, the others are numbers: leave it out")
    names = rows if len(rows) > 1 else rows[0].replace(";", ",").split(",")
    return np.array([name.strip(" \"'") for name in names])


def _are_numbers(words: list[list[str]]) -> bool:
    try:
        return bool([float(word) for row in words for word in row])
    except ValueError:
        return False


def _read_gifti(path: Path) -> Keys:
    image = _checks.require_module("nibabel", "surface").load(path)
    arrays = image.get_arrays_from_intent("NIFTI_INTENT_LABEL")
    if len(arrays) != 1:
        raise ValueError(f"it has {len(arrays)} arrays of labels: one is meant")
    names = {int(k): str(v) for k, v in image.labeltable.get_labels_as_dict().items()}
    keys = np.asarray(arrays[0].data)
    return _keys(keys, names if any(not is_outside(v) for v in names.values()) else None)


def _read_annot(path: Path) -> Keys:
    io = _checks.require_module("nibabel.freesurfer.io", "surface")
    keys, _, names = io.read_annot(path)  # -1 where a colour is not in its table
    return _keys(keys, {k: name.decode() for k, name in enumerate(names)})


def _read_cifti(path: Path) -> Keys:
    """All vertices of the cortex, left first: CIFTI itself has those without the medial wall."""
    image = _checks.require_module("nibabel", "surface").load(path)
    table, grey = image.header.get_axis(0), image.header.get_axis(1)
    data = np.asarray(image.dataobj)
    if len(data) != 1:
        raise ValueError(f"it has {len(data)} maps of labels: one is meant")
    sides = []
    for structure in _CORTEX:
        here = grey.name == structure
        if not here.any():
            raise ValueError(f"it has nothing of {structure}")
        side = np.full(grey.nvertices[structure], -1)
        side[grey.vertex[here]] = data[0, here]
        sides.append(side)
    names = {int(k): str(v[0]) for k, v in table.label[0].items()}
    return _keys(np.concatenate(sides), names)
