"""The commands, each of which enters itself into the app when this is imported."""

from ngnmm_jax.cli.commands import data, dynamics, long, runs, stability

__all__ = ["data", "dynamics", "long", "runs", "stability"]
