"""Where runs of a sweep start: at the ends of those before them along an axis."""

import dataclasses
from typing import Any

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown


@dataclasses.dataclass(frozen=True, repr=False)
class Along(Shown):
    """Each run starts at the end of the run before it along a dimension of the design.

    As in adiabatic scans: of a bistable system one with rising values of a parameter, and one with
    falling ones, show where each branch ends. The order is that of the values in the design. Points
    along the dimension are computed one after another, all others together. At each of them the
    `transient` is left out anew, time starts at zero, and so do the stimulus and the noise; of
    networks with delays what was sent before goes on.

    A run that diverges leaves those after it without a start: their status says so.

    **Arguments:**

    - `dim`: a dimension of the design (of a grid a parameter's name; of a list "point").
    - `first`: where the first of them start: anything that `start` of `Activity` may be.
    """

    dim: str
    first: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.dim, str):
            _checks.fail("dim", "be a dimension's name", f"it is {self.dim!r}")
        if isinstance(self.first, Along):
            _checks.fail("first", "be a state or a result", "it is an `Along`")
