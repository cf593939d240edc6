"""Waves, rotors and modes whose answer is known, on lines, grids, meshes, spheres and points."""

import itertools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.spatial import ConvexHull, Delaunay
from scipy.spatial.transform import Rotation
from scipy.special import lpmv, sph_harm_y

import ngnmm_jax as ng
from ngnmm_jax import signals as sg

DT = 1e-3
T = np.arange(8) * DT
RNG = np.random.default_rng(0)


def sphere(level, radius=10.0):
    """An icosahedron, its triangles cut in four `level` times, and turned: no node is a pole."""
    g = (1 + 5**0.5) / 2
    corners = [p for a, b in itertools.product((-1, 1), (-g, g)) for p in ((0, a, b), (a, b, 0))]
    corners += [(b, 0, a) for a, b in itertools.product((-1, 1), (-g, g))]
    points = np.array(corners) / np.linalg.norm(corners[0])
    faces = ConvexHull(points).simplices
    for _ in range(level):
        edges = np.sort(np.concatenate([faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]]))
        edges, back = np.unique(edges, axis=0, return_inverse=True)
        a, b, c = len(points) + back.reshape(3, -1)
        middle = points[edges].mean(axis=1)
        points = np.concatenate([points, middle / np.linalg.norm(middle, axis=1)[:, None]])
        u, v, w = faces.T
        parts = ((u, c, b), (v, a, c), (w, b, a), (a, b, c))
        faces = np.concatenate([np.stack(part, axis=1) for part in parts])
    inside = np.einsum(
        "fa,fa->f", np.cross(*(points[faces[:, k]] for k in (0, 1))), points[faces[:, 2]]
    )
    faces = np.where((inside > 0)[:, None], faces, faces[:, ::-1])
    return radius * Rotation.from_rotvec([0.3, 0.5, 0.2]).apply(points), faces


def sheet(n=150, size=20.0, seed=0):
    """An irregular flat mesh of random nodes, without slivers at its rim."""
    rng = np.random.default_rng(seed)
    side = np.linspace(0, size, 13)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    inner = ((grid > 0) & (grid < size)).all(axis=1)
    grid[inner] += rng.uniform(-0.5, 0.5, (inner.sum(), 2))
    faces = Delaunay(grid).simplices
    a, b, c = (grid[faces[:, k]] for k in range(3))
    up = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    faces = np.where((up > 0)[:, None], faces, faces[:, ::-1])[np.abs(up) > 1e-6]
    return grid, faces


SHEET, FACES = sheet()
BALL, BALL_FACES = sphere(3)
CLOUD = RNG.uniform(0, 20, (60, 3))
X, Y = np.meshgrid(np.arange(12) * 1.5, np.arange(15) * 2.0, indexing="ij")
PLACES = {
    "ring": np.arange(40)[:, None] * 2.0,
    "line": np.arange(9)[:, None] * 2.0,
    "torus": np.stack([X.ravel(), Y.ravel()], axis=1),
    "mesh": SHEET,
    "points": SHEET,
    "volume": CLOUD,
}


@pytest.fixture(scope="module")
def spaces():
    return {
        "ring": sg.Grid(40, 2.0),
        "line": sg.Grid(9, 2.0, periodic=False),
        "torus": sg.Grid((12, 15), (1.5, 2.0)),
        "mesh": sg.Mesh(SHEET, FACES),
        "points": sg.Points(SHEET, 6),
        "volume": sg.Points(CLOUD, 8, dimensions=3),
    }


def plane_wave(places, wavevector, frequency, times=T):
    return np.exp(1j * (2 * np.pi * frequency * times[:, None] - places @ wavevector))


WAVEVECTORS = {
    "ring": 2 * np.pi * np.array([7]) / 80,
    "line": np.array([-0.9]),
    "torus": 2 * np.pi * np.array([3 / 18, -4 / 30]),
    "mesh": np.array([0.31, -0.5]),
    "points": np.array([0.31, -0.2]),
    "volume": np.array([0.05, 0.04, -0.03]),
}


