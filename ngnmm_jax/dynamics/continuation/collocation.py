"""Periodic boundary-value problems by orthogonal collocation on adaptive meshes.

A solution is a piecewise polynomial of degree four on [0, 1], u' = F(u, q, s) at the Gauss
points s of each interval, u(1) = twist * u(0), with unknown scalars q, as many integral conditions
less one, and the pseudo-arclength condition. At the mesh points the error is of order eight.

Each Newton step condenses the intervals (their stages are eliminated one by one, in a batch)
and then eliminates the mesh points from first to last by orthogonal transformations, which is
stable whatever grows or decays along the orbit.

Source: Ascher, Mattheij and Russell, Numerical Solution of Boundary Value Problems (1995),
ch. 5 and 7; Doedel, Keller and Kernevez, Int. J. Bifurcation Chaos 1, 745 (1991); the
orthogonal elimination is that of Wright, SIAM J. Sci. Stat. Comput. 13, 742 (1992).
"""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ngnmm_jax.dynamics.paths import extrema

_DEGREE = 4
_NEWTON = 12
# An update of this size, relative to the scales, is the last one: what it leaves is its square.
_CONVERGED = 1e-8


def _gauss(m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss points on [0, 1], their weights, and the inverse of their Vandermonde matrix."""
    x, w = np.polynomial.legendre.leggauss(m)
    c = (x + 1) / 2
    return c, w / 2, np.linalg.inv(np.vander(c, increasing=True))


_C, _B, _MONOMIAL = _gauss(_DEGREE)
_POWERS = np.arange(_DEGREE)
# The method's matrix: integrals of the Lagrange polynomials up to each Gauss point.
_A = (_C[:, None] ** (_POWERS + 1) / (_POWERS + 1)) @ _MONOMIAL


def gauss_points(mesh: Any, xp: Any = jnp) -> Any:
    """Times of the stages (interval, stage), of a mesh (point,)."""
    return mesh[:-1, None] + xp.diff(mesh)[:, None] * _C


class Profile(eqx.Module):
    """A solution: a piecewise polynomial on [0, 1], and scalars.

    - `mesh` (point,): from 0 to 1.
    - `points` (interval, variable): at the left end of each interval.
    - `slopes` (interval, stage, variable): du/dt at its Gauss points.
    - `scalars` (scalar,).
    """

    mesh: Float[Array, "point"]
    points: Float[Array, "interval variable"]
    slopes: Float[Array, "interval stage variable"]
    scalars: Float[Array, "scalar"]

    @property
    def widths(self) -> Float[Array, "interval"]:
        """Of the intervals."""
        return jnp.diff(self.mesh)

    @property
    def stages(self) -> Float[Array, "interval stage variable"]:
        """The solution at the Gauss points."""
        h = self.widths[:, None, None]
        return self.points[:, None] + h * jnp.einsum("il,jld->jid", _A, self.slopes)

    def integral(self, values: Float[Array, "interval stage"]) -> Float[Array, ""]:
        """Over [0, 1], of values at the Gauss points."""
        return self.widths @ (values @ _B)

    @property
    def extrema(self) -> Float[np.ndarray, "2 variable"]:
        """Lowest and highest values, of a profile on the host."""
        inside = np.linspace(0.0, 1.0, 2 * _DEGREE + 1)[:-1]
        ts = (self.mesh[:-1, None] + np.diff(self.mesh)[:, None] * inside).ravel()
        values, slopes = (np.concatenate([v, v[:1]]) for v in self.at(ts, np))
        return extrema(values, slopes, np.diff(ts, append=1.0)[:, None], np)

    def at(self, ts: Any, xp: Any = jnp) -> tuple[Any, Any]:
        """The solution and its slope, each (time, variable), at times (time,) in [0, 1]."""
        n = self.points.shape[0]
        index = xp.clip(xp.searchsorted(self.mesh, ts, side="right") - 1, 0, n - 1)
        h = xp.diff(self.mesh)[index]
        s = ((ts - self.mesh[index]) / h)[:, None]
        slopes = xp.einsum("kl,jld->jkd", _MONOMIAL, self.slopes)[index]
        slope = xp.einsum("tk,tkd->td", s**_POWERS, slopes)
        rise = xp.einsum("tk,tkd->td", s ** (_POWERS + 1) / (_POWERS + 1), slopes)
        return self.points[index] + h[:, None] * rise, slope

    def moved(self, direction: "Profile", by: Float[Array, ""]) -> "Profile":
        """The profile and `by` times another one on the same mesh."""
        return Profile(
            self.mesh,
            self.points + by * direction.points,
            self.slopes + by * direction.slopes,
            self.scalars + by * direction.scalars,
        )

    def on(self, mesh: Float[Array, "point"]) -> "Profile":
        """The same function on another mesh, interpolated."""
        n = mesh.shape[0] - 1
        values, slopes = self.at(jnp.concatenate([mesh[:-1], gauss_points(mesh).ravel()]))
        return Profile(mesh, values[:n], slopes[n:].reshape(n, _DEGREE, -1), self.scalars)


@jax.jit
def resampled(profile: Profile, mesh: Float[Array, "point"]) -> Profile:
    """The profile on another mesh, compiled."""
    return profile.on(mesh)


def both(a: Profile, b: Profile) -> Profile:
    """Two profiles on one mesh, in front of their axes: for `jax.vmap`."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), a, b)


def adapted(profile: Profile, scales: Any, intervals: int, xp: Any = jnp) -> tuple[Any, Any]:
    """A mesh (point,) that gives each interval the same share of the local error, and the
    roughness; `scales` (variable,) are units.

    The error grows with the fifth derivative, taken from the jumps of the fourth between
    intervals; a tenth of the mesh is spread evenly. The roughness is the integral of that
    derivative's fifth root: the number of intervals at which the solution's error in one
    of them is some 1e-4 of the scales, and that at mesh points some 1e-7.
    """
    before, slopes = xp.asarray(profile.mesh), xp.asarray(profile.slopes)
    h = xp.diff(before)
    # The fourth derivative on an interval: 3! times the slopes' leading coefficient, by h³.
    leading = xp.einsum("l,jld->jd", _MONOMIAL[-1], slopes / scales)
    fourth = 6 * leading / h[:, None] ** (_DEGREE - 1)
    gap = (h + xp.roll(h, -1)) / 2
    jump = xp.abs(xp.roll(fourth, -1, axis=0) - fourth).max(axis=1) / gap
    fifth = xp.maximum(jump, xp.roll(jump, 1))
    density = fifth ** (1 / (_DEGREE + 1))
    roughness = density @ h
    density = density + 0.1 * roughness + 1e-12
    total = xp.append(0.0, xp.cumsum(density * h))
    inside = xp.interp(xp.linspace(0.0, 1.0, intervals + 1)[1:-1] * total[-1], total, before)
    return xp.concatenate([xp.zeros(1), inside, xp.ones(1)]), roughness


def finer(mesh: Float[Array, "point"]) -> Float[Array, "finer"]:
    """Each interval in two."""
    middle = (mesh[:-1] + mesh[1:]) / 2
    return jnp.append(jnp.stack([mesh[:-1], middle], axis=1).ravel(), mesh[-1])


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
    def scales(self) -> tuple[Float[Array, "variable"], Float[Array, "scalar"]]:
        """What counts as one unit of arclength, for variables and scalars."""


def inner(problem: AbstractPeriodicProblem, a: Profile, b: Profile) -> Float[Array, ""]:
    """The scalar product of arclength, of two directions on one mesh."""
    scale_u, scale_q = problem.scales
    over_orbit = a.widths @ (a.points * b.points / scale_u**2).sum(axis=1)
    return over_orbit + (a.scalars * b.scalars / scale_q**2).sum()


def normalised(problem: AbstractPeriodicProblem, direction: Profile) -> Profile:
    """A direction of length one."""
    length = jnp.sqrt(inner(problem, direction, direction))
    zero = jax.tree.map(jnp.zeros_like, direction)
    return eqx.tree_at(lambda p: p.mesh, zero, direction.mesh).moved(direction, 1 / length)


class Corrected(NamedTuple):
    """A solution found by Newton's iteration.

    - `profile`, `tangent`: the solution and the curve's direction there, along the one given.
    - `transfer` (interval, variable, variable): derivatives of each mesh point by the last one.
    - `distance`: how far from the prediction, in arclength.
    """

    profile: Profile
    tangent: Profile
    transfer: Float[Array, "interval variable variable"]
    distance: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]


