"""Where nodes lie beside each other: meshes, regular grids, scattered points."""

import abc
import warnings
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.pictured import Pictured
from ngnmm_jax.signals._arrays import square

# Triangles with less than this fraction of the square of their longest side have no plane, and
# neighbours that spread less than this in one direction than in another lie on a line.
_FLAT, _THIN = 1e-10, 0.02
# Neighbours that leave their plane by more than this fraction of what they spread in it.
_BENT = 0.5


class AbstractSpace(Pictured):
    """Where nodes lie, by its cells: small pieces of space between a few nodes each.

    Differences of values between neighbours, `pairs`, are taken along the sides of cells; each
    cell makes one gradient of those of its sides. All lengths are in mm.

    - `pairs` (pair, 2): neighbours; a difference is the second one's value less the first one's.
    - `corners` (cell, corner): the nodes of a cell.
    - `sides` (cell, side): its pairs.
    - `slopes` (cell, side, axis): by which differences are multiplied and added up to a gradient.
    - `ways` (cell, side, axis): from a pair's first node to its second, in the cell's plane.
    - `turns` (cell, side): 1 or -1, along or against which a pair lies on the way around the
      cell, counter-clockwise seen from outside (or from above); None where there is no way around.
    - `areas` (cell,), `centres` (cell, axis): of cells, mm² (on a line mm) and mm.
    - `shares` (node,): of the area, each node's.
    - `border` (node,): whether a node lies on the rim, or in no cell.
    """

    pairs: eqx.AbstractVar[Int[Array, "pair 2"]]
    corners: eqx.AbstractVar[Int[Array, "cell corner"]]
    sides: eqx.AbstractVar[Int[Array, "cell side"]]
    slopes: eqx.AbstractVar[Float[Array, "cell side axis"]]
    ways: eqx.AbstractVar[Float[Array, "cell side axis"]]
    turns: eqx.AbstractVar[Float[Array, "cell side"] | None]
    areas: eqx.AbstractVar[Float[Array, "cell"]]
    centres: eqx.AbstractVar[Float[Array, "cell axis"]]
    shares: eqx.AbstractVar[Float[Array, "node"]]
    border: eqx.AbstractVar[Bool[Array, "node"]]

    def card(self) -> tuple[str, dict[str, Any]]:
        """Its class, how many nodes and cells it has, and the lengths between neighbours."""
        size = f"{self.n_nodes} nodes, {self.areas.shape[0]} cells"
        if not _checks.is_concrete(self):
            return f"{type(self).__name__}: {size}", {}
        lengths = np.linalg.norm(np.asarray(self.ways), axis=-1)
        rows: dict[str, Any] = {"between neighbours (mm)": lengths.ravel()}
        rows["on the rim"] = np.asarray(self.border)
        return f"{type(self).__name__}: {size}", rows

    @property
    def n_nodes(self) -> int:
        """The number of nodes."""
        return int(self.shares.shape[0])

    def differences(self, values: Any) -> Any:
        """Of values (…, node), along the pairs (…, pair)."""
        return values[..., self.pairs[:, 1]] - values[..., self.pairs[:, 0]]

    def gradient(self, differences: Any) -> Any:
        """Of values, by their differences (…, pair), at the cells (…, cell, axis)."""
        return jnp.einsum("...cs,csa->...ca", differences[..., self.sides], self.slopes)

    def at_cells(self, values: Any) -> Any:
        """The mean of values (…, node) over a cell's nodes (…, cell)."""
        return values[..., self.corners].mean(axis=-1)

    def check_turns(self) -> None:
        """Refuse a space whose cells have no way around."""
        if self.turns is None:
            must = "have faces to go around: a `Mesh`, or a `Grid` of two axes"
            _checks.fail("space", must, f"it is {_checks.kind_of(self)}")

    def around(self, differences: Any) -> Any:
        """The sum of differences (…, pair) around each cell (…, cell)."""
        self.check_turns()
        return (differences[..., self.sides] * self.turns).sum(axis=-1)

    def energy(self, values: Any) -> Any:
        """The integral of the squared modulus of the gradient of values (…, node)."""
        found = square(self.gradient(self.differences(values)))
        return found.sum(axis=-1) @ self.areas

    @abc.abstractmethod
    def divergence(self, vectors: Float[Array, "*axes cell axis"]) -> Float[Array, "*axes node"]:
        """Of vectors at cells, at the nodes; NaN on the rim, and beside cells without one."""