@pytest.mark.parametrize(
    "name", [n if n != "volume" else pytest.param(n, marks=pytest.mark.slow) for n in PLACES]
)
def test_plane_waves_are_exact(spaces, name):
    """Wavevector and frequency of exp(i (2π f t - k x)), in whatever place."""
    space, k = spaces[name], WAVEVECTORS[name]
    found = sg.travelling_waves(plane_wave(PLACES[name], k, 40.0), DT, space)
    assert not np.asarray(found.undefined).any()
    np.testing.assert_allclose(found.wavevector - k, 0.0, atol=1e-12)
    np.testing.assert_allclose(found.frequency, 40.0, rtol=1e-12)
    np.testing.assert_allclose(found.fit, 1.0)
    inner = ~np.asarray(space.border)
    divergence = np.asarray(found.divergence)
    np.testing.assert_allclose(divergence[:, inner], 0.0, atol=1e-12)
    assert np.isnan(divergence[:, ~inner]).all()


def test_speeds_and_lengths(spaces):
    k = WAVEVECTORS["mesh"]
    found = sg.travelling_waves(plane_wave(SHEET, k, 40.0), DT, spaces["mesh"])
    size = np.linalg.norm(k)
    assert found.ok
    np.testing.assert_allclose(found.speed, 2 * np.pi * 40.0 / size / 1000, rtol=1e-10)
    np.testing.assert_allclose(found.wavelength, 2 * np.pi / size, rtol=1e-10)
    np.testing.assert_allclose(found.direction - k / size, 0.0, atol=1e-10)
    np.testing.assert_allclose(found.directionality, 1.0)
    np.testing.assert_allclose(found.times, (1 + np.arange(6)) * DT)
    assert repr(found).startswith("TravellingWaves: all 6 OK")


def test_real_signals_and_their_ends(spaces):
    """A tone that fits into the signal is exact; of another, what is left of its ends is 2 %."""
    times = np.arange(400) * DT
    k = WAVEVECTORS["ring"]
    for frequency, off in ((25.0, 1e-9), (26.2, 2e-2)):
        wave = plane_wave(PLACES["ring"], k, frequency, times).real
        found = sg.travelling_waves(wave, DT, spaces["ring"], (10, 60))
        np.testing.assert_allclose(found.frequency, frequency, rtol=off)
        np.testing.assert_allclose(found.wavevector, k[0], rtol=off)
    assert float(found.times[0]) == pytest.approx(0.08 + DT)  # 4 / (60 - 10) s, and a sample


def test_what_is_undefined_is_counted(spaces):
    """Steps beyond 2π/3, nodes without amplitude, phases that turn too fast; nothing at all."""
    line = spaces["line"]
    for step, why in ((2.09, sg.Undefined.KNOWN), (2.1, sg.Undefined.COARSE)):
        wave = plane_wave(PLACES["line"], np.array([step / 2]), 10.0)
        found = sg.travelling_waves(wave, DT, line)
        assert (np.asarray(found.undefined) == why).all()
        assert np.isnan(np.asarray(found.wavevector)).all() == (why != sg.Undefined.KNOWN)
    assert not found.ok
    assert found.stats["coarse"] == 1.0
    wave = plane_wave(PLACES["line"], np.array([0.2]), 10.0)
    wave[:, 4] = 0.0
    found = sg.travelling_waves(wave, DT, line)
    lost = np.asarray(found.undefined) == sg.Undefined.SILENT
    assert np.flatnonzero(lost[0]).tolist() == [3, 4]
    np.testing.assert_array_equal(np.isnan(found.speed), lost)
    assert found.ok
    fast = sg.travelling_waves(plane_wave(PLACES["line"], np.array([0.2]), 340.0), DT, line)
    assert (np.asarray(fast.undefined) == sg.Undefined.FAST).all()
    together = sg.travelling_waves(plane_wave(PLACES["line"], np.array([0.0]), 10.0), DT, line)
    assert (np.asarray(together.speed) == np.inf).all()
    assert np.isnan(np.asarray(together.direction)).all()


def rotating(places, order=1, frequency=40.0, degree=3):
    """Y of that degree and order that turns about the third axis (time, node)."""
    radius = np.linalg.norm(places, axis=1)
    around = np.arctan2(places[:, 1], places[:, 0])
    envelope = lpmv(order, degree, places[:, 2] / radius)
    return envelope * np.exp(1j * (2 * np.pi * frequency * T[:, None] - order * around))


