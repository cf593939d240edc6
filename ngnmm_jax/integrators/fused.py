"""Steps in a kernel of their own, which takes whole stretches of a batch on a GPU."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.integrators.base import AbstractFixedStep, Stepper
from ngnmm_jax.integrators.names import PLAIN


def _named(integrator: Any) -> Any:
    if not isinstance(integrator, str):
        return integrator
    _checks.one_of("integrator", integrator, PLAIN)
    return PLAIN[integrator]()


class Fused(AbstractFixedStep):
    """Another integrator's steps, in one kernel for a whole stretch between samples.

    In `sweep`'s `Activity` on an NVIDIA GPU, where CuPy is installed: the step is written out in C
    for any model, coupling and integrator that is elementwise in regions and runs but for products
    of a dense graph; state and memory stay in registers, weights in the multiprocessors' shared
    memory, and products go to the tensor cores. The numbers are those of XLA's steps to rounding
    (in 32 bits, to a few parts in 10⁷ a step: values are multiplied in two parts of 11 bits). What
    cannot be written out is computed by XLA, with a warning that says why. Everywhere else, and
    without a GPU, it is the other integrator.

    **Arguments:**

    - `integrator`: an `AbstractFixedStep`, or its name.
    - `runs`: how many a block of threads takes; by default what registers allow.
    - `on`: "gpu"; "host" builds the same source by g++, which is slow and for tests.
    """

    integrator: Any = eqx.field(default="moebius", static=True, converter=_named)
    runs: int | None = eqx.field(default=None, static=True)
    on: str = eqx.field(default="gpu", static=True)

    def __check_init__(self) -> None:
        _checks.one_of("on", self.on, ("gpu", "host"))
        if self.runs is not None:
            _checks.positive_integer("runs", self.runs)
        if not isinstance(self.integrator, AbstractFixedStep) or isinstance(self.integrator, Fused):
            but = f"it is {self.integrator!r}"
            _checks.fail("integrator", "be an `AbstractFixedStep` that is not fused", but)

    @property
    def reach(self) -> float:  # type: ignore[override]
        """The other integrator's."""
        return float(self.integrator.reach)

    @property
    def needs_flow(self) -> bool:  # type: ignore[override]
        """The other integrator's."""
        return bool(self.integrator.needs_flow)

    def longest_step(self, system: Any, points: Mapping[str, Any] | None = None) -> float:
        """The other integrator's."""
        return float(self.integrator.longest_step(system, points))

    def stepper(self, system: Any, dt: jax.Array) -> Stepper:
        """The other integrator's."""
        found: Stepper = self.integrator.stepper(system, dt)
        return found
