"""Random streams: that nothing is drawn twice, and that what is drawn is what it should be."""

from typing import ClassVar

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.randomness import Purpose, generator, run_seeds, split_off, stream
from ngnmm_jax.simulation.start import initial_states

DT, STEPS = 0.05, 2000


class Walk(ng.AbstractNeuralMass):
    """x' = input, y' = 0, p' = 0: under noise all of them are random walks."""

    rate: jax.Array = ng.models.parameter(0.0, unit="1/ms", doc="nothing")

    variables: ClassVar[tuple[str, ...]] = ("x", "y", "p")
    units: ClassVar[tuple[str, ...]] = ("1", "1", "1")
    time_unit: ClassVar[str] = "ms"
    shown: ClassVar[str] = "x"
    shown_unit: ClassVar[str] = "1"
    nonnegative: ClassVar[tuple[str, ...]] = ("p",)

    def vector_field(self, state, drive):
        zero = 0.0 * state[0]
        return jnp.stack([drive + self.rate + zero, zero, zero])

    def output(self, state):
        return state[0]

    def search_box(self):
        return -jnp.ones(3), jnp.ones(3)


@pytest.fixture(scope="module")
def walk():
    """Three regions, not coupled."""
    network = ng.Network(Walk(), np.ones((3, 3)) - np.eye(3), coupling=0.0)
    return ng.Driven(network, {"input": 2.0, "y": 0.5}, below_zero="keep")


def increments(states):
    """Series (series, time) of what was added in each step to x and y, in standard deviations."""
    moved = np.diff(np.asarray(states)[..., :2, :], axis=-3) / np.sqrt(DT)
    moved = moved / np.array([2.0, 0.5])[:, None]
    return np.moveaxis(moved, -3, -1).reshape(-1, moved.shape[-3])


def run(system, **options):
    options = {"save_every": DT, "seed": 0, "start": jnp.zeros((3, 3)), "dt": DT, **options}
    return ng.simulate(system, STEPS * DT, variables=("x", "y", "p"), **options)


@pytest.fixture(scope="module")
def series(walk):
    """Noise (series, time) by runs, seeds, segments, steps and solvers; input and y, 3 regions."""
    found = {}
    for seed in (0, 1):
        batch = ng.simulate_batch(
            walk, {"rate": np.zeros(2)}, STEPS * DT, dt=DT, save_every=DT,
            start=np.zeros((3, 3)), seed=seed, variables=("x", "y", "p"),
        )  # fmt: skip
        found |= {f"seed {seed}, run {k}": increments(batch.states[k]) for k in (0, 1)}
    first = run(walk)
    np.testing.assert_allclose(increments(first.states), found["seed 0, run 0"], atol=1e-9)
    second = run(walk, start=first, seed=0)
    found["second half"] = increments(second.states)
    found["by diffrax"] = increments(run(walk, integrator=dfx.Heun()).states)
    found["second half by diffrax"] = increments(
        run(walk, start=first, integrator=dfx.Heun()).states
    )
    return found


def test_noise_is_white_and_everything_else_independent(series):
    """Means, variances, and correlations up to a lag of three steps, of all pairs of 42 series."""
    every = np.concatenate(list(series.values()))
    count, n = every.shape
    assert (count, n) == (42, STEPS)
    np.testing.assert_allclose(every.mean(axis=1), 0, atol=5 / np.sqrt(n))
    np.testing.assert_allclose(every.var(axis=1), 1, atol=5 * np.sqrt(2 / n))
    for lag in range(4):
        found = every[:, lag:] @ every[:, : n - lag].T / n
        found[np.arange(count), np.arange(count)] -= lag == 0
        assert np.abs(found).max() < 5.5 / np.sqrt(n), lag
    # Normal: the fourth moment; and a flat spectrum, in eight bands.
    np.testing.assert_allclose((every**4).mean(), 3, atol=5 * np.sqrt(96 / every.size))
    power = (np.abs(np.fft.rfft(every, axis=1)[:, 1:-1]) ** 2 / n).mean(axis=0)
    bands = np.array([band.mean() for band in np.array_split(power, 8)])
    np.testing.assert_allclose(bands, 1, atol=5 / np.sqrt(count * n / 16))


