"""Growth of all modes of a graph of which only the region of its eigenvalues is known.

The curve of growth over Λ is exact wherever it is asked for; so bounds on the eigenvalues are
bounds on the growth of every mode (`stability.hull`), without the modes.
"""

import contextlib
import dataclasses
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.interpolation import interpolation, interpolation_nodes
from ngnmm_jax._core.pictured import Pictured
from ngnmm_jax.connectome import Eigenmodes
from ngnmm_jax.coupling.modes import graphs_of
from ngnmm_jax.dynamics.floquet import Propagated, product
from ngnmm_jax.graphs.spectra import NotAllFound, hull
from ngnmm_jax.models.times import per_time, seconds_in
from ngnmm_jax.stability.hull import Largest, largest
from ngnmm_jax.systems.network import Network

#: Leading modes that are computed of a graph whose spectrum is not: of largest and of smallest
#: real part; fewer where Arnoldi's iteration does not find them.
FIRST, LAST = 12, 4
#: Points at which the growth of all modes is computed for maps.
POINTS = 65
# Growth is enclosed to this part of a rate of one per tempo of the model.
_CLOSE = 1e-8
# A mode has the uniform one's eigenvalue where it is this near, relative to the largest.
_SAME = 1e-9
# Monodromy matrices are interpolated in Λ to this, relative, between at most so many nodes.
_EXACT, _NODES, _MOST_NODES = 1e-11, 24, 192

#: Matrices (mode, n, n) at Λ (mode,).
Matrices = Callable[[np.ndarray], np.ndarray]


class GrowthBounds(Pictured):
    """Growth over a region that holds all eigenvalues of a graph, and so of all its modes.

    - `lambdas`, `growth`, `frequency` (point,): the curve at points of the interval that the
      eigenvalues lie in, or around the region, where they need not be real; growth per unit of the
      model's time, frequency in Hz.
    - `attained`: the largest growth over the interval, or around the region; `at`: where.
    - `upper`: what no mode's growth exceeds; above `attained` by rounding and some 1e-8 per tempo
      of the model (more, where it is a double eigenvalue: then growth between points is known less
      well).
    - `attained_transverse`, `at_transverse`, `upper_transverse`: the same of all modes but the
      uniform one, where the graph's eigenvalues are real; else as of all.
    - `failure`: the chance that an eigenvalue lies outside, as `graphs.SpectralBounds` has it.
    - `how`: by what that region was found.
    - `error`: of interpolation in Λ on an orbit, relative to its monodromy matrices; else zero.
    """

    lambdas: np.ndarray
    growth: np.ndarray
    frequency: np.ndarray
    attained: float
    at: complex | float
    upper: float
    attained_transverse: float
    at_transverse: complex | float
    upper_transverse: float
    failure: float
    error: float
    how: str = eqx.field(static=True)
    time_unit: str = eqx.field(static=True)

    def card(self) -> tuple[str, dict[str, Any]]:
        """The bounds on growth."""
        rate = per_time(self.time_unit)
        shown = {
            "all modes": f"at most {self.upper:.6g} {rate}",
            "transverse modes": f"at most {self.upper_transverse:.6g} {rate}",
            "largest at": f"Λ = {self.at_transverse:.4g}",
            "chance of error": f"{self.failure:.0e}",
        }
        return f"{type(self).__name__}: {len(self.lambdas)} points", shown


class KnownModes(NamedTuple):
    """Of a graph: eigenvalues (mode,), the index of the uniform one, and regions of all of them.

    `whole`, `transverse`: `graphs.SpectralBounds`; None where all eigenvalues are here.
    """

    lambdas: Any
    uniform: int | None
    whole: Any = None
    transverse: Any = None


def modes_of(network: Network) -> KnownModes:
    """All modes; of very many regions the first and the last, and bounds on the others.

    `ValueError` where the graphs of several couplings have very many regions, but for linear ones.
    """
    graph = network.interaction.graph if network.delays is not None else network.graph
    if graph.n_regions <= graph.DENSE_LIMIT or graph.exact:
        source: Any = graph if network.delays is not None else network
        return KnownModes(*source.spectrum())
    if len(graphs_of(network.interaction)) > 1 and network.interaction.linear() is None:
        must = f"be given for several couplings of over {graph.DENSE_LIMIT} regions: (mode, graph)"
        _checks.fail("lambdas", must, "they are not")
    if not _checks.on_host(graph):
        must = f"be given where JAX traces a graph of over {graph.DENSE_LIMIT} regions"
        _checks.fail("lambdas", must, "they are not")
    return _searched(graph)


#: What was searched of the last graphs: their structure, their arrays, and what was found.
_SEARCHED: deque[tuple[Any, tuple[Any, ...], KnownModes]] = deque(maxlen=8)


