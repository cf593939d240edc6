"""The analyses on a GPU, against values of the CPU: `pytest -m gpu`.

    NGNMM_JAX_GPU_REHEARSAL=1 pytest -m gpu tests/test_gpu.py   # the same on the CPU
    JAX_PLATFORMS=cpu python -m tests.test_gpu                  # make the values, in 64 bits

The values are in gpu_reference.json, and two tests hold them to what the CPU finds now: they change
with random streams and integrators. A tolerance is relative to the largest value of its array; what
a spiking network or an iteration leaves open is said where it is wider.
"""

import json
import os
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

import ngnmm_jax as ng  # noqa: E402
from ngnmm_jax import fitting, integrators  # noqa: E402

STORED = Path(__file__).with_name("gpu_reference.json")
REHEARSAL = "NGNMM_JAX_GPU_REHEARSAL"
REGIONS = 12


def network(current=13.0, coupling=5.0):
    connectome = ng.Connectome.synthetic(REGIONS, seed=3).normalised()
    return ng.Network(ng.NextGenEI(i_ext_e=current), connectome, coupling)


def start(regions=REGIONS):
    """A state that no search has to find (variable, region)."""
    k = np.arange(regions)
    rows = [
        *(0.02 + 0.01 * np.sin(k), -1 + 0.5 * np.cos(k), 0.02 + 0.01 * np.cos(2 * k)),
        *(0.03 + 0.01 * np.sin(3 * k), -1 + 0.3 * np.sin(2 * k), 0.03 + 0.01 * np.cos(k)),
    ]
    return np.stack(rows)


def rk4(dtype):
    run = ng.simulate(network(), 20.0, start=start(), dt=0.05, dtype=dtype, progress=False)
    return {"v_e": run.v_e[::5], "final": run.final_state}


def moebius(dtype):
    options = {"integrator": "moebius", "dtype": dtype, "progress": False}
    run = ng.simulate(network(), 20.0, start=start(), dt=0.1, **options)
    return {"v_e": run.v_e[::5], "final": run.final_state}


def adaptive(dtype):
    run = ng.simulate(network(), 20.0, start=start(), dtype=dtype, save_every=5.0)
    return {"v_e": run.v_e, "final": run.final_state}


def noisy(dtype="float64"):
    """Of the noise, 32 bits draw other numbers."""
    system = ng.Driven(network(), {"input": 0.01})
    run = ng.simulate(system, 10.0, start=start(), dt=0.05, dtype=dtype, progress=False)
    return {"final": run.final_state}


def batch(dtype):
    values = {"i_ext_e": np.linspace(8.0, 14.0, 5)}
    found = {}
    for solver, dt in (("rk4", 0.05), ("moebius", 0.1)):
        run = ng.simulate_batch(
            network(), values, 10.0, start=start(), dt=dt, integrator=solver, dtype=dtype
        )
        found[solver] = run.final_state[:, 1]
    return found


def activity(dtype, integrator=None):
    design = ng.Design.grid({"i_ext_e": np.linspace(1.0, 13.0, 4)}, replicates=2)
    keep = ("mean", "variance", "maximum", "band_power", "fc_mean", "field_variance")
    measure = ng.Activity(32.0, 8.0, keep=keep, dtype=dtype, integrator=integrator)
    found = ng.sweep(network(), design, measure, checks=0, progress=False)
    assert (found.status == ng.Status.OK).all()
    # At rest there is nothing to correlate, and a variance of rounding only.
    moving = found.isel(i_ext_e=slice(2, None))
    return {
        "mean": found.v_e_mean.values,
        **{name: moving[f"v_e_{name}"].values for name in keep[1:]},
    }


def spiking(dtype):
    node = network().homogeneous()
    run = ng.simulate_spiking(
        node, 10.0, neurons=2000, start=start(1)[:, 0], dtype=dtype, progress=False
    )
    return {"v_e": run.activity.v_e, "rates": run.width_rates}


def bold(dtype):
    t = np.arange(4000)[:, None] * 0.002
    activity = jnp.asarray(0.05 + 0.03 * np.sin(t * np.array([0.3, 1.0, 3.0])), dtype)
    return {"bold": ng.observe.bold(activity, 0.002, 0.5)}


def equilibria():
    rest = ng.find_equilibria(network(2.0).homogeneous())
    return {"states": rest.states[:1], "growth": rest.growth[:1]}


def network_equilibrium():
    rest = ng.find_equilibria(network(np.linspace(1.0, 3.0, REGIONS)))
    return {"states": rest.states[:1], "growth": rest.growth[:1]}


