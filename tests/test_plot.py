"""Figures hold the data they are given, with labels and units."""

import dataclasses
import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.contour import ContourSet
from PIL import Image

import ngnmm_jax as ng
from ngnmm_jax._core.status import Status
from ngnmm_jax.chaos.lyapunov_map import LyapunovMap
from ngnmm_jax.chaos.orbit_diagram import OrbitDiagram
from ngnmm_jax.dynamics.lyapunov import LyapunovSpectrum
from ngnmm_jax.dynamics.periodic import Orbit
from ngnmm_jax.models.notation import Notation, notation_of
from ngnmm_jax.plot import _style as style
from ngnmm_jax.simulation.spiking import SpikingSimulation
from ngnmm_jax.stability.maps import DispersionMap
from ngnmm_jax.stability.response import LinearResponse


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def network(small):
    return ng.Network(ng.NextGenEI(i_ext_e=15.0), small, 9.0)


@pytest.fixture(scope="module")
def run(network):
    return ng.simulate(network, 400.0, dt=0.02)


def test_axes_and_figures_are_kept_alike(network, run, tmp_path):
    for number, drawn in enumerate((ng.find_equilibria(network.homogeneous()).plot(), run.plot())):
        drawn.figure.savefig(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 1000


def test_dispersion(network, directed):
    state = ng.find_equilibria(network.homogeneous()).states[0]
    modes = ng.dispersion(network, state)
    curve = ng.dispersion(network, state, lambdas=np.linspace(-1, 1, 21))
    ax = ng.plot.dispersion(curve, modes)
    assert "Λ" in ax.get_xlabel() or "Lambda" in ax.get_xlabel()
    assert ax.get_ylabel() == "growth rate (1/ms)"
    drawn = sum(line.get_xdata().size for line in ax.lines if line.get_marker() in ("o", "s"))
    assert drawn == 12
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert f"{int(modes.number_growing)} growing" in texts
    other = ng.Network(network.model, directed, 9.0)
    assert ng.plot.dispersion(ng.dispersion(other, state)).get_xlabel().startswith("Re")
    with pytest.raises(ValueError, match="at least one"):
        ng.plot.dispersion()


@pytest.fixture(scope="module")
def plane(network):
    """A map as `dispersion_map` has it, of made up numbers: oscillations on the left, rest on the
    right, both in a column; onsets around a patch of oscillations and across rest; chaos and
    nothing in a corner each.
    """
    rng, axes = np.random.default_rng(0), (np.linspace(0, 16, 9), np.linspace(0, 30, 7))
    height = np.add.outer(axes[0] / 16, axes[1] / 30)[..., None]
    kind = np.zeros((9, 7, 5), int)
    kind[..., 0] = 1
    kind[..., 1:2] = height > 1.2
    kind[:7, :, 3] = 2
    kind[-1, -1, 3] = 3
    kind[0, 0] = 0
    there = kind > 0
    patch = 0.4 - np.hypot(*np.meshgrid((axes[0] - 6) / 8, (axes[1] - 12.5) / 15, indexing="ij"))
    growth = np.where(kind == 2, patch[..., None], height - 1.3)
    growth = np.where(there, growth, np.nan)
    uniform = np.where(kind == 2, -0.1, (11.0 - axes[0])[:, None, None])
    growing = np.where(growth > 0, np.ceil(9 * growth), 0).astype(int)
    return DispersionMap(
        parameters=dict(zip(("i_ext_e", "coupling"), axes, strict=True)),
        lambdas=np.linspace(-0.5, 1.0, 12),
        kind=kind,
        states=np.where(there[..., None], rng.normal(size=(*kind.shape, 6)), np.nan),
        period=np.where(kind == 2, 20 + height, np.nan),
        growth_uniform=np.where(there, uniform, np.nan),
        growth_transverse=growth,
        number_growing=np.where(there, growing, -1),
        fastest=np.where(there, rng.integers(0, 11, kind.shape), -1),
        frequency=np.where(there & (kind < 3), 40 * rng.random(kind.shape), np.nan),
        error=np.where(there, 1e-12, np.nan),
        complete=np.ones((9, 7), bool),
        status=np.where(there.any(axis=-1), Status.OK, Status.NONE_FOUND),
        variables=network.model.variables,
        time_unit="ms",
        notation=notation_of(network.model),
    )


@pytest.fixture(scope="module")
def row(plane):
    """One row of the plane: a map over one parameter."""
    line = {"i_ext_e": plane.parameters["i_ext_e"]}
    parts = {
        field.name: getattr(plane, field.name)
        for field in dataclasses.fields(plane)
        if np.shape(getattr(plane, field.name))[:2] == (9, 7)
    }
    return dataclasses.replace(plane, parameters=line, **{k: v[:, 3] for k, v in parts.items()})


def test_map(plane, row):
    resting = ((plane.kind == 1) & plane.stable).any(axis=-1)
    moving = (plane.kind > 1).any(axis=-1)
    for quantity in ("growth_transverse", "number_growing"):
        ax = ng.plot.dispersion_map(plane, quantity=quantity)
        for mesh, mask in zip(ax.collections[::2], (resting & ~moving, moving), strict=False):
            shown = mesh.get_array()
            assert shown.shape == (7, 9)
            np.testing.assert_array_equal(~np.ma.getmaskarray(shown), mask.T)
    ax = ng.plot.dispersion_map(plane, quantity="period")
    np.testing.assert_array_equal(
        ax.collections[0].get_array().compressed().max(), np.nanmax(plane.period)
    )
    with pytest.raises(ValueError, match="span two parameters"):
        ng.plot.map_cut(row, 1.0)
    with pytest.raises(ValueError, match="`quantity` must be one of"):
        ng.plot.dispersion_map(plane, quantity="colour")


def test_map_over_one_parameter(row):
    """Each stable equilibrium and each orbit is there once."""
    ax, values = row.plot(), row.parameters["i_ext_e"]
    stable = (row.kind == 1) & row.stable
    for marker, mask in (("o", stable), ("s", row.kind == 2)):
        (drawn,) = (one for one in ax.lines if one.get_marker() == marker)
        np.testing.assert_array_equal(drawn.get_ydata(), row.growth_transverse[mask])
        np.testing.assert_array_equal(drawn.get_xdata(), values[np.nonzero(mask)[0]])
    assert "transverse growth" in ax.get_ylabel()
    ax = ng.plot.dispersion_map(row, quantity="period")
    assert [one.get_marker() for one in ax.lines] == ["s"]
    unsound = dataclasses.replace(row, status=np.full(9, Status.NOT_CONVERGED))
    assert "x" in [one.get_marker() for one in unsound.plot().lines]


def test_map_details_and_cut(plane):
    figure = ng.plot.map_details(plane, title="a title")
    assert len([ax for ax in figure.axes if ax.get_xlabel()]) == 6
    ax = ng.plot.map_cut(plane, 9.0)
    drawn = sum(line.get_xdata().size for line in ax.lines if line.get_marker() == ".")
    assert drawn == (plane.kind[:, 2] > 0).sum()


def test_map_marks_what_did_not_converge(plane):
    """Crossed cells and a note; no onset beside them; crosses in the cut."""
    status = np.full(plane.status.shape, Status.OK)
    status[2:5, 1:5] = Status.NOT_CONVERGED
    doubtful = dataclasses.replace(plane, status=status)
    ax = ng.plot.dispersion_map(doubtful)
    (crossed,) = (one for one in ax.collections if one.get_hatch())
    assert len(crossed.get_paths()) == 12
    assert "crossed: 12 not converged" in ax.texts[0].get_text()
    x, y = plane.parameters.values()
    for contour in (one for one in ax.collections if isinstance(one, ContourSet)):
        for path in (path for path in contour.get_paths() if len(path.vertices)):
            inside = (path.vertices > (x[1], y[0])) & (path.vertices < (x[5], y[5]))
            assert not inside.all(axis=1).any()
    labels = [text.get_text() for text in ng.plot.map_cut(doubtful, y[2]).get_legend().get_texts()]
    assert "not converged" in labels
    assert "crossed" not in "".join(text.get_text() for text in ng.plot.dispersion_map(plane).texts)


def test_bars_about_zero_have_numbers_on_both_sides():
    _, ax = plt.subplots()
    values = np.ma.array([[-30.0, 0.9], [0.0, -2.0]])
    bar = style.draw_map(ax, [0, 1], [0, 1], values, norm=style.around_zero(values))
    assert min(bar.get_ticks()) <= -15
    assert 0.4 < max(bar.get_ticks()) <= 0.9
    bar = style.draw_map(ax, [0, 1], [0, 1], values - 1, norm=style.around_zero(values - 1))
    assert max(bar.get_ticks()) == 0
    assert np.diff(bar.get_ticks()).min() >= 5  # none is written over zero


def test_dispersion_family(network):
    curves = {}
    for value in (1.0, 2.0):
        here = network.with_parameters(i_ext_e=value)
        state = ng.find_equilibria(here.homogeneous()).states[0]
        grid = np.linspace(-1, 1, 21)
        curves[value] = (ng.dispersion(here, state, lambdas=grid), ng.dispersion(here, state))
    ax = ng.plot.dispersion_family(curves, "i_ext_e")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["1", "2"]
    with pytest.raises(ValueError, match="at least one"):
        ng.plot.dispersion_family({}, "i_ext_e")


def test_activity(run):
    figure = ng.plot.activity(run, title="a title")
    raster, *_ = figure.axes
    assert raster.get_xlabel() == "time (ms)"
    assert raster.get_ylabel() == "region"
    assert raster.collections[0].get_array().shape[0] == 12
    part = ng.plot.raster(run, "r_i", window=(100.0, 200.0))
    assert part.collections[0].get_array().shape == (12, 101)
    spectrum = ng.plot.spectrum(run)
    assert spectrum.get_xlabel() == "frequency (Hz)"
    mean = ng.plot.mean_field(run)
    np.testing.assert_allclose(mean.lines[0].get_ydata(), np.asarray(run.v_e).mean(axis=1))


def test_raster_at_rest_shows_no_rounding(network):
    quiet = ng.simulate(network.with_parameters(i_ext_e=0.0), 200.0, dt=0.02)
    low, high = ng.plot.raster(quiet, window=(150.0, 200.0)).collections[0].get_clim()
    assert high - low > 0.01


def test_homogeneous_run(network):
    run = ng.simulate(network.homogeneous(), 100.0, dt=0.02)
    assert ng.plot.mean_field(run).lines[0].get_ydata().shape == (101,)
    assert ng.plot.spectrum(run).get_xlabel() == "frequency (Hz)"
    with pytest.raises(ValueError, match="one run of a network"):
        ng.plot.raster(run)


def test_brain_and_connectome(hcp, directed):
    modes = hcp.normalised().eigenmodes()
    figure = ng.plot.brain(hcp, modes.vectors[:, 1], label="mode")
    assert [ax.get_title() for ax in figure.axes[:3]] == [
        "from above",
        "from the left",
        "from behind",
    ]
    above = figure.axes[0].collections[0].get_offsets()
    order = np.argsort(hcp.centroids[:, 2])
    np.testing.assert_allclose(above, hcp.centroids[order, :2])
    ng.plot.brain(hcp, np.abs(modes.vectors[:, 1]), diverging=False)
    ng.plot.connectome_matrix(hcp)
    ng.plot.structural_spectrum(hcp.normalised())
    assert ng.plot.structural_spectrum(directed).get_ylabel().startswith("Im")
    with pytest.raises(ValueError, match="have centroids"):
        ng.plot.brain(directed, np.zeros(9))
    with pytest.raises(ValueError, match="`values` must be real"):
        ng.plot.brain(hcp, modes.vectors[:, 1] * 1j)
    with pytest.raises(ValueError, match="`values` must have shape"):
        ng.plot.brain(hcp, np.zeros(3))


LINE = {"i_ext_e": np.array([2.0, 9.0, 10.0])}


@pytest.fixture(scope="module")
def spectra():
    """Lyapunov exponents along a line, made up: of rest, an orbit and chaos."""
    exponents = np.array([[-0.1, -0.2, -0.3], [0.0, -0.1, -0.3], [0.02, 0.0, -0.4]])
    values = {
        "exponents": exponents,
        "errors": np.full((3, 3), 1e-3),
        "step_errors": np.full((3, 3), 1e-6),
        "running": np.repeat(exponents[:, None], 20, axis=1),
        "state": np.zeros((3, 6)),
        "interval": np.ones(3),
        "status": np.full(3, Status.OK),
    }
    notation = notation_of(ng.NextGenEI)
    spectra = LyapunovSpectrum(**jax.tree.map(jnp.asarray, values), notation=notation)
    return LyapunovMap(LINE, spectra, "ms", notation)


@pytest.fixture(scope="module")
def diagram():
    """Maxima along that line, made up: none, one again and again, and many."""
    points = np.array([[np.nan] * 8, [0.5] * 8, np.linspace(-1, 1, 8)])
    times = np.where(np.isnan(points), np.nan, np.arange(8.0))
    number, last, status = np.array([0, 8, 8]), np.array([-1.5, 0.2, 0.3]), np.full(3, Status.OK)
    notation = notation_of(ng.NextGenEI)
    return OrbitDiagram(LINE, "v_e", None, points, times, number, last, status, "ms", notation)


def test_lyapunov_and_cascade(network, spectra, diagram):
    twice = jax.tree.map(lambda leaf: np.stack([leaf, leaf], axis=1), spectra.spectra)
    axes = {**LINE, "coupling": np.array([8.0, 12.0])}
    plane = dataclasses.replace(spectra, parameters=axes, spectra=twice)
    figure = ng.plot.cascade(diagram, spectra, title="a title")
    top, bottom = figure.axes
    dots, resting = top.lines
    assert dots.get_xdata().size == np.isfinite(diagram.points).sum()
    assert resting.get_xdata().tolist() == [2.0]
    assert top.get_ylabel() == "maxima of $v_e$"
    assert bottom.get_xlabel() == ng.plot.symbol("i_ext_e", network)
    assert bottom.get_ylabel() == "Lyapunov exponents (1/ms)"
    leading = next(line for line in bottom.lines if line.get_label() == "leading")
    np.testing.assert_allclose(leading.get_ydata(), spectra.spectra.exponents[:, 0])
    crossing = dataclasses.replace(diagram, section=("v_e", -1.0))
    assert "rises through -1" in ng.plot.orbit_diagram(crossing).get_ylabel()
    for quantity in ng.plot.LYAPUNOV_QUANTITIES:
        ax = ng.plot.lyapunov(plane, quantity=quantity)
        assert ax.collections[0].get_array().shape == (2, 3)
    with pytest.raises(ValueError, match="`quantity` must be one of"):
        ng.plot.lyapunov(plane, quantity="entropy")


def test_rhythm_and_comodulogram(run):
    ax = ng.plot.rhythm(run, band=(80.0, 150.0), window=0.2)
    mean, upper, lower = ax.lines
    assert np.ptp(mean.get_xdata()) == pytest.approx(0.2, abs=2e-3)
    assert (upper.get_ydata() >= lower.get_ydata()).all()
    assert ax.get_xlabel() == "time (s)"
    signal = np.asarray(run.v_e)[:, 0]
    options = {"phase_bandwidth": 12.0, "surrogates": 9}
    result = ng.signals.comodulogram(signal, 1e-3, [10.0, 16.0], [60.0, 80.0, 100.0], **options)
    ax = ng.plot.comodulogram(result)
    np.testing.assert_allclose(ax.collections[0].get_array(), np.asarray(result.index).T)
    assert "9 surrogates" in ax.get_title(loc="left")
    assert ax.get_ylabel() == "frequency of the amplitude (Hz)"


def test_animation(hcp, tmp_path):
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), hcp.normalised(), 9.0)
    run = ng.simulate(network, 20.0, dt=0.05, variables="v_e")
    movie = ng.plot.animate(run, hcp, window=0.005, slower=40.0, frames_per_second=10)
    movie.save(tmp_path / "activity.gif", writer="pillow", dpi=40)
    with Image.open(tmp_path / "activity.gif") as picture:
        assert picture.n_frames == 2
    # The last frame is the run's last state, in the order of drawing.
    above = movie._fig.axes[0].collections[0]
    order = np.argsort(hcp.centroids[:, 2])
    np.testing.assert_allclose(above.get_array(), np.asarray(run.v_e)[-1][order])
    with pytest.raises(ValueError, match="one run of the connectome's 100 regions"):
        ng.plot.animate(ng.simulate(network.homogeneous(), 20.0, dt=0.05), hcp)