def worst_speed(places, faces):
    """Of three waves around a sphere: the largest relative error of 2π f R sin θ / 3, off poles."""
    space = sg.Mesh(places, faces)
    found = sg.travelling_waves(rotating(places, 3), DT, space)
    centres = np.asarray(space.centres)
    away = np.hypot(centres[:, 0], centres[:, 1])
    ahead = np.stack([-centres[:, 1], centres[:, 0], 0 * away], axis=1) / away[:, None]
    low = away > 6.0
    speed = 2 * np.pi * 40.0 * away / 3 / 1000
    assert (np.einsum("ca,ca->c", np.asarray(found.direction[0]), ahead)[low] > 0.98).all()
    return np.abs(np.asarray(found.speed[0]) / speed - 1)[low].max()


def test_a_rotating_wave_on_a_sphere():
    """Towards growing φ, as fast as it turns."""
    assert worst_speed(BALL, BALL_FACES) < 0.065


@pytest.mark.slow
def test_errors_fall_as_the_distance_of_nodes_does():
    error = worst_speed(BALL, BALL_FACES) / worst_speed(*sphere(4))
    assert np.log2(error) == pytest.approx(1.0, abs=0.1)


def test_rotors_on_a_sphere():
    """Order one has a rotor at each pole, opposite as seen from outside; charges always cancel."""
    space = sg.Mesh(BALL, BALL_FACES)
    found = sg.phase_singularities(rotating(BALL, 1, degree=1), DT, space)
    assert not np.asarray(found.total).any()
    for k in range(8):
        rotors = found.places(k)
        north = rotors["centres"][:, 2] > 0
        assert rotors["charges"].tolist() == np.where(north, -1, 1).tolist()
        assert north.size == 2
        assert np.abs(rotors["centres"][:, 2]).min() > 9.8
    noise = RNG.normal(size=(8, len(BALL))) + 1j * RNG.normal(size=(8, len(BALL)))
    found = sg.phase_singularities(noise, DT, space)
    assert not np.asarray(found.total).any()
    assert np.asarray(found.positive).min() > 50
    silent = np.where(BALL[:, 2] > 0, noise, 0.0)
    found = sg.phase_singularities(silent, DT, space)
    assert 0.4 < found.stats["undefined"] < 0.6
    assert not np.asarray(found.charge)[np.asarray(found.undefined)].any()
    assert not sg.phase_singularities(0 * noise, DT, space).ok


@pytest.mark.parametrize("name", ["mesh", "torus"])
def test_rotors_of_known_charge(spaces, name):
    """Products of (w - w_k) and of their conjugates: each in its cell, and the rim sees the sum."""
    space = spaces[name] if name == "mesh" else sg.Grid((12, 15), (1.5, 2.0), periodic=False)
    places, charges = PLACES[name], np.array([1, -1, 1])
    centres = np.array([[5.2, 6.1], [12.3, 14.9], [13.1, 5.2]])
    off = (places[:, None] - centres) @ np.array([1, 1j])
    field = np.where(charges > 0, off, off.conj()).prod(axis=1)
    turning = field * np.exp(2j * np.pi * 10 * T)[:, None]
    found = sg.phase_singularities(turning, DT, space)
    counts = np.stack([found.positive, found.negative, found.total])
    np.testing.assert_array_equal(counts - np.array([[2], [1], [1]]), 0)
    rotors = found.places(3)
    for centre, charge in zip(centres, charges, strict=True):
        near = np.linalg.norm(rotors["centres"] - centre, axis=1)
        assert rotors["charges"][near.argmin()] == charge
        assert near.min() < 1.3
    if name == "mesh":
        waves = sg.travelling_waves(turning, DT, space)
        there = np.asarray(waves.undefined)[:, rotors["cells"]]
        assert (there == sg.Undefined.COARSE).all()


