"""Maps of transverse stability: every homogeneous state at every point of a parameter plane."""

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tqdm.auto import tqdm

from ngnmm_jax import _checks
from ngnmm_jax._chunks import grid, map_chunks, take
from ngnmm_jax._status import SolverError, Status
from ngnmm_jax._store import BlockStore
from ngnmm_jax.attractors import (
    APERIODIC,
    EQUILIBRIUM,
    NOTHING,
    ORBIT,
    Oscillations,
    Rest,
    find_oscillations,
)
from ngnmm_jax.dynamics.equilibria import certify
from ngnmm_jax.dynamics.integrate import rk4_step
from ngnmm_jax.dynamics.interpolation import interpolation, interpolation_nodes
from ngnmm_jax.dynamics.lockstep import adaptive_mesh, mesh_step
from ngnmm_jax.dynamics.spectra import rank_one_eigenvalues
from ngnmm_jax.models.base import SECONDS, parameter_names
from ngnmm_jax.modes import linearise
from ngnmm_jax.network import Family, Network

#: Kinds of state by their number in a map.
KINDS = ("nothing", "equilibrium", "orbit", "aperiodic")

# Equilibria and oscillations that a map keeps at each point: the paper's model has three and
# two at most.
_EQUILIBRIA, _OSCILLATIONS = 3, 2
# Points of equilibria, orbits and aperiodic states that a device takes at a time.
_CHUNK, _ORBITS, _APERIODIC = 256, 32, 16
# Values of Λ between which monodromy matrices are interpolated, those between which the
# propagators over a segment of steps are, and such steps. All are taken twice where the growth
# between is not exact to this many per step of the model.
_NODES, _FEW, _SEGMENT, _EXACT = 24, 4, 4, 5e-9
_MOST_NODES = 96
# A mode grows where its growth is above this per step of the model: an orbit at zero coupling
# has neutral modes, known to the error of the steps.
_NEUTRAL = 5e-8
# Aperiodic states: steps that align the perturbations, blocks of steps whose scatter gives the
# standard error, steps between normalisations.
_ALIGN, _BLOCKS, _BLOCK, _NORMALISE = 4_000, 10, 4_000, 20
# Values of Λ at which they are computed where there are more modes than this.
_FEW_MODES = 21
# Lines along the swept parameter that are finished, and stored, together.
_LINES = 64


