"""What each command can be told: one schema for its options, its TOML file, its checks and help.

`[set]` and `--set` give values that stay, `[vary]` and `--vary` what varies.
"""

from ngnmm_jax.cli.settings import commands, fit, network, sweep

__all__ = ["commands", "fit", "network", "sweep"]
