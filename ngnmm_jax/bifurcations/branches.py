"""What continuation returns: branches, as tables of points, with their special points."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Complex, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.pictured import Listed
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.several import counted
from ngnmm_jax._core.status import Status
from ngnmm_jax.models.notation import Notation

#: What a branch consists of.
BRANCHES = {
    "equilibrium": "equilibria",
    "cycle": "cycles",
    "fold": "folds",
    "hopf": "Hopf points",
    "period_doubling": "period doublings",
    "cycle_fold": "folds of cycles",
    "neimark_sacker": "Neimark-Sacker points",
    "period": "cycles of one long period",
}

#: Special points, and how they are called.
SPECIAL = {
    "fold": "fold (saddle-node)",
    "hopf": "Hopf",
    "branch_point": "branch point",
    "cycle_fold": "fold of cycles",
    "period_doubling": "period doubling",
    "neimark_sacker": "Neimark-Sacker (torus)",
    "cycle_branch_point": "branch point of cycles",
    "snic": "saddle-node on an invariant circle",
    "homoclinic": "homoclinic to a saddle",
    "long_period": "long period",
    "cusp": "cusp",
    "bogdanov_takens": "Bogdanov-Takens",
    "generalised_hopf": "generalised Hopf (Bautin)",
    "fold_hopf": "fold-Hopf",
    "cycle_cusp": "cusp of cycles",
    "resonance_1": "1:1 resonance",
    "resonance_2": "1:2 resonance",
}


class SpecialPoint(AbstractResult):
    """A special point of a branch.

    - `kind`: one of `SPECIAL`. `index`: its place among the branch's points, which include it.
    - `parameters`: values by name; `parameter`: the first of them.
    - `state` (*state): the equilibrium, or the cycle's state where its phase is zero.
    - `period`: of the cycle, in the model's unit; at a Hopf point that of the cycles born there;
      NaN where there is none.
    - `coefficient`: at a Hopf point the first Lyapunov coefficient (negative: cycles are born
      stable), else NaN.
    - `turns`: of the branch that it lies on.
    - `status`: OK, or NOT_CONVERGED where it was seen but not located.
    - `origin`, `extent` (dimension,): what continuation from here starts with; how far each
      variable reaches on the branch.
    """

    kind: str = eqx.field(static=True)
    index: int = eqx.field(static=True)
    parameters: dict[str, float] = eqx.field(static=True)
    state: Float[np.ndarray, "*state"]
    period: float = eqx.field(static=True)
    coefficient: float = eqx.field(static=True)
    turns: int = eqx.field(static=True)
    status: Status = eqx.field(static=True)
    origin: Any
    extent: Float[np.ndarray, "dimension"]

    @property
    def parameter(self) -> float:
        """The first parameter's value."""
        return next(iter(self.parameters.values()))

    @property
    def label(self) -> str:
        """What and where it is, in a line."""
        where = ", ".join(f"{name} = {value:.10g}" for name, value in self.parameters.items())
        period = f", period = {self.period:.10g}" if np.isfinite(self.period) else ""
        return f"{SPECIAL[self.kind]}: {where}{period}, {self.status.name}"

    def __str__(self) -> str:
        return self.label

    def _repr_line_(self) -> str:
        """As `label` has it."""
        return self.label

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def summary(self) -> dict[str, Any]:
        """What it is, where, and what is known of it."""
        known = {"period": self.period, "coefficient": self.coefficient}
        return {
            "kind": SPECIAL[self.kind],
            "parameters": self.parameters,
            **{name: value for name, value in known.items() if np.isfinite(value)},
            "turns": self.turns,
            "state": self.state,
        }