class DispersionMap(eqx.Module):
    """Transverse stability of the homogeneous states over a grid of parameters.

    Arrays have the grid's axes, in the order of `axes`, and then `state`: three places for
    equilibria (by rising first variable) and, where oscillations were asked for, two for
    oscillating attractors (the one met when the first axis rises before that when it falls,
    where they differ). Places without a state hold NaN, or -1 for integers.

    - `axes`: the parameters' values, by name; `lambdas` (mode,).
    - `kind`: 0 nothing, 1 equilibrium, 2 periodic orbit, 3 aperiodic (chaotic, or a torus).
    - `states` (…, state, variable): the equilibrium, or a state on the orbit.
    - `period` of orbits, in the model's unit of time.
    - `growth_uniform`: growth rate of perturbations that all regions share, per unit of the
      model's time: negative where the homogeneous state is stable by itself. On orbits the
      phase's zero is left out; of aperiodic states it is the leading Lyapunov exponent.
    - `growth_transverse`: largest growth rate of the other modes: eigenvalues at equilibria,
      Floquet exponents on orbits, transverse Lyapunov exponents of aperiodic states.
    - `number_growing`: how many of them grow (by over 5e-8 per `time_step`).
    - `fastest`: index of the fastest in `lambdas`; `frequency` (Hz) of that one (NaN where
      aperiodic).
    - `error`: of `growth_transverse`: of interpolation in Λ on orbits, the standard error of
      aperiodic states, zero at equilibria.
    - `status` (grid): OK; NONE_FOUND where there is no state; NOT_CONVERGED where a mode's
      growth or a state was not found to its tolerance, or an aperiodic state is not shown to
      be chaotic (a torus, an orbit of more than eight turns, or one that a run has not reached).
    """

    axes: dict[str, np.ndarray]
    lambdas: np.ndarray
    kind: np.ndarray
    states: np.ndarray
    period: np.ndarray
    growth_uniform: np.ndarray
    growth_transverse: np.ndarray
    number_growing: np.ndarray
    fastest: np.ndarray
    frequency: np.ndarray
    error: np.ndarray
    status: np.ndarray
    variables: tuple[str, ...] = eqx.field(static=True)
    time_unit: str = eqx.field(static=True)

    @property
    def stable(self) -> np.ndarray:
        """Whether a state attracts homogeneous perturbations; aperiodic ones do."""
        return (self.kind == APERIODIC) | ((self.kind != NOTHING) & (self.growth_uniform < 0))

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the parameters as coordinates."""
        xarray = _checks.require_module("xarray", "data")
        dims = [*self.axes, "state"]
        rate = {"units": f"1/{self.time_unit}"}
        per_state: dict[str, dict[str, Any]] = {
            "kind": {"flag_values": list(range(len(KINDS))), "flag_meanings": " ".join(KINDS)},
            "period": {"units": self.time_unit},
            "growth_uniform": rate,
            "growth_transverse": rate,
            "number_growing": {},
            "fastest": {},
            "frequency": {"units": "Hz"},
            "error": rate,
        }
        data: dict[str, Any] = {
            name: (dims, getattr(self, name), attrs) for name, attrs in per_state.items()
        }
        data["states"] = ([*dims, "variable"], self.states)
        data["status"] = (list(self.axes), self.status)
        data["lambdas_real"] = ("mode", self.lambdas.real)
        if np.iscomplexobj(self.lambdas):
            data["lambdas_imag"] = ("mode", self.lambdas.imag)
        coords = {**self.axes, "variable": list(self.variables)}
        return xarray.Dataset(data, coords, {"title": "ngnmm_jax dispersion map"})


def dispersion_map(
    network: Network,
    axes: Mapping[str, Any],
    *,
    oscillations: bool = True,
    store: str | Path | None = None,
    lines: int = _LINES,
    progress: bool | None = None,
) -> DispersionMap:
    """Transverse stability of all homogeneous states over a grid of parameters.

    All equilibria; and, with `oscillations`, the attractors that a run meets when the *first*
    axis is swept up and down (hysteresis: where the two differ, both are kept). Orbits are
    refined by Newton's iteration on adaptive steps of order five: periods to some 1e-7 relative,
    growth to some 1e-6 of the leading multiplier, but less exact next to bifurcations, which
    magnify the steps' error (`dispersion` is exact to rounding).

    **Arguments:**

    - `network`: gives the connectome and the parameters that are not varied.
    - `axes`: values by name of the model's parameters or of "coupling", one axis each; for
      the paper's plane `{"i_ext_e": jnp.arange(321) / 20, "coupling": jnp.arange(601) / 20}`.
    - `oscillations`: look for oscillating states too.
    - `store`: a folder that keeps finished blocks: the same call goes on where it stopped.
    - `lines`: lines along the first axis that are finished, and stored, together.
    - `progress`: a progress bar; None shows one where it takes over two seconds.

    Raises `SolverError` where no point of the grid has a state, `ValueError` where `store`
    holds something else.
    """
    _checks.require_x64("dispersion_map")
    values = {name: np.asarray(value, dtype=float) for name, value in axes.items()}
    if not values:
        _checks.fail("axes", "name at least one parameter", "it is empty")
    for name, value in values.items():
        _checks.one_of("axes", name, (*parameter_names(type(network.model)), "coupling"))
        if value.ndim != 1 or not value.size:
            _checks.fail(name, "be a non-empty sequence", f"its shape is {value.shape}")
        _checks.finite(name, value)
    _checks.positive_integer("lines", lines)
    family = Family.of(network)
    spectrum, uniform = network.spectrum()
    lambdas = np.asarray(spectrum)
    atlas = _Atlas(family, lambdas, int(uniform or 0), oscillations)
    blocks = None
    if store is not None:
        definition = _definition(network, values, lambdas, oscillations, lines)
        blocks = BlockStore(Path(store), definition)

    # The first axis varies fastest within a block, which is a number of whole lines.
    (swept, along), rest = next(iter(values.items())), dict(list(values.items())[1:])
    across, shape = grid(rest) if rest else ({}, ())
    total = int(np.prod(shape, dtype=int))
    finished = []
    bar = tqdm(
        total=total * along.size,
        unit="point",
        desc="map",
        delay=0 if progress else 2,
        disable=None if progress is None else not progress,
    )
    with bar:
        for number, begin in enumerate(range(0, total, lines)):
            which = np.arange(begin, min(begin + lines, total))
            block = None if blocks is None else blocks.load(number)
            if block is None:
                points = {k: np.repeat(np.asarray(v)[which], along.size) for k, v in across.items()}
                points[swept] = np.tile(along, which.size)
                block = atlas.block(points, swept, along.size, bar.set_postfix_str)
                if blocks is not None:
                    blocks.save(number, block)
            finished.append(block)
            bar.update(which.size * along.size)
    fields = {name: np.concatenate([block[name] for block in finished]) for name in finished[0]}
    if not (fields["kind"] > NOTHING).any():
        raise SolverError("dispersion_map", Status.NONE_FOUND, fields)

    def to_grid(value: np.ndarray) -> np.ndarray:
        return np.moveaxis(value.reshape(*shape, along.size, *value.shape[1:]), len(shape), 0)

    return DispersionMap(
        axes=values,
        lambdas=lambdas,
        **{name: to_grid(value) for name, value in fields.items()},
        variables=network.model.variables,
        time_unit=network.model.time_unit,
    )


def _definition(
    network: Network,
    values: dict[str, np.ndarray],
    lambdas: np.ndarray,
    oscillations: bool,
    lines: int,
) -> dict[str, Any]:
    """What decides a map's numbers."""
    from ngnmm_jax import __version__

    model = network.model
    return {
        "ngnmm_jax": __version__,
        "computation": "dispersion map",
        "model": type(model).__name__,
        "parameters": {
            name: np.asarray(getattr(model, name)).tolist() for name in parameter_names(type(model))
        },
        "coupling": float(network.coupling),
        "weights": hashlib.sha256(np.asarray(network.weights).tobytes()).hexdigest(),
        "axes": {name: value.tolist() for name, value in values.items()},
        "modes": int(lambdas.size),
        "oscillations": oscillations,
        "lines": lines,
    }


