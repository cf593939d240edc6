"""Connectomes that may not be redistributed: downloaded on request, checked by hash."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cache import cache_folder
from ngnmm_jax.connectome.files import read, reasons
from ngnmm_jax.connectome.parts import Reading

_COMMIT = "e87f89f93d118d2327cea712c49ba988b4e6b16b"
_URL = f"https://raw.githubusercontent.com/RosaDelic/LargeScaleBrainModelAnalysis/{_COMMIT}/Python/"
_SHA256 = {
    "sc2017.dat": "5d9d4d7e233cb20ccfec40ef09e9d87c7864124a842f983cd165cb14fa161909",
    "aal.dat": "1ad8bc641ec479068f3e9c098f4bb3feb364a99cc4c2dd58f1ce190a00918505",
}


def _folder(cache_dir: str | Path | None) -> Path:
    """Where downloads are kept: the argument, or this library's folder."""
    return _checks.path("cache_dir", cache_dir) if cache_dir else cache_folder()


def _download(name: str, folder: Path) -> Path:
    pooch = _checks.require_module("pooch", "data")
    known = f"sha256:{_SHA256[name]}"
    path = folder / name
    if path.is_file() and pooch.file_hash(str(path)) != _SHA256[name]:
        raise ValueError(
            f"The file {str(path)!r} is not the published one: its SHA-256 differs from "
            f"{_SHA256[name]}. Delete it, and it is downloaded afresh."
        )
    if not path.is_file():
        _writable(folder)
    try:
        return Path(pooch.retrieve(_URL + name, known, fname=name, path=folder))
    except ValueError as error:
        raise ValueError(f"The download {_URL + name} is not the published file: {error}") from None
    except (OSError, ConnectionError) as error:
        raise ConnectionError(
            f"{_URL + name} could not be downloaded ({type(error).__name__}). With a network, "
            f"try again; without one, put the file into {str(folder)!r} by hand, or use the "
            "embedded connectome 'hcp-schaefer100'."
        ) from error


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"The folder {str(folder)!r}, where downloads are kept, cannot be written to "
            f"({error.strerror}): give another one (`cache_dir=`, NGNMM_JAX_CACHE)."
        ) from None


def aal90_is_here(cache_dir: str | Path | None) -> bool:
    """Whether the paper's connectome needs no download."""
    return all((_folder(cache_dir) / name).is_file() for name in _SHA256)


def aal90(order: str, cache_dir: str | Path | None) -> dict[str, Any]:
    """What makes the paper's connectome, in atlas order (left, then right) or in the source's.

    The rows of the source are the left regions in atlas order, then the right regions in
    reversed atlas order; its table of names interleaves left and right.
    """
    folder = _folder(cache_dir)
    # Its lines `i j w` say what region i receives from region j.
    path = _download("sc2017.dat", folder)
    with reasons(path):
        weights = read(path, Reading(transpose=True))["weights"]
    lines = [line.split() for line in _download("aal.dat", folder).read_text().splitlines()]
    table: list[list[Any]] = [row for row in lines if row and not row[0].startswith("#")]
    n = len(table)
    of_source = np.r_[0:n:2, n - 1 : 0 : -2]  # row k of the source is row of_source[k] here
    taken = np.arange(n) if order == "source" else np.r_[0 : n // 2, n - 1 : n // 2 - 1 : -1]
    rows = [table[k] for k in of_source[taken]]
    return {
        "weights": np.asarray(weights)[np.ix_(taken, taken)],
        "labels": tuple(row[1] for row in rows),
        "centroids": np.array([[float(x) for x in row[2:5]] for row in rows]),
        "groups": tuple(row[5] for row in rows),
        "name": "aal90",
        "source": "Deco et al. 2017, doi 10.1016/j.neuroimage.2017.03.023; "
        "Clusella et al. 2023, doi 10.1371/journal.pcbi.1010781",
    }
