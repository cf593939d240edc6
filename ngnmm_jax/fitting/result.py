"""What a fit found."""

from typing import Any

import equinox as eqx
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.fitting.free import Free
from ngnmm_jax.fitting.method import AbstractMethod


class Fit(AbstractResult):
    """What a fit found.

    - `system`: with the values of the best start; `free`: what was free.
    - `x` (start, parameter): each start's best, in unbounded space; `loss` (start,): there.
    - `status` (start,): OK where the loss had stopped to fall; MAX_STEPS where it still fell when
      the steps ended; NOT_FINITE where it never was finite.
    - `history`: by name, (step, start): "loss", the loss's terms; and "x" (step, start, parameter).
    - `method`: how the loss was made smaller; `explanation`: in words and why so, and warnings.
    - `seconds`: of the whole fit, all its sessions together.
    """

    system: Any
    free: Free
    x: np.ndarray
    loss: np.ndarray
    status: np.ndarray
    history: dict[str, np.ndarray]
    method: AbstractMethod
    explanation: tuple[str, ...] = eqx.field(static=True)
    seconds: float

    @property
    def drawn_by(self) -> str:
        """`plot.fit_history`."""
        return "fit_history"

    @property
    def best(self) -> int:
        """The start of the lowest loss."""
        return int(np.nanargmin(np.where(np.isfinite(self.loss), self.loss, np.inf)))

    @property
    def ok(self) -> bool:
        """Whether the best start's loss had stopped to fall.

        Of other results it is whether all ended well; here the others are there to be worse.
        """
        return bool(self.status[self.best] == Status.OK)

    @property
    def stats(self) -> dict[str, Any]:
        """Steps and seconds."""
        return {"steps": len(self.history["loss"]), "seconds": self.seconds}

    def summary(self) -> dict[str, Any]:
        """How, the losses of all starts, and the best one's values."""
        by_start = f"{self.loss[self.best]:.6g}, start {self.best} of {self.loss.size}"
        return {"method": self.explanation[0], "lowest loss": by_start, **self.values()}

    def values(self, start: int | None = None) -> dict[str, np.ndarray]:
        """The parameters' values by name, of the best start or of another."""
        x = as_array(self.x[self.best if start is None else start])
        return {name: np.asarray(value) for name, value in self.free.values(x).items()}

    def never_finite(self) -> str:
        """What it means where no loss was finite: what was not, and what to look at."""
        first = {k: v[0, 0] for k, v in self.history.items() if k != "x"}
        terms = [name for name, value in first.items() if name != "loss" and not np.isfinite(value)]
        of = f"; of its terms {', '.join(map(repr, terms))} first" if terms else ""
        return (
            f"no start ever had a finite loss, which was {first['loss']:g} at the first step{of}: "
            "look at what the loss is of there and at the data. A response must have a stable "
            "equilibrium (and `stability=True` for `losses.margin`), a simulation must not diverge "
            "(a shorter `dt`), and nothing may be taken the logarithm of that is zero"
        )

    def to_xarray(self) -> Any:
        """An `xarray.Dataset`: history, each start's best x, loss and status."""
        xarray = _checks.require_module("xarray", "data")
        data: dict[str, Any] = {
            f"history_{name}": (("step", "start", "parameter")[: value.ndim], value)
            for name, value in self.history.items()
        }
        data["x"] = (("start", "parameter"), self.x)
        data["loss"] = (("start",), self.loss)
        data["status"] = (("start",), self.status)
        coords = {"parameter": list(self.free.names)}
        method = type(self.method).__name__
        attrs = {"title": "ngnmm_jax fit", "method": method, "seconds": self.seconds}
        return xarray.Dataset(data, coords, {**attrs, "explanation": "; ".join(self.explanation)})
