"""Optional methods of a model against its vector field, where they are used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import ngnmm_jax as ng
from ngnmm_jax._core.parameters import declared
from ngnmm_jax.models import agreement, parameter
from ngnmm_jax.models.hooks import QIFPopulation

PAIR = np.array([[0, 1.0], [1, 0]])
ONE = jnp.ones(())


class Same(ng.NextGenEI):
    """Other names, the same equations."""

    shown = "r_e"


class Cubic(ng.NextGenEI):
    """A further term, which is zero at the default."""

    k: jax.Array = parameter(0.0, unit="1", doc="cubic term")

    def vector_field(self, state, drive):
        slope = super().vector_field(state, drive)
        return slope.at[1].add(-self.k * state[1] ** 3 / self.tau_e)


class Late(ng.NextGenEI):
    """Other equations at some parameters only."""

    def vector_field(self, state, drive):
        slope = super().vector_field(state, drive)
        return slope.at[1].add(jnp.where(self.i_ext_e > 5, state[1] / self.tau_e, 0.0))


class LateInhibition(ng.NextGenEI):
    """Inhibitory neurons are driven too, at some parameters only."""

    def vector_field(self, state, drive):
        more = jnp.where(self.i_ext_e > 5, 1.0, 0.0)
        return super().vector_field(state, drive).at[4].add(more / self.tau_i)


class SlowGate(ng.NextGenEI):
    """A gate that takes twice its time; equilibria do not move."""

    def vector_field(self, state, drive):
        return super().vector_field(state, drive).at[2].multiply(0.5)


class SendsPotential(ng.NextGenEI):
    def output(self, state):
        return state[1]


class SendsSigmoid(ng.NextGenEI):
    def output(self, state):
        return jnp.tanh(10 * state[2])


class SendsRate(ng.NextGenEI):
    """At rest the same as the gate."""

    def output(self, state):
        return state[0]


class Forgets(ng.NextGenEI):
    """The mean state over a step is that at its begin."""

    def exact_flow(self, dt):
        flow = super().exact_flow(dt)
        return flow._replace(advance=lambda x, i, rise: (flow.advance(x, i, rise)[0], x))


class WrongTau(ng.NextGenEI):
    def populations(self):
        first, second = super().populations()
        return first, second._replace(tau=2 * second.tau)


class NoSuchRate(ng.NextGenEI):
    def populations(self):
        return (QIFPopulation("all", "r", "v_e", self.tau_e, self.delta_e),)


class NoFlow(ng.NextGenEI):
    """Whatever drives the populations, they are such."""

    exact_flow = None

    def vector_field(self, state, drive):
        return super().vector_field(state, drive).at[1].add(state[2] ** 2)


class NoFlowCubic(Cubic):
    exact_flow = None


class Borrowed:
    """No model, and its flow is that of other parameters than the model's."""

    def exact_flow(self, dt):
        return ng.NextGenEI().exact_flow(dt)


class Borrows(Borrowed, ng.NextGenEI):
    pass


class Without(Cubic):
    exact_flow = None
    populations = None
    equilibrium_reduction = None
    synaptic_currents = ng.NextGenEI.synaptic_currents


CALLS = {
    "exact_flow": lambda model: model.exact_flow(ONE),
    "equilibrium_reduction": lambda model: model.equilibrium_reduction(ONE),
    "populations": lambda model: model.populations(),
}


def test_what_agrees_passes_and_is_compared_once():
    for name, call in CALLS.items():
        assert call(Same()) is not None, name
        assert call(Same(i_ext_e=np.array([1.0, 2.0]))) is not None, name
    size = len(agreement._found)
    CALLS["exact_flow"](Same())
    jax.eval_shape(lambda i: Same(i_ext_e=i).exact_flow(ONE).inputs(jnp.ones(6), ONE), 3.0)
    assert len(agreement._found) == size
    # The library's own are compared by its tests.
    CALLS["exact_flow"](ng.NextGenEI(i_ext_e=3.0))
    assert len(agreement._found) == size


@pytest.mark.parametrize(
    ("model", "name", "words"),
    [
        (Cubic(), "exact_flow", r"inherited from `NextGenEI`.*of the slope.*exact_flow = None"),
        (SlowGate(), "exact_flow", "of the slope"),
        (SendsPotential(), "exact_flow", "another output"),
        (SendsSigmoid(), "exact_flow", "not linear"),
        (Forgets(), "exact_flow", "other inputs"),
        (Borrows(), "exact_flow", "of the slope"),
        (Late(i_ext_e=6.0), "exact_flow", "of the slope"),
        (SendsPotential(), "equilibrium_reduction", "at a root"),
        (SendsSigmoid(), "equilibrium_reduction", "at a root"),
        (WrongTau(), "populations", "`r_i` moves otherwise"),
        (NoSuchRate(), "populations", "'r'"),
        (Cubic(), "populations", "`v_e` moves otherwise"),
        (NoFlowCubic(), "populations", "`v_e` moves otherwise"),
    ],
)
def test_what_does_not_agree_is_refused(model, name, words):
    for _ in range(2):  # from memory too
        with pytest.raises(ValueError, match=f"(?s)`{type(model).__name__}.*{words}"):
            CALLS[name](model)


