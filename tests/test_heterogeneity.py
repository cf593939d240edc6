"""Parameters that differ between regions are never made the same without a word."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax import fitting, sweeps

WEIGHTS = np.array([[0, 1.0], [1, 0]])
CURRENTS = np.array([3.0, 5.0])


@pytest.fixture(scope="module")
def network():
    """Its currents and its coupling differ between regions, all else does not."""
    return ng.Network(ng.NextGenEI(i_ext_e=CURRENTS), WEIGHTS, np.array([4.0, 6.0]))


@pytest.mark.parametrize("name", ["i_ext_e", "coupling"])
@pytest.mark.parametrize(
    "call",
    [
        lambda n, axis: ng.sweep(n, axis, sweeps.Activity(duration=10.0)),
        lambda n, axis: ng.sweep(n, ng.Design.listed(axis), sweeps.Activity(duration=10.0)),
        lambda n, axis: ng.lyapunov_map(n, axis, duration=10.0),
        lambda n, axis: ng.orbit_diagram(n, axis, duration=10.0),
        lambda n, axis: ng.simulate_batch(n, axis, 10.0, dt=0.05),
        lambda n, axis: ng.simulate_spiking(n, 10.0, parameters=axis, dt=0.05),
        lambda n, axis: ng.Free(n, dict.fromkeys(axis, fitting.real())),
        lambda n, axis: ng.Free(ng.Driven(n), dict.fromkeys(axis, fitting.interval(0, 9))),
    ],
)
def test_one_number_in_place_of_one_each_is_refused(network, name, call):
    with pytest.raises(ValueError, match=f"`{name}` must keep what regions differ in.*between"):
        call(network, {name: [3.0, 4.0]})


def test_noise_too(network):
    driven = ng.Driven(network, {"v_e": [0.1, 0.2], "r_e": 0.1})
    for name in ("v_e_noise",):
        with pytest.raises(ValueError, match=f"`{name}` must keep"):
            ng.Free(driven, {name: fitting.positive()})
        with pytest.raises(ValueError, match=f"`{name}` must keep"):
            ng.simulate_batch(driven, {name: np.ones(2)}, 10.0, dt=0.05)
    assert ng.Free(driven, {"r_e_noise": fitting.positive()}).size == 1


def test_the_ways_out(network):
    """Values for each region, scaled together; and where regions do not differ after all."""
    scales = np.array([0.5, 2.0])
    design = ng.Design.grid({"i_ext_e": scales[:, None] * CURRENTS, "j_ee": [5.0]})
    design.check(network, ())
    points, _ = design.at(np.arange(2))
    np.testing.assert_array_equal(points["i_ext_e"], [[1.5, 2.5], [6.0, 10.0]])
    scaled = fitting.interval(
        0.0, 4.0, default=1.0, apply=lambda n, v: n.with_parameters(i_ext_e=v * n.model.i_ext_e)
    )
    each = fitting.real(per="region")
    for unknown, size in ((scaled, 1), (each, 2)):
        free = ng.Free(network, {"i_ext_e": unknown})
        assert free.size == size
        back = free.put(free.of(network))
        np.testing.assert_allclose(back.model.i_ext_e, CURRENTS, rtol=1e-12)
    same = network.with_parameters(i_ext_e=[3.0, 3.0], coupling=[4.0, 4.0])
    ng.Design.grid({"i_ext_e": scales, "coupling": scales}).check(same, ())
    free = ng.Free(same, {"coupling": fitting.interval(0, 9)})
    assert float(free.values(free.of(same))["coupling"]) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="`coupling` must keep"):
        free.of(network)


def test_a_fit_starts_from_what_there_is(network):
    """Values out of bounds were moved inside, those beside their maps onto them."""
    three = np.array([[0, 1.0, 0], [0.5, 0, 0.5], [0, 1.0, 0]])
    bent = ng.Network(ng.NextGenEI(i_ext_e=[1.0, 7.0, 2.0]), three, 5.0)
    for unknowns, words in (
        ({"coupling": fitting.interval(0.0, 4.0)}, r"`coupling` must lie in \[0, 4\]"),
        ({"eta_e": fitting.positive()}, "`eta_e` must lie in"),
        ({"i_ext_e": fitting.real(per=np.arange(3.0))}, "`i_ext_e` must follow its maps"),
    ):
        with pytest.raises(ValueError, match=words):
            ng.Free(bent, unknowns).of(bent)
    straight = bent.with_parameters(i_ext_e=[1.0, 2.0, 3.0])
    free = ng.Free(straight, {"i_ext_e": fitting.real(per=np.arange(3.0))})
    back = free.put(free.of(straight))
    np.testing.assert_allclose(back.model.i_ext_e, [1.0, 2.0, 3.0], rtol=1e-12)
    with pytest.raises(ValueError, match="`x` must be real"):
        free.put(np.array([1j, 0]))


def test_driven_systems_keep_all_else(network):
    class Marked(ng.Driven):
        pass

    driven = Marked(network, {"v_e": [0.1, 0.2]})
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), driven)
    changed = single.with_parameters(v_e_noise=0.5, j_ee=4.0, input_noise=[0.1, 0.3])
    assert type(changed) is Marked
    assert {leaf.dtype for leaf in jax.tree.leaves(changed)} == {jnp.dtype("float32")}
    assert float(changed.v_e_noise) == 0.5
    assert set(changed.noise) == {"v_e", "input"}
    for noise, words in ((1j, "number"), ("a", "number"), (True, "number"), (-1.0, "negative")):
        with pytest.raises(ValueError, match=words):
            ng.Driven(network, {"v_e": noise})
        with pytest.raises(ValueError, match=words):
            driven.with_parameters(v_e_noise=noise)


def test_continuations_ask_for_a_scalar(network):
    for name in ("i_ext_e", "coupling"):
        with pytest.raises(ValueError, match="`parameters` must be one of"):
            ng.continue_equilibria(network, {name: (0.0, 9.0)})


def test_values_of_designs_are_numbers_that_suit():
    network = ng.Network(ng.NextGenEI(), WEIGHTS, 1.0)
    for values, words in (
        ({"i_ext_e": ["1", "2"]}, "`i_ext_e` must be .* of numbers"),
        ({"i_ext_e": [1j]}, "`i_ext_e` must be .* of numbers"),
        ({"i_ext_e": [True]}, "`i_ext_e` must be .* of numbers"),
        ({"i_ext_e": np.ma.array([1.0, 2.0], mask=[True, False])}, "masked"),
    ):
        with pytest.raises(ValueError, match=words):
            ng.Design.grid(values)
        with pytest.raises(ValueError, match=words):
            ng.lyapunov_map(network, values, duration=10.0)
        with pytest.raises(ValueError, match="`i_ext_e` must be a number"):
            ng.simulate_batch(network, values, 10.0, dt=0.05)
    with pytest.raises(ValueError, match="`tau_e` must be positive"):
        ng.lyapunov_map(network, {"tau_e": [0.0, 1.0]}, duration=10.0)
    for bounds in (("a", "b"), (0, 1j), (False, True)):
        with pytest.raises(ValueError, match=r"`i_ext_e` must be .* of numbers"):
            ng.Design.random({"i_ext_e": bounds}, 3)
    for options, words in (
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"regions": 0}, "regions"),
    ):
        with pytest.raises(ValueError, match=f"`{words}` must be"):
            ng.Design.random({"i_ext_e": (0, 1)}, 3, **options)
    with pytest.raises(ValueError, match=r"`r_e\(0\)` must not be negative"):
        ng.Design.grid({"r_e(0)": [-1.0]}).check(network, ("r_e(0)",))
    for system, words in (
        (network, r"a value for each of \(2,\) regions"),
        (network.homogeneous(), r"must be \(value,\)"),
    ):
        with pytest.raises(ValueError, match=words):
            ng.Design.grid({"i_ext_e": np.ones((2, 3))}).check(system, ())


def test_edited_leaves_count():
    """`eqx.tree_at` may make regions differ as well."""
    network = ng.Network(ng.NextGenEI(), WEIGHTS, 1.0)
    network = eqx.tree_at(lambda n: n.model.eta_e, network, jnp.array([-5.0, -4.0]))
    with pytest.raises(ValueError, match="`eta_e` must keep"):
        ng.simulate_batch(network, {"eta_e": np.ones(2)}, 10.0, dt=0.05)
