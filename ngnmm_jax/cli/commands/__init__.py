"""The commands, a file each, which enter themselves into the app when this is imported."""

from ngnmm_jax.cli.commands import (
    bifurcate,
    compare,
    connectome,
    demo,
    dispersion,
    fit,
    lyapunov,
    map,
    reproduce,
    show,
    simulate,
    spectrum,
    sweep,
)

__all__ = [
    "bifurcate",
    "compare",
    "connectome",
    "demo",
    "dispersion",
    "fit",
    "lyapunov",
    "map",
    "reproduce",
    "show",
    "simulate",
    "spectrum",
    "sweep",
]