class _Atlas:
    """Computes blocks of a map."""

    #: What stands where there is no state.
    blank: ClassVar[dict[str, Any]] = {
        "kind": np.int8(NOTHING),
        "number_growing": np.int32(-1),
        "fastest": np.int32(-1),
        **dict.fromkeys(
            ("period", "growth_uniform", "growth_transverse", "frequency", "error"), np.nan
        ),
    }

    def __init__(
        self, family: Family, lambdas: np.ndarray, uniform: int, oscillations: bool
    ) -> None:
        self.family, self.oscillations = family, oscillations
        self.spectrum = (family, jnp.asarray(lambdas), jnp.asarray(uniform))
        self.places = _EQUILIBRIA + (_OSCILLATIONS if oscillations else 0)

    def block(
        self, points: dict[str, np.ndarray], swept: str, columns: int, say: Callable[[str], Any]
    ) -> dict[str, np.ndarray]:
        """All states at points that are whole lines, (point, state, …)."""
        n = points[swept].size
        variables = len(self.family.model.variables)
        fields: dict[str, np.ndarray] = {}
        fields |= {name: np.full((n, self.places), blank) for name, blank in self.blank.items()}
        fields["states"] = np.full((n, self.places, variables), np.nan)
        fields["status"] = np.full((n,), Status.OK, dtype=np.int8)
        say("equilibria")
        self._equilibria(points, fields)
        if self.oscillations:
            say("oscillations")
            stable = (fields["kind"] == EQUILIBRIUM) & (fields["growth_uniform"] < 0)
            rest = Rest(fields["states"][:, :_EQUILIBRIA], stable[:, :_EQUILIBRIA])
            found = find_oscillations(self.family, points, swept, columns, rest)
            order = np.lexsort((found.direction, found.point))
            found = Oscillations(*(field[order] for field in found))
            first = np.ones(found.point.size, dtype=bool)
            first[1:] = found.point[1:] != found.point[:-1]
            place = _EQUILIBRIA + np.where(first, 0, 1)
            for name in ("kind", "states", "period", "growth_uniform"):
                fields[name][found.point, place] = getattr(found, name)
            say("modes of orbits")
            self._orbits(points, found, place, fields)
            say("modes of aperiodic states")
            self._aperiodic(points, found, place, rest, fields)
        nothing = (fields["kind"] == NOTHING).all(axis=1)
        fields["status"][nothing] = Status.NONE_FOUND
        return fields

    def _equilibria(self, points: dict[str, np.ndarray], fields: dict[str, np.ndarray]) -> None:
        many_starts = self.family.model.equilibrium_reduction(self.family.coupling) is None
        found = map_chunks(
            _equilibria, self.family, points, chunk=_CHUNK, progress=False, one_device=many_starts
        )
        fields["states"][:, :_EQUILIBRIA] = found["states"]
        # The modes of those that were found, and of no others.
        point, place = np.nonzero(found["found"])
        if not point.size:
            return
        fields["kind"][point, place] = EQUILIBRIUM
        pairs = (take(points, point), found["states"][point, place])
        modes = map_chunks(_equilibrium_modes, self.spectrum, pairs, chunk=_CHUNK, progress=False)
        self._put(modes, point, place, fields)

    def _orbits(
        self,
        points: dict[str, np.ndarray],
        found: Oscillations,
        place: np.ndarray,
        fields: dict[str, np.ndarray],
    ) -> None:
        left = np.flatnonzero(found.kind == ORBIT)
        left = left[np.argsort(found.period[left])]  # those of like period share a chunk
        exact = _EXACT / self.family.model.time_step
        nodes, few = _NODES, _FEW
        while left.size and nodes <= _MOST_NODES:
            lanes = (take(points, found.point[left]), found.states[left], found.period[left])
            matrices = map_chunks(
                _monodromy(nodes, few),
                self.spectrum,
                lanes,
                chunk=_ORBITS,
                progress=False,
                lockstep=True,
            )
            modes = _orbit_modes(self.spectrum, matrices, found.period[left], nodes)
            modes["converged"] &= modes["error"] < exact
            few *= 2
            nodes *= 2
            done = modes["converged"] | (nodes > _MOST_NODES)
            some = {name: value[done] for name, value in modes.items()}
            self._put(some, found.point[left[done]], place[left[done]], fields)
            left = left[~done]

    def _aperiodic(
        self,
        points: dict[str, np.ndarray],
        found: Oscillations,
        place: np.ndarray,
        rest: Rest,
        fields: dict[str, np.ndarray],
    ) -> None:
        which = np.flatnonzero(found.kind == APERIODIC)
        if not which.size:
            return
        point, place, states = found.point[which], place[which], found.states[which]
        modes = map_chunks(
            _aperiodic_modes,
            self.spectrum,
            (take(points, point), states),
            chunk=_APERIODIC,
            progress=False,
            lockstep=True,
        )
        self._put(modes, point, place, fields)
        # A run that is not chaotic need be no attractor of its own, but one that has not arrived:
        # at an equilibrium, if it has come nearer meanwhile; at an orbit, if there is one.
        before, after = (rest.distance(point, x) for x in (states, modes["end"]))
        arriving = (modes["growth_uniform"] < 0) & (after < 0.9 * before)
        orderly = modes["growth_uniform"] < 3 * modes["error_uniform"]
        arriving |= orderly & (fields["kind"][point] == ORBIT).any(axis=1)
        for name, blank in self.blank.items():
            fields[name][point[arriving], place[arriving]] = blank
        fields["status"][point[orderly & ~arriving]] = Status.NOT_CONVERGED

    def _put(
        self,
        modes: dict[str, np.ndarray],
        point: np.ndarray,
        place: np.ndarray,
        fields: dict[str, np.ndarray],
    ) -> None:
        for name, value in modes.items():
            if name in fields:
                fields[name][point, place] = value
        fields["status"][point[~modes["converged"]]] = Status.NOT_CONVERGED


