"""What a measure returns at each point, and what a sweep's dimensions are called."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown

#: The dimension of the points of lists, random and Sobol designs, and that of replicates.
POINT, REPLICATE = "point", "replicate"


@dataclasses.dataclass(frozen=True, repr=False)
class Output(Shown):
    """One result of a measure, at one point of a sweep.

    - `dims`: names of its dimensions, beside those of the sweep; `shape`: their sizes.
    - `dtype`: its type.
    - `units`: "1" or "" where it has none; `title`: what it is, in words.
    - `more`: further attributes.
    """

    dims: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    dtype: str = "float64"
    units: str = ""
    title: str = ""
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.dims) != len(self.shape):
            but = f"they are {self.dims} and {self.shape}"
            _checks.fail("dims", "name each size of `shape`", but)

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes in files, named as the CF conventions do."""
        named = {"units": self.units, "long_name": self.title}
        return {name: text for name, text in named.items() if text} | dict(self.more)
