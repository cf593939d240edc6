"""Networks and results in files: the same again, and nothing that runs."""

import json

import jax
import numpy as np
import pytest

import ngnmm_jax as ng

W = np.array([[0, 1.0], [1, 0]])


def same(one, other):
    left, right = jax.tree.flatten(one), jax.tree.flatten(other)
    assert left[1] == right[1]
    for a, b in zip(left[0], right[0], strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype == np.asarray(b).dtype


def through(tmp_path, thing, **options):
    ng.save(tmp_path / "thing.npz", thing)
    return ng.load(tmp_path / "thing.npz", **options)


@pytest.fixture(scope="module")
def network():
    model = ng.NextGenEI(i_ext_e=9.0, eta_e=np.array([-5.0, -4.5]))
    return ng.Network(model, ng.Connectome(W, ("left", "right"), name="two"), 12.0)


def test_networks_and_what_drives_them(tmp_path, network):
    again = through(tmp_path, network)
    same(again, network)
    assert again.labels == network.labels
    assert again.connectome == network.connectome
    pulse = ng.stimuli.Pulse(10.0, 5.0, 2.0)
    driven = ng.Driven(network, {"v_e": 0.01}, pulse)
    same(through(tmp_path, driven), driven)
    half = jax.tree.map(lambda leaf: leaf.astype("float32"), network)
    same(through(tmp_path, half), half)


def test_results(tmp_path, network):
    node = ng.Network(ng.NextGenEI(i_ext_e=9.0), W, 12.0).homogeneous()
    run = ng.simulate(network, 20.0, dt=0.05)
    again = through(tmp_path, run)
    same(again, run)
    assert again.to_xarray().identical(run.to_xarray())
    for result in (ng.find_equilibria(node), ng.find_orbit(node)):
        same(through(tmp_path, result), result)
    longer = ng.simulate(network, 20.0, dt=0.05, start=again)  # a colleague goes on
    np.testing.assert_array_equal(
        longer.states, ng.simulate(network, 20.0, dt=0.05, start=run).states
    )


def test_branches(tmp_path):
    node = ng.Network(ng.NextGenEI(), W, 12.0).homogeneous()
    branch = ng.continue_equilibria(node, {"i_ext_e": (0.0, 4.0)})
    again = through(tmp_path, branch)
    assert again.to_xarray().identical(branch.to_xarray())


class Mine(ng.NextGenEI):
    pass


def test_classes_of_ones_own_are_given(tmp_path):
    with pytest.raises(ValueError, match="give that class in `classes=`"):
        through(tmp_path, Mine(i_ext_e=2.0))
    same(through(tmp_path, Mine(i_ext_e=2.0), classes=[Mine, Mine]), Mine(i_ext_e=2.0))
    other = type("Mine", (ng.JansenRit,), {"__module__": Mine.__module__})
    with pytest.raises(ValueError, match=r"`classes` must .*two are called 'Mine' of"):
        through(tmp_path, Mine(i_ext_e=2.0), classes=[Mine, other])


def test_what_files_cannot_hold(tmp_path, network):
    custom = ng.Driven(network, {}, ng.stimuli.Custom(lambda t: 0.0 * t))
    for thing, words in (
        (custom, "`thing.stimulus.*which files cannot hold"),
        (jax.random.key(0), "random key"),
        ({1: 2.0}, "a key 1"),
        (np.array([object()]), "array of object"),
    ):
        with pytest.raises(ValueError, match=words):
            ng.save(tmp_path / "no.npz", thing)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"end in \.npz"):
        ng.save(tmp_path / "no.txt", network)


def test_files_of_strangers(tmp_path, network):
    path = tmp_path / "thing.npz"
    with pytest.raises(FileNotFoundError, match="no file"):
        ng.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="damaged"):
        ng.load(path)
    ng.save(path, network)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="damaged"):
        ng.load(path)
    for holds, words in (
        ({"class": "os:system", "fields": {}}, "give that class"),
        ({"class": "ngnmm_jax.saved:load", "fields": {}}, "holds no data"),
        ({"class": "ngnmm_jax.cli.__main__:X", "fields": {}}, "give that class"),
        ({"array": "array9", "jax": True}, "damaged"),
        ({"what": 1}, "damaged"),
        ({"class": "ngnmm_jax.systems.network:Network", "fields": {}}, "differs from this version"),
    ):
        manifest = json.dumps({"format": 1, "version": "0", "holds": holds})
        np.savez(path, ngnmm_jax=np.array(manifest))
        with pytest.raises(ValueError, match=words):
            ng.load(path)
    ng.Connectome(W).save(path)
    with pytest.raises(ValueError, match=r"Connectome\.load"):
        ng.load(path)
    ng.save(path, ng.Connectome(W))
    with pytest.raises(ValueError, match=r"ng\.load"):
        ng.Connectome.load(path)
    assert through(tmp_path, {"one": np.float64(2.0)})["one"].shape == ()
    assert isinstance(through(tmp_path, np.float64(2.0)), np.float64)