@jax.jit
def _weak_divergence(space: AbstractSpace, vectors: Any) -> Any:
    """Minus the adjoint of the gradient of values at nodes, by areas."""
    along = jnp.einsum("...ca,csa->...cs", vectors, space.slopes) * space.areas[:, None]
    first, second = (space.pairs[:, k][space.sides] for k in (0, 1))
    total = jnp.zeros((*vectors.shape[:-2], space.n_nodes), along.dtype)
    total = total.at[..., first].add(along).at[..., second].add(-along)
    known = jnp.where(space.border, 1.0, space.shares)
    return jnp.where(space.border, jnp.nan, total / known)


class Mesh(AbstractSpace):
    """Triangles between nodes, whose cells are the faces; on each a gradient is exact.

    **Arguments:**

    - `vertices` (node, axis): mm; of two axes or three.
    - `faces` (face, 3): indices of vertices, counter-clockwise seen from outside, all alike.

    The divergence at a node is that of the cotangent weights, over the area of the places that are
    nearest to the node (of obtuse faces half of it, or a quarter). Summed over a closed surface, by
    `shares`, it is zero to rounding.

    Raises `ValueError` for faces without area, with vertices that are not there, or that are not
    oriented alike (an edge that two faces run along in the same direction, or more than two have).

    Source: Meyer, Desbrun, Schröder and Barr, in Visualization and Mathematics III (2003), 35.
    """

    pairs: Int[Array, "pair 2"]
    corners: Int[Array, "cell corner"]
    sides: Int[Array, "cell side"]
    slopes: Float[Array, "cell side axis"]
    ways: Float[Array, "cell side axis"]
    turns: Float[Array, "cell side"] | None
    areas: Float[Array, "cell"]
    centres: Float[Array, "cell axis"]
    shares: Float[Array, "node"]
    border: Bool[Array, "node"]

    def __init__(self, vertices: ArrayLike, faces: ArrayLike) -> None:
        places = _places("vertices", vertices)
        faces = _faces(faces, len(places))
        points = np.zeros((len(places), 3))
        points[:, : places.shape[1]] = places
        corner = points[faces]
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        twice = np.linalg.norm(normal, axis=1)
        opposite = np.roll(corner, -2, axis=1) - np.roll(corner, -1, axis=1)
        flat = twice <= _FLAT * (opposite**2).sum(axis=2).max(axis=1)
        if flat.any():
            which = _listed(flat)
            _checks.fail("faces", "have an area", f"{flat.sum()} of {flat.size} have none: {which}")
        rise = np.cross(normal[:, None], opposite) / (twice**2)[:, None, None]
        directed = np.stack([faces, np.roll(faces, -1, axis=1)], axis=2)
        slopes = (np.roll(rise, -1, axis=1) - rise) / 3
        ways = np.roll(corner, -1, axis=1) - corner
        pairs, sides, signs = _pairs_of(directed, oriented=True)
        axes = slice(places.shape[1])
        once = np.bincount(sides.ravel(), minlength=len(pairs)) == 1
        border = np.ones(len(places), bool)
        border[faces] = False
        border[pairs[once]] = True
        parts = _parts(opposite, twice)
        shares = np.bincount(faces.ravel(), parts.ravel(), minlength=len(places))
        self.pairs, self.corners, self.sides = map(as_array, (pairs, faces, sides))
        self.slopes = as_array((slopes * signs[..., None])[..., axes])
        self.ways = as_array((ways * signs[..., None])[..., axes])
        self.turns = as_array(signs)
        self.areas = as_array(twice / 2)
        self.centres = as_array(places[faces].mean(axis=1))
        self.shares, self.border = as_array(shares), as_array(border)

    def divergence(self, vectors: Float[Array, "*axes cell axis"]) -> Float[Array, "*axes node"]:
        """Of vectors at faces, at the nodes; NaN on the rim, and beside faces without one."""
        return _weak_divergence(self, vectors)


