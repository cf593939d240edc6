"""By which numbers the rows of weights become symmetric, and which regions are connected."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Numbers that make a graph symmetric differ by no more than exp of this, and agree to a fraction.
_FAR, _SAME = 300.0, 1e-9
# A matrix counts as symmetric to this fraction of its largest entry.
_SYMMETRIC = 1e-12


def symmetriser_of(weights: Any) -> NDArray[np.float64] | None:
    """Positive d (region,) for which d_j weights_jk is symmetric; None where there are none.

    Along the connections of a spanning tree d follows from d_j weights_jk = d_k weights_kj; all
    others are then looked at. Of sparse weights (region, region) in rows, without stored zeros.
    """
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.csgraph import breadth_first_order

    n = weights.shape[0]
    there, other = csr_array(weights), csr_array(weights.T)
    there.sort_indices()
    other.sort_indices()
    if _symmetric(there, other):
        return np.ones(n)
    if not np.array_equal(there.indptr, other.indptr):
        return None
    if not np.array_equal(there.indices, other.indices):
        return None
    with np.errstate(all="ignore"):
        steps = np.log(there.data / other.data)  # log d_k - log d_j
    if not np.isfinite(steps).all():
        return None
    rows = np.repeat(np.arange(n), np.diff(there.indptr))
    # One more node, from which a tree reaches all that are not connected to each other.
    roots = np.unique(components_of(there), return_index=True)[1]
    to = np.concatenate([there.indices, roots])
    source = np.concatenate([rows, np.full(len(roots), n)])
    entries = np.arange(1, len(to) + 1)
    links = coo_array((entries, (source, to)), shape=(n + 1, n + 1)).tocsr()
    order, before = breadth_first_order(links, n, directed=True)
    found = np.asarray(links[before[order[1:]], order[1:]]).ravel() - 1
    steps = np.concatenate([steps, np.zeros(len(roots))])[found]
    logs = [0.0] * (n + 1)
    for node, parent, step in zip(
        order[1:].tolist(), before[order[1:]].tolist(), steps.tolist(), strict=True
    ):
        logs[node] = logs[parent] + step
    if np.ptp(logs) > _FAR:
        return None
    d = np.exp(np.array(logs[:n]) - np.mean(logs[:n]))
    scaled = csr_array((d[rows] * there.data, there.indices, there.indptr), shape=(n, n))
    return d if _symmetric(scaled, csr_array(scaled.T)) else None


def components_of(weights: Any) -> NDArray[np.int64]:
    """For each region the number of the part (weakly connected) that it is in."""
    from scipy.sparse.csgraph import connected_components

    return np.asarray(connected_components(weights, directed=False)[1], np.int64)


Scales = tuple[NDArray[np.float64], NDArray[np.int64]]


def agreed(one: Scales, other: Scales) -> Scales | None:
    """What makes two graphs symmetric together, from what does so with each; None if nothing.

    Of both: numbers d (region,), each with a free factor for every part that is not connected to
    others, and the parts' numbers (region,). The factors are found for which they are the same.
    """
    from scipy.sparse import coo_array

    (d, first), (e, second) = one, other
    count, codes = int(first.max()) + 1, first * (int(second.max()) + 1) + second
    _, place, back = np.unique(codes, return_index=True, return_inverse=True)
    ratios = d / e
    if np.abs(ratios / ratios[place][back] - 1).max() > _SAME:
        return None
    size, a, b = count + int(second.max()) + 1, first[place], count + second[place]
    values = np.concatenate([ratios[place], np.ones(len(place))])
    links = coo_array((values, (np.append(a, b), np.append(b, a))), shape=(size, size)).tocsr()
    factors = symmetriser_of(links)
    if factors is None:
        return None
    together = components_of(links)
    return factors[first] * d, together[first]


def _symmetric(weights: Any, back: Any) -> bool:
    size = abs(weights).max() if weights.nnz else 0.0
    return bool(abs(weights - back).max() <= _SYMMETRIC * size) if size else True
