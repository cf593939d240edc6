"""Maps of homogeneous states and their transverse stability, and what survives an interruption."""

import errno
import os

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.lanes import map_chunks
from ngnmm_jax.dynamics.many_equilibria import search
from ngnmm_jax.models.notation import notation_of
from ngnmm_jax.stability import atlas, resting
from ngnmm_jax.stability.atlas import Atlas, Table
from ngnmm_jax.stability.kinds import APERIODIC, EQUILIBRIUM, ORBIT
from ngnmm_jax.stability.transverse import Modes, Spectrum, aperiodic_modes
from tests.conftest import reference_values


@pytest.fixture(scope="module")
def network(hcp):
    """A hundred modes, more than the nodes at which those of orbits are computed; all maps of this
    file are over both of its parameters, by the same compiled programs.
    """
    return ng.Network(ng.NextGenEI(), hcp.normalised(), 0.0)


# ---------------------------------------------------------------------- equilibria


def test_equilibria_agree_with_single_points(network):
    axes = {"i_ext_e": np.array([0.0, 3.0, 4.65, 15.0]), "coupling": np.array([0.0, 9.0, 26.0])}
    result = ng.dispersion_map(network, axes, oscillations=False)
    assert (result.status == ng.Status.OK).all()
    found = result.kind == EQUILIBRIUM
    counts = []
    for i, i_ext_e in enumerate(axes["i_ext_e"]):
        for j, coupling in enumerate(axes["coupling"]):
            here = network.with_parameters(i_ext_e=i_ext_e, coupling=coupling)
            rest = ng.find_equilibria(here.homogeneous())
            counts.append(int(rest.count))
            assert found[i, j].sum() == rest.count
            for k in range(int(rest.count)):
                curve = ng.dispersion(here, rest.states[k])
                growth = np.asarray(curve.growth)
                assert result.growth_uniform[i, j, k] == pytest.approx(growth[0], abs=1e-11)
                transverse = growth[1:].max()
                assert result.growth_transverse[i, j, k] == pytest.approx(transverse, abs=1e-11)
                assert result.number_growing[i, j, k] == int(curve.number_growing)
                if coupling > 0:
                    assert result.fastest[i, j, k] == int(curve.fastest)
                    frequency = float(curve.frequency[int(curve.fastest)])
                    assert result.frequency[i, j, k] == pytest.approx(frequency, abs=1e-8)
    assert max(counts) == 3
    assert np.isnan(result.growth_transverse[~found]).all()
    assert (result.number_growing[~found] == -1).all()


# Five equilibria at coupling 18.2786, the fifth stable.
FIVE = dict(
    eta_e=-6.0639, eta_i=-6.4326, delta_e=0.6948, delta_i=0.027,
    j_ee=27.6886, j_ei=19.0181, j_ie=24.1265, j_ii=10.9735,
)  # fmt: skip


def test_there_are_as_many_places_as_equilibria(network, tmp_path, monkeypatch):
    """Also in blocks that need fewer, and in what a sweep keeps, or it is said."""
    monkeypatch.setattr(resting, "_SEARCHED", 2)
    network = network.with_parameters(**FIVE)
    axes = {"i_ext_e": np.array([-9.0, 0.0]), "coupling": np.array([1.0, 18.2786])}
    result, again = (
        ng.dispersion_map(network, axes, oscillations=False, store=tmp_path, chunk=1)
        for _ in range(2)
    )
    assert result.kind.shape == (2, 2, 5)
    assert (result.kind == EQUILIBRIUM).sum(axis=-1)[1, 1] == 5
    assert result.growth_uniform[1, 1, 4] == pytest.approx(-0.0040, abs=5e-5)
    assert result.stable[1, 1].tolist() == [True, False, False, False, True]
    assert result.complete.all()
    assert bool(result.to_xarray().complete.all())
    np.testing.assert_array_equal(result.states, again.states)

    points = {"i_ext_e": [0.0], "coupling": [1.0, 18.2786]}
    for places, status in ((3, ng.Status.TRUNCATED), (5, ng.Status.OK)):
        kept = ng.sweep(network, ng.Design.grid(points), ng.Stability(places=places))
        assert kept.number.values[0].tolist()[1] == 5
        assert kept.complete.values[0].tolist() == [1, 1]
        assert kept.status.values[0].tolist() == [ng.Status.OK, status]
        assert kept.growth_uniform.values[0, 1] == pytest.approx(
            result.growth_uniform[1, 1, :places], rel=1e-9
        )