def _equilibria(family: Family, point: dict[str, jax.Array]) -> dict[str, jax.Array]:
    inner, _ = family.at(point)
    found = certify(inner, inner.equilibrium_candidates(_EQUILIBRIA), _EQUILIBRIA)
    return {"found": found.found, "states": found.states}


def _summary(
    family: Family, growth: jax.Array, turning: jax.Array, uniform: jax.Array
) -> dict[str, jax.Array]:
    """What a map keeps of all modes' growth and angular frequency, each (mode, *run)."""
    neutral = _NEUTRAL / family.model.time_step
    mode = jnp.arange(growth.shape[0]).reshape(-1, *(1,) * (growth.ndim - 1))
    masked = jnp.where(mode == uniform, -jnp.inf, growth)
    fastest = jnp.argmax(masked, axis=0)
    turning = jnp.take_along_axis(turning, fastest[None], axis=0)[0]
    return {
        "growth_transverse": masked.max(axis=0),
        "number_growing": (masked > neutral).sum(axis=0),
        "fastest": fastest,
        "frequency": jnp.abs(turning) / (2 * jnp.pi * SECONDS[family.model.time_unit]),
    }


def _leading(values: jax.Array) -> jax.Array:
    """Of eigenvalues or logarithms (variable, …), the one of largest real part."""
    return jnp.take_along_axis(values, jnp.argmax(values.real, axis=0)[None], axis=0)[0]