def _searched(graph: Any) -> KnownModes:
    """The first and last modes of a graph, and bounds: once, for as long as its arrays are there.

    A network whose other parameters change has the same.
    """
    leaves, structure = jax.tree.flatten(graph.bare())
    for known, arrays, found in _SEARCHED:
        if known == structure and all(a() is leaf for a, leaf in zip(arrays, leaves, strict=True)):
            return found
    transverse = graph.transverse_bounds()
    alike = float(np.asarray(graph.row_sums(float)).mean())
    ends = [end_of(graph, upper=True), end_of(graph, upper=False)]
    values, uniform = _with_uniform(ends, alike, float(np.abs(transverse.corners).max()))
    whole = transverse
    if transverse.is_real:
        both = np.append(transverse.corners, alike)
        whole = dataclasses.replace(transverse, corners=np.array([both.min(), both.max()]))
    elif not transverse.holds([alike]).all():
        corners = hull(np.append(transverse.corners, alike))
        whole = dataclasses.replace(transverse, corners=corners)
    found = KnownModes(values, uniform, whole, transverse)
    with contextlib.suppress(TypeError):  # of NumPy's scalars there are no weak references
        _SEARCHED.append((structure, tuple(map(weakref.ref, leaves)), found))
    return found


def end_of(graph: Any, upper: bool) -> Eigenmodes | None:
    """The first modes of a graph, or its last; those of them that were found, None where none."""
    try:
        return graph.leading(*((FIRST, "LR") if upper else (LAST, "SR")))
    except NotAllFound as error:  # bounds hold for the others too
        return error.found


def _with_uniform(
    ends: list[Eigenmodes | None], alike: float, radius: float
) -> tuple[NDArray[Any], int]:
    """Modes of both ends, and the index of the uniform one, whose eigenvalue is known.

    It is added where it is not among them. Where other modes have the same eigenvalue, and none of
    the vectors is uniform, any of them will do.
    """
    there = [modes for modes in ends if modes is not None]
    values, begin = np.concatenate([np.zeros(0), *(modes.values for modes in there)]), 0
    for modes in there:
        if modes.uniform is not None:
            return values, begin + modes.uniform
        begin += len(modes.values)
    away = np.abs(values - alike)
    if away.min(initial=np.inf) <= _SAME * max(radius, abs(alike)):
        return values, int(away.argmin())
    return np.append(values, alike), len(values)


def curve_of(modes: KnownModes) -> tuple[np.ndarray, int]:
    """Λ (point,) at which growth stands for that of all modes, and the index of the uniform one.

    Over the interval of the other modes, closer at its ends; or around their region.
    """
    region, uniform = modes.transverse, np.asarray(modes.lambdas)[modes.uniform]
    if region.is_real:
        middle, half = (region.low + region.high) / 2, (region.high - region.low) / 2
        points = middle + half * np.cos(np.pi * np.arange(POINTS) / (POINTS - 1))
    else:
        points = region.boundary(POINTS)
        points = points[points.imag >= 0]
    return np.append(uniform, points), 0


def bounded(
    matrices: Matrices,
    degree: int,
    modes: KnownModes,
    model: Any,
    period: float | None = None,
    error: float = 0.0,
) -> GrowthBounds:
    """Growth over the regions of eigenvalues; `matrices` are polynomials of a degree in Λ."""
    close = _CLOSE / float(model.tempo())

    def over(region: Any) -> Largest:
        return largest(matrices, degree, region.corners, close, period)

    whole = over(modes.whole)
    transverse = whole if modes.transverse is modes.whole else over(modes.transverse)
    return GrowthBounds(
        whole.lambdas,
        whole.growth,
        whole.turning / (2 * np.pi * seconds_in(model.time_unit)),
        whole.attained,
        whole.at,
        whole.upper,
        transverse.attained,
        transverse.at,
        transverse.upper,
        max(modes.whole.failure, modes.transverse.failure),
        error,
        modes.whole.how,
        model.time_unit,
    )


def monodromies(
    through: Callable[[Any], Propagated], corners: np.ndarray
) -> tuple[Matrices, int, float]:
    """Monodromy matrices as a polynomial in Λ over a region, its degree and its relative error."""
    nodes = _NODES
    while True:
        where = interpolation_nodes(corners, nodes, np)
        checks = np.stack([(where[0] + where[nodes // 2]) / 2, (where[0] + 3 * where[-1]) / 4])
        found = through(np.concatenate([where, checks]))
        every = np.asarray(jax.jit(product)(found.matrices))
        known, exact = every[:nodes], every[nodes:]

        def at(lambdas: np.ndarray, where: Any = where, known: Any = known) -> np.ndarray:
            between = interpolation(where, lambdas, np)
            return np.asarray(np.einsum("ln,nij->lij", between, known))

        size = max(float(np.abs(exact).max()), 1e-300)
        miss = float(np.abs(at(checks) - exact).max()) / size
        if not miss >= _EXACT or nodes >= _MOST_NODES:
            return at, nodes - 1, miss
        nodes *= 2