# ------------------------------------------------------------------------ sweeps


@pytest.fixture(scope="module")
def swept(small):
    network = ng.Network(ng.NextGenEI(), small, 5.0)
    axes = {"i_ext_e": [4.0, 8.0, 12.0], "coupling": [2.0, 8.0], "tau_si": [4.0, 5.0]}
    design = ng.Design.grid(axes, replicates=2)
    measure = ng.Activity(100.0, 0.0, keep=("mean", "band_power", "field_variance", "spectrum"))
    return ng.sweep(network, design, measure, checks=2)


def test_sweep_over_two_parameters(swept):
    assert ng.plot.sweep_quantities(swept)[0] == "v_e_field_variance"
    assert "v_e_spectrum" not in ng.plot.sweep_quantities(swept)
    ax = ng.plot.sweep(swept, "v_e_mean", at={"tau_si": 4.2})
    (mesh,) = ax.collections
    expected = swept.v_e_mean.sel(tau_si=4.0).mean(["replicate", "region"]).values
    np.testing.assert_allclose(mesh.get_array().T, expected)
    assert ax.get_xlabel() == ng.plot.symbol("i_ext_e", ng.NextGenEI)
    assert "tau_si 4" in ax.get_title(loc="left")
    ax = ng.plot.sweep(swept, "v_e_band_power", at={"band": "gamma"})
    assert "band gamma" in ax.get_title(loc="left")
    figure = ng.plot.sweep_overview(swept, title="mine")
    assert len(figure.axes) >= 6
    figure = ng.plot.sweep_overview(swept, ng.plot.sweep_quantities(swept)[:4])
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 2)


