"""Lyapunov spectra over planes, and orbit diagrams."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.chaos import lanes, lyapunov_map
from ngnmm_jax.models.notation import notation_of
from tests.conftest import reference_values
from tests.test_lyapunov import nextgen

PLANE = {"i_ext_e": [9.5, 10.0, 13.0], "coupling": [5.0, 12.0]}
TIMES = {"duration": 6000.0, "transient": 1000.0}


@pytest.fixture(scope="module")
def plane():
    return ng.lyapunov_map(nextgen(0.0, 0.0), PLANE, **TIMES)


def test_plane_is_the_reference(plane):
    """Within 4 of our standard errors and the reference's own."""
    for values in reference_values("lyapunov.json")["homogeneous"]:
        place = (
            PLANE["i_ext_e"].index(values["i_ext_e"]),
            PLANE["coupling"].index(values["epsilon"]),
        )
        spectra = plane.spectra
        off = np.abs(spectra.exponents[place] - np.array(values["exponents"]))
        np.testing.assert_array_less(off, 4 * spectra.errors[place] + 1e-3)
    assert plane.spectra.exponents.shape == (3, 2, 6)
    assert (np.asarray(plane.spectra.status) == ng.Status.OK).all()
    assert np.asarray(plane.spectra.number_positive).tolist() == [[0, 0], [0, 1], [0, 0]]
    dimension = np.asarray(plane.spectra.kaplan_yorke)
    assert dimension[1, 1] > 2  # chaos
    assert dimension[2, 1] == 0  # rest
    np.testing.assert_allclose(np.delete(dimension.ravel(), [3, 5]), 1, atol=0.05)  # orbits
    assert plane.ok
    assert "leading exponent  3 × 2: " in repr(plane)
    assert plane.notation == plane.spectra.notation == notation_of(ng.NextGenEI)
    data = plane.to_xarray()
    assert data.exponents.dims == ("i_ext_e", "coupling", "exponent")
    assert data.exponents.attrs["units"] == "1/ms"


def test_lockstep_is_the_single_run(plane):
    """The same spectrum at an orbit and, statistically, in chaos; the sum exactly as often."""
    alone = ng.lyapunov_spectrum(nextgen(13.0, 5.0), **TIMES)
    assert alone.notation == plane.notation
    error = np.hypot(alone.errors, plane.spectra.errors[2, 0])
    np.testing.assert_array_less(
        np.abs(alone.exponents - plane.spectra.exponents[2, 0]), 4 * error + 1e-4
    )
    alone = ng.lyapunov_spectrum(nextgen(10.0, 12.0), **TIMES)
    error = np.hypot(alone.errors, plane.spectra.errors[1, 1])
    np.testing.assert_array_less(np.abs(alone.exponents - plane.spectra.exponents[1, 1]), 5 * error)


@pytest.mark.slow
def test_network_over_a_line(directed):
    """At rest the real parts of the whole Jacobian's eigenvalues; regions differ."""
    n = directed.n_regions
    currents = jnp.linspace(-1.0, 1.0, n)
    network = ng.Network(ng.NextGenEI(i_ext_i=currents), directed, 5.0)
    result = ng.lyapunov_map(
        network, {"i_ext_e": [1.0, 2.0, 3.0]}, 10, duration=1000.0, transient=1000.0, chunk=2
    )
    for k, value in enumerate((1.0, 2.0, 3.0)):
        here = network.with_parameters(i_ext_e=value)
        state = ng.find_equilibria(here).states[0]
        np.testing.assert_allclose(result.spectra.state[k], state, atol=1e-6)
        matrix = jax.jacfwd(lambda x, s=here: s.vector_field(x.reshape(6, n)).ravel())(
            state.ravel()
        )
        exact = np.sort(np.linalg.eigvals(matrix).real)[::-1][:10]
        np.testing.assert_allclose(result.spectra.exponents[k], exact, atol=2e-3)


def test_interval_is_chosen_and_changes_nothing():
    system, start = nextgen(10.0, 12.0), None
    spectra = []
    for interval in (None, 0.25, 10.0):
        one = ng.lyapunov_spectrum(system, start=start, interval=interval, **TIMES)
        spectra.append(one)
    assert spectra[0].interval > 0.5
    assert spectra[1].interval == pytest.approx(0.25)
    # The same trajectory: what differs is when the tangents are made orthonormal.
    np.testing.assert_allclose(spectra[1].exponents, spectra[0].exponents, atol=2e-5)
    np.testing.assert_allclose(spectra[2].exponents, spectra[0].exponents, atol=2e-5)