def test_what_agrees_does_so_at_all_parameters():
    """Time constants over four decades, weights of both signs; also in 32 bits."""
    rng = np.random.default_rng(1)
    for k in range(12):
        times = {f"tau_{name}": 10 ** rng.uniform(-2, 2) for name in ("e", "i", "se", "si")}
        widths = {f"delta_{name}": 10 ** rng.uniform(-4, 1) for name in "ei"}
        rest = {name: rng.uniform(-50, 50) for name in ("eta_e", "eta_i", "j_ee", "j_ei", "j_ie")}
        model = Same(**times, **widths, **rest, j_ii=rng.uniform(0, 50))
        if k % 2:
            model = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), model)
        for call in CALLS.values():
            assert call(model) is not None


@pytest.mark.parametrize("kind", [*ng.models.MODELS.values(), ng.ComplexStuartLandau])
def test_each_model_s_own_equations_under_another_name(kind):
    """A class that adds a docstring, or has another default, is the model that it was."""
    first = next(iter(declared(kind).values()))
    default = float(first.default)
    fields = {first.name: parameter(default + 0.3, unit=first.metadata["unit"], doc="as it was")}
    mine = type(f"My{kind.__name__}", (kind,), {"__doc__": "Mine.", "__module__": "mine",
                "__annotations__": {first.name: jax.Array}, **fields})  # fmt: skip
    for model in (mine(), mine(**{first.name: default})):
        for name, call in CALLS.items():
            if getattr(kind, name) is not None:
                assert (call(model) is None) == (call(kind()) is None)
    assert ng.find_equilibria(ng.Homogeneous(mine(), 0.5)).ok


def test_what_other_equations_leave_as_it_was():
    assert CALLS["exact_flow"](Late(i_ext_e=3.0)) is not None
    assert CALLS["exact_flow"](SendsRate()) is not None
    assert CALLS["equilibrium_reduction"](SendsRate()) is not None
    assert CALLS["equilibrium_reduction"](SlowGate()) is not None
    assert len(CALLS["populations"](NoFlow())) == 2


def test_a_reduction_is_compared_at_the_values_in_use():
    weights = np.ones((1, 1))
    ng.Network(LateInhibition(i_ext_e=3.0), weights, 5.0).homogeneous()
    for make in (
        lambda: ng.Network(LateInhibition(i_ext_e=6.0), weights, 5.0).homogeneous(),
        lambda: ng.initial_state(ng.Network(LateInhibition(i_ext_e=6.0), weights, 5.0)),
    ):
        with pytest.raises(ValueError, match=r"`LateInhibition\.equilibrium_reduction`.*a root"):
            make()


def test_currents_are_vouched_for():
    state = jnp.full(6, 0.1)
    with pytest.raises(ValueError, match=r"synaptic_currents = NextGenEI\.synaptic_currents"):
        Cubic().synaptic_currents(state, ONE)
    currents = Without().synaptic_currents(state, ONE)
    np.testing.assert_array_equal(currents, ng.NextGenEI().synaptic_currents(state, ONE))


def test_a_simulation_is_of_the_class_s_own_equations():
    """The parent's flow gave the parent's run, under the name of the child."""
    y0 = np.tile([[0.05], [-1.0], [0.05], [0.05], [-1.0], [0.05]], 2)
    times = {"dt": 0.05, "start": y0, "save_every": 5.0}
    with pytest.raises(ValueError, match=r"`Cubic\.exact_flow`"):
        ng.simulate(ng.Network(Cubic(k=0.5), PAIR, 5.0), 10.0, integrator="moebius", **times)
    with pytest.raises(ValueError, match=r"`Cubic\.exact_flow`"):
        ng.simulate_batch(
            ng.Network(Cubic(k=0.5), PAIR, 5.0), {}, 10.0, dt=0.05, start=y0, integrator="moebius"
        )
    network = ng.Network(Without(k=0.5), PAIR, 5.0)
    run = ng.simulate(network, 10.0, integrator="rk4", **times)

    def slope(_, y):
        y = y.reshape(6, 2)
        r_e, v_e, s_e, r_i, v_i, s_i = y
        c, tau, pi = 5.0 * PAIR @ s_e, 8.0, np.pi
        to_e, to_i = 5 * s_e + c - 13 * s_i, 13 * s_e + c - 5 * s_i
        f = [
            (1 / (pi * tau) + 2 * r_e * v_e) / tau,
            (v_e**2 - 5 - (pi * tau * r_e) ** 2 + tau * to_e - 0.5 * v_e**3) / tau,
            r_e - s_e,
            (1 / (pi * tau) + 2 * r_i * v_i) / tau,
            (v_i**2 - 5 - (pi * tau * r_i) ** 2 + tau * to_i) / tau,
            (r_i - s_i) / 5.0,
        ]
        return np.concatenate(f)

    exact = solve_ivp(slope, (0, 10), y0.ravel(), rtol=1e-10, atol=1e-12).y[:, -1].reshape(6, 2)
    np.testing.assert_allclose(run.final_state, exact, rtol=1e-6)
    with pytest.raises(ValueError, match=r"be one of .*rk4"):
        ng.simulate(network, 10.0, integrator="moebius", **times)