def test_sweep_along_one_parameter(swept):
    line = swept.sel(coupling=[8.0], tau_si=[5.0])
    line["status"][1] = ng.Status.NOT_FINITE  # a failed point is left out
    ax = ng.plot.sweep(line, "v_e_mean")
    (curve,) = ax.lines
    values = line.v_e_mean.squeeze(["coupling", "tau_si"]).mean(["replicate", "region"]).values
    np.testing.assert_allclose(curve.get_ydata()[[0, 2]], values[[0, 2]])
    assert np.isnan(curve.get_ydata()[1])
    assert ax.collections  # the regions' range


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quantity": "v_e_spectrum"}, "`quantity` must be one of"),
        ({"quantity": "v_e_mean", "at": {"tau": 3}}, "`at` must be one of"),
        ({"quantity": "v_e_band_power", "at": {"band": "gama"}}, "did you mean 'gamma'"),
    ],
)
def test_sweep_figures_refuse(swept, options, words):
    with pytest.raises(ValueError, match=words):
        ng.plot.sweep(swept, **options)


def test_fits(small):
    """History, parameters, connectivity, spectra and identifiability of a small fit."""
    network = ng.Network(ng.NextGenEI(), small, 5.0)
    unknowns = {
        "coupling": ng.fitting.interval(0.0, 20.0),
        "i_ext_e": ng.fitting.real(per="region"),
    }

    def loss(s, key):
        return (s.coupling - 4.0) ** 2 + (s.model.i_ext_e**2).sum()

    result = ng.fit(network, unknowns, loss, n_starts=3, steps=20)
    ax = ng.plot.fit_history(result)
    assert ax.get_yscale() == "log"
    assert len(ax.lines) == 3
    figure = ng.plot.fit_parameters(result)
    assert [ax.get_title() for ax in figure.axes[:2]] == [
        ng.plot.symbol(name, network) for name in unknowns
    ]
    rng = np.random.default_rng(0)
    a, b = (np.corrcoef(rng.normal(size=(12, 30))) for _ in range(2))
    rows = np.triu_indices(12, 1)
    figure = ng.plot.fc_comparison(a, b, title="both")
    assert f"{np.corrcoef(a[rows], b[rows])[0, 1]:.3f}" in figure.axes[2].get_title()
    power = rng.gamma(20, 1 / 20, (30, 12))
    figure = ng.plot.spectrum_fit(np.arange(1.0, 31.0), np.ones((30, 12)), power)
    assert figure.axes[1].get_ylabel() == "log(data / model)"
    known = ng.fitting.identifiability(result, loss)
    figure = ng.plot.identifiability(known, most=5)
    assert len(figure.axes[1].get_xticks()) == 5