class Grid(AbstractSpace):
    """A regular grid: a line or a ring; a rectangle, a tube or a torus.

    Nodes are in the order of an array of that shape: the last axis runs fastest. Cells are the
    gaps between neighbours, or the squares.

    **Arguments:**

    - `shape`: the number of nodes along one axis or two.
    - `spacing`: mm from node to node, one for all axes or one for each.
    - `periodic`: whether an axis comes back to its beginning, one for all or one for each.
    """

    pairs: Int[Array, "pair 2"]
    corners: Int[Array, "cell corner"]
    sides: Int[Array, "cell side"]
    slopes: Float[Array, "cell side axis"]
    ways: Float[Array, "cell side axis"]
    turns: Float[Array, "cell side"] | None
    areas: Float[Array, "cell"]
    centres: Float[Array, "cell axis"]
    shares: Float[Array, "node"]
    border: Bool[Array, "node"]
    shape: tuple[int, ...] = eqx.field(static=True)
    spacing: tuple[float, ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)

    def __init__(
        self,
        shape: int | Sequence[int],
        spacing: Any,
        periodic: bool | Sequence[bool] = True,
    ) -> None:
        sizes = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
        if len(sizes) not in (1, 2):
            _checks.fail("shape", "have one axis or two", f"it has {len(sizes)}")
        for name, given in (("spacing", spacing), ("periodic", periodic)):
            if np.shape(given) not in ((), (len(sizes),)):
                must = f"be one for all axes or one for each of {len(sizes)}"
                _checks.fail(name, must, f"its shape is {np.shape(given)}")
        _checks.positive("spacing", spacing)
        steps = np.broadcast_to(np.asarray(spacing, float), len(sizes))
        rings = np.broadcast_to(np.asarray(periodic, bool), len(sizes))
        for size, ring in zip(sizes, rings, strict=True):
            _checks.positive_integer("shape", size)
            if size < (least := 3 if ring else 2):
                kind = "a periodic axis" if ring else "an axis"
                _checks.fail("shape", f"be {least} or more along {kind}", f"it is {size}")
        self.shape = tuple(int(size) for size in sizes)
        self.spacing, self.periodic = tuple(steps.tolist()), tuple(rings.tolist())
        index = np.arange(np.prod(sizes)).reshape(sizes)
        first = np.stack(np.meshgrid(*map(np.arange, np.array(sizes) - ~rings), indexing="ij"), -1)
        first = first.reshape(-1, len(sizes))
        # Corners on the way around, and the sides between them: which corners, along which axis.
        around = [(0,), (1,)] if len(sizes) == 1 else [(0, 0), (1, 0), (1, 1), (0, 1)]
        along = [(0, 1, 0)] if len(sizes) == 1 else [(0, 1, 0), (1, 2, 1), (3, 2, 0), (0, 3, 1)]
        places = [(first + np.array(step)) % np.array(sizes) for step in around]
        corners = np.stack([index[tuple(place.T)] for place in places], axis=1)
        directed = np.stack([corners[:, [a, b]] for a, b, _ in along], axis=1)
        ways = np.zeros((len(along), len(sizes)))
        for side, (_, _, axis) in enumerate(along):
            ways[side, axis] = steps[axis]
        slopes = ways / steps**2 * len(sizes) / len(along)
        pairs, sides, signs = _pairs_of(directed, oriented=False)
        area = steps.prod()
        shares = np.bincount(corners.ravel(), minlength=index.size) * area / len(around)
        self.pairs, self.corners, self.sides = map(as_array, (pairs, corners, sides))
        self.slopes = as_array(slopes * signs[..., None])
        self.ways = as_array(ways * signs[..., None])
        self.turns = None if len(sizes) == 1 else as_array(signs * np.array([1, 1, -1, -1]))
        self.areas = as_array(np.full(len(corners), area))
        self.centres = as_array((first + 0.5) * steps)
        self.shares = as_array(shares)
        self.border = as_array(shares < area * (1 - 1e-9))

    def energy(self, values: Any) -> Any:
        """The integral of the squared modulus of the gradient of values (…, node), by sides."""
        along = square(self.differences(values))
        each = along[..., self.sides] * (self.ways * self.slopes).sum(axis=-1)
        each = each / (self.ways**2).sum(axis=-1)
        return each.sum(axis=-1) @ self.areas

    def divergence(self, vectors: Float[Array, "*axes cell axis"]) -> Float[Array, "*axes node"]:
        """Of vectors at cells, at the nodes; NaN on the rim, and beside cells without one."""
        return _weak_divergence(self, vectors)


