"""The connectome, its transforms and its eigenmodes. Plain NumPy: no JAX, no tracing."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ngnmm_jax import _checks
from ngnmm_jax.connectome.eigenmodes import Eigenmodes, eigenmodes_of


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

    Raises `ValueError` for arrays of the wrong shape, NaN, negative weights or lengths, and
    repeated labels.
    """

    weights: NDArray[np.float64]
    labels: tuple[str, ...]
    tract_lengths: NDArray[np.float64] | None
    centroids: NDArray[np.float64] | None
    groups: tuple[str, ...] | None
    functional_connectivity: NDArray[np.float64] | None
    name: str
    source: str

    def __init__(
        self,
        weights: ArrayLike,
        labels: Sequence[str] = (),
        tract_lengths: ArrayLike | None = None,
        centroids: ArrayLike | None = None,
        groups: Sequence[str] | None = None,
        functional_connectivity: ArrayLike | None = None,
        name: str = "connectome",
        source: str = "",
    ) -> None:
        self._set("name", name)
        self._set("source", source)
        weights = _numbers("weights", weights)
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
            array = None if given is None else _numbers(field, given)
            if array is not None:
                _checks.shape(field, array, shape, f"for {n} regions")
            self._set(field, array)
        if self.tract_lengths is not None:
            _nonnegative("tract_lengths", self.tract_lengths)
        self._set("labels", tuple(map(str, labels)) or tuple(f"region {k}" for k in range(n)))
        self._set("groups", None if groups is None else tuple(map(str, groups)))
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
        return isinstance(other, Connectome) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    @functools.cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            digest.update(f"{field.name} {np.shape(value)} ".encode())
            digest.update(
                value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
            )
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"Connectome({self.name!r}, {self.n_regions} regions)"

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
    ) -> "Connectome":
        """An embedded connectome, a downloaded one, or a user's own file.

        **Arguments:**

        - `name_or_path`: "hcp-schaefer100" (embedded), "aal90" (the paper's; downloaded
          once, needs the network the first time), or the path of a file: `.npz`, `.npy`,
          `.csv`/`.txt`/`.dat` (a dense matrix, or lines `i j w`), `.mat`, or a
          connectivity `.zip` of The Virtual Brain.
        - `order`: of "aal90" only: "atlas" (left regions, then right, both in the atlas's
          order) or "source" (as in the authors' file).
        - `cache_dir`: where downloads are kept; by default the environment variable
          NGNMM_JAX_CACHE, or else the user's cache folder.

        Raises `ValueError` for an unknown name or a malformed file, `FileNotFoundError` for
        a missing file, `ConnectionError` where a download fails.
        """
        from ngnmm_jax.connectome import fetch, files

        _checks.one_of("order", order, ("atlas", "source"))
        name = str(name_or_path)
        if name == "hcp-schaefer100":
            return files.read_embedded(name)
        if name == "aal90":
            return fetch.aal90(order, cache_dir)
        path = Path(name_or_path)
        if path.suffix or path.exists():
            return files.read(path)
        _checks.one_of("name_or_path", name, ("hcp-schaefer100", "aal90"))
        raise AssertionError("unreachable")

    @classmethod
    def synthetic(cls, n_regions: int, *, seed: int = 0, **options: Any) -> "Connectome":
        """A made-up connectome with a real one's statistics; see `connectome.synthetic`."""
        from ngnmm_jax.connectome.synthetic import synthetic

        return synthetic(n_regions, seed=seed, **options)

    def save(self, path: str | Path) -> None:
        """Write it as `.npz`, to be read again by `load`."""
        path = Path(path)
        if path.suffix != ".npz":
            _checks.fail("path", "end in .npz", f"it is {str(path)!r}")
        arrays: dict[str, Any] = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) is not None
        }
        np.savez_compressed(path, allow_pickle=False, **arrays)

    # ------------------------------------------------------------------ transforms

    def normalised(self) -> "Connectome":
        """Each row divided by its sum, so that every region receives the same total weight.

        Raises `ValueError`, naming the regions, if a row is all zero.
        """
        sums = self.weights.sum(axis=1)
        if (sums == 0).any():
            names = [self.labels[k] for k in np.flatnonzero(sums == 0)]
            shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
            raise ValueError(
                f"Rows cannot be normalised: {len(names)} region(s) receive no connection "
                f"({shown}). Remove them with `.without({names[:2]!r})` or give them weights."
            )
        return dataclasses.replace(self, weights=self.weights / sums[:, None])

    def power(self, exponent: float) -> "Connectome":
        """Every non-zero weight raised to `exponent` (> 0), which compresses their range."""
        _checks.positive("exponent", exponent)
        return dataclasses.replace(self, weights=self.weights**exponent)

    def symmetrised(self) -> "Connectome":
        """The mean of the weights and their transpose."""
        return dataclasses.replace(self, weights=(self.weights + self.weights.T) / 2)

    def without(self, regions: Sequence[str | int]) -> "Connectome":
        """All regions but those named (by label or index)."""
        drop = set()
        for region in regions:
            if isinstance(region, str):
                _checks.one_of("regions", region, self.labels)
                drop.add(self.labels.index(region))
            elif 0 <= region < self.n_regions:
                drop.add(int(region))
            else:
                _checks.fail(
                    "regions", f"lie between 0 and {self.n_regions - 1}", f"it has {region}"
                )
        return self.take([k for k in range(self.n_regions) if k not in drop])

    def take(self, order: Sequence[int] | NDArray[np.integer]) -> "Connectome":
        """The regions with the given indices, in that order."""
        index = np.asarray(order, dtype=int)
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

    # ------------------------------------------------------------------ eigenmodes

    def eigenmodes(self) -> Eigenmodes:
        """Eigenvalues and eigenvectors of the weights, as they are (normalise first).

        Each with its condition number and the error that follows from it.
        """
        return self._eigenmodes

    @functools.cached_property
    def _eigenmodes(self) -> Eigenmodes:
        return eigenmodes_of(self.weights, self.is_symmetric)


def _numbers(argument: str, value: ArrayLike) -> NDArray[np.float64]:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        _checks.fail(argument, "be an array of numbers", f"it is {type(value).__name__}")
    _checks.finite(argument, array)
    return array


def _nonnegative(argument: str, array: NDArray[np.float64]) -> None:
    if (array < 0).any():
        _checks.fail(
            argument,
            "not be negative",
            f"{int((array < 0).sum())} of its entries are (the smallest is {array.min():g})",
        )