def test_interval_too_long_is_reported():
    """Tangents that rounding has made parallel are not taken for exponents."""
    result = ng.lyapunov_spectrum(nextgen(10.0, 12.0), interval=200.0, throw=False, **TIMES)
    assert result.status == ng.Status.ILL_CONDITIONED
    with pytest.raises(ng.SolverError, match="shorten `interval`"):
        ng.lyapunov_spectrum(nextgen(10.0, 12.0), interval=200.0, **TIMES)
    # A transient of one step shows little, and yet the interval stays short enough.
    result = ng.lyapunov_spectrum(nextgen(10.0, 12.0), transient=0.05, duration=1000.0)
    assert result.interval < 20
    assert float(result.exponents[5]) == pytest.approx(-0.716, abs=0.03)


def test_store_resumes_and_refuses_what_differs(tmp_path, monkeypatch):
    axes = {"i_ext_e": np.linspace(9.0, 12.0, 6), "coupling": [12.0]}
    options = {"duration": 200.0, "transient": 100.0, "chunk": 2}
    system = nextgen(0.0, 0.0)
    whole = ng.lyapunov_map(system, axes, **options)
    compute = lanes.map_chunks
    calls = []

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(*args, **kwargs)

    monkeypatch.setattr(lanes, "map_chunks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ng.lyapunov_map(system, axes, store=tmp_path, **options)
    resumed = ng.lyapunov_map(system, axes, store=tmp_path, **options)
    assert len(calls) == 4  # two blocks, the interruption, and what was left
    np.testing.assert_array_equal(resumed.spectra.exponents, whole.spectra.exponents)
    (tmp_path / "block-00001.npz").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="damaged"):
        again = ng.lyapunov_map(system, axes, store=tmp_path, **options)
    np.testing.assert_array_equal(again.spectra.exponents, whole.spectra.exponents)
    with pytest.raises(ValueError, match=r"differs in count \(6 there, 3 here\)"):
        ng.lyapunov_map(system, axes, 3, store=tmp_path, **options)
    kept = json.loads((tmp_path / ".ngnmm_store" / "definition.json").read_text())
    assert kept["definition"]["dt"] == [0.05]


