"""Virtual lesions: a connectome without some of its connections, and what that changes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.status import STATUS_FLAGS, Status
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.sweeps.connectomes import Connectomes

#: What the connectome without a lesion is called.
INTACT = "none"
# Of matrices, whose regions are both of their dimensions: how alike they are to the intact one's.
_ALIKE, _CHANGE = "_similarity", "_change"


def lesioned(
    connectome: Connectome,
    sites: Sequence[str | int] | Mapping[str, Sequence[str | int]] | None = None,
) -> Connectomes:
    """A connectome and its lesions, an axis of a design: "none", then each site.

    A site's connections have weight zero, both ways (`connectome.cut`); its region stays, alone,
    and so do the other weights: rows that lost connections sum to less.

    **Arguments:**

    - `connectome`: as the network has it (`.normalised()`).
    - `sites`: regions by label or index, each cut alone; or several regions by a name for them, as
      {"left visual": […]}. By default each region.

    Raises `ValueError` for unknown regions, and sites of the same name.
    """
    if not isinstance(connectome, Connectome):
        _checks.fail("connectome", "be a `Connectome`", f"it is {_checks.kind_of(connectome)}")
    if isinstance(sites, Mapping):
        several = {str(name): list(regions) for name, regions in sites.items()}
    else:
        if isinstance(sites, str):
            _checks.fail("sites", "be a list of regions", f"it is {sites!r}")
        chosen = connectome.labels if sites is None else sites
        labels = [connectome.take([site]).labels[0] for site in chosen]
        several = {label: [label] for label in labels}
        if len(several) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            _checks.fail("sites", "be different regions", f"{twice!r} stands more than once")
    if INTACT in several:
        _checks.fail("sites", f"not be called {INTACT!r}", "one is: give it another name")
    cut = {name: connectome.cut(regions) for name, regions in several.items()}
    return Connectomes({INTACT: connectome, **cut})


def lesion_effects(data: Any, lesions: Connectomes) -> Any:
    """What lesions change: each result less that of the intact connectome, an `xarray.Dataset`.

    - `<name>_change`: of every result of numbers.
    - `<name>_similarity`: of symmetric results (…, region, other region), functional connectivity:
      Pearson's correlation with the intact one, over pairs of regions that the lesion spares.
    - `spared` (lesion, region): which regions the lesion leaves with a connection, of those that
      have one without it.
    - `status`: OK where both runs are; else that of the lesioned run, or of the intact one. Values
      are NaN there.

    **Arguments:** `data`: of a sweep with `lesioned(…)` as an axis; `lesions`: that axis.

    Raises `ValueError` where the dataset has no such axis.
    """
    xarray = _checks.require_module("xarray", "data")
    if not isinstance(lesions, Connectomes) or lesions.labels[0] != INTACT:
        _checks.fail("lesions", "be those of `lesioned`", f"they are {_checks.kind_of(lesions)}")
    labels = list(lesions.labels)
    dims = [d for d in data.dims if d in data.coords and list(data[d].values) == labels]
    if len(dims) != 1:
        axes = ", ".join(map(repr, data.dims))
        _checks.fail("data", "have the lesions as an axis", f"its axes are {axes}")
    dim = dims[0]
    spared = _spared(lesions)
    first, own = data["status"].sel({dim: INTACT}), data["status"]
    status = own.where(own != Status.OK, first).astype(np.int8).transpose(*own.dims)
    found = {"status": status.assign_attrs(STATUS_FLAGS)}
    regions = spared.shape[1]
    for name, value in data.data_vars.items():
        if name == "status" or dim not in value.dims or value.dtype.kind not in "iuf":
            continue
        value = value.astype(float).where(status == Status.OK)
        intact = value.sel({dim: INTACT}, drop=True)
        found[name + _CHANGE] = (value - intact).transpose(*data[name].dims)
        found[name + _CHANGE].attrs = dict(data[name].attrs)
        if dim not in value.dims[-2:] and _of_pairs(value, regions):
            pairs = list(value.dims[-2:])
            alike = xarray.apply_ufunc(
                _correlation, value, intact, xarray.DataArray(spared, dims=(dim, "spared_region")),
                input_core_dims=[pairs, pairs, ["spared_region"]], vectorize=True,
            )  # fmt: skip
            found[name + _ALIKE] = alike.transpose(*(d for d in data[name].dims if d not in pairs))
    out = xarray.Dataset(found, attrs={"title": "ngnmm_jax effects of lesions"})
    where = (dim, "region") if out.sizes.get("region", regions) == regions else (dim, "site")
    return out.assign_coords(spared=(where, spared))


def _of_pairs(value: Any, regions: int) -> bool:
    """Whether a result ends in (region, other region): symmetric, where it is known."""
    if value.shape[-2:] != (regions, regions):
        return False
    some = np.asarray(value)
    return bool(np.allclose(some, np.swapaxes(some, -1, -2), rtol=1e-5, equal_nan=True))


def _spared(lesions: Connectomes) -> np.ndarray:
    """Which regions have a connection (lesion, region); those alone without lesions count."""

    def linked(one: Connectome) -> np.ndarray:
        others = one.weights * ~np.eye(one.n_regions, dtype=bool)
        return (others.sum(axis=0) + others.sum(axis=1)) > 0

    each = np.stack([linked(one) for one in lesions.connectomes])
    return each | ~each[0]


def _correlation(matrix: np.ndarray, intact: np.ndarray, spared: np.ndarray) -> float:
    """Over the pairs of regions that are spared; NaN where there is none, or no pattern."""
    pairs = np.triu(np.outer(spared, spared), 1)
    one, other = matrix[pairs], intact[pairs]
    if len(one) < 3 or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return np.nan
    if min(np.ptp(one), np.ptp(other)) <= 64 * np.finfo(float).eps:
        return np.nan
    return float(np.corrcoef(one, other)[0, 1])
