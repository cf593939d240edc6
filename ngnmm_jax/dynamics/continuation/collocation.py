"""Periodic boundary-value problems by orthogonal collocation on adaptive meshes.

A solution is a piecewise polynomial of degree four on [0, 1], u' = F(u, q, s) at the Gauss
points s of each interval, u(1) = twist * u(0), with unknown scalars q, as many integral conditions
less one, and the pseudo-arclength condition. At the mesh points the error is of order eight.

Each Newton step condenses the intervals (their stages are eliminated one by one, in a batch)
and then eliminates every other mesh point, again and again, by orthogonal transformations, which
is stable whatever grows or decays along the orbit.

All of this is NumPy on the host, for meshes of any size: of the problem itself one small program
is compiled, its slopes and conditions with their derivatives at so many Gauss points at a time.

Source: Ascher, Mattheij and Russell, Numerical Solution of Boundary Value Problems (1995),
ch. 5 and 7; Doedel, Keller and Kernevez, Int. J. Bifurcation Chaos 1, 745 (1991); the
orthogonal elimination is that of Wright, SIAM J. Sci. Stat. Comput. 13, 742 (1992).
"""

import abc
import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core.lanes import by_width
from ngnmm_jax.dynamics.paths import extrema

_DEGREE = 4
_NEWTON = 12
# An update of this size, relative to the scales, is the last one: what it leaves is its square.
_CONVERGED = 1e-8
# Stretches of the mesh that are eliminated together in the end.
_FEW = 8
# Gauss points that the compiled program takes at a time.
_LANES = 256


