"""Edge lists: which region sends to which, and how strongly."""

from collections.abc import Sequence

import numpy as np

from ngnmm_jax.connectome.parts import Parts, Reading, dense_size


def from_edges(
    sources: Sequence[str],
    targets: Sequence[str],
    weights: Sequence[float],
    n: int | None,
    reading: Reading,
) -> Parts:
    """The weights of edges source → target, named or numbered: row `target`, column `source`.

    `n`: how many regions there are, where the file says so.
    """
    parts = Parts({})
    try:
        pairs = np.array([sources, targets], dtype=float)
    except ValueError:
        rows, columns, size = _named(sources, targets, parts)
    else:
        if n is None and reading.one_based is None and _are_names(pairs):
            order = [str(int(number)) for number in np.unique(pairs)]
            parts.notes.append("the regions' numbers have gaps and are taken for names")
            sources, targets = ([str(int(k)) for k in row] for row in pairs)
            rows, columns, size = _named(sources, targets, parts, order)
        else:
            rows, columns, size = _numbered(pairs, n, reading, parts)
    if n is not None and size > n:
        raise ValueError(f"it names {size} regions, but says that it has {n}")
    dense_size(max(size, n or 0), "it")
    values = np.asarray(weights, dtype=float)
    matrix = np.zeros((max(size, n or 0),) * 2)
    places, where, counts = np.unique(
        np.stack([columns, rows]), axis=1, return_index=True, return_counts=True
    )
    if (counts > 1).any():
        k = int(where[counts > 1].min())
        raise ValueError(
            f"the edge {sources[k]} → {targets[k]} stands more than once "
            f"({int((counts > 1).sum())} such edges): sum them, or keep one (`edges=False` if it "
            "is no list of edges but a matrix)"
        )
    matrix[places[0], places[1]] = values[where]
    linked = matrix != 0
    np.fill_diagonal(linked, False)
    parts.one_way = bool(linked.any() and not (linked & linked.T).any())
    parts.arrays["weights"] = matrix
    return parts


def _are_names(pairs: np.ndarray) -> bool:
    """Whether whole numbers have such gaps between them that they are names, as an atlas has."""
    if not np.isfinite(pairs).all() or (pairs != pairs.round()).any() or (pairs < 0).any():
        return False
    return bool(2 * np.unique(pairs).size < pairs.max())


def _named(
    sources: Sequence[str], targets: Sequence[str], parts: Parts, order: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray, int]:
    names = list(order or dict.fromkeys([*sources, *targets]))
    index = {name: k for k, name in enumerate(names)}
    parts.arrays["labels"] = np.array(names)
    if not order:
        parts.notes.append("regions in the order in which the edges name them")
    rows = np.array([index[name] for name in sources], dtype=int)
    return rows, np.array([index[name] for name in targets], dtype=int), len(names)


def _numbered(
    pairs: np.ndarray, n: int | None, reading: Reading, parts: Parts
) -> tuple[np.ndarray, np.ndarray, int]:
    index = pairs.astype(int) if np.isfinite(pairs).all() else np.full(pairs.shape, -1)
    if (index != pairs).any() or (index < 0).any():
        raise ValueError("the first two entries of each line `i j w` must be indices of regions")
    first, last = int(index.min()), int(index.max())
    base = int(first > 0) if reading.one_based is None else int(reading.one_based)
    if first < base:
        raise ValueError("it names region 0, which is not there if regions count from one")
    if reading.one_based is None:
        if n is not None and first > 0 and last < n:
            raise ValueError(
                f"it has {n} regions and names {first} to {last}: say whether the first one is "
                "number one (`one_based=True`) or number zero (`one_based=False`)"
            )
        here = ": region 1 of the file is called 'region 0' here" if base else ""
        parts.notes.append(f"regions are numbered from {base}{here}")
    if n is not None and last - base >= n:
        raise ValueError(f"it names region {last}, but has {n} regions")
    return index[0] - base, index[1] - base, last + 1 - base