def test_spikes_under_the_rates_that_the_model_names(run):
    """The populations say which variables are rates, and the run in which unit; names do not."""
    rng = np.random.default_rng(0)
    ts, states = jnp.arange(5.0), jnp.asarray(rng.uniform(0, 1, (5, 4)))
    activity = dataclasses.replace(
        run, ts=ts, states=states, final_state=states[-1], shown="out", labels=None,
        variables=("r_gate", "out", "r_noise", "in"), units=("1", "Hz", "1", "Hz"),
    )  # fmt: skip
    spikes = jnp.asarray(rng.integers(0, 2, (5, 2, 3)))
    spiking = SpikingSimulation(
        activity, states[:, :2], spikes, ts[:3], None, 9, ("outer", "inner"), ("out", "in")
    )
    bottom = ng.plot.spikes(spiking, activity).axes[1]
    drawn = [line.get_ydata() for line in bottom.lines]
    for k, column in enumerate((1, 1, 3, 3)):
        np.testing.assert_array_equal(drawn[k], states[:, column])
    assert bottom.get_ylabel() == "rate (Hz)"
    assert ng.plot.mean_field(activity, "out").get_ylabel() == "mean out (Hz)"


# ------------------------------------------------------------------------ symbols


class Written(ng.NextGenEI):
    """Equations that are there already, written in another way."""

    symbols: ClassVar[dict[str, str]] = {"i_ext_e": r"$\iota$", "s_e": r"$\varsigma$"}
    shown, shown_unit = "s_e", "1/ms"


