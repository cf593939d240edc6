"""Which parcel each vertex belongs to, and which region of a connectome that is. Plain NumPy."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown
from ngnmm_jax.connectome.parts import default_labels
from ngnmm_jax.surfaces import labels as _labels

if TYPE_CHECKING:
    from ngnmm_jax.connectome import Connectome
    from ngnmm_jax.surfaces.surface import Surface

#: How many names an error lists.
_NAMED = 5


@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class Parcellation(Shown):
    """Parcels of a surface: of each vertex, which it belongs to.

    **Arguments:**

    - `parcels` (vertex,): the index of each vertex's parcel among `names`; -1 outside of all, as
      on the medial wall.
    - `names` (parcel,): unique names; "parcel 1" … by default, which are regions of a connectome
      without names, in their order (`regions`).
    - `name`, `source`, `notes`: what it is called, where it comes from, what a reader inferred.

    Of labels as files have them, numbers of any kind or a name for each vertex, see `of_labels`.

    Raises `ValueError` for what are no integers, indices without a name, names without a vertex,
    and repeated names.
    """

    parcels: NDArray[np.int64]
    names: tuple[str, ...]
    numbered: bool
    name: str
    source: str
    notes: tuple[str, ...]

    def __init__(
        self,
        parcels: ArrayLike,
        names: Sequence[str] = (),
        name: str = "parcels",
        source: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        array = _checks.numbers("parcels", parcels, "be integers (vertex,), -1 outside of all")
        if array.ndim != 1 or not array.size or array.dtype.kind not in "iu":
            but = f"they are {array.dtype} of shape {array.shape}"
            _checks.fail("parcels", "be integers (vertex,), -1 outside of all", but)
        array = array.astype(np.int64)
        high = int(array.max())
        known = _checks.names("names", names) or tuple(f"parcel {k + 1}" for k in range(high + 1))
        bad = np.flatnonzero((array < -1) | (array >= len(known)))
        if bad.size:
            must = f"lie between -1 and {len(known) - 1}, for {len(known)} names"
            but = f"that of vertex {bad[0]} is {array[bad[0]]} (labels of files: `of_labels`)"
            _checks.fail("parcels", must, but)
        if len(set(known)) != len(known):
            twice = next(name for name in known if known.count(name) > 1)
            _checks.fail("names", "be unique", f"{twice!r} stands more than once")
        empty = np.setdiff1d(np.arange(len(known)), array)
        if empty.size:
            must = "have a vertex each"
            _checks.fail("names", must, f"{_few([known[k] for k in empty])} has none")
        array.setflags(write=False)
        for field, value in (
            ("parcels", array),
            ("names", known),
            ("numbered", not names),
            ("name", name),
            ("source", source),
            ("notes", _checks.names("notes", notes)),
        ):
            object.__setattr__(self, field, value)

    def __repr__(self) -> str:
        outside = int(self.outside.sum())
        said = f", {outside} outside" if outside else ""
        return (
            f"Parcellation({self.name!r}, {self.n_parcels} parcels of {self.n_vertices} vertices"
            f"{said})"
        )

    # ------------------------------------------------------------------ where it comes from

    @classmethod
    def of_labels(
        cls,
        labels: ArrayLike,
        names: Mapping[int, str] | None = None,
        name: str = "parcels",
        source: str = "",
        notes: Sequence[str] = (),
    ) -> "Parcellation":
        """Of labels (vertex,) as files have them: integers, or a name for each vertex.

        `names`: of integers, what they are called. Without names 0 and -1 are outside; where the
        others are not 1 to n without a gap, parcels are called "parcel" and their number. With
        names those are outside that are called
        "unknown", "???", "medial wall", "corpuscallosum" or the like, and numbers without a name;
        `notes` has them. Parcels stand in the order of their numbers, names alone in alphabetical
        order.
        """
        found = _labels.of_array(labels, names)
        return cls(**found.arguments(), name=name, source=source, notes=[*notes, *found.notes])

    @classmethod
    def load(cls, left: str | Path, right: str | Path | None = None) -> "Parcellation":
        """Labels in files: GIFTI (`.label.gii`), FreeSurfer (`.annot`), CIFTI (`.dlabel.nii`) or
        integers as text or NumPy's (`.csv`, `.txt`, `.npy`).

        `left`, `right`: the files of both hemispheres, whose vertices follow one another, or one
        file. What is outside is as in `of_labels`. Names that stand in both hemispheres get "lh."
        and "rh." before them. All but text needs nibabel: pip install 'ngnmm-jax[surface]'.

        Raises `FileNotFoundError`, and `ValueError` for damaged files, and where integers without
        names stand in both hemispheres, so that it is not known whether the same parcel is meant.
        """
        found = _labels.read(
            _checks.path("left", left), None if right is None else _checks.path("right", right)
        )
        source = str(left) if right is None else f"{left}, {right}"
        return cls(**found.arguments(), name=Path(left).name, source=source, notes=found.notes)

    # ------------------------------------------------------------------ what it says

    @property
    def n_vertices(self) -> int:
        """Number of vertices, those outside included."""
        return len(self.parcels)

    @property
    def n_parcels(self) -> int:
        """Number of parcels."""
        return len(self.names)

    @property
    def outside(self) -> NDArray[np.bool_]:
        """Which vertices (vertex,) belong to no parcel."""
        return self.parcels < 0

    def areas(self, surface: "Surface") -> NDArray[np.float64]:
        """Of each parcel (parcel,), mm²."""
        self.check(surface)
        return self._sums(surface.vertex_areas)

    def centroids(self, surface: "Surface") -> NDArray[np.float64]:
        """The mean of each parcel's vertices (parcel, 3), mm: off the surface, where it is bent."""
        self.check(surface)
        counts = self._sums(np.ones(self.n_vertices))
        return self._sums(surface.vertices) / counts[:, None]

    def means(self, values: ArrayLike, surface: "Surface") -> NDArray[np.float64]:
        """Means of values (vertex, …) over each parcel, weighted by area: (parcel, …)."""
        self.check(surface)
        array = self._of_vertices(values)
        areas = surface.vertex_areas
        weighted = self._sums((array.T * areas).T)
        return (weighted.T / self._sums(areas)).T

    def spread(self, values: ArrayLike, outside: float = np.nan) -> NDArray[Any]:
        """Values (parcel, …) at each vertex of the parcel: (vertex, …); `outside` where none is."""
        array = np.asarray(values)
        if not array.ndim or len(array) != self.n_parcels:
            must = f"have {self.n_parcels} rows, one a parcel"
            _checks.fail("values", must, f"their shape is {array.shape}")
        taken = array[self.parcels]
        mask = self.outside.reshape(-1, *(1,) * (array.ndim - 1))
        return np.where(mask, outside, taken) if self.outside.any() else taken

    def _sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of values (vertex, …) over each parcel: (parcel, …)."""
        from scipy.sparse import csr_array

        inside = np.flatnonzero(~self.outside)
        shape = (self.n_parcels, self.n_vertices)
        belongs = csr_array((np.ones(inside.size), (self.parcels[inside], inside)), shape=shape)
        summed = belongs @ values.reshape(self.n_vertices, -1)
        return np.asarray(summed).reshape(self.n_parcels, *values.shape[1:])

    def _of_vertices(self, values: ArrayLike) -> NDArray[np.float64]:
        array = np.asarray(values, dtype=float)
        if not array.ndim or len(array) != self.n_vertices:
            must = f"have {self.n_vertices} rows, one a vertex"
            _checks.fail("values", must, f"their shape is {array.shape}")
        return array

    # ------------------------------------------------------------------ what it is matched with

    def check(self, surface: "Surface") -> None:
        """Refuse a surface of another number of vertices."""
        n, own = surface.n_vertices, self.n_vertices
        if n == own:
            return
        hint = "give a parcellation of the same mesh"
        if own == 2 * n:
            hint = "they may be of both hemispheres: give a surface of both"
        elif 2 * own == n:
            hint = "they may be of one hemisphere: give `Parcellation.load` the files of both"
        elif own < n:
            hint += ", or cut the surface as they are (`surface.without(…)`)"
        else:
            hint += ", or cut them as the surface is (`parcels.take(surface.kept(…))`)"
        more = "more" if own > n else "fewer"
        but = f"there are {own} labels, {more} than the surface's {n} vertices: {hint}"
        _checks.fail("parcels", "have a label for each vertex", but)

    def take(self, vertices: ArrayLike) -> "Parcellation":
        """Of some vertices (indices), as `surface.kept` gives them; empty parcels are left out."""
        parcels = self.parcels[np.asarray(vertices)]
        left = np.unique(parcels[parcels >= 0])
        gone = [self.names[k] for k in np.setdiff1d(np.arange(self.n_parcels), left)]
        notes = [*self.notes, f"left out with their vertices: {_few(gone)}"] if gone else self.notes
        new = np.full(self.n_parcels + 1, -1)
        new[left] = np.arange(left.size)
        names = () if self.numbered and not gone else [self.names[k] for k in left]
        return Parcellation(new[parcels], names, self.name, self.source, notes)

    def renamed(
        self, names: Callable[[str], str] | Mapping[str, str] | Sequence[str]
    ) -> "Parcellation":
        """With other names: of a function or mapping of the names, or all of them in order."""
        if isinstance(names, Mapping):
            unknown = set(names) - set(self.names)
            if unknown:
                _checks.fail("names", "map names that there are", f"{min(unknown)!r} is none")
            new = [names.get(name, name) for name in self.names]
        elif callable(names):
            new = [names(name) for name in self.names]
        else:
            new = list(names)
            if len(new) != self.n_parcels:
                but = f"there are {len(new)} for {self.n_parcels} parcels"
                _checks.fail("names", "be one for each parcel", but)
        return Parcellation(self.parcels, new, self.name, self.source, self.notes)

    def regions(self, connectome: "Connectome") -> NDArray[np.int64]:
        """Of each vertex (vertex,), the index of the connectome's region; -1 outside of all.

        By name, exactly; where neither parcels nor regions have names, in their order. Raises
        `ValueError`, with names, for parcels that are no regions and regions without vertices, and
        where only one of both has names.
        """
        n = connectome.n_regions
        if self.numbered and self.n_parcels == n and connectome.labels == default_labels(n):
            return self.parcels
        place = {label: k for k, label in enumerate(connectome.labels)}
        found = np.array([place.get(name, -1) for name in self.names] + [-1])
        unknown = [name for name, k in zip(self.names, found, strict=False) if k < 0]
        if self.numbered:
            must = f"have names of regions, or be {n} as the regions are, without names both"
            but = f"they are {self.n_parcels} without names. {self._advice(connectome)}"
            _checks.fail("parcels", must, but)
        if unknown:
            must = f"be regions of {connectome.name!r}"
            but = f"{len(unknown)} are none: {_few(unknown)}. {self._advice(connectome)}"
            _checks.fail("parcels", must, but)
        missing = [name for k, name in enumerate(connectome.labels) if k not in set(found)]
        if missing:
            but = (
                f"{len(missing)} of the connectome's regions have no vertex: {_few(missing)}. "
                "Leave them out: `connectome.without([…])`, and normalise after it"
            )
            _checks.fail("parcels", "be of all regions", but)
        return found[self.parcels]

    def _advice(self, connectome: "Connectome") -> str:
        """How names might come to be the connectome's."""
        known = set(connectome.labels)
        if self.n_parcels == connectome.n_regions and not self.numbered:
            ends = [label for label in known if self.names[0].endswith(label)]
            before = self.names[0].removesuffix(max(ends, key=len, default=self.names[0]))
            if before and {name.removeprefix(before) for name in self.names} == known:
                return f"Use `parcels.renamed(lambda name: name.removeprefix({before!r}))`"
            lower = {name.lower(): name for name in known}
            if {name.lower() for name in self.names} == set(lower):
                return "They differ in capitals: use `parcels.renamed({…})`"
        first = f"The connectome has {_few(list(connectome.labels))}"
        if self.n_parcels == connectome.n_regions:
            return f"{first}. If the order is the same: `parcels.renamed(connectome.labels)`"
        return f"{first}, {connectome.n_regions} in all: see `parcels.renamed` and `.take`"


def _few(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    listed = ", ".join(map(repr, names[:_NAMED]))
    return listed + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
