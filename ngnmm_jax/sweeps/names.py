"""The names in a sweep's dataset: checked before anything is computed."""

from collections.abc import Mapping
from typing import Any

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.sweeps.designs import Design
from ngnmm_jax.sweeps.outputs import REPLICATE, Output
from ngnmm_jax.sweeps.storage import CHECK, DIGESTS, DISCREPANCY

# What a store adds: a variable, and its dimension.
_STORED = (DIGESTS, "block")


def label(name: str, dim: str, ndim: int) -> str:
    """What a parameter's values are called: like it, unless that is a dimension of several."""
    return f"{name}_values" if ndim == 2 and dim == name else name


def map_label(name: str) -> str:
    """What a map is called whose amplitude has a name."""
    return f"{name}_map"


def check_names(
    design: Design,
    outputs: Mapping[str, Output],
    coordinates: Mapping[str, Any],
    *,
    checked: bool,
    stored: bool,
) -> None:
    """Refuse names that mean two things: parameters, results, and the dimensions of both.

    `coordinates`: values along the outputs' dimensions. `checked`: errors are estimated too.
    """
    taken: dict[str, str] = {}

    def take(name: str, what: str) -> None:
        if name in taken:
            ours = "result" in what and "result" in taken[name]
            but = f"{name!r} is {taken[name]} and {what}"
            argument = "measure" if ours else "parameters"
            _checks.fail(argument, "have names that mean nothing else in the dataset", but)
        taken[name] = what

    for dim in design.dims:
        take(dim, "a swept dimension")
    for name, (dim, value) in design.parameters.items():
        if label(name, dim, value.ndim) not in design.dims:
            take(label(name, dim, value.ndim), "a parameter")
    for name, (dim, _) in design.connectomes.items():
        if name != dim:
            take(name, "the connectomes")
    for name in design.maps:
        take(map_label(name), "a map")
    added: tuple[str, ...] = ("seed",) if design.own_seeds or design.replicates > 1 else ()
    added += (REPLICATE,) if design.replicates > 1 else ()
    for name in (*added, *(("check_run", CHECK) if checked else ()), *(_STORED if stored else ())):
        take(name, "what a sweep adds")
    regions = [v.shape[1] for _, v in design.parameters.values() if v.ndim == 2]
    regions += [one.map.size for one in design.maps.values()]
    sizes = {"region": regions[0]} if regions else {}
    for name, output in outputs.items():
        if len(set(output.dims)) < len(output.dims):
            _checks.fail("measure", f"have different dimensions in {name!r}", f"{output.dims}")
        for dim, size in zip(output.dims, output.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                must = f"have one size along {dim!r}"
                _checks.fail("measure", must, f"it is {sizes[dim]}, and {size} in {name!r}")
    for dim in sizes:
        take(dim, "a dimension of the results")
    for name in outputs:
        take(name, "a result")
        if checked and name != "status":
            take(name + DISCREPANCY, "a result's error")
    for dim, (values, _) in coordinates.items():
        if dim in taken and dim not in sizes:
            take(dim, "a coordinate of the measure")
        if dim in sizes and len(values) != sizes[dim]:
            must = f"have as many coordinates as values along {dim!r}, {sizes[dim]}"
            _checks.fail("measure", must, f"there are {len(values)}")