def test_waves_from_a_source():
    """Rings around a node: what leaves a disc of radius r is 2π r k; on a sphere it all cancels."""
    side = np.linspace(-10, 10, 41)
    places = np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2)
    far = np.linalg.norm(places, axis=1)
    space = sg.Grid((41, 41), 0.5, periodic=False)
    wave = np.exp(1j * (2 * np.pi * 10 * T[:, None] - 0.8 * far))
    found = np.asarray(sg.travelling_waves(wave, DT, space).divergence[0])
    assert np.nanargmax(found) == far.argmin()
    assert np.nanmin(found) > -1e-2
    inside = far < 7.1
    flow = found[inside] @ np.asarray(space.shares)[inside]
    assert flow == pytest.approx(0.8 * 2 * np.sqrt(np.pi * 0.25 * inside.sum()), rel=0.02)
    sink = sg.travelling_waves(wave.conj() * np.exp(4j * np.pi * 10 * T)[:, None], DT, space)
    np.testing.assert_allclose(sink.divergence[0], -found, atol=1e-10)
    ball = sg.Mesh(BALL, BALL_FACES)
    smooth = np.exp(1j * (2 * np.pi * 10 * T[:, None] - 0.2 * BALL[:, 2]))
    divergence = sg.travelling_waves(smooth, DT, ball).divergence
    np.testing.assert_allclose(divergence @ ball.shares, 0.0, atol=1e-9)
    # The Laplacian of the third coordinate is -2/R² times it, on the sphere.
    np.testing.assert_allclose(divergence[0], -0.2 * 2 / 100 * BALL[:, 2], atol=2e-3)


def test_standing_and_travelling():
    """||a| - |b|| / (|a| + |b|) of two waves; 1 on a sphere; the inverse of a condition number."""
    x = 2 * np.pi * np.arange(30) / 30
    for a, b in ((1.0, 0.0), (1.0, 1.0), (2.0, 0.5j), (0.3, -0.9)):
        index = sg.travelling_index(a * np.exp(3j * x) + b * np.exp(-3j * x))
        assert index == pytest.approx(abs(abs(a) - abs(b)) / (abs(a) + abs(b)), abs=1e-7)
    pattern = RNG.normal(size=(5, 30)) + 1j * RNG.normal(size=(5, 30))
    mass = RNG.uniform(0.5, 2, 30)
    for one, index in zip(pattern, sg.travelling_index(pattern, mass), strict=True):
        parts = np.sqrt(mass)[:, None] * np.stack([one.real, one.imag], axis=1)
        assert float(index) == pytest.approx(1 / np.linalg.cond(parts))
    ball = sg.Mesh(BALL, BALL_FACES)
    turning = sg.travelling_index(rotating(BALL, 2), ball.shares)
    np.testing.assert_allclose(turning, 1.0, atol=2e-3)  # areas of a mesh
    assert np.isnan(sg.travelling_index(np.zeros(4)))


def test_complex_modes_take_a_mixture_apart():
    """A strong travelling wave and a weaker standing one of another frequency; all adds up."""
    n, times = 30, np.arange(500) * 2e-3
    x = 2 * np.pi * np.arange(n) / n
    wave = np.cos(2 * np.pi * 12 * times[:, None] - 3 * x)
    stands = np.cos(2 * np.pi * 7 * times[:, None]) * np.cos(5 * x)
    modes = sg.complex_modes(wave + 0.5 * stands, 2e-3, (4, 24), count=3)
    np.testing.assert_allclose(modes.share[:2], [8 / 9, 1 / 9], rtol=1e-6)
    np.testing.assert_allclose(modes.travelling[:2], [1, 0], atol=1e-5)
    np.testing.assert_allclose(modes.frequency[:2], [12, 7], rtol=1e-6)
    assert modes.status.tolist() == [0, 0, ng.Status.NOT_FINITE]
    z = sg.analytic_signal(wave + 0.5 * stands, 2e-3, (4, 24))[100:-100]
    np.testing.assert_allclose(modes.amplitudes[:, :2] @ modes.vectors[:, :2].T, z, atol=1e-9)
    assert modes.first == pytest.approx(0.2)


