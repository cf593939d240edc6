"""Where work runs. A second device of the CPU is "the CPU" here, the first one the accelerator."""

import logging
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core import placement
from ngnmm_jax._core.lanes import map_chunks, within_memory
from ngnmm_jax.chaos.lanes import lanes_per_device
from ngnmm_jax.dynamics import many_equilibria
from ngnmm_jax.simulation import batch as batches
from ngnmm_jax.simulation import chunks
from ngnmm_jax.simulation.spiking import simulate as spiking
from ngnmm_jax.stability import resting, transverse

AXES = {"i_ext_e": (0.0, 16.0)}
FEW = {"duration": 2.0, "transient": 1.0, "progress": False}
#: In an order that sorting would change.
POINTS = {"omega": [1.0, 2.0], "a": [1.0]}


@pytest.fixture
def network(small):
    """Of a model of two variables, whose programs are small ones."""
    return ng.Network(ng.StuartLandau(a=-2.0, omega=1.0), small, coupling=0.5)


@pytest.fixture
def accelerator(monkeypatch):
    """JAX's default is another kind of device, beside which there is a CPU."""
    first, second = jax.devices()
    monkeypatch.setattr(placement, "default_platform", lambda: "gpu")
    monkeypatch.setattr(placement, "cpus", lambda: [second])
    return SimpleNamespace(itself=first, cpu=second)


def start_of(network):
    k = np.arange(network.state_shape[1])
    return 0.1 * np.stack([np.sin(k), np.cos(k)])


def orbit(network):
    return ng.find_orbit(network.with_parameters(a=2.0).homogeneous())


def neurons(network):
    """Some, of a model that has neurons."""
    system = ng.Network(ng.MontbrioPazoRoxin(), network.connectome, coupling=1.0).homogeneous()
    return ng.simulate_spiking(system, 1.0, neurons=50, progress=False)


SMALL = {
    "simulate": lambda n: ng.simulate(n, 2.0, dt=0.1, progress=False).states,
    "adaptive": lambda n: ng.simulate(n, 2.0, start=start_of(n)).states,
    "simulate_batch": lambda n: ng.simulate_batch(n, {"a": [-2.0, -1.0]}, 2.0, dt=0.1).states,
    "simulate_spiking": lambda n: neurons(n).activity.states,
    "initial_state": ng.initial_state,
    "find_equilibria": lambda n: ng.find_equilibria(n.homogeneous()).states,
    "of a network": lambda n: ng.find_equilibria(n).states,
    "find_orbit": lambda n: orbit(n).states,
    "dispersion": lambda n: ng.dispersion(n, start_of(n)[:, 0], throw=False).eigenvalues,
    "on an orbit": lambda n: ng.dispersion(n.with_parameters(a=2.0), orbit(n)).eigenvalues,
    "lyapunov_spectrum": lambda n: ng.lyapunov_spectrum(n, 2, **FEW).exponents,
    "lyapunov_map": lambda n: ng.lyapunov_map(n.homogeneous(), POINTS, 1, **FEW).spectra.exponents,
    "linear_response": lambda n: ng.linear_response(ng.Driven(n, {"input": 0.01}), [10.0]).power,
}


@pytest.mark.parametrize("name", SMALL)
def test_what_is_small_runs_on_the_cpu(network, accelerator, monkeypatch, name):
    found = SMALL[name](network)
    assert found.devices() == {accelerator.cpu}
    assert not found.committed  # it goes along with other arrays
    assert (found + jnp.ones(())).shape == found.shape
    monkeypatch.undo()
    with jax.default_device(accelerator.cpu):  # where it is compiled by now
        np.testing.assert_array_equal(SMALL[name](network), found)


def test_branches_are_followed_on_the_cpu(network, accelerator, monkeypatch):
    """All that is called within: there is one program, and it is the CPU's."""
    seen = set()
    linearised = many_equilibria._linearised

    def looked(*arguments):
        found = linearised(*arguments)
        seen.update(*(leaf.devices() for leaf in jax.tree.leaves(found)))
        return found

    monkeypatch.setattr(many_equilibria, "_linearised", looked)
    ng.continue_equilibria(network.homogeneous(), {"a": (-3.0, -1.0)}, progress=False)
    assert seen == {accelerator.cpu}


LARGE = {
    "STATES": ("simulate", "simulate_batch"),
    "PRODUCTS": ("simulate", "simulate_batch"),
    "TANGENTS": ("lyapunov_spectrum", "lyapunov_map"),
    "NEURONS": ("simulate_spiking",),
    "DENSE": ("of a network", "linear_response"),
}


