"""Parameters and what was simulated with them, from a sweep, for inference from simulations."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown
from ngnmm_jax._core.status import Status
from ngnmm_jax.sweeps.designs import Design
from ngnmm_jax.sweeps.names import label

_FEW = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs(Shown):
    """Parameters of runs, and features of what they gave.

    - `theta` (run, parameter), `x` (run, feature): arrays, of the runs that ended well.
    - `parameters`, `features`: their names.
    - `bounds` (parameter, end): of the uniform prior that parameters were drawn from.
    - `left_out`: runs that did not end well, or have features that are not finite.
    """

    theta: np.ndarray
    x: np.ndarray
    parameters: tuple[str, ...]
    features: tuple[str, ...]
    bounds: np.ndarray
    left_out: int

    def __repr__(self) -> str:
        names = ", ".join(self.parameters[:5]) + (", …" if len(self.parameters) > 5 else "")
        lost = f", {self.left_out} left out" if self.left_out else ""
        return f"Pairs of {names} and {len(self.features)} features: {len(self.x)} runs{lost}"

    def prior(self) -> Any:
        """The uniform distribution between `bounds`, `sbi`'s `BoxUniform` (extra "sbi")."""
        torch = _checks.require_module("torch", "sbi")
        utils = _checks.require_module("sbi.utils", "sbi")
        low, high = (torch.as_tensor(end, dtype=torch.float32) for end in self.bounds.T)
        return utils.BoxUniform(low=low, high=high)

    def tensors(self) -> tuple[Any, Any]:
        """`theta` and `x` as PyTorch's tensors of 32 bits, as `append_simulations` takes them."""
        torch = _checks.require_module("torch", "sbi")
        return tuple(torch.as_tensor(some, dtype=torch.float32) for some in (self.theta, self.x))

    def observed(self, features: Mapping[str, Any]) -> np.ndarray:
        """Features (feature,) of an observation, by the names of the sweep's results, in order."""
        parts = _flat({k: np.asarray(v, dtype=float)[None] for k, v in features.items()}, (), None)
        found = dict(zip(parts[1], parts[0][0], strict=True))
        missing = [name for name in self.features if name not in found]
        if missing:
            _checks.fail("features", "hold all that the pairs have", f"{missing[0]!r} is not there")
        return np.array([found[name] for name in self.features])


def simulated_pairs(
    data: Any, design: Design, features: Sequence[str] | Mapping[str, Any]
) -> Pairs:
    """Parameters and features of a sweep's runs, as simulation-based inference takes them.

    **Arguments:**

    - `data`: the `xarray.Dataset` of `sweep(system, design, …)`, in memory or streamed from its
      store.
    - `design`: `Design.random(…).with_own_seeds()` or `Design.sobol`'s, whose bounds are the
      (uniform) prior. Replicates count as runs.
    - `features`: names of results, or arrays (`xarray.DataArray`, with the design's dimensions) by
      name. Other dimensions are flattened; of symmetric matrices (functional connectivity) one
      triangle is taken, without the diagonal.

    Warns where runs are left out: the posterior is then of runs that end well. Raises `ValueError`
    for designs without bounds or with shared seeds, another sweep's dataset, and features that
    never change.

    Source: Cranmer, Brehmer and Louppe, PNAS 117, 30055 (2020); `sbi`: Tejero-Cantero et al., J.
    Open Source Softw. 5, 2505 (2020).
    """
    if not isinstance(design, Design) or not design.bounds:
        must = "be `Design.random(…)` or `Design.sobol(…)`, whose bounds are the prior"
        _checks.fail("design", must, "it has none")
    if not design.own_seeds:
        must = "give every run noise of its own: sweep `design.with_own_seeds()`"
        _checks.fail("design", must, "its points share their seeds")
    for name, (dim, value) in design.parameters.items():
        known = label(name, dim, value.ndim)
        if known not in data or not np.array_equal(np.asarray(data[known]), value):
            _checks.fail("data", "be of this design", f"its {known!r} is another")
    chosen = dict(features) if isinstance(features, Mapping) else {k: data[k] for k in features}
    if not chosen:
        _checks.fail("features", "name one result at least", "there is none")
    runs = design.names
    arrays = {}
    for name, value in chosen.items():
        if not set(runs) <= set(getattr(value, "dims", ())):
            must = f"have the design's dimensions ({', '.join(runs)})"
            _checks.fail(f"features[{name!r}]", must, f"it is {_checks.kind_of(value)}")
        rest = [d for d in value.dims if d not in runs]
        array = np.asarray(value.transpose(*runs, *rest), dtype=float)
        arrays[name] = array.reshape(design.count, *array.shape[len(runs) :])
    status = np.asarray(data["status"].transpose(*runs)).ravel()
    x, names = _flat(arrays, tuple(chosen), status == Status.OK)
    theta, parameters, bounds = _parameters(design)
    good = (status == Status.OK) & np.isfinite(x).all(axis=1)
    left_out = int((~good).sum())
    if good.sum() < _FEW:
        _checks.fail("data", f"have {_FEW} runs that ended well", f"it has {int(good.sum())}")
    if left_out:
        warnings.warn(
            f"{left_out} of {design.count} runs did not end well, or have features that are not "
            "finite, and are left out: the posterior is of parameters with which runs end well.",
            stacklevel=2,
        )
    theta, x = theta[good], x[good]
    still = np.flatnonzero(np.ptp(x, axis=0) <= 1e-12 * np.abs(x).max(axis=0))
    if still.size:
        _checks.fail("features", "change from run to run", f"{names[still[0]]!r} does not")
    return Pairs(theta, x, parameters, names, bounds, left_out)


def _parameters(design: Design) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """Values (run, parameter), names, and bounds (parameter, end); runs in C order."""
    where = design.places(np.arange(design.count))
    columns, names, bounds = [], [], []
    for name, (dim, value) in design.parameters.items():
        each = value[where[dim]].reshape(design.count, -1)
        columns.append(each)
        single = value.ndim == 1
        names += [name] if single else [f"{name}[{k}]" for k in range(each.shape[1])]
        bounds += [design.bounds[name]] * each.shape[1]
    return np.concatenate(columns, axis=1), tuple(names), np.array(bounds, dtype=float)


def _flat(
    arrays: Mapping[str, np.ndarray], order: Sequence[str], good: Any
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Arrays (run, …) as columns (run, feature), and their names."""
    columns, names = [], []
    for name in order or tuple(arrays):
        value = arrays[name]
        if value.ndim == 1:
            columns.append(value[:, None])
            names.append(name)
            continue
        places = list(np.ndindex(value.shape[1:]))
        if value.ndim > 2 and value.shape[-1] == value.shape[-2] > 1:
            some = value if good is None else value[good]
            if np.allclose(some, np.swapaxes(some, -1, -2), rtol=1e-6, atol=1e-9, equal_nan=True):
                places = [place for place in places if place[-2] < place[-1]]
        columns.append(np.stack([value[(slice(None), *place)] for place in places], axis=1))
        names += [f"{name}[{', '.join(map(str, place))}]" for place in places]
    return np.concatenate(columns, axis=1), tuple(names)