def test_symbols_are_the_models():
    """A class adds to what it inherits; what no model has is written as always, or as it is."""
    assert ng.plot.symbol("s_e", Written()) == r"$\varsigma$ (1/ms)"
    assert ng.plot.symbol("tau_e", Written) == r"$\tau_e$ (ms)"
    assert ng.plot.symbol("p", ng.Homogeneous(ng.JansenRit(), 1.0)) == "$p$ (1/s)"
    assert [ng.plot.symbol(name) for name in ("coupling", "x")] == [r"coupling $\varepsilon$", "x"]


def test_figures_write_what_results_carry(network, run, plane, swept, tmp_path):
    """Of any model: results carry its notation, into files and back, and figures read it there."""
    node = network.homogeneous()
    branch = ng.continue_equilibria(node, {"i_ext_e": (14.0, 15.0)})
    results = [run, plane, branch]
    assert {result.notation for result in results} == {notation_of(ng.NextGenEI)}
    mine = [dataclasses.replace(result, notation=notation_of(Written)) for result in results]
    mine[1] = jax.tree.map(lambda leaf: leaf, mine[1])  # JAX sorts dicts, but not a result's axes
    for k, result in enumerate(mine):
        ng.save(tmp_path / f"{k}.npz", result)
    run, plane, branch = (ng.load(tmp_path / f"{k}.npz") for k in range(len(mine)))
    x, y = r"$\iota$", r"$\varsigma$ (1/ms)"
    ax = ng.plot.dispersion_map(plane)
    assert (ax.get_xlabel(), ax.get_ylabel()) == (x, r"coupling $\varepsilon$")
    ax = ng.plot.bifurcation_diagram([branch])
    assert (ax.get_xlabel(), ax.get_ylabel()) == (x, y)
    assert ng.plot.mean_field(run, "s_e").get_ylabel() == f"mean {y}"
    swept = swept.copy()
    swept["i_ext_e"].attrs["symbol"] = x
    assert ng.plot.sweep(swept, "v_e_mean").get_xlabel() == x


