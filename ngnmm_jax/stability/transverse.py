"""Growth of all transverse modes at many homogeneous states at once, as maps need it.

`dispersion` takes one state as far as 64 bits allow; here functions run over chunks of them, and
keep of all modes what a map keeps.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.interpolation import interpolation, interpolation_nodes
from ngnmm_jax._core.lanes import map_chunks
from ngnmm_jax._core.placement import wide
from ngnmm_jax.coupling.modes import commute, graphs_of, joint_spectrum
from ngnmm_jax.dynamics.lockstep.meshes import adaptive_mesh, mesh_step
from ngnmm_jax.dynamics.lockstep.runs import Steps
from ngnmm_jax.dynamics.lyapunov import ROUGH
from ngnmm_jax.dynamics.spectra import rank_one_eigenvalues
from ngnmm_jax.integrators.loops import in_halves, repeat
from ngnmm_jax.integrators.runge_kutta import RK4
from ngnmm_jax.models.agreement import is_own
from ngnmm_jax.models.times import seconds_in
from ngnmm_jax.stability.along_orbits import linearise
from ngnmm_jax.stability.bounded import curve_of, modes_of
from ngnmm_jax.systems.family import Family
from ngnmm_jax.systems.network import Network

# Values of Λ between which monodromy matrices are interpolated, those between which the
# propagators over a segment of steps are, and such steps. The first two are doubled where the
# growth between is not exact to this per tempo of the model.
NODES, FEW, _SEGMENT, EXACT = 24, 4, 4, 5e-9
MOST_NODES = 96
# What rounding leaves of a monodromy matrix, relative to its largest entry.
_ROUNDING = 1e-15
# An equilibrium's modes are known when their errors are below this, relative.
_CERTAIN = 1e-6
# Equilibria that a CPU takes together.
_EQUILIBRIA = 64
# A mode grows where its growth is above this per tempo of the model: an orbit at zero coupling
# has neutral modes, known to the error of the steps.
_NEUTRAL = 5e-8
# Aperiodic states, in tempos of the model: blocks whose scatter gives the standard error, after one
# in which perturbations are aligned, and time between normalisations; so many of these between
# steps that are also taken in two halves, which must not differ by more than `ROUGH` on average.
_BLOCKS, _BLOCK, _NORMALISE, _CHECKED = 10, 4_000, 20, 10
# Values of Λ at which they are computed where there are more modes than this.
_FEW_MODES = 21


class Spectrum(NamedTuple):
    """What modes are modes of.

    - `family`: of homogeneous systems.
    - `lambdas` (mode,): structural eigenvalues, or (mode, graph) of a sum of couplings;
      `uniform`: the index of the mode that all share.
    """

    family: Family
    lambdas: Any
    uniform: Any

    @classmethod
    def of(cls, network: Network) -> "Spectrum":
        """That of a network, which must have homogeneous states."""
        if network.model.outputs:
            raise ValueError(
                f"`{type(network.model).__name__}` has several outputs and inputs, of which maps "
                "and sweeps of modes are not made: use `dispersion` at each point."
            )
        family, graphs = Family.of(network), graphs_of(network.interaction)
        lambdas: Any
        uniform: int | None
        if len(graphs) > 1 and commute(graphs):  # whatever the parts' own parameters are
            family = Family(network.apart())
            lambdas, uniform = joint_spectrum(graphs)
        else:
            modes = modes_of(network)
            lambdas, uniform = modes.lambdas, modes.uniform
            if modes.whole is not None:  # points of the region that holds them all
                lambdas, uniform = curve_of(modes)
        if uniform is None:  # a graph of one's own need not say, but rows sum to the same
            sums = np.asarray(network.graph.row_sums(float)).mean()
            uniform = int(np.abs(np.asarray(lambdas) - sums).argmin())
        return cls(family, as_array(lambdas), as_array(uniform))

    @property
    def shown(self) -> np.ndarray:
        """The eigenvalues (mode,) by which modes are known: of the first of several graphs."""
        lambdas = np.asarray(self.lambdas)
        return lambdas if lambdas.ndim == 1 else lambdas[:, 0]

    def decides(self, network: Network) -> Any:
        """What of it decides numbers, beside the network's values and equations.

        The library's graphs have the eigenvalues of the weights. What a class of one's own says of
        its spectrum counts to nine digits: what rounding leaves the same on other machines.
        """
        if is_own(type(network)) and is_own(type(network.graph)):
            return int(self.lambdas.size)
        values = np.append(np.asarray(self.lambdas), network.graph.row_sums(float).mean())
        size = max(float(np.abs(values).max()), np.finfo(float).tiny)
        digits = np.round(values / size, 9) + 0.0
        return [digits.real.tolist(), digits.imag.tolist(), f"{size:.9g}", int(self.uniform)]


class Modes(NamedTuple):
    """What is kept of all transverse modes of states, each (state,), as `DispersionMap` has it.

    `converged`: whether the modes are known.
    """

    growth_transverse: Any
    number_growing: Any
    fastest: Any
    frequency: Any
    error: Any
    converged: Any


class RestingModes(NamedTuple):
    """Modes of equilibria, and the growth (state,) of perturbations that all regions share."""

    growth_uniform: Any
    modes: Modes


class AperiodicModes(NamedTuple):
    """Modes of aperiodic states.

    - `growth_uniform`, `error_uniform` (state,): the leading Lyapunov exponent of perturbations
      that all regions share, and its standard error.
    - `end` (state, variable): where the trajectories ended.
    """

    growth_uniform: Any
    error_uniform: Any
    modes: Modes
    end: Any


class Orbits(NamedTuple):
    """Orbits (run, …): parameters by name, a state, the period."""

    point: dict[str, Any]
    state: Any
    period: Any


class _Fastest(NamedTuple):
    """As `Modes` has them."""

    growth_transverse: Any
    number_growing: Any
    fastest: Any
    frequency: Any


def _fastest(model: Any, growth: Any, turning: Any, uniform: Any, xp: Any = jnp) -> _Fastest:
    """What is kept of all modes' growth and angular frequency, each (mode, *run).

    `model` has the parameters of the runs.
    """
    neutral = _NEUTRAL / model.tempo()
    mode = xp.arange(growth.shape[0]).reshape(-1, *(1,) * (growth.ndim - 1))
    masked = xp.where(mode == uniform, -xp.inf, growth)
    fastest = xp.argmax(masked, axis=0)
    turning = xp.take_along_axis(turning, fastest[None], axis=0)[0]
    return _Fastest(
        growth_transverse=masked.max(axis=0),
        number_growing=(masked > neutral).sum(axis=0),
        fastest=fastest,
        frequency=xp.abs(turning) / (2 * xp.pi * seconds_in(model.time_unit)),
    )


def _equilibrium_modes(
    spectrum: Spectrum, point: dict[str, jax.Array], state: jax.Array
) -> RestingModes:
    """All modes of one equilibrium, from a parameter point and the state."""
    inner = spectrum.family.at(point)
    matrix, column, row = linearise(inner, state)
    factors = inner.along(inner.model.output(state), spectrum.lambdas)
    z, errors = rank_one_eigenvalues(matrix, column, row, factors)
    which = jnp.argmax(z.real, axis=0)[None]
    leading, error = (jnp.take_along_axis(part, which, axis=0)[0] for part in (z, errors))
    kept = _fastest(inner.model, leading.real, leading.imag, spectrum.uniform)
    # Against the geometric mean of the eigenvalues: their largest may be far above what matters.
    tolerance = _CERTAIN * jnp.exp(jnp.log(jnp.abs(z)).mean(axis=0))
    modes = Modes(*kept, error[kept.fastest], (error < tolerance).all())
    return RestingModes(leading.real[spectrum.uniform], modes)


def _many_at_rest(
    spectrum: Spectrum, pairs: tuple[dict[str, jax.Array], jax.Array]
) -> RestingModes:
    return jax.vmap(lambda pair: _equilibrium_modes(spectrum, *pair))(pairs)


def modes_at_rest(
    spectrum: Spectrum, points: dict[str, np.ndarray], states: np.ndarray
) -> RestingModes:
    """All modes of many equilibria, each at its own parameter point."""
    return map_chunks(
        _many_at_rest,
        spectrum,
        (points, states),
        chunk=wide(_EQUILIBRIA),
        progress=False,
        lockstep=True,
    )


def _nodes(lambdas: Any, nodes: int, xp: Any = jnp) -> tuple[Any, Any]:
    """Λ at which monodromy matrices are computed, and one more that checks what lies between.

    With no more modes than nodes, or of several graphs, these are the modes themselves, and there
    is no check.
    """
    if lambdas.shape[0] <= nodes or lambdas.ndim > 1:
        return lambdas, None
    where = interpolation_nodes(lambdas, nodes, xp)
    return where, (where[:1] + 3 * where[-1:]) / 4


@lru_cache
def monodromies(nodes: int, few: int) -> Callable[[Spectrum, Orbits], jax.Array]:
    """Monodromy matrices (run, node, variable, variable) at the nodes and the check.

    The propagator over a few steps is so nearly a polynomial of low degree in Λ that `few`
    values determine it; at the nodes it is interpolated and multiplied up. At the check it is
    integrated all the way.
    """

    def monodromy(spectrum: Spectrum, orbits: Orbits) -> jax.Array:
        lambdas, period = spectrum.lambdas, orbits.period
        inner = spectrum.family.at(orbits.point)
        where, check = _nodes(lambdas, nodes)
        x = as_array(orbits.state).T
        size, runs = x.shape
        mesh = adaptive_mesh(inner.vector_field, x, period, Steps.of(inner.model, runs))

        short = lambdas.shape[0] <= few or lambdas.ndim > 1
        base = lambdas if short else interpolation_nodes(lambdas, few)
        weights = jnp.eye(base.shape[0]) if short else interpolation(base, where)
        every = base if check is None else jnp.concatenate([base, check])
        along = jnp.repeat(every, size, axis=0)[..., None]

        def identities(count: int) -> jax.Array:
            eye = jnp.eye(size, dtype=lambdas.dtype)[:, None, :, None]
            return jnp.broadcast_to(eye, (size, count, size, runs))

        def step(k: jax.Array, carry: Any) -> Any:
            pair, h = carry
            pair = mesh_step(lambda y: inner.variational(y, along), pair, h)
            return pair, mesh.steps[k + 1] * period

        def segment(j: jax.Array, carry: Any) -> Any:
            x, total, checked = carry
            xi = jnp.concatenate([identities(base.shape[0]), checked], axis=1)
            pair = (x, xi.reshape(size, -1, runs))
            begin = j * _SEGMENT
            start = (pair, mesh.steps[begin] * period)
            (x, xi), _ = jax.lax.fori_loop(begin, begin + _SEGMENT, step, start)
            xi = xi.reshape(size, every.shape[0], size, runs)
            # Elementwise over runs: XLA's products of many small matrices are slow.
            known = xi[:, : base.shape[0], None]
            between = sum(weights[:, m, None, None] * known[:, m] for m in range(base.shape[0]))
            total = sum(between[:, :, j, None] * total[j] for j in range(size))
            return x, total, xi[:, base.shape[0] :]

        start = (x, identities(where.shape[0]), identities(0 if check is None else 1))
        segments = -(-mesh.number.max() // _SEGMENT)
        _, total, checked = jax.lax.fori_loop(0, segments, segment, start)
        # In units of the orbit's extent, for the sake of rounding.
        extent = mesh.high - mesh.low
        extent = jnp.where(extent > 0, extent, 1.0)
        end = jnp.concatenate([total, checked], axis=1) * extent / extent[:, None, None]
        return jnp.transpose(end, (3, 1, 0, 2))

    return monodromy


def exact_enough(family: Family, points: dict[str, np.ndarray]) -> np.ndarray:
    """The error (point,) of modes' growth by which interpolation in Λ counts as exact."""
    count = next(iter(points.values())).size
    return np.broadcast_to(EXACT / family.many(points).model.tempo(), (count,))


