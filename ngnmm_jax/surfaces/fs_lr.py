"""The conte69 surfaces and their parcellations, from the files of the package brainspace."""

import importlib.util
from pathlib import Path

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.surfaces import files
from ngnmm_jax.surfaces.parcellation import Parcellation
from ngnmm_jax.surfaces.surface import Surface

_SHAPES = {"midthickness": "", "sphere": "_sphere"}
_PARCELLATIONS = (
    *(f"schaefer{n}" for n in (100, 200, 300, 400, 1000)),
    *(f"vosdewael{n}" for n in (100, 200, 300, 400)),
)
_SOURCE = "brainspace (BSD-3-Clause; Vos de Wael et al. 2020, doi 10.1038/s42003-020-0794-7)"


def conte69(shape: str = "midthickness") -> Surface:
    """A cortex of 32,492 vertices a hemisphere, in the space fs_LR: the mean of many brains.

    `shape`: "midthickness", half way through the grey matter, or "sphere", the same vertices on
    spheres of 100 mm, both around the origin. Vertex k of the left hemisphere corresponds to
    vertex k of the right one.

    The files are those of the installed package brainspace (which is not imported); where it is
    absent `ImportError` says how to have them. Needs nibabel.
    """
    _checks.one_of("shape", shape, _SHAPES)
    folder = _folder("surfaces")
    left, right = (folder / f"conte69_32k_{h}{_SHAPES[shape]}.gii" for h in ("lh", "rh"))
    read = files.read_surface(_there(left), _there(right))
    name = "conte69" if shape == "midthickness" else f"conte69 {shape}"
    return Surface(**read | {"name": name, "source": _SOURCE, "notes": ()})


def conte69_parcels(name: str = "schaefer100") -> Parcellation:
    """A parcellation of conte69: "schaefer100" (200, 300, 400, 1000) or "vosdewael100" ….

    Label 0, the medial wall, is outside of all parcels. The parcels of "schaefer100" have the
    names of the connectome "hcp-schaefer100" (seven networks; the order was checked by functional
    connectivity, see `tests/test_surfaces.py`); of the others the files have numbers alone.
    Schaefer et al. 2018, doi 10.1093/cercor/bhx179.
    """
    _checks.one_of("name", name, _PARCELLATIONS)
    kind = name.rstrip("0123456789")
    path = _folder("parcellations") / f"{kind}_{name.removeprefix(kind)}_conte69.csv"
    read = Parcellation.load(_there(path))
    names = () if read.numbered else read.names
    if name == "schaefer100":
        from ngnmm_jax.connectome import Connectome

        names = Connectome.load("hcp-schaefer100").labels
    return Parcellation(read.parcels, names, name, _SOURCE, read.notes)


def _folder(kind: str) -> Path:
    """Where brainspace keeps such files; found without importing it, which needs VTK."""
    found = importlib.util.find_spec("brainspace")
    places = [] if found is None else found.submodule_search_locations or []
    if not places:
        raise ImportError(
            "The conte69 surfaces are files of the package `brainspace`, which is not installed. "
            "Install it with: pip install 'ngnmm-jax[surface]' (or, for its files alone, "
            "pip install --no-deps brainspace)"
        )
    return Path(places[0]) / "datasets" / kind


def _there(path: Path) -> Path:
    """The file, if the installed version of brainspace has it."""
    if not path.is_file():
        raise FileNotFoundError(
            f"The installed brainspace has no file {str(path)!r}: upgrade it (0.1.10 or later), "
            "pip install -U brainspace"
        )
    return path