def _equilibrium_modes(
    shared: tuple[Family, jax.Array, jax.Array], pair: tuple[dict[str, jax.Array], jax.Array]
) -> dict[str, jax.Array]:
    family, lambdas, uniform = shared
    inner, coupling = family.at(pair[0])
    matrix, column, row = linearise(inner, pair[1])
    z, converged = rank_one_eigenvalues(matrix, column, row, lambdas * coupling)
    leading = _leading(z)
    return {
        "growth_uniform": leading.real[uniform],
        **_summary(family, leading.real, leading.imag, uniform),
        "error": jnp.zeros(()),
        "converged": converged.all(),
    }


def _nodes(lambdas: jax.Array, nodes: int) -> tuple[jax.Array, jax.Array | None]:
    """Λ at which monodromy matrices are computed, and one more that checks what lies between.

    With no more modes than nodes, these are the modes themselves, and there is no check.
    """
    if lambdas.shape[0] <= nodes:
        return lambdas, None
    where = interpolation_nodes(lambdas, nodes)
    return where, (where[:1] + 3 * where[-1:]) / 4


@lru_cache
def _monodromy(nodes: int, few: int) -> Callable[[Any, Any], jax.Array]:
    """Monodromy matrices (run, node, variable, variable) at the nodes and the check.

    The propagator over a few steps is so nearly a polynomial of low degree in Λ that `few`
    values determine it; at the nodes it is interpolated and multiplied up. At the check it is
    integrated all the way.
    """

    def monodromy(shared: tuple[Family, jax.Array, jax.Array], lanes: Any) -> jax.Array:
        family, lambdas, _ = shared
        point, states, period = lanes
        inner, coupling = family.at(point)
        where, check = _nodes(lambdas, nodes)
        x = states.T
        size, runs = x.shape
        mesh = adaptive_mesh(inner.vector_field, x, period, jnp.asarray(inner.time_step))

        short = lambdas.shape[0] <= few
        base = lambdas if short else interpolation_nodes(lambdas, few)
        weights = jnp.eye(base.shape[0]) if short else interpolation(base, where)
        every = base if check is None else jnp.concatenate([base, check])
        strengths = jnp.repeat(every, size)[:, None] * coupling

        def identities(count: int) -> jax.Array:
            eye = jnp.eye(size, dtype=lambdas.dtype)[:, None, :, None]
            return jnp.broadcast_to(eye, (size, count, size, runs))

        def step(k: jax.Array, carry: Any) -> Any:
            pair, h = carry
            pair = mesh_step(lambda y: inner.variational(y, strengths), pair, h)
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