def made(kind, **values):
    """A record that holds these values, and nothing else of what its class has."""
    record = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(record, field.name, values.get(field.name))
    return record


def test_states_write_what_they_carry(network, spectra):
    """Names of variables and the unit of time, of the model; numbers where there are none."""
    notation, ts = notation_of(ng.NextGenEI), np.linspace(0, 20.5, 65)
    samples = np.cos(2 * np.pi * ts[:, None] / 20.5 - np.arange(6))
    known = {"period": 20.5, "ts": ts, "samples": samples, "status": Status.OK}
    orbit = made(Orbit, **known, notation=notation)
    names = [style.bare(name, ng.NextGenEI) for name in ng.NextGenEI.variables]
    ax = orbit.plot()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == names
    assert ax.get_legend().get_title().get_text() == "period 20.5 ms"
    assert ax.get_xlabel() == "time (ms)"
    ax = made(Orbit, **known, notation=Notation()).plot()
    assert ax.get_xlabel() == "time"
    assert ax.get_legend().get_texts()[0].get_text() == "variable 0"
    one = jax.tree.map(lambda leaf: leaf[0], spectra.spectra)
    assert one.plot().get_ylabel() == "Lyapunov exponent (per ms)"
    alpha = ng.Network(ng.JansenRit(), network.connectome, 1.0)
    rest = ng.find_equilibria(alpha.homogeneous())
    assert rest.plot().get_xlabel() == "growth rate (per s)"
    known = {"frequencies": np.array([10.0, 20.0]), "power": np.ones((2, 12)), "fc": np.eye(12)}
    known |= {"variable": "v_e", "status": Status.OK}
    response = made(LinearResponse, **known, notation=notation)
    left = response.plot().axes[0]
    assert (left.get_xlabel(), left.get_ylabel()) == ("frequency (Hz)", "power of $v_e$ (dB)")
    plain = ng.find_equilibria(ng.Homogeneous(ng.models.ComplexStuartLandau(), 0.0))
    assert plain.notation.variables == ng.models.ComplexStuartLandau.variables


