"""Arrays in files that settings name."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks


def read_array(argument: str, where: Any) -> np.ndarray:
    """Numbers in a file: .npy, .npz (its only array), or text."""
    path = Path(str(where))
    if not path.is_file():
        raise FileNotFoundError(
            f"Argument `{argument}` must name a file, but there is no file {str(path)!r}."
        )
    try:
        if path.suffix == ".npy":
            with path.open("rb") as file:
                array = np.lib.format.read_array(file)
        elif path.suffix == ".npz":
            if not zipfile.is_zipfile(path):
                raise ValueError("it is no archive of arrays")
            with np.load(path) as archive:
                if len(archive.files) != 1:
                    _checks.fail("file", "hold one array", f"{str(path)!r} holds {archive.files}")
                array = archive[archive.files[0]]
        else:
            array = np.loadtxt(path, delimiter="," if path.suffix == ".csv" else None)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"The file {str(path)!r} cannot be read: {error}") from error
    if np.iscomplexobj(array):
        _checks.fail(str(path), "hold real numbers", "they are complex")
    array = np.asarray(array, dtype=float)
    _checks.finite(str(path), array)
    return array
