"""What varies from run to run of a batch."""

from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import check_values, known_name, one_for_all, parts_between
from ngnmm_jax._core.starting import state_of
from ngnmm_jax.graphs.delays import AbstractDelays
from ngnmm_jax.systems.driven import Driven, Undriven


def count_runs(core: Undriven | Driven, varied: dict[str, Any], start: Any, seed: Any) -> int:
    """The length of the axis `run`, on which everything that has one must agree."""
    _checks.seed(seed)
    counts: dict[str, int] = {}
    regions = core.state_shape[1:]
    for name, value in varied.items():
        known_name(name, core)
        check_values(core, name, value)
        if value.ndim not in (1, 2) or value.shape[1:] not in ((), regions):
            one_each = f" or (run, {regions[0]} regions)" if regions else ""
            _checks.fail(name, f"have shape (run,){one_each}", f"its shape is {value.shape}")
        part, _ = parts_between(core).get(name, (None, None))
        if value.ndim == 2 and isinstance(part, AbstractDelays):
            but = f"its shape is {value.shape}: it is of connections, which all have the same here"
            _checks.fail(name, "have shape (run,)", but)
        if value.ndim == 1:
            one_for_all(core, name, "give values (run, region)")
        counts[name] = value.shape[0]
    if np.ndim(seed) == 1:
        counts["seed"] = len(seed)
    if start is not None:
        shape, own = np.shape(state_of(start)), core.state_shape
        if shape not in (own, own[:1]) and shape[1:] != own:
            _checks.fail("start", f"have shape (run, *{own})", f"its shape is {shape}")
        if shape[1:] == own:
            counts["start"] = shape[0]
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
        _checks.fail("parameters", "all have the same number of runs", listed)
    empty = [name for name, count in counts.items() if not count]
    if empty:
        _checks.fail(empty[0], "have at least one run", "it is empty")
    return next(iter(counts.values()), 1)