def correct(problem: AbstractPeriodicProblem, predicted: Profile, direction: Profile) -> Corrected:
    """The solution in the hyperplane through `predicted` that is normal to `direction`."""
    scale_u, scale_q = problem.scales
    u_ref, slope_ref = predicted.stages, predicted.slopes

    def newton(profile: Profile) -> tuple[Profile, Profile, jax.Array]:
        return _newton(problem, profile, predicted, direction, u_ref, slope_ref)

    Carry = tuple[Profile, Profile, jax.Array, jax.Array, jax.Array]

    def unfinished(carry: Carry) -> jax.Array:
        *_, size, count = carry
        return (count < _NEWTON) & (size > _CONVERGED) & (size < 1e3)

    def step(carry: Carry) -> Carry:
        profile, _, _, _, count = carry
        update, tangent, transfer = newton(profile)
        size_u = jnp.abs(update.points / scale_u).max()
        size = jnp.maximum(size_u, jnp.abs(update.scalars / scale_q).max())
        # Far from the solution a full step may leave what the model can take.
        profile = profile.moved(update, jnp.minimum(1.0, 1.0 / jnp.maximum(size, 1e-300)))
        return profile, tangent, transfer, size, count + 1

    n, d = predicted.points.shape
    begin = (predicted, direction, jnp.zeros((n, d, d)), jnp.asarray(1.0), jnp.asarray(0))
    profile, tangent, transfer, size, count = jax.lax.while_loop(unfinished, step, begin)
    way = jax.tree.map(jnp.subtract, profile, predicted)
    way = eqx.tree_at(lambda p: p.mesh, way, profile.mesh)
    return Corrected(
        profile=profile,
        tangent=normalised(problem, tangent),
        transfer=transfer,
        distance=jnp.sqrt(inner(problem, way, way)),
        iterations=count,
        converged=size <= _CONVERGED,
    )