class Branch(AbstractResult):
    """A curve of equilibria or cycles, or of their bifurcations, as a table of points.

    - `kind`: one of `BRANCHES`. `names`: of the free parameters, one or two.
    - `parameters` (point, parameter).
    - `states` (point, *state): equilibria; of cycles the states where their phase is zero.
    - `low`, `high` (point, *state): extrema along each cycle; the state at equilibria.
    - `periods` (point,): NaN at equilibria; at Hopf points that of the cycles born there.
    - `spectrum` (point, dimension): eigenvalues, per unit of the model's time, or logarithms
      of the Floquet multipliers, log|μ| + i arg μ.
    - `errors` (point,): of cycles: by how much the spectrum misses Liouville's formula, that it
      sums to the integral of the divergence over the period, relative to 1 + |integral|: where it
      is not small, the mesh is too coarse for strongly contracting multipliers. NaN at equilibria.
      With a delay, how far the neutral multiplier's logarithm is from 0, or the leading ones are
      from those of wider pieces.
      Above 1e-6 logarithms below -10 are NaN in `spectrum`: not known.
    - `unstable` (point,): how many directions grow (those that are neutral by the curve's
      kind are not counted).
    - `turns`: of cycles: how often their period has doubled from the first ones, as 1, 2, 4, …
    - `special`: special points in their order along the branch.
    - `ends`: why it ends, first and last: "bound", "points", "closed", "step" (the steps became
      too short), or a special point's kind.
    - `status`: OK, or MAX_STEPS or STEP_TOO_SMALL where an end is "points" or "step".
    - `fixed`: values of a third parameter by name, where `bifurcation_family` followed it.
    - `unexplained`: how many changes of `unstable` no special point accounts for, however short
      the steps: 0 unless the branch is degenerate, or its multipliers are too large to tell.
    """

    kind: str = eqx.field(static=True)
    names: tuple[str, ...] = eqx.field(static=True)
    parameters: Float[np.ndarray, "point parameter"]
    states: Float[np.ndarray, "point *state"]
    low: Float[np.ndarray, "point *state"]
    high: Float[np.ndarray, "point *state"]
    periods: Float[np.ndarray, "point"]
    spectrum: Complex[np.ndarray, "point dimension"]
    errors: Float[np.ndarray, "point"]
    unstable: Int[np.ndarray, "point"]
    turns: int = eqx.field(static=True)
    special: tuple[SpecialPoint, ...] = eqx.field(converter=Listed)
    ends: tuple[str, str] = eqx.field(static=True)
    status: Status = eqx.field(static=True)
    unexplained: int = eqx.field(static=True)
    time_unit: str = eqx.field(static=True)
    variables: tuple[str, ...] = eqx.field(static=True)
    profiles: Any
    notation: Notation = eqx.field(static=True, default=Notation())
    fixed: dict[str, float] = eqx.field(static=True, default_factory=dict)

    @property
    def drawn_by(self) -> str:
        """`plot.bifurcation_diagram`, or `plot.bifurcation_curves` over two parameters."""
        return "bifurcation_curves" if len(self.names) == 2 else "bifurcation_diagram"

    @property
    def label(self) -> str:
        """What it consists of, and over which parameters, in a line."""
        low, high = (f(self.parameters, axis=0).round(12) + 0.0 for f in (np.min, np.max))
        ends = zip(self.names, low, high, strict=True)
        over = ", ".join(f"{name} from {a:.6g} to {b:.6g}" for name, a, b in ends)
        at = "".join(f", at {name} = {value:.6g}" for name, value in self.fixed.items())
        return f"{BRANCHES[self.kind]} over {over}{at}"

    def _repr_line_(self) -> str:
        """As `label` has it; its special points, and how it ended."""
        special = counted(SPECIAL[point.kind] for point in self.special)
        return f"{self.label}; special: {special}; {self.status.name}"

    @property
    def stats(self) -> dict[str, Any]:
        """Points, errors of cycles' multipliers, and changes of stability without a reason."""
        errors = {"errors": self.errors} if np.isfinite(self.errors).any() else {}
        return {"points": len(self), **errors, "unexplained": self.unexplained}

    def summary(self) -> dict[str, Any]:
        """What it consists of, how much of it is stable, its special points, why it ends."""
        return {
            "kind": self.label,
            "stable": f"{int(self.stable.sum())} of {len(self)} points",
            "special": counted(SPECIAL[point.kind] for point in self.special),
            "ends": " and ".join(self.ends),
        }

    @property
    def parameter(self) -> Float[np.ndarray, "point"]:
        """The first parameter along the branch."""
        return self.parameters[:, 0]

    @property
    def stable(self) -> Any:
        """(point,): whether nothing grows."""
        return self.unstable == 0

    @property
    def multipliers(self) -> Complex[np.ndarray, "point dimension"]:
        """Floquet multipliers of cycles (those below 1e-308 are zero)."""
        return np.exp(self.spectrum)

    def __len__(self) -> int:
        return len(self.parameters)

    def of_kind(self, *kinds: str) -> tuple[SpecialPoint, ...]:
        """The special points of some kinds."""
        for kind in kinds:
            _checks.one_of("kinds", kind, SPECIAL)
        return Listed(point for point in self.special if point.kind in kinds)

    def cycle(
        self, index: int, samples: int = 401
    ) -> tuple[Float[np.ndarray, "time"], Float[np.ndarray, "time variable"]]:
        """Times over one period and states of the cycle at a point."""
        if self.profiles is None:
            _checks.fail("index", "belong to a branch of cycles", f"these are {self.kind} points")
        ts = np.linspace(0.0, 1.0, samples)
        states = self.profiles[index].at(ts)[0][:, : len(self.variables)]
        return ts * self.periods[index], states

    def to_dataframe(self) -> Any:
        """A `pandas.DataFrame`, one row for each point."""
        pandas = _checks.require_module("pandas", "data")
        columns: dict[str, Any] = {name: self.parameters[:, k] for k, name in enumerate(self.names)}
        columns |= {"period": self.periods, "stable": self.stable, "unstable": self.unstable}
        if self.states.ndim == 2:
            for k, name in enumerate(self.variables):
                columns |= {f"{name}_low": self.low[:, k], f"{name}_high": self.high[:, k]}
        marks = np.full(len(self), "", dtype=object)
        for point in self.special:
            marks[point.index] = point.kind
        return pandas.DataFrame(columns | {"special": marks})

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` over the points, the special ones marked."""
        xarray = _checks.require_module("xarray", "data")
        dims = ["point", "variable", "region"][: self.states.ndim]
        marks = np.full(len(self), "", dtype="<U20")
        for point in self.special:
            marks[point.index] = point.kind
        data: dict[str, Any] = {
            **{name: ("point", self.parameters[:, k]) for k, name in enumerate(self.names)},
            "state": (dims, self.states),
            "low": (dims, self.low),
            "high": (dims, self.high),
            "period": ("point", self.periods, {"units": self.time_unit}),
            "spectrum_real": (["point", "direction"], self.spectrum.real),
            "spectrum_imag": (["point", "direction"], self.spectrum.imag),
            "error": ("point", self.errors),
            "unstable": ("point", self.unstable),
            "special": ("point", marks),
        }
        attributes = {
            "title": f"ngnmm_jax branch of {BRANCHES[self.kind]}",
            "kind": self.kind,
            "turns": self.turns,
            "ends": ", ".join(self.ends),
            "status": self.status.name,
            "unexplained": self.unexplained,
        }
        return xarray.Dataset(data, {"variable": list(self.variables)}, attributes)


class Diagram(AbstractResult):
    """Branches that belong together.

    - `branches`: in the order in which they were found.
    - `failures`: what could not be begun, and why.
    - `status`: the worst of the branches' statuses; NOT_CONVERGED where there are failures.
    """

    branches: tuple[Branch, ...] = eqx.field(converter=Listed)
    failures: tuple[str, ...] = eqx.field(static=True)

    @property
    def drawn_by(self) -> str:
        """`plot.bifurcation_diagram`; `plot.bifurcation_curves` of curves over two parameters."""
        return (
            "bifurcation_curves"
            if any(len(b.names) == 2 for b in self.branches)
            else "bifurcation_diagram"
        )

    @property
    def status(self) -> Status:
        """OK where every branch was followed to its end."""
        worst = max((branch.status for branch in self.branches), default=Status.NONE_FOUND)
        return Status.NOT_CONVERGED if self.failures else worst

    @property
    def stats(self) -> dict[str, Any]:
        """Points of all branches, and how many of these could not be begun."""
        points = sum(len(branch) for branch in self.branches)
        return {"points": points, "failures": len(self.failures)}

    def summary(self) -> dict[str, Any]:
        """Which branches there are, and which special points."""
        return {
            "branches": counted(BRANCHES[branch.kind] for branch in self.branches),
            "special": counted(SPECIAL[point.kind] for point in self.special),
        }

    @property
    def special(self) -> tuple[SpecialPoint, ...]:
        """The special points of all branches; one where branches meet is listed once."""
        found: list[SpecialPoint] = []
        for branch in self.branches:
            found += [p for p in branch.special if not any(same_point(p, q) for q in found)]
        return Listed(found)

    def of_kind(self, *kinds: str) -> tuple[SpecialPoint, ...]:
        """The special points of some kinds, of all branches, each once."""
        for kind in kinds:
            _checks.one_of("kinds", kind, SPECIAL)
        return Listed(point for point in self.special if point.kind in kinds)

    def branches_of_kind(self, *kinds: str) -> tuple[Branch, ...]:
        """The branches of some kinds."""
        for kind in kinds:
            _checks.one_of("kinds", kind, BRANCHES)
        return Listed(branch for branch in self.branches if branch.kind in kinds)


def same_point(a: SpecialPoint, b: SpecialPoint, tolerance: float = 1e-5) -> bool:
    """Whether two special points are the same one, reached along different branches."""
    if a.kind != b.kind or a.parameters.keys() != b.parameters.keys():
        return False
    pairs = [(a.parameters[name], b.parameters[name]) for name in a.parameters]
    close = all(abs(u - v) <= tolerance * (1 + abs(u)) for u, v in pairs)
    periods = np.isclose(a.period, b.period, rtol=1e-3, equal_nan=True)
    return bool(close and periods)