def orbit_modes(spectrum: Spectrum, orbits: Orbits, matrices: np.ndarray, nodes: int) -> Modes:
    """Floquet exponents of all modes of orbits, from their monodromy matrices at the nodes.

    By LAPACK on the host, in threads: GPUs are slow at small eigenproblems, and XLA's on CPUs
    (jaxlib 0.10) can deadlock where several devices solve them at the same time.
    """
    model, uniform = spectrum.family.many(orbits.point).model, int(spectrum.uniform)
    lambdas, period = np.asarray(spectrum.lambdas), orbits.period
    where, check = _nodes(lambdas, nodes, np)
    between = None
    if check is not None:
        between = interpolation(where, np.concatenate([lambdas, check]), np)
    size, count = matrices.shape[-1], lambdas.shape[0]

    def exponents(chunk: range) -> tuple[np.ndarray, np.ndarray]:
        some = matrices[chunk.start : chunk.stop]
        if between is not None:
            known = some[:, :nodes].reshape(len(some), nodes, size * size)
            inner = (between @ known).reshape(len(some), -1, size, size)
            some = np.concatenate([inner, some[:, nodes:]], axis=1)
        every = np.linalg.eigvals(np.where(np.isfinite(some), some, 0.0)).astype(complex)
        mu = np.take_along_axis(every, np.abs(every).argmax(axis=-1)[..., None], axis=-1)[..., 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            rounding = _ROUNDING * np.abs(some).max(axis=(-2, -1)) / np.abs(mu)
            return np.log(mu), rounding

    chunks = [range(k, min(k + 64, len(matrices))) for k in range(0, len(matrices), 64)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        logs, rounding = (
            np.concatenate(part).T for part in zip(*pool.map(exponents, chunks), strict=True)
        )
    rates = logs[:count] / period
    kept = _fastest(model, rates.real, rates.imag, uniform, np)
    # Multipliers that are far below their matrix's entries are lost to rounding.
    error = np.take_along_axis(rounding, kept.fastest[None], axis=0)[0] / period
    if check is not None:  # interpolated and exact, relative to what is as large as the largest
        guess, exact = np.exp(logs[count:].real)
        largest = np.exp(kept.growth_transverse * period)
        error = np.maximum(error, np.abs(guess - exact) / np.maximum(exact, largest) / period)
    finite = np.isfinite(matrices).all(axis=(1, 2, 3))
    return Modes(*kept, error, finite)


def aperiodic_modes(
    spectrum: Spectrum, lanes: tuple[dict[str, jax.Array], jax.Array]
) -> AperiodicModes:
    """Leading Lyapunov exponent of every mode, driven by the same trajectory.

    Of many modes with real Λ, it is computed at a few values and interpolated linearly: on
    one trajectory it varies smoothly, far less than its standard error between them. The steps'
    error is in the standard errors.

    Source: Benettin et al., Meccanica 15, 9 (1980), with one perturbation for each mode.
    """
    family, lambdas, uniform = spectrum
    point, states = lanes
    inner = family.at(point)
    x = states.T
    size, runs = x.shape
    steps = Steps.of(inner.model, runs)
    direct = lambdas.shape[0] <= _FEW_MODES or jnp.iscomplexobj(lambdas) or lambdas.ndim > 1
    where = lambdas
    if not direct:
        low, high = lambdas.min(), lambdas.max()
        where = low + (high - low) * (1 - jnp.cos(jnp.pi * jnp.linspace(0, 1, _FEW_MODES))) / 2
        where = jnp.append(where, lambdas[uniform])
    direction = 1.0 + 0.5 * jnp.cos(jnp.arange(size) * 2.0)
    xi = jnp.broadcast_to(direction[:, None, None], (size, where.shape[0], runs))
    Pair = tuple[jax.Array, jax.Array]

    def step(pair: Pair, h: jax.Array) -> Pair:
        return RK4().step(lambda y: inner.variational(y, where[..., None]), pair, h)

    def advance(pair: Pair, _: None) -> tuple[Pair, jax.Array]:
        x, xi = repeat(step, pair, steps.dt, _NORMALISE * steps.stiffness)
        norm = jnp.sqrt((jnp.abs(xi) ** 2).sum(axis=0))
        return (x, xi / norm), jnp.log(norm)

    def group(pair: Pair, _: None) -> tuple[Pair, tuple[jax.Array, jax.Array]]:
        ends = in_halves(step, pair, steps.dt)[1]
        halves, whole = jnp.sqrt((jnp.abs(ends[1:]) ** 2).sum(axis=1))
        pair, logs = jax.lax.scan(advance, pair, None, length=_CHECKED)
        return pair, (logs.sum(axis=0), jnp.abs(whole - halves) / halves)

    def block(pair: Pair, _: None) -> tuple[Pair, tuple[jax.Array, jax.Array]]:
        groups = _BLOCK // (_NORMALISE * _CHECKED)
        pair, (logs, rough) = jax.lax.scan(group, pair, None, length=groups)
        return pair, (logs.sum(axis=0) / (_BLOCK * steps.tempo), rough.mean(axis=0))

    pair, every = jax.lax.scan(block, (x, xi.astype(where.dtype)), None, length=1 + _BLOCKS)
    rates, rough = (each[1:] for each in every)
    growth, rough = rates.mean(axis=0), 16 / 15 * rough.mean(axis=0)
    deviation = rates.std(axis=0) * jnp.sqrt(1 / (_BLOCKS - 1))
    deviation = jnp.hypot(deviation, rough / steps.dt)
    own = uniform if direct else -1
    growth_uniform, error_uniform = growth[own], deviation[own]
    if not direct:
        between = jax.vmap(lambda f: jnp.interp(lambdas, where[:-1], f[:-1]), 1, 1)
        growth, deviation = between(growth), between(deviation)
    kept = _fastest(inner.model, growth, jnp.full_like(growth, jnp.nan), uniform)
    error = jnp.take_along_axis(deviation, kept.fastest[None], axis=0)[0]
    finite = jnp.isfinite(growth).all(axis=0) & (rough < ROUGH).all(axis=0)
    return AperiodicModes(growth_uniform, error_uniform, Modes(*kept, error, finite), pair[0].T)
