"""Sweeps over parameters: designs, measures, and their streamed, resumable execution."""

from ngnmm_jax.sweeps import summaries
from ngnmm_jax.sweeps.activity import Activity
from ngnmm_jax.sweeps.analyses import Exponents, Stability
from ngnmm_jax.sweeps.designs import Design
from ngnmm_jax.sweeps.measures import AbstractMeasure, Function, Output
from ngnmm_jax.sweeps.run import sweep
from ngnmm_jax.sweeps.storage import discrepancies, open_sweep
from ngnmm_jax.sweeps.summaries import AbstractSummary

__all__ = [
    "AbstractMeasure",
    "AbstractSummary",
    "Activity",
    "Design",
    "Exponents",
    "Function",
    "Output",
    "Stability",
    "discrepancies",
    "open_sweep",
    "summaries",
    "sweep",
]