def test_other_steps_have_other_noise(walk):
    """The second half in steps twice as long does not have numbers of the first half."""
    first = run(walk)
    later = ng.simulate(walk, STEPS * DT, start=first, dt=2 * DT, save_every=2 * DT, seed=0)
    moved = np.diff(np.asarray(later.x), axis=0).T / np.sqrt(2 * DT) / 2
    half = np.diff(np.asarray(first.x), axis=0).T[:, STEPS // 2 :] / np.sqrt(DT) / 2
    np.testing.assert_allclose(moved.var(axis=1), 1, atol=0.2)
    assert np.abs(moved @ half.T / half.shape[1]).max() < 5 / np.sqrt(half.shape[1])


def test_a_run_in_three_is_the_run(walk):
    """To the bit, with and without `dt`, wherever it begins; saved as finely as one likes."""
    for t0, options in ((0.0, {"dt": DT}), (0.0, {}), (7.025, {"dt": DT})):
        options = {"seed": 4, "save_every": 2.5, **options}
        whole = ng.simulate(walk, 30.0, t0=t0, start=jnp.zeros((3, 3)), **options)
        state = ng.simulate(walk, 10.0, t0=t0, start=jnp.zeros((3, 3)), **options)
        for duration in (2.5, 17.5):
            state = ng.simulate(walk, duration, start=state, **options)
        np.testing.assert_array_equal(state.final_state, whole.final_state)
        assert state.t1 == pytest.approx(t0 + 30.0)


def population():
    return ng.Network(ng.MontbrioPazoRoxin(), np.array([[0, 1.0], [1, 0]]), coupling=1.0)


def test_noise_goes_on_by_default():
    """Without `dt`: was replayed, with a correlation of 1."""
    noisy = ng.Driven(population(), {"v": 0.01})
    first = ng.simulate(noisy, 1000.0, seed=3)
    second = ng.simulate(noisy, 1000.0, start=first, seed=3)
    whole = ng.simulate(noisy, 2000.0, seed=3)
    np.testing.assert_array_equal(second.final_state, whole.final_state)
    np.testing.assert_array_equal(second.v, whole.v[1000:])
    a, b = (np.asarray(half.v)[100:] for half in (first, second))
    assert a.std() > 1e-3
    found = np.corrcoef(a.T, b.T)[:2, 2:]
    assert np.abs(found).max() < 0.15  # its memory is below 5 ms: 180 samples are independent
    # Times that no step divides: by diffrax, where each segment has noise of its own (above).
    given = {"start": first.final_state, "save_at": [0.137, 1.7128, 3.14159265], "throw": False}
    assert "num_accepted_steps" in jax.eval_shape(lambda: ng.simulate(noisy, 3.2, **given).stats)


def test_the_start_is_not_the_noise():
    """Deviations of a start, noise of the first step and potentials' shifts have nothing shared."""
    count = 900
    network = ng.Network(Walk(), np.ones((count, count)) - np.eye(count), coupling=0.0)
    walk = ng.Driven(network, {"input": 1.0, "y": 1.0})
    zero = jnp.zeros((3, count))
    numbers = []
    for seed in (0, 1):
        step = ng.simulate(walk, DT, start=zero, dt=DT, seed=seed).final_state[:2]
        start = jax.random.normal(stream(seed, Purpose.START), zero.shape)
        plain = np.asarray(jax.random.normal(jax.random.key(seed), zero.shape))
        numbers += [step / np.sqrt(DT), start, plain[:2]]
    every = np.concatenate([np.asarray(x) for x in numbers])
    same = np.abs(every @ every.T / count)
    # The seed's own key is that of the start, (variable, region).
    assert ((same > 0.2).sum(axis=1) <= 2).all()
    loose = np.concatenate(
        [np.asarray(x) for x in (numbers[0], numbers[1], numbers[3], numbers[4])]
    )
    same = loose @ loose.T / count - np.diag((loose**2).mean(axis=1))
    assert np.abs(same).max() < 5 / np.sqrt(count)


def test_keys_of_all_purposes_differ():
    keys = [
        jax.random.key_data(key)
        for seed in (0, 1, 2)
        for key in (
            *(stream(seed, purpose) for purpose in Purpose),
            *(split_off(stream(seed, Purpose.LOSS), purpose) for purpose in Purpose),
        )
    ]
    for seed in (0, 1, 2):  # as a loss may split what it is given
        keys += [*np.asarray(jax.random.key_data(jax.random.split(jax.random.key(seed), 40)))]
    assert len(np.unique(np.array(keys), axis=0)) == len(keys)
    draws = [
        tuple(generator(seed, p).integers(1 << 60, size=2)) for seed in (0, 1) for p in Purpose
    ]
    assert len(set(draws)) == len(draws)


def test_seeds_of_runs():
    """The first is the seed; no two are the same, for any seed; any count has the same first."""
    many = {seed: run_seeds(seed, 20_000) for seed in (0, 1, 2, 7, 2**40 + 3)}
    every = np.concatenate(list(many.values()))
    assert len(np.unique(every)) == every.size
    assert every.min() >= 0
    for seed, found in many.items():
        assert found[0] == seed
        np.testing.assert_array_equal(run_seeds(seed, 3), found[:3])
        assert len(np.unique(found & 0xFFFFFFFF)) == found.size  # what is left of them in 32 bits
    bits = (many[0][1:, None] >> np.arange(63)) & 1
    np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=5 * 0.5 / np.sqrt(20_000))
    traced = jax.jit(lambda seed: run_seeds(seed, 5))(7)
    np.testing.assert_array_equal(traced, many[7][:5])
    # Batches, sweeps and spiking runs take them.
    for seed in (0, 1):
        _, seeds = ng.Design.grid({"coupling": [1.0, 2.0]}, replicates=3, seed=seed).at(
            np.arange(6)
        )
        np.testing.assert_array_equal(seeds, np.tile(many[seed][:3], 2))
    network = ng.Network(ng.NextGenEI(), np.array([[0, 1.0], [1, 0]]), coupling=1.0)
    states = [initial_states(network, {}, 0.01, run_seeds(seed, 3)) for seed in (0, 1)]
    assert np.abs(states[0][1] - states[1][0]).max() > 1e-3
    np.testing.assert_array_equal(states[1][0], ng.initial_state(network, seed=1))