def test_a_store_may_be_gone_on_with_on_another_machine(monkeypatch):
    """Stored blocks are as large whatever the devices; what runs at a time is not."""
    seen = []

    def look(total, size, work, *, store, definition, **options):
        seen.append((size, definition()["block"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(lyapunov_map, "in_blocks", look)
    devices = jax.local_devices()
    for machine in (devices[:1], devices[:1] * 8):
        monkeypatch.setattr(jax, "local_devices", lambda machine=machine: machine)
        for store in ("nowhere", None):
            with pytest.raises(KeyboardInterrupt):
                ng.lyapunov_map(nextgen(0.0, 0.0), {"coupling": [1.0]}, store=store)
    assert seen == [(512, 512), (128, 128), (512, 512), (1024, 1024)]


def test_divergence_and_no_equilibrium_are_recorded():
    """A step too long for the model diverges; without equilibria there is no start."""
    result = ng.lyapunov_map(
        nextgen(0.0, 0.0), {"i_ext_e": [2.0, 15.0], "coupling": [12.0]}, dt=3.0, **TIMES
    )
    assert (np.asarray(result.spectra.status) == ng.Status.NOT_FINITE).any()
    assert np.isnan(np.asarray(result.spectra.kaplan_yorke)[result.spectra.status != 0]).all()


# --- orbit diagrams ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def cascade():
    values = np.array([9.0, 9.17, 9.19, 10.0, 11.0, 11.5, 11.54, 12.0, 2.0])
    return ng.orbit_diagram(
        nextgen(0.0, 12.0), {"i_ext_e": values}, "s_e", transient=6000.0, duration=1000.0
    )


def test_cascade(cascade):
    """Period doublings at the reference's 9.17866 and 11.52892; chaos at 10; rest at 2."""
    doublings = [pair[0] for pair in reference_values("bifurcations.json")["period_doubling"]["12"]]
    assert min(doublings) == pytest.approx(9.17866, abs=1e-5)
    count = cascade.distinct(3e-3)
    assert count[1] == 2  # one orbit with two loops
    assert count[2] == 3
    assert count[3] > 30
    assert count[5] == 2
    assert count[6] == count[7] == 1
    assert count[8] == 1
    assert cascade.number[8] == 0
    assert np.isnan(cascade.points[8]).all()
    system = nextgen(2.0, 12.0)
    rest = ng.find_equilibria(system).states[0]
    assert cascade.last[8] == pytest.approx(float(rest[2]), abs=1e-9)
    assert cascade.ok
    assert "s_e at maxima" in repr(cascade)
    assert cascade.notation == notation_of(ng.NextGenEI)
    data = cascade.to_xarray()
    assert data.s_e.dims == ("i_ext_e", "event")


def test_maxima_are_those_of_the_orbit():
    """Their height and their distance in time, against the refined orbit of order eight."""
    system = nextgen(12.0, 8.0)
    orbit = ng.find_orbit(system, steps=256)
    found = ng.orbit_diagram(
        system, {"i_ext_e": [12.0]}, "s_e", transient=3000.0, duration=500.0, dt=0.0125
    )
    run = ng.simulate(
        system,
        float(orbit.period),
        start=orbit.states[0],
        save_every=0.001,
        integrator=ng.integrators.Adaptive(rtol=1e-10, atol=1e-12),
    )
    top = float(run.s_e.max())
    seen = found.points[0][np.isfinite(found.points[0])]
    np.testing.assert_allclose(seen, top, atol=1e-7)
    times = found.times[0][np.isfinite(found.times[0])]
    np.testing.assert_allclose(np.diff(times), orbit.period, atol=1e-6)


def test_section_and_many_events():
    """On the section v_e = -1 the orbit returns after its period; surplus events are counted."""
    system = nextgen(12.0, 8.0)
    period = float(ng.find_orbit(system, steps=256).period)
    found = ng.orbit_diagram(
        system,
        {"coupling": [8.0]},
        "r_e",
        section=("v_e", -1.0),
        transient=3000.0,
        duration=500.0,
        events=10,
    )
    assert found.number[0] in (int(500 / period), int(500 / period) + 1)
    np.testing.assert_allclose(np.diff(found.times[0]), period, atol=5e-6)
    np.testing.assert_allclose(found.points[0], found.points[0, 0], rtol=1e-6)


@pytest.mark.slow
def test_orbit_diagram_of_a_network(small):
    """In synchrony, the region's average has the homogeneous system's maxima."""
    network = ng.Network(ng.NextGenEI(), small, 9.0)
    options = {"transient": 8000.0, "duration": 200.0, "events": 8}
    of_all = ng.orbit_diagram(network, {"i_ext_e": [9.0]}, "s_e", **options)
    of_one = ng.orbit_diagram(network.homogeneous(), {"i_ext_e": [9.0]}, "s_e", **options)
    assert of_all.distinct()[0] == of_one.distinct()[0]
    np.testing.assert_allclose(
        np.sort(of_all.points[0])[-4:], np.sort(of_one.points[0])[-4:], rtol=1e-4
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: ng.lyapunov_map(s, {}), "`parameters` must name at least one"),
        (lambda s: ng.lyapunov_map(s, {"i_ext": [1.0]}), "did you mean"),
        (lambda s: ng.lyapunov_map(s, {"i_ext_e": [np.nan]}), "`i_ext_e` must be finite"),
        (lambda s: ng.lyapunov_map(s, {"i_ext_e": [1.0]}, 7), "`count` must be at most the 6"),
        (lambda s: ng.lyapunov_map(s, {"i_ext_e": [1.0]}, chunk=0), "`chunk` must"),
        (
            lambda s: ng.orbit_diagram(s, {"i_ext_e": [1.0], "coupling": [1.0]}),
            "`parameters` must name one parameter",
        ),
        (lambda s: ng.orbit_diagram(s, {"i_ext_e": [1.0]}, "v"), "`variable` must be one of"),
        (
            lambda s: ng.orbit_diagram(s, {"i_ext_e": [1.0]}, section=("w", 0.0)),
            "`section` must be one of",
        ),
        (lambda s: ng.orbit_diagram(s, {"i_ext_e": [1.0]}, events=0), "`events` must"),
        (lambda s: ng.orbit_diagram(s, {"i_ext_e": [1.0]}, duration=-1.0), "`duration` must"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call(nextgen(2.0, 5.0))


@pytest.mark.slow
def test_network_reference(aal90):
    """The paper's network, in the reference's full window, at two points at once."""
    chaotic = reference_values("lyapunov.json")["network_aal90"][0]
    network = ng.Network(ng.NextGenEI(), aal90, 5.0)
    line = {"i_ext_e": [2.0, 13.0]}
    result = ng.lyapunov_map(network, line, 20, duration=6000.0, transient=1000.0)
    found = np.asarray(result.spectra.exponents[1])
    assert found[0] == pytest.approx(chaotic["leading"], abs=2e-3)
    assert (found > 0).sum() >= chaotic["number_positive_at_least"]
    assert float(result.spectra.kaplan_yorke[0]) == 0  # rest