# ---------------------------------------------------------------------- orbits


def compare_with_single_orbits(network, result, tolerance):
    """Every orbit of a map against `find_orbit` and `dispersion`, refined to rounding."""
    points = list(zip(*np.nonzero(result.kind == ORBIT), strict=True))
    names = list(result.parameters)
    for *index, k in points:
        values = {n: result.parameters[n][i] for n, i in zip(names, index, strict=True)}
        here = network.with_parameters(**values)
        at = (*index, k)
        orbit = ng.find_orbit(
            here.homogeneous(),
            start=result.states[at],
            period=float(result.period[at]),
            steps=256,  # one compilation for all
        )
        assert bool(orbit.stable)
        assert float(orbit.period) == pytest.approx(result.period[at], rel=2e-6)
        modes = ng.dispersion(here, orbit)
        growth = np.asarray(modes.growth)
        fastest = int(modes.fastest)
        assert result.growth_transverse[at] == pytest.approx(growth[fastest], abs=tolerance)
        assert result.growth_transverse[at] == pytest.approx(
            growth[result.fastest[at]], abs=2 * tolerance
        )
        if np.abs(growth).min() > tolerance:
            assert result.number_growing[at] == int(modes.number_growing)
        assert result.frequency[at] == pytest.approx(
            float(modes.frequency[result.fastest[at]]), abs=1.0
        )
    return len(points)


def test_orbits_agree_with_single_points(network):
    axes = {"i_ext_e": [5.0, 13.0], "coupling": [2.0, 9.0, 20.0]}
    result = ng.dispersion_map(network, axes)
    assert (result.status == ng.Status.OK).all()
    assert compare_with_single_orbits(network, result, 5e-6) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("which", ["directed", "small"])
def test_orbits_with_complex_spectrum_and_of_jansen_rit(request, which):
    connectome = request.getfixturevalue(which)
    model, axes, unit = {
        "directed": (ng.NextGenEI(), {"i_ext_e": [10.0, 13.0], "coupling": [5.0]}, 1.0),
        "small": (ng.JansenRit(), {"p": [150.0, 230.0], "coupling": [50.0]}, 1e3),
    }[which]
    network = ng.Network(model, connectome, 0.0)
    result = ng.dispersion_map(network, axes)
    assert compare_with_single_orbits(network, result, 5e-6 * unit) == 2
    assert result.to_xarray().growth_transverse.attrs["units"] == f"1/{model.time_unit}"


@pytest.mark.slow
def test_many_modes_are_interpolated():
    """Forty modes: more than the sixteen nodes."""
    connectome = ng.Connectome.synthetic(40, seed=2).normalised()
    network = ng.Network(ng.NextGenEI(), connectome, 0.0)
    result = ng.dispersion_map(network, {"i_ext_e": [12.0, 13.0], "coupling": [8.0]})
    assert (result.error[result.kind == ORBIT] > 0).all()
    assert compare_with_single_orbits(network, result, 5e-6) == 2


def test_hysteresis_between_folds_of_cycles(network):
    """At epsilon = 15 two stable orbits coexist between two folds of cycles, and only there."""
    folds = [v[0] for v in reference_values("bifurcations.json")["fold_of_cycles"]["15"]]
    high, low = folds[2:]
    values = np.arange(9.6, 10.3, 0.05)
    result = ng.dispersion_map(network, {"i_ext_e": values, "coupling": [15.0]})
    both = ((result.kind == ORBIT) & result.stable).sum(axis=-1) == 2
    np.testing.assert_array_equal(both[:, 0], (values > low) & (values < high))
    period = result.period[both][:, 3:]
    assert (np.abs(period[:, 0] - period[:, 1]) > 0.5).all()


@pytest.mark.slow
def test_period_doubling_and_second_hopf(small):
    """A period doubles between 9.1 and 9.3 at epsilon = 12; beyond 12.6986 there is rest."""
    network = ng.Network(ng.NextGenEI(), small, 12.0)
    values = [9.1, 9.3, 12.6, 12.8]
    result = ng.dispersion_map(network, {"i_ext_e": values})
    period = result.period[:, 3]
    assert period[1] == pytest.approx(2 * period[0], rel=0.06)
    assert (result.kind[:, 3] == ORBIT).tolist() == [True, True, True, False]
    assert bool(result.stable[3, 0])