@pytest.mark.parametrize("limit", ["STATES", "PRODUCTS"])
def test_what_is_large_stays(network, accelerator, monkeypatch, limit):
    monkeypatch.setattr(placement, limit, 0)
    assert SMALL["simulate_batch"](network).devices() == {accelerator.itself}


class Asked(Exception):
    """What is asked about a work, before it begins."""


@pytest.mark.parametrize(("limit", "name"), [(k, v) for k, names in LARGE.items() for v in names])
def test_what_is_beyond_a_limit_is_large(network, accelerator, monkeypatch, limit, name):
    def asked(what, small, *values):
        raise Asked(small)

    for module in (placement, batches, spiking):
        monkeypatch.setattr(module, "beside", asked)
    for value, small in ((None, True), (0, False)):
        if value is not None:
            monkeypatch.setattr(spiking if limit == "NEURONS" else placement, limit, value)
        with pytest.raises(Asked) as found:
            SMALL[name](network)
        assert found.value.args == (small,)


def wide(regions):
    weights = np.full((regions, regions), 1 / regions)
    return ng.Network(ng.NextGenEI(i_ext_e=2.0), weights, coupling=5.0)


PLANE = {"i_ext_e": np.arange(60.0), "coupling": np.arange(60.0)}
LINE = {"i_ext_e": np.arange(3.0)}
BOTH = {"i_ext_e": (0.0, 16.0), "coupling": (0.0, 30.0)}
ASKED = {
    "simulate": (lambda n: ng.simulate(n, 1.0), wide(90), wide(600)),
    "initial_state": (ng.initial_state, wide(90), None),
    "find_equilibria": (ng.find_equilibria, wide(12), wide(40)),
    "find_orbit": (ng.find_orbit, wide(90).homogeneous(), wide(40)),
    "dispersion": (lambda n: ng.dispersion(n, np.zeros(6)), wide(90), None),
    "linear_response": (
        lambda n: ng.linear_response(ng.Driven(n, {"input": 0.1})), wide(12), wide(90)
    ),
    "continue_equilibria": (
        lambda n: ng.continue_equilibria(n, AXES), wide(90).homogeneous(), wide(40)
    ),
    "continue_cycles": (lambda n: ng.continue_cycles(n, AXES), wide(90).homogeneous(), wide(40)),
    "continue_bifurcation": (
        lambda n: ng.continue_bifurcation(n, BOTH, None), wide(90).homogeneous(), wide(40)
    ),
    "bifurcation_diagram": (
        lambda n: ng.bifurcation_diagram(n, AXES), wide(90).homogeneous(), wide(40)
    ),
    "two_parameter_diagram": (
        lambda n: ng.two_parameter_diagram(n, BOTH, [1.0]), wide(90).homogeneous(), wide(40)
    ),
    "lyapunov_spectrum": (lambda n: ng.lyapunov_spectrum(n, 20), wide(90), wide(600)),
    "orbit_diagram": (lambda n: ng.orbit_diagram(n, LINE), wide(90), wide(600)),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_size_decides(accelerator, monkeypatch, name):
    def asked(what, small, *values):
        raise Asked(what, small)

    monkeypatch.setattr(placement, "beside", asked)
    work, *systems = ASKED[name]
    for system, small in zip(systems, (True, False), strict=True):
        if system is not None:
            with pytest.raises(Asked) as found:
                work(system)
            assert found.value.args == (name, small)


@pytest.mark.parametrize("name", ["dispersion_map", "lyapunov_map"])
def test_the_number_of_points_decides(accelerator, monkeypatch, name):
    def asked(what, small, *values):
        raise Asked(what, small)

    monkeypatch.setattr(placement, "beside", asked)
    for axes, few in ((LINE, True), (PLANE, False)):
        system = wide(12) if name == "dispersion_map" else wide(12).homogeneous()
        small = few or name == "dispersion_map"  # which is never faster on a GPU
        with pytest.raises(Asked) as found:
            getattr(ng, name)(system, axes)
        assert found.value.args == (name, small)


def test_the_limits_are_where_they_were_measured():
    """27 runs of 90 regions; 4 points of 20 exponents; 1600 of one region and all six."""
    many = SimpleNamespace(state_shape=(6, 90))
    assert placement.steps_are_few(many, 27)
    assert not placement.steps_are_few(many, 32)
    assert placement.steps_are_few(SimpleNamespace(state_shape=(6, 400)))
    assert not placement.steps_are_few(SimpleNamespace(state_shape=(6, 1000)))
    assert placement.tangents_are_few(many, 20, 3)
    assert not placement.tangents_are_few(many, 20, 6)
    alone = SimpleNamespace(state_shape=(6,))
    assert placement.tangents_are_few(alone, None, 900)
    assert not placement.tangents_are_few(alone, None, 1600)
    assert placement.jacobian_is_small(alone)
    assert not placement.jacobian_is_small(many)


def test_points_at_rest(network, accelerator, monkeypatch):
    """Equilibria on the CPU, however many; their modes where the points are few."""
    seen = []

    def looked(*arguments, **options):
        seen.append(placement.devices())
        return map_chunks(*arguments, **options)

    monkeypatch.setattr(transverse, "map_chunks", looked)
    axes = {"a": np.linspace(-3.0, -1.0, 5)}
    few = ng.sweep(network, axes, ng.Stability(), progress=False)
    monkeypatch.setattr(resting, "POINTS", 4)
    many = ng.sweep(network, axes, ng.Stability(), progress=False)
    assert seen == [[accelerator.cpu], jax.local_devices()]
    np.testing.assert_allclose(few.growth_transverse, many.growth_transverse, rtol=1e-12)


def test_a_choice_stands(network, accelerator):
    """A default device, and arrays that were put on one."""
    with jax.default_device(accelerator.itself):
        assert SMALL["simulate"](network).devices() == {accelerator.itself}
    there = jax.device_put(network, accelerator.itself)
    for name in ("simulate", "simulate_batch", "find_equilibria"):
        assert SMALL[name](there).devices() == {accelerator.itself}
    start = jax.device_put(start_of(network), accelerator.itself)
    found = ng.simulate(network, 1.0, start=start, dt=0.1, progress=False)
    assert found.states.devices() == {accelerator.itself}


def test_without_a_cpu_nothing_is_moved(network, accelerator, monkeypatch):
    monkeypatch.setattr(placement, "cpus", list)
    assert SMALL["simulate"](network).devices() == {accelerator.itself}


def test_jax_may_have_no_cpu(monkeypatch):
    def none(backend=None):
        raise RuntimeError(f"Unknown backend {backend}")

    assert placement.cpus() == jax.devices()
    monkeypatch.setattr(jax, "local_devices", none)
    assert placement.cpus() == []


def test_nothing_is_moved_beside_no_accelerator(network):
    with placement.beside("work", True, network) as device:
        assert device is None
        assert jax.config.jax_default_device is None


def last(growth, network):
    run = ng.simulate(
        network.with_parameters(a=growth),
        1.0, start=start_of(network), dt=0.1, progress=False, throw=False,
    )  # fmt: skip
    return run.x[-1].mean()


@pytest.mark.parametrize("transformed", [jax.jit, jax.grad, lambda f: jax.jit(jax.vmap(f))])
def test_under_transformations_nothing_is_moved(network, accelerator, monkeypatch, transformed):
    function = transformed(lambda growth: last(growth, network))
    given = jnp.arange(2.0) if "lambda" in transformed.__name__ else jnp.asarray(2.0, float)
    found = function(given)
    assert found.devices() == {accelerator.itself}
    monkeypatch.undo()
    np.testing.assert_array_equal(found, function(given))


def test_the_order_of_arguments_is_kept(network, accelerator):
    found = ng.lyapunov_map(network.homogeneous(), POINTS, 1, **FEW)
    assert list(found.parameters) == list(POINTS)
    assert found.spectra.exponents.shape == (2, 1, 1)


def test_arrays_are_brought_once(network, accelerator):
    """Not in every call of a program, as those of a continuation."""
    seen = []

    @placement.placed()
    def look(system, values):
        seen.extend(jax.tree.leaves(system))
        return values

    values = {"b": 1.0, "a": 2.0}
    assert look(network, values) is values
    arrays = [leaf for leaf in seen if isinstance(leaf, jax.Array) and not leaf.weak_type]
    assert arrays
    assert all(leaf.devices() == {accelerator.cpu} for leaf in arrays)


def test_bad_arguments_are_told_as_ever(network, accelerator):
    with pytest.raises(ValueError, match="`parameters` must"):
        ng.lyapunov_map(network, {"nothing": [1.0]})
    with pytest.raises(TypeError, match="duration"):
        ng.simulate(network)
    with pytest.raises(ValueError, match="`max_count` must"):
        ng.find_equilibria(network, max_count=0)


def test_it_is_logged(network, accelerator, caplog):
    with caplog.at_level(logging.INFO, logger="ngnmm_jax"):
        SMALL["adaptive"](network)
    assert [record.getMessage() for record in caplog.records] == [
        "simulate: on the CPU, where it is faster than on the gpu"
    ]


def test_devices_in_use():
    first, second = jax.devices()
    assert placement.devices() == [first, second]
    with jax.default_device(second):
        assert placement.devices() == [second]
    with jax.default_device("cpu"):
        assert placement.devices() == [first]


def test_work_stays_on_the_device_that_was_chosen(network):
    """It is not spread over the others."""
    second = jax.devices()[1]
    with jax.default_device(second):
        found = ng.simulate_batch(network, {"a": np.linspace(-3.0, -1.0, 40)}, 1.0, dt=0.1)
    assert found.states.devices() == {second}
    spread = ng.simulate_batch(network, {"a": np.linspace(-3.0, -1.0, 40)}, 1.0, dt=0.1)
    np.testing.assert_allclose(found.states, spread.states, rtol=1e-12)


def test_an_accelerator_takes_more_lanes(network, monkeypatch):
    core = network.homogeneous()
    narrow = placement.wide(32), placement.wide(32, 7), lanes_per_device(core, 6)
    monkeypatch.setattr(jax, "local_devices", lambda: [SimpleNamespace(platform="gpu")])
    assert narrow == (32, 32, 128)
    assert (placement.wide(32), placement.wide(32, 7), lanes_per_device(core, 6)) == (1024, 7, 4096)


# ------------------------------------------------------------------- room in the memory

FULL = [jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no room"), MemoryError()]


def batch(network):
    values = {"a": np.linspace(-3.0, -1.0, 40)}
    return ng.simulate_batch(network, values, 2.0, start=start_of(network), dt=0.1, chunk=32)


@pytest.fixture
def cramped(monkeypatch):
    """Devices that have room for eight runs; the widths that were tried."""
    tried, whole, error = [], chunks._one_round, FULL[0]

    def one_round(core, work, runs, pieces, xp):
        lanes = runs.seeds.shape[0] // len(work.devices)
        tried.append(lanes)
        if lanes > 8:
            raise seen.error
        return whole(core, work, runs, pieces, xp)

    monkeypatch.setattr(chunks, "_one_round", one_round)
    seen = SimpleNamespace(tried=tried, error=error)
    return seen


@pytest.mark.parametrize("error", FULL)
def test_a_batch_that_does_not_fit_is_halved(network, cramped, monkeypatch, error):
    cramped.error = error
    with pytest.warns(UserWarning, match="runs at a time do not fit into the memory: on with"):
        found = batch(network)
    assert cramped.tried == [24, 12, 6, 6, 6, 6]
    assert found.ok
    monkeypatch.undo()
    np.testing.assert_allclose(found.x, batch(network).x, rtol=1e-12)


def test_other_errors_are_raised(network, cramped):
    cramped.error = jax.errors.JaxRuntimeError("INTERNAL: something else")
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        batch(network)
    assert cramped.tried == [24]


def test_results_that_do_not_fit_are_not_tried_again(network, cramped, monkeypatch):
    """40 runs of 2 variables, last states, and of one at 21 times, in 12 regions and 8 bytes."""
    needed, room = 40 * 12 * 8 * (2 + 21), [0]
    device = SimpleNamespace(
        platform="cpu", memory_stats=lambda: {"bytes_limit": room[0] + 100, "bytes_in_use": 100}
    )
    real = chunks._room_for_results
    monkeypatch.setattr(
        chunks, "_room_for_results", lambda core, runs, saving, _: real(core, runs, saving, device)
    )
    room[0] = needed - 1
    with pytest.raises(jax.errors.JaxRuntimeError, match="no room"):
        batch(network)
    assert cramped.tried == [24]
    room[0] = needed
    with pytest.warns(UserWarning, match="on with"):
        assert batch(network).ok


def test_one_run_that_does_not_fit_says_so():
    def work(lanes):
        raise MemoryError(lanes)

    with pytest.warns(UserWarning, match="on with 1"), pytest.raises(MemoryError, match="1"):
        within_memory(work, 3)
