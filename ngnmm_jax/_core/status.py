"""How a computation ended: one integer status on every result, and one exception.

A status is an integer array, so that it goes through `jax.vmap` and into files; `Status`
names its values. Single calls raise `SolverError` unless `throw=False`; batches record.
"""

import enum
from collections.abc import Mapping
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks


class Status(enum.IntEnum):
    """How a computation ended; NOT_COMPUTED: it did not begin, or not end yet."""

    NOT_COMPUTED = -1
    OK = 0
    MAX_STEPS = 1
    STEP_TOO_SMALL = 2
    NOT_FINITE = 3
    NOT_CONVERGED = 4
    NONE_FOUND = 5
    NOT_PERIODIC = 6
    ILL_CONDITIONED = 7
    UNSTABLE = 8
    TRUNCATED = 10
    STEP_TOO_LARGE = 12
    NOT_CERTIFIED = 13

    @property
    def explanation(self) -> str:
        """What it means and what to do."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    Status.NOT_COMPUTED: "not computed yet: the call that began it goes on where it stopped",
    Status.OK: "converged",
    Status.MAX_STEPS: (
        "the step limit was reached before the end: allow more (a run: `integrator=Adaptive("
        "max_steps=…)`, or looser tolerances; a branch: `max_points`), or ask for less"
    ),
    Status.STEP_TOO_SMALL: (
        "the step size fell below the smallest allowed: the solution probably diverges (a "
        "mean field can blow up in finite time); check the parameters and the initial state"
    ),
    Status.NOT_FINITE: (
        "the solution became infinite or NaN: it diverged, or the fixed step `dt` is too "
        "large for it; halve `dt`, take adaptive steps, or check the parameters"
    ),
    Status.NOT_CONVERGED: (
        "Newton's iteration did not reach its tolerance: the guess is not near a solution, or "
        "the solution is degenerate (at a fold the Jacobian is singular)"
    ),
    Status.NOT_PERIODIC: (
        "the attractor is no periodic orbit: it is an equilibrium, or it does not return "
        "within `window`; give a `start` and its `period` for another orbit"
    ),
    Status.ILL_CONDITIONED: (
        "the tangents became parallel to rounding between two orthonormalisations: shorten "
        "`interval`, or leave it out to have it chosen"
    ),
    Status.STEP_TOO_LARGE: (
        "the fixed step is too large for the system: its error is not known well; halve `dt`, or "
        "leave it out to have it follow the model's fastest time"
    ),
    Status.UNSTABLE: (
        "the equilibrium is unstable, so that small noise does not stay small: choose parameters "
        "at which it is stable, or simulate"
    ),
    Status.TRUNCATED: (
        "there are more equilibria than places for them: those of lowest first variable were kept; "
        "ask for more places (`max_count` of `find_equilibria`, `places` of `Stability`)"
    ),
    Status.NOT_CERTIFIED: (
        "the characteristic roots that were found are not shown to be all right of the line: the "
        "delays are too long for the search, or roots too near to each other; shorten the delays, "
        "or have it return what was found with `throw=False`; of a linear response with "
        "`stability=False`: it is not known whether the equilibrium is stable"
    ),
    Status.NONE_FOUND: "no equilibrium was found: widen the search or give a `start`",
}


#: Attributes of statuses in files, as the CF conventions have them.
STATUS_FLAGS: dict[str, Any] = {
    "flag_values": [status.value for status in Status],
    "flag_meanings": " ".join(status.name for status in Status),
}


class SolverError(RuntimeError):
    """A computation did not converge. `.status` says how, `.result` is what it had got.

    `advice`: what it means there and what to do, where that is not the status's explanation.
    """

    def __init__(
        self, what: str, status: Status, result: Any = None, advice: str | None = None
    ) -> None:
        super().__init__(f"{what}: {advice or status.explanation}.")
        self.status = status
        self.result = result


def raise_unless_ok(
    what: str, status: Any, result: Any, advice: Mapping[Status, str] | None = None
) -> None:
    """Raise `SolverError` for the first status that is not OK, unless it is being traced.

    `advice`: by status, in place of its explanation.
    """
    if not _checks.is_concrete(status):
        return
    codes = np.ravel(np.asarray(status))
    bad = codes[codes != Status.OK]
    if bad.size:
        first = Status(int(bad[0]))
        raise SolverError(what, first, result, (advice or {}).get(first))