def dispersion():
    rest = ng.find_equilibria(network(2.0).homogeneous())
    found = ng.dispersion(network(2.0), rest.states[0])
    return {"growth": found.growth, "frequency": found.frequency}


def orbit():
    found = ng.find_orbit(network().homogeneous())
    modes = ng.dispersion(network(), found)
    return {"period": found.period, "growth": modes.growth}


def dispersion_map():
    axes = {"i_ext_e": [2.0, 10.0, 13.0], "coupling": [2.0, 5.0]}
    found = ng.dispersion_map(network(), axes, progress=False)
    return {
        "kind": found.kind,
        "growth_uniform": found.growth_uniform,
        "growth_transverse": found.growth_transverse,
        "period": found.period,
    }


def lyapunov():
    options = {"duration": 50.0, "transient": 5.0, "dt": 0.05, "progress": False}
    found = ng.lyapunov_spectrum(network(), 3, start=start(), **options)
    return {"exponents": found.exponents}


def lyapunov_map():
    options = {"duration": 50.0, "transient": 5.0, "dt": 0.05, "progress": False}
    axes = {"i_ext_e": [9.0, 11.0, 13.0]}
    found = ng.lyapunov_map(network().homogeneous(), axes, **options)
    return {"exponents": found.spectra.exponents}


def continuation():
    node = network(0.0, 15.0).homogeneous()
    branch = ng.continue_equilibria(node, {"i_ext_e": (-5.0, 20.0)}, progress=False)
    special = sorted(branch.special, key=lambda point: (point.kind, point.parameter))
    return {
        "folds": [p.parameter for p in special if p.kind == "fold"],
        "hopf": [p.parameter for p in special if p.kind == "hopf"],
        "coefficients": [p.coefficient for p in special if p.kind == "hopf"],
    }


def stability():
    design = ng.Design.grid({"i_ext_e": np.linspace(0.0, 14.0, 4), "coupling": [2.0, 9.0]})
    found = ng.sweep(network(), design, ng.Stability(), progress=False)
    return {name: found[name].values for name in ("states", "growth_transverse", "number_growing")}


def response():
    system = ng.Driven(network(2.0), {"input": 0.001})
    found = ng.linear_response(system, np.arange(10.0, 100.0, 30.0))
    return {"power": found.power, "fc": found.fc, "growth": found.growth}


def linear_loss(drive):
    system = ng.Driven(network(2.0), {"input": 0.001}).with_parameters(i_ext_e=drive)
    found = ng.linear_response(system, [20.0], throw=False, stability=False)
    return jnp.log(found.power).mean() + (found.fc**2).mean()


def simulated_loss(drive):
    system = network().with_parameters(i_ext_e=drive)
    return jnp.var(fitting.simulated(system, jax.random.key(0), 10.0))


LOSSES = {
    "linear": (jax.jit(jax.value_and_grad(linear_loss)), 2.0),
    "simulated": (jax.jit(jax.value_and_grad(simulated_loss)), 3.0),
}


def gradient():
    found = {}
    for name, (function, at) in LOSSES.items():
        found[name], found[f"{name}_gradient"] = function(jnp.full(REGIONS, at))
    return found


def fit():
    system = ng.Driven(network(2.0), {"input": 0.001})
    free = ng.Free(system, {"coupling": fitting.interval(0, 15)})

    def loss(system, key):
        found = ng.linear_response(system, [20.0], throw=False, stability=False)
        return ((jnp.log(found.power) + 12.0) ** 2).mean()

    result = ng.fit(system, free, loss, steps=3, progress=False)
    return {"loss": result.loss, "coupling": result.values()["coupling"]}


#: Analyses in 64 and 32 bits, and the tolerance in each.
BOTH = {
    rk4: (1e-9, 1e-3),
    moebius: (1e-9, 1e-3),
    adaptive: (1e-7, 1e-2),
    batch: (1e-9, 1e-3),
    activity: (1e-7, 2e-2),
    spiking: (5e-3, 2e-2),  # a spike of 2000 may come a step sooner or later
    bold: (1e-10, 1e-4),
}
#: Analyses that need 64 bits.
DOUBLE = {
    noisy: 1e-9,
    equilibria: 1e-10,
    dispersion: 1e-8,
    stability: 1e-8,
    response: 1e-7,
    gradient: 1e-6,
    network_equilibrium: 1e-8,
    lyapunov: 1e-6,
    lyapunov_map: 1e-6,
    continuation: 1e-6,
    orbit: 1e-7,
    fit: 1e-6,
    dispersion_map: 1e-5,
}


def arrays(found):
    return {name: np.asarray(value, float) for name, value in found.items()}


