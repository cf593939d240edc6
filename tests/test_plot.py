"""Figures hold the data they are given, with labels and units."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import ngnmm_jax as ng


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
    axes = {"i_ext_e": np.linspace(0, 16, 9), "coupling": np.linspace(0, 30, 7)}
    return ng.dispersion_map(network, axes)


def test_map(network, plane):
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
        ng.plot.dispersion_map(ng.dispersion_map(network, {"coupling": [1.0]}, oscillations=False))
    with pytest.raises(ValueError, match="`quantity` must be one of"):
        ng.plot.dispersion_map(plane, quantity="colour")


def test_map_details_and_cut(plane):
    figure = ng.plot.map_details(plane, title="a title")
    assert len([ax for ax in figure.axes if ax.get_xlabel()]) == 6
    ax = ng.plot.map_cut(plane, 9.0)
    drawn = sum(line.get_xdata().size for line in ax.lines if line.get_marker() == ".")
    assert drawn == (plane.kind[:, 2] > 0).sum()


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
    quiet = ng.simulate(network.with_parameters(i_ext_e=0.0), 200.0)
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