@pytest.mark.slow
def test_neutral_modes_do_not_grow(small):
    """Without coupling all modes of an orbit are neutral."""
    network = ng.Network(ng.NextGenEI(), small, 0.0)
    result = ng.dispersion_map(network, {"i_ext_e": [8.0, 12.0]})
    moving = result.kind == ORBIT
    assert moving.sum() == 2
    assert np.abs(result.growth_transverse[moving]).max() < 1e-6
    assert (result.number_growing[moving] == 0).all()


# ---------------------------------------------------------------------- aperiodic states


def test_chaos_is_marked(network):
    """At (10, 12) the homogeneous state is chaotic: leading exponent 0.0064 per ms."""
    result = ng.dispersion_map(network, {"i_ext_e": [10.0], "coupling": [12.0]})
    at = (0, 0, 3)
    assert result.kind[at] == APERIODIC
    assert np.isnan(result.period[at])
    assert np.isnan(result.frequency[at])
    values = reference_values("lyapunov.json")["homogeneous"][0]
    assert (values["i_ext_e"], values["epsilon"]) == (10, 12)
    assert result.growth_uniform[at] == pytest.approx(values["exponents"][0], abs=0.006)
    assert 0 < result.error[at] < 0.01


def test_lyapunov_exponents_on_an_orbit_are_floquet_exponents(network):
    """Two ways to the same numbers, a hundred modes, interpolated from twenty-one."""
    at = {"i_ext_e": 12.0, "coupling": 8.0}
    network = network.with_parameters(**at)
    orbit = ng.find_orbit(network.homogeneous())
    point = {name: np.array([value]) for name, value in at.items()}
    lane = (point, np.asarray(orbit.states)[:1])
    run = map_chunks(
        aperiodic_modes, Spectrum.of(network), lane, chunk=atlas._APERIODIC, lockstep=True
    )
    modes = ng.dispersion(network, orbit)
    fastest = int(modes.fastest)
    # Ten windows of 200 ms are no whole numbers of periods.
    assert float(run.modes.growth_transverse[0]) == pytest.approx(
        float(modes.growth[fastest]), abs=1e-3
    )
    assert abs(float(run.growth_uniform[0])) < 1e-3
    assert abs(int(run.modes.number_growing[0]) - int(modes.number_growing)) <= 2


class Relaxing(ng.AbstractNeuralMass):
    """x' = -x, followed by steps of its own choice."""

    variables = ("x",)
    units = ("1",)
    time_unit = "ms"
    shown = "x"
    shown_unit = "1"
    nonnegative = ()
    step: float = eqx.field(static=True, default=0.05)

    @property
    def time_step(self):
        return self.step

    def vector_field(self, state, drive):
        return -state + drive

    def output(self, state):
        return state[0]

    def search_box(self):
        return jnp.zeros(1), jnp.ones(1)


@pytest.mark.parametrize(("step", "fine"), [(0.05, True), (1.0, False)])
def test_steps_too_long_for_aperiodic_modes_are_told(step, fine):
    """A step of its own time leaves growth of log(0.375), and an error that says so."""
    network = ng.Network(Relaxing(step=step), np.array([[0, 1.0], [1, 0]]), 0.0)
    at = ({"coupling": jnp.zeros(1)}, jnp.ones((1, 1)))
    modes = aperiodic_modes(Spectrum.of(network), at).modes
    off = abs(float(modes.growth_transverse[0]) + 1)
    assert off == pytest.approx(0 if fine else 1 + np.log(0.375), abs=1e-6)
    assert off < float(modes.error[0]) + 1e-7
    assert bool(modes.converged[0]) == fine


# ---------------------------------------------------------------------- blocks and stores

AXES = {"i_ext_e": np.array([3.0, 8.0, 12.0]), "coupling": np.array([2.0, 9.0, 12.5])}


@pytest.fixture(scope="module")
def whole(network):
    return ng.dispersion_map(network, AXES)


