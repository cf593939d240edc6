"""The samples themselves."""

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax.sweeps.summaries.base import AbstractSummary, Coordinates, Layout, Run, Window


class Trace(AbstractSummary):
    """All samples: memory grows with the duration."""

    name = "trace"
    dims = ("time", "region")

    def emit(self, total: None, window: Window) -> jax.Array:
        return window.values

    def value(self, total: None, run: Run) -> jax.Array:
        samples = run.emitted.reshape(-1, *run.emitted.shape[2:])
        return jnp.moveaxis(samples, 1, 0)

    def coordinates(self, layout: Layout, times: np.ndarray) -> Coordinates:
        return {"time": (times, {"units": layout.time_unit})}