def _newton(
    problem: AbstractPeriodicProblem,
    profile: Profile,
    predicted: Profile,
    direction: Profile,
    u_ref: Float[Array, "interval stage variable"],
    slope_ref: Float[Array, "interval stage variable"],
) -> tuple[Profile, Profile, Float[Array, "interval variable variable"]]:
    """Newton's update, the curve's direction, and the transfer matrices."""
    u, k, q, h = profile.points, profile.slopes, profile.scalars, profile.widths
    (n, d), m, s = u.shape, _DEGREE, q.shape[0]
    stages = profile.stages
    a, b = jnp.asarray(_A), jnp.asarray(_B)

    # The stages of each interval, as functions of its left end and the scalars.
    def at_stage(x: jax.Array, r: jax.Array, r1: jax.Array, at: jax.Array) -> tuple[jax.Array, ...]:
        f = problem.slope(x, q, at)
        f_x, f_q = jax.jacfwd(problem.slope, argnums=(0, 1))(x, q, at)
        c = problem.conditions(x, r, r1, q)
        c_x, c_q = jax.jacfwd(problem.conditions, argnums=(0, 3))(x, r, r1, q)
        return f, f_x, f_q, c, c_x, c_q

    f, f_x, f_q, c, c_x, c_q = jax.vmap(jax.vmap(at_stage))(
        stages, u_ref, slope_ref, gauss_points(profile.mesh)
    )
    matrix = jnp.eye(m * d).reshape(m, d, m, d)
    matrix = matrix - jnp.einsum("j,il,jide->jidle", h, a, f_x)
    known = jnp.concatenate([f_x, f_q, (f - k)[..., None]], axis=3)
    condensed = jnp.linalg.solve(
        matrix.reshape(n, m * d, m * d), known.reshape(n, m * d, d + s + 1)
    ).reshape(n, m, d, d + s + 1)

    # u_(j+1) = step_u u_j + step_q q + step_1, for updates.
    steps = h[:, None, None] * jnp.einsum("l,jldz->jdz", b, condensed)
    step_u, step_q, step_1 = steps[..., :d] + jnp.eye(d), steps[..., d:-1], steps[..., -1]
    after = jnp.concatenate([u[1:], problem.twist * u[:1]])
    step_1 = step_1 + u + h[:, None] * jnp.einsum("l,jld->jd", b, k) - after

    # The conditions' derivatives by each interval's left end and by the scalars.
    weights = h[:, None] * b
    stage = h[:, None, None, None] * jnp.einsum("il,jldz->jidz", a, condensed)
    stage = stage.at[..., :d].add(jnp.eye(d))
    rows = jnp.einsum("ji,jicd,jidz->jcz", weights, c_x, stage)
    scale_u, scale_q = problem.scales
    arc_u = h[:, None] * direction.points / scale_u**2
    arc_q = direction.scalars / scale_q**2
    border_u = jnp.concatenate([rows[..., :d], arc_u[:, None]], axis=1)
    border_q = rows[..., d:-1].sum(axis=0) + jnp.einsum("ji,jics->cs", weights, c_q)
    border_q = jnp.concatenate([border_q, arc_q[None]])
    value = jnp.einsum("ji,jic->c", weights, c) + rows[..., -1].sum(axis=0)
    arc = (arc_u * (u - predicted.points)).sum() + arc_q @ (q - predicted.scalars)
    # Two right-hand sides: Newton's update, and the direction along the curve.
    right = jnp.stack([-jnp.append(value, arc), jnp.zeros(s).at[-1].set(1.0)], axis=1)
    step_1 = jnp.stack([step_1, jnp.zeros_like(step_1)], axis=2)

    du, dq = _bordered(step_u, step_q, step_1, border_u, border_q, right, problem.twist)
    dk = jnp.einsum("jlde,jez->jldz", condensed[..., :d], du)
    dk = dk + jnp.einsum("jlds,sz->jldz", condensed[..., d:-1], dq)
    dk = dk.at[..., 0].add(condensed[..., -1])
    update = Profile(profile.mesh, du[..., 0], dk[..., 0], dq[:, 0])
    along = Profile(profile.mesh, du[..., 1], dk[..., 1], dq[:, 1])
    return update, along, step_u