def compare(name, found, tolerance):
    stored = json.loads(STORED.read_text())[name]
    assert stored.keys() == found.keys()
    for key, value in arrays(found).items():
        wanted = np.asarray(stored[key], float)
        assert value.shape == wanted.shape, key
        size = np.nanmax(np.abs(wanted), initial=0.0)
        np.testing.assert_allclose(value, wanted, rtol=0, atol=tolerance * size, err_msg=key)


def compare_now(work):
    """The values of the file with those of this process, in 64 bits."""
    both = work in BOTH
    found = work("float64") if both else work()
    compare(work.__name__, found, BOTH[work][0] if both else DOUBLE[work])


@pytest.mark.parametrize("work", [noisy, bold, activity], ids=lambda work: work.__name__)
def test_stored_values_are_those_of_this_version(work):
    """A stream of random numbers of simulations, of sweeps, and an integrator of its own."""
    compare_now(work)


@pytest.mark.slow
@pytest.mark.parametrize("work", [*BOTH, *DOUBLE], ids=lambda work: work.__name__)
def test_all_stored_values_are_those_of_this_version(work):
    compare_now(work)


def test_every_stored_value_belongs_to_an_analysis():
    assert json.loads(STORED.read_text()).keys() == {work.__name__ for work in [*BOTH, *DOUBLE]}


@pytest.fixture
def device():
    """A GPU, or in a rehearsal the CPU, on which everything runs, however small it is."""
    first = jax.devices()[0]
    if first.platform != "gpu" and not os.environ.get(REHEARSAL):
        pytest.skip(f"there is no GPU ({REHEARSAL}=1 runs this on the CPU)")
    with jax.default_device(first):
        yield first


@pytest.mark.gpu
@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("work", BOTH, ids=lambda work: work.__name__)
def test_agrees_in_both_precisions(device, work, bits):
    compare(work.__name__, work(f"float{bits}"), BOTH[work][bits == 32])


@pytest.mark.gpu
@pytest.mark.parametrize("work", DOUBLE, ids=lambda work: work.__name__)
def test_agrees(device, work):
    compare(work.__name__, work(), DOUBLE[work])


@pytest.mark.gpu
@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("work", [moebius, activity, noisy, spiking], ids=lambda w: w.__name__)
def test_the_same_run_twice_is_equal_to_the_bit(device, work, bits):
    first, second = (arrays(work(f"float{bits}")) for _ in range(2))
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)


@pytest.mark.gpu
def test_a_gradient_twice_is_equal_to_the_bit(device):
    first, second = arrays(gradient()), arrays(gradient())
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)


@pytest.mark.gpu
def test_runs_do_not_depend_on_the_width(device):
    """Of a sweep, to rounding: products of other sizes may add in another order."""
    design = ng.Design.listed({"i_ext_e": np.linspace(8.0, 13.0, 6)})
    measure = ng.Activity(32.0, 0.0, keep=("mean",))
    found = [
        ng.sweep(network(), design, measure, checks=0, progress=False, chunk=width).v_e_mean.values
        for width in (4, 64)
    ]
    np.testing.assert_allclose(*found, rtol=1e-9)


@pytest.mark.gpu
@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("method", ["moebius", "rk4"])
def test_fused_steps_are_those_of_xla(device, method, bits):
    """Of 90 regions, with noise and a stimulus; 13 runs, which fill no block."""
    weights = np.random.default_rng(0).random((90, 90)) / 90
    network = ng.Network(ng.NextGenEI(), weights, 8.0)
    pulse = ng.stimuli.Pulse(2.0, 3.0, np.linspace(0.0, 1.0, 90))
    system = ng.Driven(network, {"input": 0.05, "s_e": 0.01}, pulse)
    design = ng.Design.listed({"i_ext_e": np.linspace(2.0, 12.0, 13)})
    where = "gpu" if device.platform == "gpu" else "host"
    found = []
    for integrator in (method, integrators.Fused(method, on=where)):
        keep = ("mean", "variance", "trace")
        measure = ng.Activity(8.0, 2.0, keep=keep, integrator=integrator, dtype=f"float{bits}")
        found.append(ng.sweep(system, design, measure, checks=0, progress=False))
    for name in found[0].data_vars:
        a, b = (f[name].values.astype(float) for f in found)
        close = {64: 1e-10, 32: 2e-3}[bits] * np.abs(a).max() + 1e-300
        np.testing.assert_allclose(b, a, rtol=0, atol=close, err_msg=name)