class Points(AbstractSpace):
    """Scattered nodes, such as the centres of regions: planes are fitted to neighbours.

    Each node is a cell, with those that are nearest to it. Least squares give the gradient in the
    plane in which these lie best.

    **Arguments:**

    - `positions` (node, axis): mm; of two axes or three.
    - `neighbours`: how many of each node, at least as many as there are dimensions.
    - `dimensions`: 2 where nodes lie on a surface, 3 where they fill a volume.

    Raises `ValueError` where neighbours lie on a line (in 3 dimensions: in a plane). Warns where
    half of them do not lie near a plane either.
    """

    pairs: Int[Array, "pair 2"]
    corners: Int[Array, "cell corner"]
    sides: Int[Array, "cell side"]
    slopes: Float[Array, "cell side axis"]
    ways: Float[Array, "cell side axis"]
    turns: Float[Array, "cell side"] | None
    areas: Float[Array, "cell"]
    centres: Float[Array, "cell axis"]
    shares: Float[Array, "node"]
    border: Bool[Array, "node"]

    def __init__(self, positions: ArrayLike, neighbours: int = 8, dimensions: int = 2) -> None:
        from scipy.spatial import KDTree

        places = _places("positions", positions)
        n, axes = places.shape
        _checks.positive_integer("neighbours", neighbours)
        if dimensions not in (2, 3) or dimensions > axes:
            must = f"be 2, or 3 where positions have three axes (here {axes})"
            _checks.fail("dimensions", must, f"it is {dimensions!r}")
        if n <= dimensions:
            must = f"be those of {dimensions + 1} nodes or more, in {dimensions} dimensions"
            _checks.fail("positions", must, f"they are of {n}")
        if not dimensions <= neighbours < n:
            must = f"be from {dimensions} to {n - 1}, with {n} nodes"
            _checks.fail("neighbours", must, f"it is {neighbours}")
        distances, nearest = KDTree(places).query(places, neighbours + 1)
        same = np.asarray(distances[:, 1] == 0)
        if same.any():
            which = _listed(same)
            _checks.fail("positions", "differ from node to node", f"some are the same: {which}")
        others = nearest[:, 1:]
        ways = places[others] - places[:, None]
        left, spread, right = np.linalg.svd(ways, full_matrices=False)
        thin = np.asarray(spread[:, dimensions - 1] < _THIN * spread[:, 0])
        if thin.any():
            lie = "lie on a line" if dimensions == 2 else "lie in a plane"
            must = f"be so many that none of them {lie}"
            _checks.fail("neighbours", must, f"those of {thin.sum()} nodes do: {_listed(thin)}")
        if dimensions < axes and np.median(spread[:, 2] / spread[:, 1]) > _BENT:
            warnings.warn(
                "The neighbours of half of the nodes do not lie near planes: gradients along them "
                "mean little. Take more nodes, fewer `neighbours`, or `dimensions=3`.",
                stacklevel=2,
            )
        kept = slice(dimensions)
        inverse = left[..., kept] / spread[:, None, kept]
        slopes = np.einsum("cks,csa->cka", inverse, right[:, kept])
        plane = np.einsum("csa,csb->cab", right[:, kept], right[:, kept])
        # The pairs, once each; on a way of its own each of the two nodes has.
        directed = np.stack([np.broadcast_to(np.arange(n)[:, None], others.shape), others], axis=2)
        pairs, sides, signs = _pairs_of(directed, oriented=False)
        self.pairs, self.sides = as_array(pairs), as_array(sides)
        self.corners = as_array(np.concatenate([np.arange(n)[:, None], others], axis=1))
        self.slopes = as_array(slopes * signs[..., None])
        self.ways = as_array((ways @ plane) * signs[..., None])
        self.turns = None
        self.areas = self.shares = as_array(np.ones(n))
        self.centres = as_array(places)
        self.border = as_array(np.zeros(n, bool))

    def at_cells(self, values: Any) -> Any:
        """The values (…, node) themselves."""
        return values

    def divergence(self, vectors: Float[Array, "*axes cell axis"]) -> Float[Array, "*axes node"]:
        """Of vectors at nodes, by planes through each component; NaN beside nodes without one."""
        return _fitted_divergence(self, vectors)