def _bordered(
    step_u: Float[Array, "interval variable variable"],
    step_q: Float[Array, "interval variable scalar"],
    step_1: Float[Array, "interval variable side"],
    border_u: Float[Array, "interval scalar variable"],
    border_q: Float[Array, "scalar scalar"],
    right: Float[Array, "scalar side"],
    twist: np.ndarray,
) -> tuple[Float[Array, "interval variable side"], Float[Array, "scalar side"]]:
    """Solve u_(j+1) = step_u u_j + step_q q + step_1 with u_N = twist u_0, and
    Σ border_u u + border_q q = right.
    """
    n, d, s = step_q.shape
    z = step_1.shape[2]
    eye, zero = jnp.eye(d), jnp.zeros((d, d))

    # What is known after j intervals: first u_0 + last u_j + by_q q = side.
    def eliminate(carry: tuple, item: tuple) -> tuple[tuple, jax.Array]:
        row, first_b, here_b, by_q_b, side_b = carry
        matrix, by_q, side, border = item
        first, last, rest = row[:, :d], row[:, d : 2 * d], row[:, 2 * d :]
        column = jnp.concatenate([last, -matrix])
        others = jnp.concatenate(
            [
                jnp.concatenate([first, zero, rest], axis=1),
                jnp.concatenate([zero, eye, -by_q, side], axis=1),
            ]
        )
        q, r = jnp.linalg.qr(column, mode="complete")
        others = q.T @ others
        # u_j = -(back's columns for u_0, u_(j+1), q) + its last columns.
        back = jax.scipy.linalg.solve_triangular(r[:d], others[:d])
        moved = here_b @ back
        first_b = first_b - moved[:, :d]
        next_b = border - moved[:, d : 2 * d]
        by_q_b = by_q_b - moved[:, 2 * d : 2 * d + s]
        side_b = side_b - moved[:, 2 * d + s :]
        return (others[d:], first_b, next_b, by_q_b, side_b), back

    row = jnp.concatenate([-step_u[0], eye, -step_q[0], step_1[0]], axis=1)
    begin = (row, border_u[0], border_u[1], border_q, right)
    nothing = jnp.zeros((1, s, d))
    borders = jnp.concatenate([border_u[2:], nothing])
    (row, first_b, last_b, by_q_b, side_b), backs = jax.lax.scan(
        eliminate, begin, (step_u[1:], step_q[1:], step_1[1:], borders)
    )
    top = jnp.concatenate([row[:, :d] + row[:, d : 2 * d] * twist, row[:, 2 * d : 2 * d + s]], 1)
    bottom = jnp.concatenate([first_b + last_b * twist, by_q_b], axis=1)
    sides = jnp.concatenate([row[:, 2 * d + s :], side_b])
    solution = jnp.linalg.solve(jnp.concatenate([top, bottom]), sides)
    u0, q = solution[:d], solution[d:]

    def substitute(u_next: jax.Array, back: jax.Array) -> tuple[jax.Array, jax.Array]:
        u = back[:, 2 * d + s :] - back[:, :d] @ u0 - back[:, d : 2 * d] @ u_next
        u = u - back[:, 2 * d : 2 * d + s] @ q
        return u, u

    _, rest = jax.lax.scan(substitute, jnp.asarray(twist)[:, None] * u0, backs, reverse=True)
    assert rest.shape == (n - 1, d, z)
    return jnp.concatenate([u0[None], rest]), q
