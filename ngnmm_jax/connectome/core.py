"""The connectome, its transforms and its eigenmodes. Plain NumPy: no JAX, no tracing."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.files import write_npz
from ngnmm_jax._core.pictures import card_html, thumbnail
from ngnmm_jax.connectome import fetch, files
from ngnmm_jax.connectome.eigenmodes import Eigenmodes, eigenmodes_of
from ngnmm_jax.connectome.parts import Reading, default_labels
from ngnmm_jax.connectome.synthetic import synthetic


@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class Connectome:
    """Regions and the weights of the connections between them.

    **Arguments:**

    - `weights` (region, region): row j holds what region j receives; finite, non-negative.
    - `labels` (region,): unique names; "region 0" … by default.
    - `tract_lengths` (region, region): mm; optional.
    - `centroids` (region, 3): mm (MNI where known); optional.
    - `groups` (region,): a name of a group for each region (a network, a lobe); optional.
    - `functional_connectivity` (region, region): Pearson's r; optional.
    - `name`, `source`: what it is called and where it comes from.
    - `notes`: what a reader of files inferred, line by line.

    A pandas DataFrame of weights gives its index as labels; its columns, which must have the
    same names, are brought into the index's order.

    Raises `ValueError` for arrays of the wrong shape or of no real numbers, NaN, negative weights
    or lengths, and repeated labels.
    """

    weights: NDArray[np.float64]
    labels: tuple[str, ...]
    tract_lengths: NDArray[np.float64] | None
    centroids: NDArray[np.float64] | None
    groups: tuple[str, ...] | None
    functional_connectivity: NDArray[np.float64] | None
    name: str
    source: str
    notes: tuple[str, ...]

    def __init__(
        self,
        weights: ArrayLike,
        labels: Sequence[str] | Sequence[bytes] = (),
        tract_lengths: ArrayLike | None = None,
        centroids: ArrayLike | None = None,
        groups: Sequence[str] | None = None,
        functional_connectivity: ArrayLike | None = None,
        name: str = "connectome",
        source: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        self._set("name", name)
        self._set("source", source)
        self._set("notes", _checks.names("notes", notes))
        weights, names = _framed("weights", weights)
        if names is not None and not len(labels) and names != [str(k) for k in range(len(names))]:
            labels = names
        weights = _numbers("weights", weights, labels)
        if weights.ndim != 2 or weights.shape[0] != weights.shape[1]:
            _checks.fail("weights", "be a square matrix", f"its shape is {weights.shape}")
        n = weights.shape[0]
        if n == 0:
            _checks.fail("weights", "have at least one region", "it has none")
        _nonnegative("weights", weights)
        self._set("weights", weights)
        for field, given, shape in (
            ("tract_lengths", tract_lengths, (n, n)),
            ("centroids", centroids, (n, 3)),
            ("functional_connectivity", functional_connectivity, (n, n)),
        ):
            if _is_frame(given) and field != "centroids":
                given = _aligned(field, given, names)
            array = None if given is None else _numbers(field, given, labels)
            if array is not None:
                _checks.shape(field, array, shape, f"for {n} regions")
            self._set(field, array)
        if self.tract_lengths is not None:
            _nonnegative("tract_lengths", self.tract_lengths)
        self._set("labels", _checks.names("labels", labels) or default_labels(n))
        self._set("groups", None if groups is None else _checks.names("groups", groups))
        for field in ("labels", "groups"):
            entries = getattr(self, field)
            if entries is not None and len(entries) != n:
                _checks.fail(field, f"have {n} entries, one per region", f"it has {len(entries)}")
        if len(set(self.labels)) != n:
            twice = next(label for label in self.labels if self.labels.count(label) > 1)
            _checks.fail("labels", "be unique", f"{twice!r} stands more than once")

    def _set(self, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
        object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        """Whether all it holds is the same."""
        return isinstance(other, Connectome) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str, str, str]:
        return self.digest, self.name, self.source

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of its arrays and names, whatever it is called and where it comes from."""
        digest = hashlib.sha256()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in ("name", "source", "notes"):
                continue
            digest.update(f"{field.name} {np.shape(value)} ".encode())
            digest.update(
                value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
            )
        return digest.hexdigest()

    def __repr__(self) -> str:
        sums = self.weights.sum(axis=1)
        even = np.ptp(sums) <= 1e-9 * sums.max()
        rows = f"rows sum to {sums[0]:.4g}" if even else "rows of unequal sums"
        return f"Connectome({self.name!r}, {self.n_regions} regions, {rows})"

    def _repr_html_(self) -> str:
        sums = self.weights.sum(axis=1)
        ways = "the same" if self.is_symmetric else "not the same"
        rows = {
            "connections": f"{self.n_connections}; weights {ways} both ways",
            "rows sum to": f"{sums.min():.4g} … {sums.max():.4g}",
            "holds": ", ".join(
                name
                for name in ("tract_lengths", "centroids", "groups", "functional_connectivity")
                if getattr(self, name) is not None
            ),
            "source": self.source,
        }
        head = f"Connectome {self.name}: {self.n_regions} regions"
        return card_html(head, {k: v for k, v in rows.items() if v}, thumbnail(self._image))

    def _image(self) -> Any:
        """A picture of the weights, by their logarithms; row by row what a region receives."""
        import matplotlib.pyplot as plt

        axes = plt.figure(figsize=(3.2, 3.2), layout="constrained").add_subplot()
        with np.errstate(divide="ignore"):
            axes.imshow(np.log10(self.weights), cmap="viridis", interpolation="nearest")
        axes.set_axis_off()
        return axes

    @property
    def n_regions(self) -> int:
        """Number of regions."""
        return int(self.weights.shape[0])

    @property
    def n_connections(self) -> int:
        """Number of non-zero weights."""
        return int(np.count_nonzero(self.weights))

    @property
    def is_symmetric(self) -> bool:
        """Whether the weights are symmetric (to 1e-12 of the largest)."""
        gap = np.abs(self.weights - self.weights.T).max()
        return bool(gap <= 1e-12 * self.weights.max())

    # ------------------------------------------------------------------ where it comes from

    @classmethod
    def load(
        cls,
        name_or_path: str | Path = "hcp-schaefer100",
        *,
        order: str = "atlas",
        cache_dir: str | Path | None = None,
        variable: str | None = None,
        labels: str | Path | Sequence[str] | None = None,
        lengths: str | Path | None = None,
        transpose: bool = False,
        one_based: bool | None = None,
        edges: bool | None = None,
        directed: bool = False,
        symmetric: bool = False,
        separator: str | None = None,
    ) -> "Connectome":
        """An embedded connectome, a downloaded one, or a user's own file.

        **Arguments:**

        - `name_or_path`: "hcp-schaefer100" (embedded), "aal90" (the paper's; downloaded
          once, needs the network the first time), or the path of a file: `.npz` (also SciPy's
          sparse), `.npy`, `.mat` (all versions), `.h5`, text (`.csv`, `.txt`, `.dat`, `.tsv`,
          `.edge`: a matrix with names or without, as pandas, R, NumPy, MRtrix, DSI Studio and
          spreadsheets write them, or an edge list `source target weight`), `.mtx`, `.graphml`, a
          connectivity `.zip` or folder of The Virtual Brain; each also as `.gz`, `.bz2`, `.xz`.
        - `order`: of "aal90" only: "atlas" (left regions, then right, both in the atlas's
          order) or "source" (as in the authors' file).
        - `cache_dir`: where downloads are kept; by default the environment variable
          NGNMM_JAX_CACHE, or else the user's cache folder.
        - `variable`: the array, member or edge attribute that holds the weights; `labels`,
          `lengths`: those of the names and tract lengths, or a file of them, or the names.
        - `transpose`: column j of a matrix, not row j, holds what region j receives.
        - `edges`, `one_based`: a table of three columns is an edge list; its regions are
          numbered from one.
        - `directed`, `symmetric`: connections that stand once go one way, or both.
        - `separator`: between the entries of a text file.

        What is inferred stands in `notes`; what a file leaves open is refused, with the argument
        that decides it.

        Raises `ValueError` for an unknown name or a malformed file, `FileNotFoundError` for
        a missing file, `ConnectionError` where a download fails.
        """
        _checks.one_of("order", order, ("atlas", "source"))
        name = str(name_or_path)
        reading = Reading(
            variable, labels, lengths, transpose, one_based, edges, directed, symmetric, separator
        )
        if name in ("hcp-schaefer100", "aal90") and reading != Reading():
            _checks.fail("name_or_path", "be a file where the reading is chosen", f"it is {name!r}")
        if name == "hcp-schaefer100":
            return cls(**files.read_embedded(name))
        if name == "aal90":
            return cls(**fetch.aal90(order, cache_dir))
        path = _checks.path("name_or_path", name_or_path)
        if order != "atlas":
            _checks.fail("order", "be left out of files", f"it is {order!r}")
        if not name:
            _checks.fail("name_or_path", "name a connectome or a file", "it is empty")
        if path.suffix or path.exists():
            files.check(path)
            with files.reasons(path):
                return cls(**files.read(path, reading))
        _checks.one_of("name_or_path", name, ("hcp-schaefer100", "aal90"))
        raise AssertionError("unreachable")

    @classmethod
    def synthetic(cls, n_regions: int, *, seed: int = 0, **options: Any) -> "Connectome":
        """A made-up connectome with a real one's statistics; see `connectome.synthetic`."""
        return cls(**synthetic(n_regions, seed=seed, **options))

    def save(self, path: str | Path) -> None:
        """Write it as `.npz`, to be read again by `load`."""
        path = _checks.path("path", path)
        if path.suffix != ".npz":
            _checks.fail("path", "end in .npz", f"it is {str(path)!r}")
        arrays: dict[str, Any] = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) is not None and field.name != "notes"
        }
        write_npz(path, arrays)

    # ------------------------------------------------------------------ transforms

    def normalised(self) -> "Connectome":
        """Each row divided by its sum, so that every region receives the same total weight.

        Raises `ValueError`, naming the regions, if a row is all zero.
        """
        sums = self.weights.sum(axis=1)
        if (sums == 0).any():
            raise ValueError(
                f"Rows cannot be normalised: {len(self.silent)} region(s) receive no connection "
                f"({', '.join(self.silent)}). Leave them out with `.without_silent()`, or give "
                "them weights."
            )
        return dataclasses.replace(self, weights=self.weights / sums[:, None])

    def scaled(self, largest: float | int = 1.0) -> "Connectome":
        """All weights times one number, so that the largest one is `largest` (> 0)."""
        _checks.positive("largest", largest)
        top = self.weights.max()
        if top == 0:
            raise ValueError("A connectome without any connection cannot be scaled.")
        return dataclasses.replace(self, weights=self.weights * (largest / top))

    def transposed(self) -> "Connectome":
        """Every connection the other way: for files whose columns receive."""
        lengths = None if self.tract_lengths is None else self.tract_lengths.T
        return dataclasses.replace(self, weights=self.weights.T, tract_lengths=lengths)

    def power(self, exponent: float) -> "Connectome":
        """Every non-zero weight raised to `exponent` (> 0), which compresses their range."""
        _checks.positive("exponent", exponent)
        with np.errstate(over="ignore", under="ignore"):
            weights = self.weights**exponent
        if not np.isfinite(weights).all() or (weights > 0).sum() != self.n_connections:
            must = "leave all weights finite and above zero: scale them first (`.scaled()`)"
            _checks.fail("exponent", must, f"{exponent:g} does not")
        return dataclasses.replace(self, weights=weights)

    def symmetrised(self) -> "Connectome":
        """The mean of the weights and their transpose; of a triangle, both its sides.

        Where connections stand on one side of the diagonal only they are taken for halves of a
        symmetric matrix.
        """
        from ngnmm_jax.connectome.parts import both_ways, is_half

        if is_half(self.weights):
            return dataclasses.replace(self, weights=both_ways(self.weights))
        return dataclasses.replace(self, weights=(self.weights + self.weights.T) / 2)

    @property
    def silent(self) -> tuple[str, ...]:
        """The names of the regions that receive nothing."""
        return tuple(self.labels[k] for k in np.flatnonzero(self.weights.sum(axis=1) == 0))

    def separate_parts(self) -> list[tuple[str, ...]]:
        """The names of the regions of each part that no connection links to another."""
        from scipy.sparse.csgraph import connected_components

        count, part = connected_components(self.weights > 0, directed=False)
        return [tuple(self.labels[k] for k in np.flatnonzero(part == p)) for p in range(count)]

    def without_silent(self) -> "Connectome":
        """Without regions that receive nothing, nor those that then receive nothing."""
        left = self
        while left.silent:
            if len(left.silent) == left.n_regions:
                raise ValueError("Nothing would be left: no region receives from one that does.")
            left = left.without(left.silent)
        return left

    def without(self, regions: Sequence[str | int]) -> "Connectome":
        """All regions but those named (by label or index)."""
        drop = set(self._places("regions", regions))
        return self.take([k for k in range(self.n_regions) if k not in drop])

    def cut(
        self,
        regions: Sequence[str | int] = (),
        edges: Sequence[Sequence[str | int]] = (),
    ) -> "Connectome":
        """The same regions after a lesion: some connections have weight zero.

        All of those named (by label or index) in `regions`, both ways; and of each pair in `edges`
        the one by which the first receives from the second. Other weights stay as they are, so that
        rows no longer sum to what they did. Tract lengths stay.
        """
        weights = self.weights.copy()
        for k in self._places("regions", regions):
            weights[k, :] = weights[:, k] = 0.0
        for pair in edges:
            if isinstance(pair, str) or np.shape(pair) != (2,):
                _checks.fail("edges", "be pairs (receives, sends) of regions", f"one is {pair!r}")
            j, k = self._places("edges", pair)
            weights[j, k] = 0.0
        return dataclasses.replace(self, weights=weights)

    def take(self, order: Sequence[str | int] | NDArray[np.integer]) -> "Connectome":
        """The regions named (by label or index), in that order."""
        index = np.asarray(self._places("order", order), dtype=int)
        square = np.ix_(index, index)

        def pick(value: Any, where: Any) -> Any:
            return None if value is None else value[where]

        return dataclasses.replace(
            self,
            weights=self.weights[square],
            labels=tuple(self.labels[k] for k in index),
            tract_lengths=pick(self.tract_lengths, square),
            centroids=pick(self.centroids, index),
            groups=None if self.groups is None else tuple(self.groups[k] for k in index),
            functional_connectivity=pick(self.functional_connectivity, square),
        )

    def _places(self, argument: str, regions: Any) -> list[int]:
        """Indices of regions, from labels or indices."""
        if isinstance(regions, str):
            _checks.fail(argument, "be a list of regions", f"it is {regions!r}")
        found = []
        for region in regions:
            if isinstance(region, str):
                _checks.one_of(argument, region, self.labels)
                found.append(self.labels.index(region))
            elif isinstance(region, bool | np.bool):
                must = "be labels or indices of regions"
                _checks.fail(argument, must, "some are booleans: give `np.flatnonzero(mask)`")
            elif isinstance(region, int | np.integer) and 0 <= region < self.n_regions:
                found.append(int(region))
            else:
                _checks.fail(
                    argument, f"lie between 0 and {self.n_regions - 1}", f"it has {region}"
                )
        return found

    # ------------------------------------------------------------------ eigenmodes

    def eigenmodes(self) -> Eigenmodes:
        """Eigenvalues and eigenvectors of the weights, as they are (normalise first).

        Each with its condition number and the error that follows from it.
        """
        return self._eigenmodes

    @functools.cached_property
    def _eigenmodes(self) -> Eigenmodes:
        return eigenmodes_of(self.weights, self.is_symmetric)