def _gauss(m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss points on [0, 1], their weights, and the inverse of their Vandermonde matrix."""
    x, w = np.polynomial.legendre.leggauss(m)
    c = (x + 1) / 2
    return c, w / 2, np.linalg.inv(np.vander(c, increasing=True))


_C, _B, _MONOMIAL = _gauss(_DEGREE)
_POWERS = np.arange(_DEGREE)
# The method's matrix: integrals of the Lagrange polynomials up to each Gauss point.
_A = (_C[:, None] ** (_POWERS + 1) / (_POWERS + 1)) @ _MONOMIAL


def gauss_points(mesh: np.ndarray) -> np.ndarray:
    """Times of the stages of a mesh."""
    return mesh[:-1, None] + np.diff(mesh)[:, None] * _C


class Profile(NamedTuple):
    """A solution: a piecewise polynomial on [0, 1], and scalars; on the host.

    - `mesh` (point,): from 0 to 1.
    - `points` (interval, variable): at the left end of each interval.
    - `slopes` (interval, stage, variable): du/dt at its Gauss points.
    - `scalars` (scalar,).
    """

    mesh: np.ndarray
    points: np.ndarray
    slopes: np.ndarray
    scalars: np.ndarray

    @property
    def widths(self) -> np.ndarray:
        """Of the intervals."""
        return np.diff(self.mesh)

    @property
    def stages(self) -> np.ndarray:
        """The solution at the Gauss points."""
        return self.points[:, None] + self.widths[:, None, None] * (_A @ self.slopes)

    def integral(self, values: np.ndarray) -> float:
        """Over [0, 1], of values at the Gauss points."""
        return float(self.widths @ (values @ _B))

    @property
    def extrema(self) -> np.ndarray:
        """Lowest and highest values."""
        inside = np.linspace(0.0, 1.0, 2 * _DEGREE + 1)[:-1]
        ts = (self.mesh[:-1, None] + np.diff(self.mesh)[:, None] * inside).ravel()
        values, slopes = (np.concatenate([v, v[:1]]) for v in self.at(ts))
        return extrema(values, slopes, np.diff(ts, append=1.0)[:, None], np)

    def at(self, ts: Any) -> tuple[np.ndarray, np.ndarray]:
        """The solution and its slope, each (time, variable), at times (time,) in [0, 1]."""
        n = self.points.shape[0]
        index = np.clip(np.searchsorted(self.mesh, ts, side="right") - 1, 0, n - 1)
        h = self.widths[index]
        s = ((ts - self.mesh[index]) / h)[:, None]
        slopes = (_MONOMIAL @ self.slopes)[index]
        slope = np.einsum("tk,tkd->td", s**_POWERS, slopes)
        rise = np.einsum("tk,tkd->td", s ** (_POWERS + 1) / (_POWERS + 1), slopes)
        return self.points[index] + h[:, None] * rise, slope

    def moved(self, direction: "Profile", by: float) -> "Profile":
        """The profile and `by` times another one on the same mesh."""
        return Profile(
            self.mesh,
            self.points + by * direction.points,
            self.slopes + by * direction.slopes,
            self.scalars + by * direction.scalars,
        )

    def on(self, mesh: np.ndarray) -> "Profile":
        """The same function on another mesh, interpolated."""
        n = mesh.shape[0] - 1
        values, slopes = self.at(np.concatenate([mesh[:-1], gauss_points(mesh).ravel()]))
        return Profile(mesh, values[:n], slopes[n:].reshape(n, _DEGREE, -1), self.scalars)


def adapted(profile: Profile, scales: np.ndarray, intervals: int) -> tuple[np.ndarray, float]:
    """A mesh that gives each interval the same share of the local error, and the roughness;
    `scales` are units.

    The error grows with the fifth derivative, taken from the jumps of the fourth between
    intervals; a tenth of the mesh is spread evenly. The roughness is the integral of that
    derivative's fifth root: the number of intervals at which the solution's error in one
    of them is some 1e-4 of the scales, and that at mesh points some 1e-7.
    """
    h = profile.widths
    # The fourth derivative on an interval: 3! times the slopes' leading coefficient, by h³.
    leading = np.einsum("l,jld->jd", _MONOMIAL[-1], profile.slopes / scales)
    fourth = 6 * leading / h[:, None] ** (_DEGREE - 1)
    gap = (h + np.roll(h, -1)) / 2
    jump = np.abs(np.roll(fourth, -1, axis=0) - fourth).max(axis=1) / gap
    fifth = np.maximum(jump, np.roll(jump, 1))
    density = fifth ** (1 / (_DEGREE + 1))
    roughness = density @ h
    density = density + 0.1 * roughness + 1e-12
    total = np.append(0.0, np.cumsum(density * h))
    places = np.linspace(0.0, 1.0, intervals + 1)[1:-1] * total[-1]
    inside = np.interp(places, total, profile.mesh)
    return np.concatenate([[0.0], inside, [1.0]]), float(roughness)


def finer(mesh: np.ndarray) -> np.ndarray:
    """Each interval in two."""
    middle = (mesh[:-1] + mesh[1:]) / 2
    return np.append(np.stack([mesh[:-1], middle], axis=1).ravel(), mesh[-1])


class AbstractPeriodicProblem(eqx.Module):
    """u' = F(u, q, s) for s in [0, 1], u(1) = twist * u(0), integral conditions on u."""

    @abc.abstractmethod
    def slope(
        self, u: Float[Array, "variable"], scalars: Float[Array, "scalar"], at: Float[Array, ""]
    ) -> Float[Array, "variable"]:
        """F(u, q, s)."""

    @abc.abstractmethod
    def conditions(
        self,
        u: Float[Array, "variable"],
        u_ref: Float[Array, "variable"],
        slope_ref: Float[Array, "variable"],
        scalars: Float[Array, "scalar"],
    ) -> Float[Array, "condition"]:
        """What must integrate to zero, one less than there are scalars; `_ref`: the predicted
        solution.
        """

    @property
    @abc.abstractmethod
    def twist(self) -> np.ndarray:
        """1 or -1 for each variable."""

    @property
    @abc.abstractmethod
    def scales(self) -> tuple[np.ndarray, np.ndarray]:
        """What counts as one unit of arclength, for variables (variable,) and scalars (scalar,)."""


class Local(NamedTuple):
    """A problem at points (…): F and the conditions, and their derivatives by u and q."""

    slope: Any
    by_u: Any
    by_q: Any
    conditions: Any
    conditions_by_u: Any
    conditions_by_q: Any


class Places:
    """A problem at places, which one program computes for all problems of its structure."""

    def __init__(self, problem: AbstractPeriodicProblem) -> None:
        numbers, rest = eqx.partition(problem, eqx.is_array)
        leaves, *structure = jax.tree.flatten(numbers)
        kept, *other = jax.tree.flatten(rest)
        self._leaves, self._static = leaves, (*structure, *other, tuple(kept))

    def __call__(
        self,
        u: np.ndarray,
        predicted: tuple[np.ndarray, np.ndarray],
        scalars: np.ndarray,
        at: np.ndarray,
    ) -> Local:
        """Of a solution (…, variable) at `at` (…), with the predicted one and its slope there."""

        def run(points: Any) -> Local:
            return _local(self._static, self._leaves, scalars, *points)

        flat = [a.reshape(-1, u.shape[-1]) for a in (u, *predicted)]
        found = by_width(run, (*flat, at.ravel()), _LANES)
        return Local(*(leaf.reshape(*at.shape, *leaf.shape[1:]) for leaf in found))


@functools.partial(jax.jit, static_argnums=0)
def _local(static: Any, leaves: Any, q: Any, u: Any, u_ref: Any, slope_ref: Any, at: Any) -> Local:
    structure, other, kept = static
    numbers, rest = jax.tree.unflatten(structure, leaves), jax.tree.unflatten(other, kept)
    problem = eqx.combine(numbers, rest)

    def one(x: jax.Array, r: jax.Array, r1: jax.Array, at: jax.Array) -> Local:
        f = problem.slope(x, q, at)
        f_x, f_q = jax.jacfwd(problem.slope, argnums=(0, 1))(x, q, at)
        c = problem.conditions(x, r, r1, q)
        c_x, c_q = jax.jacfwd(problem.conditions, argnums=(0, 3))(x, r, r1, q)
        return Local(f, f_x, f_q, c, c_x, c_q)

    return jax.vmap(one)(u, u_ref, slope_ref, at)


def inner(problem: AbstractPeriodicProblem, a: Profile, b: Profile) -> float:
    """The scalar product of arclength, of two directions on one mesh."""
    scale_u, scale_q = problem.scales
    over_orbit = a.widths @ (a.points * b.points / scale_u**2).sum(axis=1)
    return float(over_orbit + (a.scalars * b.scalars / scale_q**2).sum())


def normalised(problem: AbstractPeriodicProblem, direction: Profile) -> Profile:
    """A direction of length one."""
    length = np.sqrt(inner(problem, direction, direction))
    parts = (direction.points, direction.slopes, direction.scalars)
    return Profile(direction.mesh, *(part / length for part in parts))


class Corrected(NamedTuple):
    """A solution found by Newton's iteration.

    - `profile`, `tangent`: the solution and the curve's direction there, along the one given.
    - `transfer` (interval, variable, variable): derivatives of each mesh point by the last one.
    - `local`: of the problem at the stages, before the last step.
    - `distance`: how far from the prediction, in arclength.
    """

    profile: Profile
    tangent: Profile
    transfer: np.ndarray
    local: Local
    distance: float
    iterations: int
    converged: bool


def correct(problem: AbstractPeriodicProblem, predicted: Profile, direction: Profile) -> Corrected:
    """The solution in the hyperplane through `predicted` that is normal to `direction`."""
    plane = _Plane(problem, predicted, direction)
    scale_u, scale_q = problem.scales
    profile, size, count = predicted, 1.0, 0
    with np.errstate(all="ignore"):  # what is not finite is not converged
        while count < _NEWTON and _CONVERGED < size < 1e3:
            step = plane.newton(profile)
            size_u = np.abs(step.update.points / scale_u).max()
            size = np.maximum(size_u, np.abs(step.update.scalars / scale_q).max())
            # Far from the solution a full step may leave what the model can take.
            profile = profile.moved(step.update, min(1.0, 1.0 / max(size, 1e-300)))
            count += 1
        way = profile.moved(predicted, -1.0)
        return Corrected(
            profile=profile,
            tangent=normalised(problem, step.along),
            transfer=step.transfer,
            local=step.local,
            distance=float(np.sqrt(inner(problem, way, way))),
            iterations=count,
            converged=bool(size <= _CONVERGED),
        )


class _Step(NamedTuple):
    """Newton's: the update, the curve's direction, transfer matrices, and the problem there."""

    update: Profile
    along: Profile
    transfer: np.ndarray
    local: Local


class _Plane:
    """Where a solution is looked for: a hyperplane, and the mesh of the predicted solution."""

    def __init__(
        self, problem: AbstractPeriodicProblem, predicted: Profile, direction: Profile
    ) -> None:
        self._places, self._twist = Places(problem), problem.twist
        self._predicted, self._before = predicted, (predicted.stages, predicted.slopes)
        self._at, h = gauss_points(predicted.mesh), predicted.widths
        self._h, self._weights = h[:, None], h[:, None] * _B
        self._integrals = h[:, None, None] * _A
        scale_u, scale_q = problem.scales
        self._arc_u = h[:, None] * direction.points / scale_u**2
        self._arc_q = direction.scalars / scale_q**2

    def newton(self, profile: Profile) -> _Step:
        """Newton's step from a solution on this mesh."""
        u, k, q = profile.points, profile.slopes, profile.scalars
        d, s = u.shape[1], q.shape[0]
        stages = u[:, None] + self._integrals @ k
        here = self._places(stages, self._before, q, self._at)
        condensed = self._condensed(here, k)
        columns = condensed.reshape(*k.shape[:2], -1)

        # u_(j+1) = step_u u_j + step_q q + step_1, for updates.
        steps = (self._h * (_B @ columns)).reshape(len(u), d, -1)
        step_u, step_q, step_1 = steps[..., :d] + np.eye(d), steps[..., d:-1], steps[..., -1]
        after = np.concatenate([u[1:], self._twist * u[:1]])
        step_1 = step_1 + u + self._h * (_B @ k) - after

        # The conditions' derivatives by each interval's left end and by the scalars.
        stage = (self._integrals @ columns).reshape(condensed.shape)
        stage[..., :d] += np.eye(d)
        rows = (self._weights[:, :, None, None] * (here.conditions_by_u @ stage)).sum(axis=1)
        border_u = np.concatenate([rows[..., :d], self._arc_u[:, None]], axis=1)
        border_q = rows[..., d:-1].sum(axis=0)
        border_q = border_q + np.tensordot(self._weights, here.conditions_by_q, 2)
        border_q = np.concatenate([border_q, self._arc_q[None]])
        value = np.tensordot(self._weights, here.conditions, 2) + rows[..., -1].sum(axis=0)
        arc = (self._arc_u * (u - self._predicted.points)).sum()
        arc = arc + self._arc_q @ (q - self._predicted.scalars)
        # Two right-hand sides: Newton's update, and the direction along the curve.
        right = np.stack([-np.append(value, arc), np.eye(s)[-1]], axis=1)
        step_1 = np.stack([step_1, np.zeros_like(step_1)], axis=2)

        du, dq = _bordered(step_u, step_q, step_1, border_u, border_q, right, self._twist)
        dk = condensed[..., :d] @ du[:, None] + condensed[..., d:-1] @ dq
        dk[..., 0] += condensed[..., -1]
        update = Profile(profile.mesh, du[..., 0], dk[..., 0], dq[:, 0])
        along = Profile(profile.mesh, du[..., 1], dk[..., 1], dq[:, 1])
        return _Step(update, along, step_u, here)

    def _condensed(self, here: Local, slopes: np.ndarray) -> np.ndarray:
        """The stages' slopes as functions of their interval's left end, the scalars, and 1.

        (interval, stage, variable; variable and scalar and 1)
        """
        n, m, d = slopes.shape
        # (interval, stage, variable; stage, variable)
        matrix = here.by_u[:, :, :, None] * -self._integrals[:, :, None, :, None]
        matrix = matrix.reshape(n, m * d, m * d) + np.eye(m * d)
        gap = here.slope - slopes
        known = np.concatenate([here.by_u, here.by_q, gap[..., None]], axis=3)
        return _solved(matrix, known.reshape(n, m * d, -1)).reshape(n, m, d, -1)


def _bordered(
    step_u: np.ndarray,
    step_q: np.ndarray,
    step_1: np.ndarray,
    border_u: np.ndarray,
    border_q: np.ndarray,
    right: np.ndarray,
    twist: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Solve u_(j+1) = step_u u_j + step_q q + step_1 with u_N = twist u_0, and
    Σ border_u u + border_q q = right.
    """
    n, d, s = step_q.shape
    # A row a stretch of the mesh: left u_j + right u_k + rest (q, sides), of its two ends.
    lefts, rights = -step_u, np.broadcast_to(np.eye(d), step_u.shape)
    rests = np.concatenate([-step_q, step_1], axis=2)
    border = np.concatenate([border_u, np.zeros((1, s, d))])
    border_rest = np.concatenate([border_q, right], axis=1)
    levels = []
    while len(lefts) > _FEW:
        lefts, rights, rests, middle = _halved(lefts, rights, rests)
        inside = border[1 : 2 * len(middle) : 2] @ middle
        border = np.concatenate([border[: 2 * len(middle) : 2], border[2 * len(middle) :]])
        border[: len(middle)] -= inside[..., :d]
        border[1 : len(middle) + 1] -= inside[..., d : 2 * d]
        border_rest = border_rest - inside[..., 2 * d :].sum(axis=0)
        levels.append(middle)
    # What is left, as one matrix: rows of stretches, then the border; columns of points, then q.
    k = len(lefts)
    whole = np.zeros((k * d + s, k + 1, d))
    stretches, at = whole[: k * d].reshape(k, d, k + 1, d), np.arange(k)
    stretches[at, :, at], stretches[at, :, at + 1] = lefts, rights
    whole[k * d :] = border.swapaxes(0, 1)
    whole[:, 0] += whole[:, k] * twist
    rest = np.concatenate([rests.reshape(k * d, -1), border_rest])
    matrix = np.concatenate([whole[:, :k].reshape(len(whole), -1), rest[:, :s]], axis=1)
    solution = _solved(matrix, rest[:, s:])
    u, q = solution[: k * d].reshape(k, d, -1), solution[k * d :]
    u = np.concatenate([u, twist[:, None] * u[:1]])
    known = np.concatenate([-q, np.eye(q.shape[1])])
    for middle in reversed(levels):
        pairs = len(middle)
        between = middle[..., 2 * d :] @ known
        between -= middle[..., :d] @ u[:pairs] + middle[..., d : 2 * d] @ u[1 : pairs + 1]
        woven = np.stack([u[:pairs], between], axis=1).reshape(2 * pairs, d, -1)
        u = np.concatenate([woven, u[pairs:]])
    return u[:n], q


def _halved(lefts: Any, rights: Any, rests: Any) -> tuple[Any, Any, Any, Any]:
    """Rows (row, variable, …) of half as many stretches, and what tells each point in between.

    That point is -(the matrix's columns for its neighbours and q) and its last columns. An odd
    row is left as it is.
    """
    d, pairs = lefts.shape[1], len(lefts) // 2
    a, b = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    zero = np.zeros((pairs, d, d))
    others = np.concatenate(
        [
            np.concatenate([lefts[a], zero, rests[a]], axis=2),
            np.concatenate([zero, rights[b], rests[b]], axis=2),
        ],
        axis=1,
    )
    turn, r = np.linalg.qr(np.concatenate([rights[a], lefts[b]], axis=1), mode="complete")
    others = turn.swapaxes(1, 2) @ others
    middle = _solved(r[:, :d], others[:, :d])
    rows = others[:, d:], lefts[2 * pairs :], rights[2 * pairs :], rests[2 * pairs :]
    joined, *odd = rows
    parts = joined[..., :d], joined[..., d : 2 * d], joined[..., 2 * d :]
    return (*(np.concatenate(pair) for pair in zip(parts, odd, strict=True)), middle)


def _solved(matrix: Any, right: Any) -> Any:
    """Solutions of linear systems; NaN where one is singular."""
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        return np.full_like(right, np.nan)
