"""Connectomes among the arrays of NumPy's, SciPy's, MATLAB's and HDF5 files."""

import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.connectome.parts import MOST_BYTES, Parts, dense, dense_size


def read_npz(path: Path) -> Parts:
    """NumPy's archive of arrays, or SciPy's of a sparse matrix."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MOST_BYTES:
            raise ValueError(f"it unpacks to {unpacked / 1e9:.3g} GB")
        names = [Path(name).stem for name in archive.namelist()]
        if "ngnmm_jax" in names:
            raise ValueError("it was written by `ng.save`: open it with `ng.load`")
        if "format" in names and "shape" in names:
            return _sparse(path)
        arrays = {}
        for name in archive.namelist():
            with archive.open(name) as member:
                arrays[name.removesuffix(".npy")] = _array(member.read())
    return Parts(arrays, sure={"weights", "labels", "name", "source"} <= set(arrays))  # our own


def _sparse(path: Path) -> Parts:
    from scipy.sparse import load_npz

    return Parts({"weights": dense(load_npz(path), "it")}, ["a sparse matrix"])


def read_npy(path: Path) -> Parts:
    """One array."""
    return Parts({"weights": _array(path.read_bytes())})


def _array(data: bytes) -> Any:
    """An array of an .npz; of objects, only text, so that no code of a stranger runs."""
    if not data.startswith(np.lib.format.MAGIC_PREFIX):
        raise ValueError("it is none of NumPy's arrays")
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is not None:
        shape, _, dtype = read(stream)
        if dtype.hasobject:
            return np.array(_TextOnly(stream).load()).reshape(shape)
    return np.load(io.BytesIO(data), allow_pickle=False)


class _TextOnly(pickle.Unpickler):
    """Reads pickled arrays of text, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {"_reconstruct", "ndarray", "dtype", "_codecs.encode", "scalar"}
        if module.split(".")[0] in ("numpy", "_codecs") and (
            name in allowed or f"{module}.{name}" in allowed
        ):
            return super().find_class(module, name)
        raise ValueError(f"it holds Python objects ({module}.{name}), which are not read")


def read_mat(path: Path) -> Parts:
    """MATLAB's files, before version 7.3 and since."""
    from scipy.io import loadmat, matlab

    with path.open("rb") as file:
        head = file.read(1024)
    if b"\x89HDF\r\n" in (head[:6], head[512:518]):
        return read_hdf5(path)
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            stored = loadmat(path, chars_as_strings=True)  # sparse in either of SciPy's forms
    except (matlab.MatReadError, TypeError, IndexError, ValueError) as error:
        raise ValueError(f"it is not a MATLAB file ({error})") from None
    arrays: dict[str, Any] = {}
    for name, value in stored.items():
        if name.startswith("__"):
            continue
        _put(arrays, name, value)
    return Parts(arrays)


def _put(arrays: dict[str, Any], name: str, value: Any) -> None:
    """A variable of MATLAB's; the fields of a structure stand beside it."""
    if hasattr(value, "toarray"):
        arrays[name] = dense(value, "it")
    elif not isinstance(value, np.ndarray):
        return
    elif value.dtype.names:
        if value.size == 1:
            for field in value.dtype.names:
                _put(arrays, f"{name}/{field}", value.ravel()[0][field])
    elif value.dtype == object:  # a cell array
        arrays[name] = np.array([_cell(cell) for cell in value.ravel()])
    else:
        arrays[name] = value


def _cell(cell: Any) -> str:
    flat = np.ravel(cell)
    return str(flat[0]) if flat.size else ""


def read_hdf5(path: Path) -> Parts:
    """HDF5: The Virtual Brain's, MATLAB's since version 7.3, or anyone's datasets."""
    h5py = _checks.require_module("h5py", "data")
    arrays: dict[str, Any] = {}
    left: list[str] = []
    with h5py.File(path, "r") as file:
        matlab = any("MATLAB_class" in item.attrs for item in file.values())

        def visit(name: str, item: Any) -> None:
            if name.startswith("#"):
                return
            try:
                if "MATLAB_sparse" in item.attrs:
                    arrays[name] = _sparse73(item)
                elif isinstance(item, h5py.Dataset) and "MATLAB_sparse" not in item.parent.attrs:
                    if item.size * item.dtype.itemsize > MOST_BYTES:
                        raise ValueError("too large")
                    arrays[name] = _dataset(file, item, matlab)
            except Exception as error:  # another thing's form need not be known
                left.append(f"not read: {name!r} ({error})")

        file.visititems(visit)
    return Parts(arrays, ["a MATLAB file of version 7.3" if matlab else "an HDF5 file", *left])


def _dataset(file: Any, item: Any, matlab: bool) -> Any:
    kind = item.attrs.get("MATLAB_class", b"")
    if item.attrs.get("MATLAB_empty", 0):
        return np.zeros(0)
    if item.dtype.kind == "O" and item.ndim and not _is_text(item):  # a cell array
        return np.array([_codes(file[reference]) for reference in item[()].T.ravel()])
    if kind == b"char":
        rows = np.atleast_2d(item[()].T)
        return np.array(["".join(chr(int(code)) for code in row).strip() for row in rows])
    value = item.asstr()[()] if _is_text(item) else item[()]
    return value.T if matlab else value


def _is_text(item: Any) -> bool:
    h5py = _checks.require_module("h5py", "data")
    return h5py.check_string_dtype(item.dtype) is not None


def _codes(item: Any) -> str:
    if item.attrs.get("MATLAB_empty", 0):
        return ""
    values = np.ravel(item[()])
    if item.attrs.get("MATLAB_class", b"char") != b"char":  # numbers as names
        return str(values[0].item())
    return "".join(chr(int(code)) for code in values)


def _sparse73(group: Any) -> Any:
    from scipy.sparse import csc_array

    rows, columns = int(group.attrs["MATLAB_sparse"]), group["jc"].size - 1
    dense_size(max(rows, columns), "it")
    if "data" not in group:
        return np.zeros((rows, columns))
    parts = (group["data"][()], group["ir"][()], group["jc"][()])
    return dense(csc_array(parts, shape=(rows, columns)), "it")