def _is_frame(value: Any) -> bool:
    return hasattr(value, "index") and hasattr(value, "columns") and hasattr(value, "to_numpy")


def _framed(argument: str, value: Any) -> tuple[Any, list[str] | None]:
    """A DataFrame's values, its columns in the order of its index, and the index' names."""
    from ngnmm_jax.connectome.text import matching

    if not _is_frame(value):
        return value, None
    rows, columns = ([str(name) for name in axis] for axis in (value.index, value.columns))
    values = value.to_numpy()
    counted = columns == [str(k) for k in range(len(columns))]
    if (
        rows == columns
        or len(rows) != len(columns)
        or (counted and sorted(rows) != sorted(columns))
    ):
        return values, rows
    try:
        return values[:, matching(rows, columns)], rows
    except ValueError as error:
        raise ValueError(
            f"Argument `{argument}` must have one set of names, but {error}."
        ) from None


def _aligned(argument: str, value: Any, names: Sequence[str] | None) -> Any:
    """A DataFrame's values in the order of the weights' names."""
    values, rows = _framed(argument, value)
    if rows is None or names is None or rows == list(names):
        return values
    if sorted(rows) != sorted(names):
        _checks.fail(argument, "have the weights' names", "it has others")
    order = [rows.index(name) for name in names]
    return values[np.ix_(order, order)]