@jax.jit
def _fitted_divergence(space: Points, vectors: Any) -> Any:
    first, second = (space.pairs[:, k][space.sides] for k in (0, 1))
    steps = vectors[..., second, :] - vectors[..., first, :]
    return jnp.einsum("...csa,csa->...c", steps, space.slopes)


def check_space(space: Any, argument: str, shape: tuple[int, ...]) -> None:
    """Refuse what is no space, and values of other nodes than its own."""
    if not isinstance(space, AbstractSpace):
        must = "be a `Mesh`, a `Grid` or `Points`"
        _checks.fail("space", must, f"it is {_checks.kind_of(space)}")
    if not shape or shape[-1] != space.n_nodes:
        must = f"have the {space.n_nodes} nodes of `space` along its last axis"
        _checks.fail(argument, must, f"its shape is {shape}")


def _places(name: str, values: Any) -> np.ndarray:
    """Positions (node, axis), checked."""
    if not _checks.is_concrete(values):
        _checks.fail(name, "be known", "JAX traces it")
    array = _checks.numbers(name, values).astype(float)
    if array.ndim != 2 or array.shape[1] not in (2, 3) or not len(array):
        _checks.fail(name, "have shape (node, 2) or (node, 3)", f"its shape is {array.shape}")
    _checks.finite(name, array)
    return array


def _faces(values: Any, n: int) -> np.ndarray:
    """Faces (face, 3), checked against the number of vertices."""
    array = _checks.numbers("faces", values)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        _checks.fail("faces", "have shape (face, 3)", f"its shape is {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        _checks.fail("faces", "be integers", f"they are {array.dtype}")
    array = array.astype(np.int64)
    outside = ((array < 0) | (array >= n)).any(axis=1)
    if outside.any():
        must = f"hold indices from 0 to {n - 1}, of {n} vertices"
        _checks.fail("faces", must, f"{outside.sum()} do not: {_listed(outside)}")
    return array


def _parts(opposite: np.ndarray, twice: np.ndarray) -> np.ndarray:
    """Of each face's area, what belongs to its corners (face, 3): Voronoi's, but for obtuse faces.

    **Arguments:** `opposite` (face, corner, axis): the side across from a corner; `twice` (face,):
    twice the area.
    """
    squares = (opposite**2).sum(axis=2)
    others = np.roll(squares, -1, axis=1), np.roll(squares, -2, axis=1)
    cotangents = (others[0] + others[1] - squares) / (2 * twice[:, None])
    terms = squares * cotangents / 8
    voronoi = np.roll(terms, -1, axis=1) + np.roll(terms, -2, axis=1)
    obtuse = cotangents < 0
    halves = np.where(obtuse, 0.25, 0.125) * twice[:, None]
    return np.where(obtuse.any(axis=1)[:, None], halves, voronoi)


def _pairs_of(directed: np.ndarray, *, oriented: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pair once, from directed sides (cell, side, 2): pairs, sides and signs (cell, side).

    `oriented`: refuse sides that two cells run along in the same direction.
    """
    signs = np.where(directed[..., 0] < directed[..., 1], 1.0, -1.0)
    ordered = np.sort(directed, axis=2).reshape(-1, 2)
    many = int(ordered.max()) + 1
    codes, sides = np.unique(ordered[:, 0] * many + ordered[:, 1], return_inverse=True)
    pairs = np.stack([codes // many, codes % many], axis=1)
    sides = sides.reshape(signs.shape)
    if oriented:
        for sign in (1.0, -1.0):
            again = np.bincount(sides[signs == sign], minlength=len(pairs)) > 1
            if again.any():
                a, b = pairs[np.argmax(again)]
                must = "be oriented alike, with at most two at an edge"
                but = f"{again.sum()} edges are run along twice, as that of vertices {a} and {b}"
                _checks.fail("faces", must, but)
    return pairs, sides, signs


def _listed(which: Any) -> str:
    """The first few of those that are meant."""
    found = np.flatnonzero(which)
    return ", ".join(map(str, found[:5])) + (", …" if found.size > 5 else "")