def _orbit_modes(
    shared: tuple[Family, jax.Array, jax.Array],
    matrices: np.ndarray,
    period: np.ndarray,
    nodes: int,
) -> dict[str, np.ndarray]:
    """Floquet exponents of all modes of orbits, from their monodromy matrices at the nodes.

    By LAPACK on the host, in threads: GPUs are slow at small eigenproblems, and XLA's on CPUs
    (jaxlib 0.10) can deadlock where several devices solve them at the same time.
    """
    family, lambdas, uniform = shared
    where, check = _nodes(lambdas, nodes)
    between = None
    if check is not None:
        between = np.asarray(interpolation(where, jnp.concatenate([lambdas, check])))
    size, count = matrices.shape[-1], lambdas.shape[0]

    def exponents(chunk: range) -> np.ndarray:
        some = matrices[chunk.start : chunk.stop]
        if between is not None:
            known = some[:, :nodes].reshape(len(some), nodes, size * size)
            inner = (between @ known).reshape(len(some), -1, size, size)
            some = np.concatenate([inner, some[:, nodes:]], axis=1)
        every = np.linalg.eigvals(np.where(np.isfinite(some), some, 0.0)).astype(complex)
        mu = np.take_along_axis(every, np.abs(every).argmax(axis=-1)[..., None], axis=-1)[..., 0]
        with np.errstate(divide="ignore"):
            return np.log(mu)

    chunks = [range(k, min(k + 64, len(matrices))) for k in range(0, len(matrices), 64)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        logs = np.concatenate(list(pool.map(exponents, chunks))).T
    rates = logs[:count] / period
    fields = _summary(family, jnp.asarray(rates.real), jnp.asarray(rates.imag), uniform)
    summary = {name: np.array(value) for name, value in fields.items()}
    error = np.zeros(period.size)
    if check is not None:  # interpolated and exact, relative to what is as large as the largest
        guess, exact = np.exp(logs[count:].real)
        largest = np.exp(summary["growth_transverse"] * period)
        error = np.abs(guess - exact) / np.maximum(exact, largest) / period
    finite = np.isfinite(matrices).all(axis=(1, 2, 3))
    return {**summary, "error": error, "converged": finite}


def _aperiodic_modes(
    shared: tuple[Family, jax.Array, jax.Array], lanes: Any
) -> dict[str, jax.Array]:
    """Leading Lyapunov exponent of every mode, driven by the same trajectory.

    Of many modes with real Λ, it is computed at a few values and interpolated linearly: on
    one trajectory it varies smoothly, far less than its standard error between them.

    Source: Benettin et al., Meccanica 15, 9 (1980), with one perturbation for each mode.
    """
    family, lambdas, uniform = shared
    point, states = lanes
    inner, coupling = family.at(point)
    dt = jnp.asarray(inner.time_step)
    x = states.T
    size, runs = x.shape
    direct = lambdas.shape[0] <= _FEW_MODES or jnp.iscomplexobj(lambdas)
    where = lambdas
    if not direct:
        low, high = lambdas.min(), lambdas.max()
        where = low + (high - low) * (1 - jnp.cos(jnp.pi * jnp.linspace(0, 1, _FEW_MODES))) / 2
        where = jnp.append(where, lambdas[uniform])
    strengths = where[:, None] * coupling
    direction = 1.0 + 0.5 * jnp.cos(jnp.arange(size) * 2.0)
    xi = jnp.broadcast_to(direction[:, None, None], (size, where.shape[0], runs))
    Pair = tuple[jax.Array, jax.Array]

    def step(_: Any, pair: Pair) -> Pair:
        return rk4_step(lambda y: inner.variational(y, strengths), pair, dt)

    def advance(pair: Pair, _: None) -> tuple[Pair, jax.Array]:
        x, xi = jax.lax.fori_loop(0, _NORMALISE, step, pair)
        norm = jnp.sqrt((jnp.abs(xi) ** 2).sum(axis=0))
        return (x, xi / norm), jnp.log(norm)

    def block(pair: Pair, _: None) -> tuple[Pair, jax.Array]:
        pair, logs = jax.lax.scan(advance, pair, None, length=_BLOCK // _NORMALISE)
        return pair, logs.sum(axis=0) / (_BLOCK * dt)

    pair = (x, xi.astype(where.dtype))
    pair, _ = jax.lax.scan(advance, pair, None, length=_ALIGN // _NORMALISE)
    pair, rates = jax.lax.scan(block, pair, None, length=_BLOCKS)
    growth = rates.mean(axis=0)
    deviation = rates.std(axis=0) * jnp.sqrt(1 / (_BLOCKS - 1))
    own = uniform if direct else -1
    at_uniform = {"growth_uniform": growth[own], "error_uniform": deviation[own]}
    if not direct:
        between = jax.vmap(lambda f: jnp.interp(lambdas, where[:-1], f[:-1]), 1, 1)
        growth, deviation = between(growth), between(deviation)
    summary = _summary(family, growth, jnp.full_like(growth, jnp.nan), uniform)
    error = jnp.take_along_axis(deviation, summary["fastest"][None], axis=0)[0]
    finite = jnp.isfinite(growth).all(axis=0)
    return {**at_uniform, **summary, "error": error, "converged": finite, "end": pair[0].T}