def same(one, two):
    """To the bit; growth at rounding, since eigenvalues in batches of another size round otherwise.

    (They do on CPUs without AVX-512: by 5e-16 per ms.)
    """
    for name in ("kind", "states", "period", "number_growing", "status"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    np.testing.assert_allclose(one.growth_transverse, two.growth_transverse, rtol=0, atol=1e-13)


def test_summary(whole):
    """States by kind, in a few lines."""
    lines = repr(whole).splitlines()
    assert len(lines) < 10
    numbers = np.bincount(whole.kind.ravel(), minlength=4)
    assert f"{numbers[EQUILIBRIUM]} equilibrium, {numbers[ORBIT]} orbit" in repr(whole)
    assert whole.notation == notation_of(ng.NextGenEI)


def test_what_is_erased_leaves_nothing():
    """A run that arrived at another state is none of its own: no place without a state has one."""
    table, blank = Table.blank(2, 3, 6), Table.blank(2, 3, 6)
    modes = Modes(*np.ones((5, 1)), np.array([True]))
    where = (np.array([1]), np.array([2]))
    table.kind[where], table.states[where] = APERIODIC, 0.5
    table.period[where] = table.growth_uniform[where] = 1.0
    table.put(modes, *where)
    assert int(table.fastest[1, 2]) == 1
    table.erase(*where)
    for name, value in vars(table).items():
        np.testing.assert_array_equal(value, getattr(blank, name), err_msg=name)


def test_interrupted_and_resumed(network, whole, tmp_path, monkeypatch):
    """In blocks of another size, too, which do not matter."""
    calls = []
    block = Atlas.block

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return block(self, *arguments)

    monkeypatch.setattr(Atlas, "block", interrupted)
    options = {"store": tmp_path / "store", "chunk": 1}
    with pytest.raises(KeyboardInterrupt):
        ng.dispersion_map(network, AXES, **options)
    same(whole, ng.dispersion_map(network, AXES, **options))
    assert len(calls) == 4  # one, the one interrupted, and the other two
    same(whole, ng.dispersion_map(network, AXES, **options))
    assert len(calls) == 4


def test_damaged_block_is_computed_again(network, whole, tmp_path):
    options = {"store": tmp_path, "chunk": 4}  # points: two lines of three
    ng.dispersion_map(network, AXES, **options)
    path = tmp_path / "block-00001.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=r"block-00001\.npz is damaged"):
        same(whole, ng.dispersion_map(network, AXES, **options))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(UserWarning, match="computed again"):
        same(whole, ng.dispersion_map(network, AXES, **options))


def test_another_computation_is_refused(network, tmp_path):
    options = {"store": tmp_path, "oscillations": False}
    ng.dispersion_map(network, AXES, **options)
    other = network.with_parameters(tau_si=6.0)
    with pytest.raises(ValueError, match=r"`store` must hold the same.*parameters"):
        ng.dispersion_map(other, AXES, **options)
    with pytest.raises(ValueError, match="differs in axes"):
        ng.dispersion_map(network, {**AXES, "coupling": [1.0]}, **options)
    (tmp_path / ".ngnmm_store" / "definition.json").write_text("{")
    with pytest.raises(ValueError, match=r"damaged.*of another computation"):
        ng.dispersion_map(other, AXES, **options)
    with pytest.warns(UserWarning, match="made again"):
        ng.dispersion_map(network, AXES, **options)


def test_full_disk_loses_nothing(network, tmp_path, monkeypatch):
    options = {"store": tmp_path, "chunk": 1, "oscillations": False}
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(1)
        if len(calls) == 4:  # after the definition and two blocks
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        ng.dispersion_map(network, AXES, **options)
    assert sorted(p.name for p in tmp_path.glob("block*")) == ["block-00000.npz", "block-00001.npz"]
    assert not list(tmp_path.rglob("*.part"))
    assert ng.dispersion_map(network, AXES, **options).kind.shape == (3, 3, 3)


# ---------------------------------------------------------------------- bad input


def test_nothing_anywhere(network, monkeypatch):
    def nothing(*args, **options):
        found = search(*args, **options)
        return found._replace(found=np.zeros_like(found.found), states=np.nan * found.states)

    monkeypatch.setattr(resting, "search", nothing)
    with pytest.raises(ng.SolverError, match="no equilibrium") as failed:
        ng.dispersion_map(network, AXES, oscillations=False)
    result = failed.value.result
    assert isinstance(result, ng.DispersionMap)
    assert (result.status == ng.Status.NONE_FOUND).all()


def test_what_is_refused(network):
    with pytest.raises(ValueError, match="`parameters` must be one of"):
        ng.dispersion_map(network, {"current": [0.0]})
    with pytest.raises(ValueError, match="at least one parameter"):
        ng.dispersion_map(network, {})
    with pytest.raises(ValueError, match="`i_ext_e` must be finite"):
        ng.dispersion_map(network, {"i_ext_e": [np.nan]})
    with pytest.raises(ValueError, match="`i_ext_e` must be a non-empty"):
        ng.dispersion_map(network, {"i_ext_e": [[1.0]]})
    with pytest.raises(ValueError, match="`chunk` must be"):
        ng.dispersion_map(network, AXES, chunk=0)