@pytest.mark.parametrize("count", [3, 4, 40])
def test_axes_that_count_have_whole_numbers(run, count):
    connectome = ng.Connectome.synthetic(count, seed=0)
    some = dataclasses.replace(
        run, states=jnp.tile(run.states[..., :1], count), labels=connectome.labels
    )
    matrix = ng.plot.connectome_matrix(connectome)
    modes = ng.plot.structural_spectrum(connectome.normalised())
    both = ng.plot.fc_comparison(*np.random.default_rng(0).normal(size=(2, count, count)))
    axes = [ng.plot.raster(some).yaxis, matrix.xaxis, matrix.yaxis, modes.xaxis]
    axes += [axis for ax in both.axes[:2] for axis in (ax.xaxis, ax.yaxis)]
    for axis in axes:
        low, high = sorted(axis.get_view_interval())
        ticks = [tick for tick in axis.get_majorticklocs() if low <= tick <= high]
        assert len(ticks) > 1
        assert all(tick == round(tick) for tick in ticks)


@pytest.mark.parametrize("values", [[-6.0, -0.5], [-6.0, 1e-11], [-1e-9, 3.0], [-4.0, 5.0]])
def test_numbers_of_a_colour_bar_do_not_meet(values):
    """Also where all lie on one side of zero, or nearly so."""
    norm = style.around_zero(np.array(values))
    ax = plt.subplots(figsize=(5.0, 4.0), layout="constrained")[1]
    drawn = ax.pcolormesh(np.array([values]), norm=norm)
    bar = style.colour_bar(ax, drawn)
    ax.figure.canvas.draw()
    boxes = sorted(t.get_window_extent().intervaly.tolist() for t in bar.ax.get_yticklabels())
    assert len(boxes) > 1
    assert all(below[1] <= above[0] for below, above in itertools.pairwise(boxes))


def test_legends_lie_over_nothing_and_units_of_one_are_not_written(run):
    """A system without units: "time", not "time (1)"."""
    assert style.with_unit("time", "1") == "time"
    assert style.with_unit("time", "ms") == "time (ms)"
    ax = ng.plot.spectrum(run)
    ax.set_title("a title")
    ax.figure.canvas.draw()
    legend = ax.get_legend().get_window_extent()
    assert legend.y0 >= ax.get_window_extent().y1 - 1
    assert ax.title.get_window_extent().y0 >= legend.y1


@pytest.mark.parametrize("loc", ["left", "center", "right"])
@pytest.mark.parametrize("layout", ["constrained", "none"])
def test_a_title_given_later_stands_above_the_legend(loc, layout):
    figure, ax = plt.subplots(layout=layout)
    for name in ("growing", "decaying", "uniform"):
        ax.plot([0, 1], label=name)
    legend = style.legend_above(ax, ncols=3)
    ax.set_title("a title", loc=loc)
    figure.canvas.draw()
    (title,) = (text for text in (ax.title, ax._left_title, ax._right_title) if text.get_text())
    assert title.get_window_extent().y0 >= legend.get_window_extent().y1
    assert title.get_window_extent().y1 <= figure.bbox.y1
    legend.remove()
    figure.canvas.draw()
    assert title.get_window_extent().y0 < ax.get_window_extent().y1 + 20


def test_long_titles_and_labels_lie_within_the_figure(hcp):
    values = hcp.normalised().eigenmodes().vectors[:, -1].real
    figure = ng.plot.brain(hcp, values, label="amplitude (unit norm)")
    style.title_above(figure, "a network with a long name: i_ext_e = 15, coupling = 9; " * 3)
    for _ in range(2):  # a layout moves once more as it is drawn
        figure.canvas.draw()
    box, all_of_it = figure.get_tightbbox(), figure.bbox_inches
    assert box.x0 >= 0
    assert box.x1 <= all_of_it.x1
    assert box.y0 >= 0
    assert box.y1 <= all_of_it.y1