def _name(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _numbers(argument: str, value: Any, labels: Sequence[Any] = ()) -> NDArray[np.float64]:
    if hasattr(value, "toarray"):  # one of SciPy's sparse ones
        _checks.fail(argument, "be a dense array", "it is sparse: `.toarray()` makes it dense")
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        _checks.fail(argument, "have no masked entries", "it has: `.filled(0)` makes them zero")
    numbers = _checks.numbers(argument, value, booleans=True)
    array = np.array(numbers, dtype=np.float64, order="C")
    _finite_regions(argument, array, labels)
    return array


def _finite_regions(argument: str, array: NDArray[np.float64], labels: Sequence[Any]) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        rows = sorted({int(k) for k in bad[:, 0]})
        names = list(map(_name, labels)) if len(labels) == len(array) else range(len(array))
        shown = ", ".join(str(names[k]) for k in rows[:10]) + (", …" if len(rows) > 10 else "")
        _checks.fail(
            argument,
            "be finite",
            f"{len(bad)} of its {array.size} values are not (in the rows {shown})",
        )


def _nonnegative(argument: str, array: NDArray[np.float64]) -> None:
    if (array < 0).any():
        _checks.fail(
            argument,
            "not be negative",
            f"{int((array < 0).sum())} of its entries are (the smallest is {array.min():g})",
        )
