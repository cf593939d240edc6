"""Roots where one delay is long: all of them, by Lambert's function, whatever the delay."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import lambertw

from ngnmm_jax.dynamics.gain_bounds import Node
from ngnmm_jax.dynamics.long_delays import LongDelay
from ngnmm_jax.dynamics.quasi_polynomials import rightmost_roots
from ngnmm_jax.systems.loops import Loop, rightmost, roots_right_of

DECAY = 0.3
#: x' = -0.3 x + what arrives.
LINE = Node(np.full((1, 1, 1), -DECAY), np.ones((1, 1)), np.ones((1, 1)))


def branches(strength, delay, count):
    """Its rightmost roots (w exp(w) = s τ exp(a τ), w = (z + a) τ), also where that overflows."""
    k = np.arange(-4000, 4001)
    log = np.log(complex(strength) * delay) + DECAY * delay
    w = log + 2j * np.pi * k
    for _ in range(60):  # w + log w = that
        w = w - (w + np.log(w) - log - 2j * np.pi * k) / (1 + 1 / w)
    z = w / delay - DECAY
    return z[np.argsort(-z.real)][:count]


@pytest.mark.parametrize(
    ("strength", "delay"), [(-1.0, 500.0), (0.2, 1e3), (0.7 + 0.4j, 3e3), (0.29j, 5e4)]
)
def test_the_rightmost_are_lamberts(strength, delay):
    found = rightmost_roots(LINE, np.array([strength, 0.5 * strength]), delay, 4)
    assert found.certified.all()
    for k, factor in enumerate((1.0, 0.5)):
        exact = branches(factor * strength, delay, 4)
        assert_allclose(found.values[k].real, exact.real, atol=1e-9 / delay)
        gap = np.abs(np.append(exact, exact.conj())[:, None] - found.values[k]).min(axis=0)
        assert (gap < 1e-9).all()
    z = lambertw(0.2 * 100.0 * np.exp(30.0)) / 100.0 - DECAY  # the formula itself
    assert_allclose(branches(0.2, 100.0, 1)[0], z, rtol=1e-12)


def test_all_that_grow_are_counted():
    """By frequencies below √(s² - a²), one pair in each turn of the phase."""
    function = LongDelay(LINE, 1.0, 2000.0)
    found = function.right_of(-1.0 + 0j, 0.0)
    assert found.certified
    exact = branches(-1.0, 2000.0, 2000)
    assert found.values.size == (exact.real > 0).sum()
    assert_allclose(found.values.real, exact[: found.values.size].real, atol=1e-12)
    none = function.right_of(0.2 + 0j, 0.0)
    assert none.certified
    assert none.values.size == 0


def test_unstable_regions_keep_their_own_roots():
    """Right of the axis a long delay leaves nothing: roots are a region's own, to rounding."""
    matrix = np.array([[[0.2, 1.0, 0], [-1.0, 0.2, 0], [0, 0.3, -0.5]]])
    node = Node(matrix, np.array([[1.0, 0.5, 0.2]]), np.array([[0.3, 0.0, 1.0]]))
    found = LongDelay(node, 0.4, 800.0).right_of(0.4 + 0j, 0.1)
    assert found.certified
    assert_allclose(np.sort_complex(found.values), [0.2 - 1j, 0.2 + 1j], atol=1e-12)


def test_networks_with_one_long_delay_part_into_modes():
    """As the search that knows nothing of modes; and their patterns."""
    weights = np.array([[0, 1.0, 3.0], [2.0, 0, 2.0], [3.0, 1.0, 0]]) / 4 * -0.6
    delay = 150.0
    times = np.where(weights != 0, delay, 0.0)
    found = roots_right_of(Loop(LINE, weights, times), 0.0)
    assert found.found.certified
    several = Node(*(np.repeat(part, 3, axis=0) for part in LINE))
    other = roots_right_of(Loop(several, weights, times), 0.0)
    assert other.found.certified
    assert found.found.values.size > 10
    assert_allclose(
        np.sort_complex(found.found.values), np.sort_complex(other.found.values), atol=1e-10
    )
    z, pattern = found.found.values[0], found.sent[0]
    mode = np.exp(z * delay) * (z + DECAY)
    assert_allclose(weights @ pattern, mode * pattern, atol=1e-9)
    assert rightmost(Loop(LINE, weights, times), 6).found.certified


def test_what_cannot_be_done_is_said_at_once():
    """Delays that differ, of thousands: there are too many roots to be found."""
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(60, 60))
    loop = Loop(LINE, weights, rng.uniform(2000.0, 4000.0, weights.shape))
    found = roots_right_of(loop, 0.0).found
    assert not found.certified
    assert found.evaluations == 0