def test_spectrum_over_wavenumbers(spaces):
    """Parseval; where a wave goes; two that meet; a pattern at rest."""
    noise = RNG.normal(size=(9, 180))
    torus = spaces["torus"]
    spectrum = sg.wavenumber_spectrum(noise, DT, torus)
    assert float(spectrum.power.sum()) == pytest.approx((noise**2).mean())
    times = np.arange(100) * DT
    k = WAVEVECTORS["torus"]
    there = plane_wave(PLACES["torus"], k, 50.0, times).real
    back = plane_wave(PLACES["torus"], -k, 50.0, times).real
    spectrum = sg.wavenumber_spectrum(1 + there + 0.5 * back, DT, torus)
    np.testing.assert_allclose(spectrum.wavevector, k)
    assert float(spectrum.travelling) == pytest.approx((1 - 0.25) / (1 + 0.25))
    assert spectrum.peak_frequency == pytest.approx(50.0)
    assert float(spectrum.speed) == pytest.approx(2 * np.pi * 50 / np.linalg.norm(k) / 1000)
    ring = sg.wavenumber_spectrum(
        np.ones((8, 1)) * np.cos(0.5 * np.pi * np.arange(40)), DT, spaces["ring"]
    )
    assert ring.speed == 0
    assert float(ring.wavelength) == pytest.approx(8.0)
    highest = sg.wavenumber_spectrum(
        np.cos(np.arange(8))[:, None] * (-1.0) ** np.arange(40), DT, spaces["ring"]
    )
    assert float(highest.wavelength) == pytest.approx(4.0)
    assert float(highest.travelling) == 0


def test_one_length_of_a_pattern(spaces):
    """On a ring 2π over 2 sin(k h/2) / h, exactly; harmonics on a sphere, to 1.5 %."""
    k = WAVEVECTORS["ring"][0]
    wave = np.cos(k * PLACES["ring"][:, 0]) + 3.0
    length = sg.pattern_wavelength(wave, spaces["ring"])
    assert float(length) == pytest.approx(2 * np.pi / np.sin(k))  # h = 2
    assert np.isnan(sg.pattern_wavelength(np.full(40, 7.0), spaces["ring"]))
    checks = (-1.0) ** np.add.outer(np.arange(12), np.arange(14)).ravel()
    assert float(sg.pattern_wavelength(checks, sg.Grid((12, 14), 1.0))) == pytest.approx(
        np.pi / 2**0.5
    )
    lengths = sg.pattern_wavelength(rotating(BALL, 2, degree=4), sg.Mesh(BALL, BALL_FACES))
    np.testing.assert_allclose(lengths, 2 * np.pi * 10 / np.sqrt(20), rtol=0.015)


def harmonics(places, most):
    """Real spherical harmonics (node, mode) up to a degree, and the degrees (mode,)."""
    theta, phi = np.arccos(places[:, 2]), np.arctan2(places[:, 1], places[:, 0])
    columns, degrees = [], []
    for degree in range(most + 1):
        for order in range(degree + 1):
            value = sph_harm_y(degree, order, theta, phi) * (2**0.5 if order else 1.0)
            columns += [value.real, value.imag] if order else [value.real]
            degrees += [degree] * (2 if order else 1)
    return np.stack(columns, axis=1), np.array(degrees)


