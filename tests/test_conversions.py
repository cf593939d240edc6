"""What other programs' numbers are here: their integrators, written out in NumPy, and ours.

The transcriptions were compared with The Virtual Brain 2.10, vbjax 0.0.19 and PyRates 1.2.3 with
the same random numbers, to rounding; docs/conversions.md says what was found.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax import noises
from ngnmm_jax.integrators import RK4
from ngnmm_jax.models import MontbrioPazoRoxin
from ngnmm_jax.systems.noisy import Sources

WEIGHTS = np.array([[0, 20.0, 0], [10, 0, 14.0], [6, 14.0, 0]])
NODE = {"eta": -4.6, "j": 14.5, "delta": 0.7, "tau": 1.0}
START = np.array([[0.1, 0.3, 0.8], [-1.5, -1.0, -0.5]])


def mpr(x, c, eta, j, delta, tau):
    """The equations, as The Virtual Brain and vbjax have them."""
    r, v = x
    return np.array(
        [
            (delta / (np.pi * tau) + 2 * v * r) / tau,
            (v**2 - (np.pi * tau * r) ** 2 + eta + j * tau * r + c) / tau,
        ]
    )


def tvb(x, weights, a, nsig, dt, normal, colour=None, **node):
    """`HeunStochastic` with `Additive` noise, `Linear` coupling, no delays; r is clamped at zero.

    The coupling is that of the step's beginning in both stages. `colour`: `ntau` and η at first.
    """
    path = [x]
    g = np.sqrt(2 * np.asarray(nsig))[:, None]
    for z in normal:
        if colour is None:
            noise = g * np.sqrt(dt) * z
        else:
            ntau, eta = colour
            e = np.exp(-dt / ntau)
            eta = e * eta + np.sqrt(1 - e**2) * z
            colour, noise = (ntau, eta), g * dt * np.sqrt(1 / ntau) * eta
        c = a * weights @ x[0]
        k = mpr(x, c, **node)
        inter = x + dt * k + noise
        inter[0] = np.maximum(inter[0], 0)
        x = x + dt / 2 * (k + mpr(inter, c, **node)) + noise
        x[0] = np.maximum(x[0], 0)
        path.append(x)
    return np.array(path)


def ours(driven, x, dt, normal, process=None):
    """Our steps along the same numbers: `normal` by name and part, (step, region)."""
    dt = jnp.asarray(dt)

    @jax.jit
    def along(x, normal):
        def step(memory, now):
            sources = Sources(lambda n, k, y, part=0: now[n, part], lambda k, y: (None, None))
            stepper = driven.assembled(RK4().stepper(driven.system, dt), dt, 0, sources)
            memory = stepper.advance(memory, None)
            return memory, stepper.state(memory)

        first = {key: value[0] for key, value in normal.items()}
        sources = Sources(lambda n, k, y, part=0: first[n, part], lambda k, y: (None, None))
        stepper = driven.assembled(RK4().stepper(driven.system, dt), dt, 0, sources)
        memory = stepper.start(x)
        if process is not None:
            memory = memory._replace(processes=process)
        return jax.lax.scan(step, memory._replace(number=jnp.asarray(0)), normal)[1]

    return np.concatenate([x[None], along(jnp.asarray(x), normal)])


def coarser(normal, n):
    """Increments of steps n times as long."""
    return normal.reshape(-1, n, *normal.shape[1:]).sum(axis=1) / np.sqrt(n)


def test_white_noise_of_the_virtual_brain():
    """nsig (r, V), a, weights by their largest: the same paths to order one in their step."""
    nsig, a, fine = (0.002, 0.004), 1.5, 0.0025
    connectome = ng.Connectome(WEIGHTS).scaled()  # its `scaled_weights(mode="tract")`
    network = ng.Network(MontbrioPazoRoxin(**NODE), connectome, coupling=a)
    noise = {"r": np.sqrt(2 * nsig[0]), "v": np.sqrt(2 * nsig[1])}
    driven = ng.Driven(network, noise, below_zero="clip")
    normal = np.random.default_rng(3).standard_normal((2000, 2, 3))
    gaps = []
    for n in (8, 4, 2):
        z, dt = coarser(normal, n), n * fine
        theirs = tvb(START.copy(), WEIGHTS / WEIGHTS.max(), a, nsig, dt, z, **NODE)
        found = ours(driven, START, dt, {("r", 0): z[:, 0], ("v", 0): z[:, 1]})
        assert np.ptp(theirs[:, 1]) > 2
        gaps.append(np.sqrt(np.mean((found - theirs) ** 2)))
    assert gaps[0] < 0.05
    assert np.log2(gaps[0] / gaps[2]) / 2 > 0.8


def test_coloured_noise_of_the_virtual_brain():
    """nsig and ntau: strength 2 √nsig; theirs is held in each step."""
    nsig, ntau, a, fine = (0.0, 0.02), 2.0, 1.5, 0.0025
    network = ng.Network(MontbrioPazoRoxin(**NODE), WEIGHTS / 20, coupling=a)
    driven = ng.Driven(network, {"v": noises.OrnsteinUhlenbeck(2 * np.sqrt(nsig[1]), ntau)})
    normal = np.random.default_rng(4).standard_normal((2000, 2, 3))
    first = np.array([0.4, -1.0, 0.2])
    gaps = []
    for n in (8, 2):
        dt = n * fine
        e = np.exp(-fine / ntau)
        z = sum(e ** (n - 1 - k) * normal.reshape(-1, n, 2, 3)[:, k] for k in range(n))
        z = z * np.sqrt((1 - e**2) / (1 - e ** (2 * n)))
        eta = np.stack([first, first])
        theirs = tvb(START.copy(), WEIGHTS / 20, a, nsig, dt, z, (ntau, eta), **NODE)
        parts = {("v", 0): z[:, 1], ("v", 1): 0 * z[:, 1], ("v", 2): z[:, 1]}
        found = ours(driven, START, dt, parts, {"v": jnp.asarray(first)})
        gaps.append(np.abs(found - theirs).max())
    assert gaps[0] < 0.1
    assert gaps[1] < 0.35 * gaps[0]


def vbjax(x, weights, a, sigma, dt, normal, **node):
    """`make_sde` with a number as its `gfun`, the coupling in its `dfun`, `mpr_r_positive`."""

    def dfun(x):
        return mpr(np.array([x[0] * (x[0] > 0), x[1]]), a * weights @ x[0], **node)

    path = [x]
    for z in normal:
        noise = sigma * np.sqrt(dt) * z
        k = dfun(x)
        inter = x + dt * k + noise
        inter[0] *= inter[0] > 0
        x = x + dt / 2 * (k + dfun(inter)) + noise
        x[0] *= x[0] > 0
        path.append(x)
    return np.array(path)


def test_vbjax():
    """The number is our strength, on each variable."""
    sigma, fine = 0.06, 0.0025
    network = ng.Network(MontbrioPazoRoxin(**NODE), WEIGHTS / 20, coupling=1.5)
    driven = ng.Driven(network, {"r": sigma, "v": sigma}, below_zero="clip")
    normal = np.random.default_rng(5).standard_normal((2000, 2, 3))
    gaps = []
    for n in (8, 2):
        z, dt = coarser(normal, n), n * fine
        theirs = vbjax(START.copy(), WEIGHTS / 20, 1.5, sigma, dt, z, **NODE)
        found = ours(driven, START, dt, {("r", 0): z[:, 0], ("v", 0): z[:, 1]})
        gaps.append(np.sqrt(np.mean((found - theirs) ** 2)))
    assert gaps[0] < 0.05
    assert gaps[1] < 0.4 * gaps[0]


def pyrates(x, weights, tau, eta, delta, inp, dt):
    """`qif_op`: edges add weights times rates, with a population's own, multiplied by tau.

    In Euler's steps, as its own solver; `inp` (step, region) is held in each.
    """
    path = [x]
    for now in inp:
        r, v = x
        received = weights @ r
        slope = [
            (delta / (np.pi * tau) + 2 * r * v) / tau,
            (v**2 + eta + now + tau * received - (np.pi * tau * r) ** 2) / tau,
        ]
        x = x + dt * np.array(slope)
        path.append(x)
    return np.array(path)


def test_pyrates():
    """Weights times tau, own ones as j; an input drawn anew each step as a current's noise."""
    tau, sd, dt = 10.0, 2.0, 0.01
    own, between = 15.0, WEIGHTS / 10
    scale = np.array([0.1, 1.0])[:, None]  # rates are per ms
    normal = np.random.default_rng(6).standard_normal((2000, 3))
    theirs = pyrates(START * scale, own * np.eye(3) + between, tau, -5.0, 1.0, sd * normal, dt)
    model = MontbrioPazoRoxin(eta=-5.0, j=own, delta=1.0, tau=tau)
    network = ng.Network(model, between, coupling=tau)
    driven = ng.Driven(network, {"population": sd * np.sqrt(dt)})
    found = ours(driven, START * scale, dt, {("population", 0): normal})
    assert np.ptp(theirs[:, 1]) > 2
    np.testing.assert_allclose(found / scale, theirs / scale, atol=0.02)