@pytest.mark.parametrize("below_zero", ["reflect", "clip", "keep"])
def test_what_cannot_be_negative(walk, below_zero):
    """Reflected, set to zero or left; and counted, in single runs, batches and sweeps."""
    system = ng.Driven(walk.system, {"p": 0.3}, below_zero=below_zero)
    found = run(system, start=jnp.ones((3, 3)))
    p, told = np.asarray(found.p), float(found.stats["below_zero"])
    if below_zero == "keep":
        assert told == (p[1:] < 0).mean()
        assert told > 0.1
    else:
        assert p.min() >= 0
        assert 0.001 < told < 0.1
        assert (p[1:] == 0).mean() == (told if below_zero == "clip" else 0)
    if below_zero == "reflect":
        batch = ng.simulate_batch(
            system, {"rate": np.zeros(2)}, STEPS * DT, dt=DT, start=np.ones((3, 3)), seed=[0, 5]
        )
        assert batch.stats["below_zero"].shape == (2,)
        assert float(batch.stats["below_zero"][0]) == pytest.approx(told)
        with pytest.raises(ValueError, match="`below_zero` must be one of 'reflect'"):
            ng.Driven(walk.system, {"p": 0.3}, below_zero="reflected")


def test_rates_under_noise():
    """Noise on a rate: it took a fifth of them below zero, without a word."""
    network = population()
    noisy = ng.Driven(network, {"r": 0.4})
    found, kept = (
        ng.simulate(ng.Driven(network, noisy.noise, below_zero=kind), 100.0, seed=1)
        for kind in ("reflect", "keep")
    )
    told = float(found.stats["below_zero"])
    assert float(jnp.min(found.r)) >= 0
    assert told > 0.01
    assert float((kept.r < 0).mean()) > 0.1
    design = ng.Design.listed({"coupling": [1.0]}, seed=1)
    activity = ng.Activity(
        100.0, 0.0, integrator="rk4", dt=float(network.time_step), keep=("minimum",)
    )
    swept = ng.sweep(noisy, design, activity, checks=0)
    assert float(swept.r_minimum.min()) >= 0
    assert float(swept.below_zero[0]) == pytest.approx(told)
    still = ng.sweep(network, design, activity, checks=0)
    assert float(still.below_zero[0]) == 0