def test_power_of_degrees_is_the_same_however_the_sphere_is_turned():
    """On Gauss's nodes, where harmonics are orthonormal to rounding."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    around = 2 * np.pi * np.arange(16) / 16
    z, phi = (a.ravel() for a in np.meshgrid(nodes, around, indexing="ij"))
    places = np.stack([np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi), z], axis=1)
    mass = np.repeat(weights, 16) * 2 * np.pi / 16
    vectors, degrees = harmonics(places, 5)
    basis = sg.ModalBasis(vectors, mass)
    mixture = RNG.normal(size=(7, degrees.size))
    powers = []
    for turn in (np.zeros(3), np.array([0.4, 1.1, -0.6])):
        turned = harmonics(Rotation.from_rotvec(turn).apply(places), 5)[0]
        activity = sg.modal_activity(mixture @ turned.T, DT, basis)
        labels, power = activity.power_of(degrees)
        assert labels.tolist() == list(range(6))
        assert float(power.sum()) == pytest.approx(float(activity.energy), rel=1e-12)
        powers.append(power)
        assert activity.missed < 1e-12
    np.testing.assert_allclose(powers[0], powers[1], rtol=1e-12)
    assert np.abs(activity.power / (mixture**2).mean(axis=0) - 1).max() > 0.1


def test_modes_of_a_ring():
    """Parseval, what is missed, spectra and correlations of complex modes."""
    n, times = 12, np.arange(400) * DT
    vectors = np.exp(2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) / n**0.5
    x = 2 * np.pi * np.arange(n) / n
    signal = 0.3 + np.cos(2 * np.pi * 25 * times[:, None] - 2 * x) + 0.1 * RNG.normal(size=(400, n))
    basis = sg.ModalBasis(vectors)
    activity = sg.modal_activity(signal, DT, basis)
    assert float(activity.power.sum()) == pytest.approx((signal**2).sum(axis=1).mean(), rel=1e-12)
    assert activity.missed < 1e-20
    np.testing.assert_allclose(basis.rebuild(activity.amplitudes), signal, atol=1e-12)
    few = sg.ModalBasis(vectors[:, [0, 2, 10]])
    part = sg.modal_activity(signal, DT, few)
    assert float(part.missed) == pytest.approx(1 - float(part.share.sum()), rel=1e-9)
    assert float(part.variance[0]) < 0.02
    assert float(part.power[0]) == pytest.approx(n * 0.09, rel=0.05)
    assert part.spectrum(segment=0.4).peak_frequency[1:].tolist() == [25.0, 25.0]
    together = part.connectivity
    np.testing.assert_allclose(jnp.diagonal(together), 1.0)
    # Amplitudes of k and -k are each other's conjugates, which turn in opposite directions.
    assert abs(complex(together[1, 2])) < 0.05
    rebuilt = few.rebuild(part.amplitudes, [1, 2])
    fc = sg.functional_connectivity(rebuilt.real)
    assert float(fc[0, 3]) == pytest.approx(np.cos(2 * x[3]), abs=0.05)


def test_modes_that_are_not_orthogonal():
    """Left vectors of directed weights, and least squares."""
    weights = RNG.uniform(size=(6, 6))
    vectors = scipy.linalg.eig(weights)[1]
    with pytest.raises(ValueError, match="`vectors` must be orthonormal by `mass`"):
        sg.ModalBasis(vectors)
    with pytest.raises(ValueError, match="`left` must be scaled"):
        sg.ModalBasis(vectors, left=2 * np.linalg.inv(vectors).conj().T)
    basis = sg.ModalBasis(vectors, left=np.linalg.inv(vectors).conj().T)
    signal = RNG.normal(size=(20, 6))
    activity = sg.modal_activity(signal, DT, basis)
    np.testing.assert_allclose(basis.rebuild(activity.amplitudes), signal, atol=1e-10)
    mass, patterns = RNG.uniform(0.5, 2, 6), RNG.normal(size=(6, 3))
    fitted = sg.ModalBasis.fitted(patterns, mass)
    root = np.sqrt(mass)[:, None]
    known = np.linalg.lstsq(root * patterns, root * signal.T, rcond=None)[0]
    np.testing.assert_allclose(fitted.project(signal), known.T, atol=1e-10)
    with pytest.raises(ValueError, match="independent"):
        sg.ModalBasis.fitted(np.ones((6, 2)))


def test_multiplets():
    degrees = np.repeat(np.arange(4), 2 * np.arange(4) + 1)
    values = degrees * (degrees + 1.0) * (1 + 1e-9 * RNG.normal(size=16))
    order = RNG.permutation(16)
    np.testing.assert_array_equal(sg.multiplets(values[order]), degrees[order])
    assert sg.multiplets([1 + 2j, 1 - 2j, 1 + 3j, 0.0]).tolist() == [1, 1, 2, 0]


def test_invariances():
    """Nodes permuted; times and lengths in another unit; windows; jit and derivatives."""
    space = sg.Mesh(BALL, BALL_FACES)
    wave = rotating(BALL, 3) + 0.05 * RNG.normal(size=(8, len(BALL)))
    known = sg.travelling_waves(wave, DT, space)
    order = RNG.permutation(len(BALL))
    moved = sg.Mesh(BALL[order], np.argsort(order)[BALL_FACES])
    same = sg.travelling_waves(wave[:, order], DT, moved)
    np.testing.assert_allclose(same.wavevector, known.wavevector, atol=1e-12)
    np.testing.assert_allclose(same.divergence, known.divergence[:, order], atol=1e-10)
    larger = sg.travelling_waves(wave, 3 * DT, sg.Mesh(2 * BALL, BALL_FACES))
    np.testing.assert_allclose(3 * larger.frequency, known.frequency)
    np.testing.assert_allclose(2 * larger.wavevector, known.wavevector, atol=1e-12)
    np.testing.assert_allclose(larger.speed, known.speed * 2 / 3)
    faint = sg.travelling_waves(1e-120 * wave, DT, space)
    np.testing.assert_allclose(faint.wavevector, known.wavevector, atol=1e-12)
    np.testing.assert_allclose(faint.amplitude, 1e-120 * known.amplitude)


def test_transformations(spaces):
    line = spaces["line"]
    signal = jnp.asarray(plane_wave(PLACES["line"], np.array([0.4]), 30.0).real)
    tone = jnp.asarray(plane_wave(PLACES["line"], np.array([0.4]), 30.0).imag)

    def number(scale):
        z = jax.lax.complex(signal, scale * tone)
        return sg.travelling_waves(z, DT, line).wavenumber.mean()

    both = jax.jit(jax.value_and_grad(number))
    high, low = (float(both(1.1 + step)[0]) for step in (1e-5, -1e-5))
    assert float(both(1.1)[1]) == pytest.approx((high - low) / 2e-5, rel=1e-6)
    assert float(both(1.0)[0]) == pytest.approx(0.4)

    @jax.jit
    @jax.vmap
    def charges(z):
        return sg.phase_singularities(z, DT, spaces["torus"]).charge

    assert not np.asarray(charges(jnp.ones((2, 8, 180), complex))).any()


def test_noise_is_averaged_out(spaces):
    """By as much as products of neighbours are off, Im(n_i* + n_j + n_i* n_j), over windows."""
    times = np.arange(802) * DT
    k, size = WAVEVECTORS["ring"], 0.5
    wave = plane_wave(PLACES["ring"], k, 40.0, times)
    noise = size * RNG.normal(size=(2, *wave.shape)) / 2**0.5
    found = sg.travelling_waves(wave + noise[0] + 1j * noise[1], DT, spaces["ring"], window=50 * DT)
    np.testing.assert_allclose(found.times, (25.5 + 50 * np.arange(16)) * DT)
    assert found.stats["coarse"] == 0
    expected = np.sqrt((size**2 + size**4 / 2) / 50) / 2.0  # nodes are 2 mm apart
    off = np.asarray(found.wavevector) - k
    assert np.sqrt((off**2).mean()) == pytest.approx(expected, rel=0.1)
    assert abs(off.mean()) < expected / 10
    np.testing.assert_allclose(np.mean(found.coherence), 1 / (1 + size**2), rtol=0.03)


def test_refusals(spaces):
    """Which argument, and what to do."""
    wave = plane_wave(PLACES["line"], np.array([0.2]), 10.0)
    line = spaces["line"]
    flipped = np.concatenate([FACES[:1, ::-1], FACES[1:]])
    for call, words in (
        (lambda: sg.travelling_waves(wave.real, DT, line), "`band` must say which rhythm"),
        (lambda: sg.travelling_waves(wave, DT, line, (1, 9)), "`band` must be left out"),
        (lambda: sg.travelling_waves(wave.real, DT, line, (100, 300)), "`signal` must last 0.0"),
        (lambda: sg.travelling_waves(wave, DT, spaces["ring"]), "the 40 nodes of `space`"),
        (
            lambda: sg.travelling_waves(wave, DT, line, window=1.0),
            "`window` must be 0.006 s or less",
        ),
        (lambda: sg.phase_singularities(wave, DT, line), "faces to go around"),
        (lambda: sg.wavenumber_spectrum(wave.real, DT, line), "periodic along each axis"),
        (lambda: sg.complex_modes(wave, DT, count=9), "`count` must be 8 or less"),
        (lambda: sg.travelling_index(wave[0], np.zeros(9)), "`mass` must be positive"),
        (lambda: sg.Mesh(SHEET, flipped), "`faces` must be oriented alike"),
        (lambda: sg.Mesh(SHEET, [[0, 1, 169]]), "indices from 0 to 168"),
        (lambda: sg.Mesh(SHEET, [[0, 1, 2]]), "`faces` must have an area"),
        (lambda: sg.Mesh(SHEET, [[0.0, 1, 2]]), "`faces` must be integers"),
        (lambda: sg.Grid((3, 3, 3), 1.0), "one axis or two"),
        (lambda: sg.Grid(2, 1.0), "be 3 or more along a periodic axis"),
        (lambda: sg.Points(SHEET[:12], 4), "so many that none of them lie on a line"),
        (lambda: sg.Points(np.repeat(SHEET, 2, axis=0)), "differ from node to node"),
        (lambda: sg.Points(SHEET, 6, dimensions=3), "`dimensions` must be 2"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.warns(UserWarning, match="do not lie near planes"):
        sg.Points(CLOUD)


def read(blocks):
    """What a reader has after the first blocks of docs/waves.md: the paper's model on a ring."""
    path = Path(__file__).resolve().parents[1] / "docs" / "waves.md"
    found = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 4
    space = {}
    for k, block in enumerate(found[:blocks]):
        exec(compile(block, f"{path.name} block {k}", "exec"), space)
    return space