def test_time_constants_in_milliseconds():
    """A node with tau = 1 whose unit is 10 ms is one with tau = 10 ms: c times ten, noise by √10.

    In one step for a ten times shorter one, with the same numbers, to rounding.
    """
    normal = np.random.default_rng(7).standard_normal((200, 2, 3))
    one = MontbrioPazoRoxin(**NODE)
    ten = MontbrioPazoRoxin(**{**NODE, "tau": 10.0})
    given = {("r", 0): normal[:, 0], ("v", 0): normal[:, 1]}
    fast = ng.Driven(ng.Network(one, WEIGHTS / 20, 1.5), {"r": 0.06, "v": 0.09})
    noise = {"r": 0.06 / 10 / np.sqrt(10), "v": 0.09 / np.sqrt(10)}
    slow = ng.Driven(ng.Network(ten, WEIGHTS / 20, 15.0), noise)
    scale = np.array([0.1, 1.0])[:, None]
    a = ours(fast, START, 0.01, given)
    b = ours(slow, START * scale, 0.1, given)
    np.testing.assert_allclose(b / scale, a, atol=1e-10)


def test_weight_scalings():
    """The Virtual Brain's "tract" and "region" modes, and rows that sum to one."""
    connectome = ng.Connectome(WEIGHTS)
    tract = WEIGHTS / np.abs(WEIGHTS).max()
    np.testing.assert_allclose(connectome.scaled().weights, tract)
    factor = np.abs(WEIGHTS.sum(axis=1)).max()
    largest = float(WEIGHTS.max() / factor)
    np.testing.assert_allclose(connectome.scaled(largest).weights, WEIGHTS / factor)
    sums = WEIGHTS.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(connectome.normalised().weights, WEIGHTS / sums)


def test_delays_of_the_virtual_brain():
    """Lengths over speed, in mm and mm/ms; theirs are rounded to whole steps."""
    lengths = np.array([[0, 30.0, 0], [30, 0, 45.0], [60, 45.0, 0]])
    connectome = ng.Connectome(WEIGHTS, tract_lengths=lengths).scaled()
    network = ng.Network(MontbrioPazoRoxin(), connectome, 1.0, speed=3.0)
    with pytest.raises(ValueError, match="length"):
        ng.Network(MontbrioPazoRoxin(), ng.Connectome(np.ones((3, 3))), 1.0, speed=3.0)
    assert network.shortest_delay() == pytest.approx(10.0)