@pytest.mark.gpu
@pytest.mark.parametrize("bits", [32, 64])
def test_fused_steps_agree_with_stored_summaries(device, bits):
    """Of 12 regions. On an H200 an illegal address ended this in 64 bits, of unknown cause."""
    chosen = integrators.Fused("moebius", on="gpu" if device.platform == "gpu" else "host")
    compare("activity", activity(f"float{bits}", chosen), BOTH[activity][bits == 32])


@pytest.mark.gpu
def test_fused_steps_take_models_and_couplings_of_ones_own(device):
    """Those that the kernels' tests build on a host."""
    from tests.test_kernels import CASES

    where = "gpu" if device.platform == "gpu" else "host"
    for case in ("one's own", "differences", "Jansen and Rit", "homogeneous", "heun, by region"):
        system, integrator, points = CASES[case]
        design = ng.Design.listed(points) if case == "homogeneous" else {"coupling": [0.8, 1.0]}
        duration = 8e-3 if case == "Jansen and Rit" else 8.0
        found = []
        for chosen in (integrator, integrators.Fused(integrator, on=where)):
            measure = ng.Activity(duration, 0.0, keep=("trace",), integrator=chosen)
            found.append(ng.sweep(system(), design, measure, checks=0, progress=False))
        name = f"{system().model.shown}_trace"
        a, b = (f[name].values for f in found)
        assert np.isfinite(a).all(), case
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-10 * np.abs(a).max(), err_msg=case)


def too_many(device, share):
    """Runs of 90 regions whose states in 64 bits fill this share of the memory."""
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if device.platform != "gpu" or not limit:
        pytest.skip("filling the memory is for a GPU alone")
    return int(share * limit / (6 * 90 * 8))


def wide(regions=90):
    return ng.Network(ng.NextGenEI(i_ext_e=13.0), np.full((regions, regions), 1 / regions), 5.0)


@pytest.mark.gpu
def test_a_width_that_does_not_fit_is_halved(device):
    runs = too_many(device, 0.25)
    design = ng.Design.listed({"i_ext_e": np.linspace(8.0, 13.0, 3)})
    measure = ng.Activity(8.0, 0.0, keep=("mean",))
    with pytest.warns(UserWarning, match="do not fit into the memory"):
        found = ng.sweep(wide(), design, measure, checks=0, progress=False, chunk=runs)
    assert (found.status == ng.Status.OK).all()
    few = ng.sweep(wide(), design, measure, checks=0, progress=False, chunk=4)
    np.testing.assert_allclose(found.v_e_mean.values, few.v_e_mean.values, rtol=1e-9)


@pytest.mark.gpu
def test_a_batch_that_does_not_fit_says_so_and_leaves_the_device_usable(device):
    runs = too_many(device, 0.6)
    with pytest.raises(Exception, match=r"RESOURCE_EXHAUSTED|[Oo]ut of memory"):
        ng.simulate_batch(wide(), duration=1.0, dt=0.1, seed=np.arange(runs), start=start(90))
    compare("rk4", rk4("float64"), BOTH[rk4][0])


@pytest.mark.gpu
def test_a_batch_of_which_half_fits_is_run_in_halves(device):
    runs = too_many(device, 0.16)
    with pytest.warns(UserWarning, match="do not fit into the memory"):
        run = ng.simulate_batch(wide(), duration=1.0, dt=0.1, seed=np.arange(runs), start=start(90))
    assert run.ok


@pytest.mark.gpu
def test_a_measure_that_does_not_fit_is_halved(device):
    """The rule itself, with a measure that has no room for more than two runs."""
    measure = Cramped()
    with pytest.warns(UserWarning, match="on with 2"):
        found = ng.sweep(network(), {"i_ext_e": [1.0, 2.0, 3.0]}, measure, progress=False, chunk=4)
    assert found.value.values.tolist() == [1.0, 2.0, 3.0]


class Cramped(ng.sweeps.AbstractMeasure):
    def outputs(self, system):
        return {"value": ng.sweeps.Output((), (), "float64")}

    def evaluate(self, system, points, seeds, chunk):
        if chunk > 2:
            raise MemoryError
        return {"value": points["i_ext_e"], "status": np.zeros(seeds.size, np.int8)}

    def definition(self, system):
        return {"measure": "cramped"}


def stored_values():
    """By name of the analysis and of the array: nested lists, None for what is not finite."""
    found = {work.__name__: arrays(work("float64")) for work in BOTH}
    found |= {work.__name__: arrays(work()) for work in DOUBLE}
    return {
        name: {
            key: np.where(np.isfinite(value), value, None).tolist() for key, value in values.items()
        }
        for name, values in found.items()
    }


if __name__ == "__main__":
    lines = (f"{json.dumps(name)}: {json.dumps(v)}" for name, v in stored_values().items())
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