def test_growth_in_simulation_is_the_dispersion_relations():
    """All six exponents of a mode, from its amplitudes in a simulation next to rest, to 1e-6."""
    page = read(1)
    cosine = np.cos(2 * np.pi * 5 * np.arange(60) / 60)
    rest = np.asarray(page["rest"])[:, None]
    start = rest + 1e-6 * np.array([[1, -2, 1, 3, 1, -1]]).T * cosine
    run = ng.simulate(page["network"], 12.0, start=start, dt=0.01, save_every=0.2)
    basis = sg.ModalBasis((cosine / np.linalg.norm(cosine))[:, None])
    amplitudes = np.asarray(basis.project(np.asarray(run.states) - rest))[..., 0]
    # What takes each sample to the next is the exponential of the mode's matrix.
    step = np.linalg.lstsq(amplitudes[:-1], amplitudes[1:], rcond=None)[0]
    found = np.sort_complex(np.log(np.linalg.eigvals(step).astype(complex)) / 0.2)
    np.testing.assert_allclose(found, np.sort_complex(page["modes"].eigenvalues[5]), atol=1e-6)


@pytest.mark.slow
def test_the_pattern_is_that_of_the_dispersion_relation():
    """From noise: its wavelength exactly, frequency and speed to 3 %; what the page says of it."""
    page = read(4)
    modes, waves, ring = page["modes"], page["waves"], page["ring"]
    growth = np.asarray(modes.growth)
    assert page["fastest"] == growth.argmax() == 5
    assert growth[0] < 0
    assert float(growth[5]) == pytest.approx(0.0114, abs=5e-5)
    length, frequency = 48.0, float(modes.frequency[5])
    assert frequency == pytest.approx(158.6, abs=0.05)
    assert int(np.argmax(page["power"][1:])) == 4
    assert float(page["activity"].missed) < 1e-20
    assert float(page["spectrum"].wavelength) == pytest.approx(length)
    assert abs(float(page["spectrum"].travelling)) > 0.99
    assert waves.stats["coarse"] == 0
    np.testing.assert_allclose(waves.wavelength, length, rtol=0.05)
    np.testing.assert_allclose(waves.frequency, frequency, rtol=0.03)
    speed = np.asarray(waves.speed)
    np.testing.assert_allclose(speed, frequency * length / 1000, rtol=0.07)
    assert np.median(speed) == pytest.approx(frequency * length / 1000, rel=0.03)
    assert np.median(speed) == pytest.approx(7.8, abs=0.05)
    assert np.median(waves.frequency) == pytest.approx(162.3, abs=0.1)
    leading = page["leading"]
    assert float(leading.share[0]) > 0.99
    assert float(leading.travelling[0]) > 0.99
    # Without the harmonics that make its crests narrow; on nodes a twelfth of a wave apart.
    found = float(sg.pattern_wavelength(leading.vectors[:, 0], ring))
    assert found == pytest.approx(length * 0.2618 / np.sin(0.2618), rel=1e-3)
