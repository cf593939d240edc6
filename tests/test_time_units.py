"""The same model in other units of time is the same: numbers scale, Hz stay; and without a unit."""

from typing import ClassVar

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.types import ParameterArray
from ngnmm_jax.models import MontbrioPazoRoxin, parameter
from ngnmm_jax.models.times import SECONDS

# One for each declared class, as for other models: what the paper leaves dimensionless is 1 ms.
MILLISECOND = {"us": 1e3, "ms": 1.0, "s": 1e-3, "min": 1e-3 / 60, "h": 1e-3 / 3600, "1": 1.0}


def declared(unit):
    """The mean field with times in another unit."""
    ms, rate = MILLISECOND[unit], "1" if unit == "1" else f"1/{unit}"

    class Other(MontbrioPazoRoxin):
        time_unit: ClassVar[str] = unit
        units: ClassVar[tuple[str, ...]] = (rate, "1")
        shown_unit: ClassVar[str] = rate
        tau: ParameterArray = parameter(ms, unit=unit, doc="membrane time", positive=True)
        # The network's input is not multiplied by tau.
        cr: ParameterArray = parameter(ms, unit=unit, doc="weight of the rate in what is sent")

    return Other()


@pytest.fixture(scope="module")
def connectome():
    weights = np.array([[0.0, 0.7, 0.3], [0.5, 0.0, 0.5], [0.2, 0.8, 0.0]])
    return ng.Connectome(weights, tract_lengths=np.full((3, 3), 30.0))


def analysed(model, connectome):
    """Rates times tau, growth and times in ms, frequencies in Hz; or per 1000 units of time."""
    ms = MILLISECOND[model.time_unit]
    hertz = 1.0 if model.time_unit in SECONDS else 1e3
    network = ng.Network(model, connectome, 0.5)
    rest = ng.find_equilibria(network.homogeneous())
    curve = ng.dispersion(network, rest.states[-1])
    state = np.array([1.0 / ms, 0.5])
    run = ng.simulate(network, 20 * ms, start=state, dt=0.02 * ms, save_every=ms)
    measure = ng.Activity(
        duration=32 * ms, transient=8 * ms, dt=0.02 * ms, sample=0.5 * ms, segment=16 * ms,
        start=state, keep=("mean", "peak_frequency"),
    )  # fmt: skip
    swept = ng.sweep(network, {"eta": [-4.0]}, measure, checks=0, chunk=4)
    return network, {
        "step": model.time_step / ms,
        "rest": rest.states[:, 0] * ms,
        "growth": curve.growth * ms,
        "frequency": curve.frequency * hertz,
        "run": run.r * ms,
        "mean": swept.r_mean * ms,
        "peak": swept.r_peak_frequency * hertz,
        "interval": run.sampling_interval * hertz,
    }


@pytest.fixture(scope="module")
def known(connectome):
    return analysed(MontbrioPazoRoxin(), connectome)[1]


@pytest.mark.parametrize(
    "unit",
    ["us", "1", *(pytest.param(unit, marks=pytest.mark.slow) for unit in ("ms", "s", "min", "h"))],
)
def test_units_change_no_physics(unit, known, connectome):
    network, found = analysed(declared(unit), connectome)
    for name in set(known) - {"interval"}:
        np.testing.assert_allclose(found[name], known[name], rtol=1e-7, err_msg=name)
    if unit != "1":
        assert found["interval"] == pytest.approx(1e-3)
        speed = ng.Network(network.model, connectome, 0.5, speed=10.0)
        assert speed.shortest_delay() / MILLISECOND[unit] == pytest.approx(3.0)
    whole = jax.jacfwd(lambda x: network.vector_field(x.reshape(2, 3)).ravel())
    assert np.isfinite(whole(np.ones(6))).all()


def test_times_without_unit_say_so(connectome):
    """Labels have no Hz and no 1/1, and what needs seconds says what to do."""
    network = ng.Network(declared("1"), connectome, 0.5)
    curve = ng.dispersion(network, ng.find_equilibria(network.homogeneous()).states[-1])
    assert "Hz" not in repr(curve)
    assert "per unit of time" in repr(curve)
    assert ng.plot.dispersion(curve).get_ylabel() == "growth rate"
    run = ng.simulate(network, 40.0, dt=0.01)
    assert np.diff(run.ts)[0] == pytest.approx(20 * network.model.time_step, rel=0.1)
    assert ng.plot.spectrum(run, segment=10.0).get_xlabel() == "frequency (per unit of time)"
    plt.close("all")
    measure = ng.Activity(duration=16.0, transient=0.0, keep=("spectrum",), sample=1.0)
    outputs = measure.outputs(network)
    assert outputs["r_spectrum"].units == "1"
    assert ng.Stability().outputs(network)["frequency"].units == "1"
    assert ng.Stability().outputs(network)["growth_uniform"].units == "1"
    cases = [
        (lambda: ng.Activity().outputs(network), "`bands` must be given per unit of time"),
        (lambda: ng.Network(network.model, connectome, speed=3.0), "`speed` must .*`delays=`"),
        (lambda: ng.observe.BOLD()(network, run), "`run` must have times in a unit for BOLD"),
        (
            lambda: ng.fitting.simulated_fc(network, 100.0, repetition_time=10.0),
            "`system` must have times in a unit for BOLD",
        ),
    ]
    for call, words in cases:
        with pytest.raises(ValueError, match=words):
            call()
    given = ng.Activity(duration=16.0, transient=0.0, keep=("band_power",), sample=1.0,
                        segment=8.0, bands={"slow": (0.0, 0.3)})  # fmt: skip
    coordinates = given.coordinates(network)
    assert coordinates["band"][1] == {"limits": "slow 0-0.3"}


def test_models_change_parameters_as_networks_do(connectome):
    model = MontbrioPazoRoxin(j=14.5)
    network = ng.Network(model, connectome, 0.5)
    for system in (network, network.homogeneous(), ng.Driven(network, {"input": 0.1})):
        assert system.with_parameters(eta=-3.0).model == model.with_parameters(eta=-3.0)
    changed = model.with_parameters(eta=[-3.0, -4.0, -5.0])
    assert changed.n_regions == 3
    assert changed.j == 14.5
    assert type(declared("us").with_parameters(tau=2.0)).time_unit == "us"
    for values, words in (
        ({"etta": 1.0}, "`parameters` must be one of .*'eta'"),
        ({"tau": 0.0}, "`tau` must be positive"),
        ({"eta": np.nan}, "`eta` must be finite"),
        ({"eta": [1.0, 2.0], "j": [1.0, 2.0, 3.0]}, "`"),
    ):
        with pytest.raises(ValueError, match=words):
            model.with_parameters(**values)
    start = jax.numpy.ones(2)
    slope = jax.grad(
        lambda eta: ng.Homogeneous(model.with_parameters(eta=eta), 0.5).vector_field(start)[1]
    )
    assert slope(-3.0) == 1.0
