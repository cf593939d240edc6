"""Arrays that come from the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.systems import stimuli


def test_what_is_written_later_is_not_seen():
    """Wherever an array begins in memory: JAX takes aligned ones as they are, by itself."""
    memory = np.zeros(256)
    for begin in range(16):
        given = memory[begin : begin + 100]
        taken = as_array(given)
        given[:] = 1.0
        assert not np.asarray(taken).any()
        given[:] = 0.0


RING = np.eye(8, k=1) + np.eye(8, k=-7)
TRIANGLES = np.array([[0, 1, 2], [1, 3, 2]])
HOLDERS = {
    "parameters": (lambda a: ng.NextGenEI(i_ext_e=a), (8,)),
    "new parameters": (lambda a: network().with_parameters(i_ext_e=a), (8,)),
    "weights": (lambda a: ng.Network(ng.NextGenEI(), a), (8, 8)),
    "a connectome": (lambda a: ng.Network(ng.NextGenEI(), ng.Connectome(a)), (8, 8)),
    "delays": (lambda a: ng.Network(ng.NextGenEI(), RING, delays=a), (8, 8)),
    "lengths": (lambda a: ng.Network(ng.NextGenEI(), lengths(a), speed=2.0), (8, 8)),
    "noise": (lambda a: ng.Driven(network(), {"input": a}), (8,)),
    "a stimulus": (lambda a: stimuli.Sine(period=7.0, amplitude=a), (8,)),
    "samples": (lambda a: stimuli.Sampled(np.arange(9.0), a), (9,)),
    "a lead field": (lambda a: ng.observe.LeadField(a), (3, 8)),
    "places": (lambda a: vars(ng.signals.Mesh(a, TRIANGLES)), (4, 3)),
}


def network():
    return ng.Network(ng.NextGenEI(), RING)


def lengths(values):
    return ng.Connectome(RING, tract_lengths=values)


@pytest.mark.parametrize("what", HOLDERS)
def test_what_is_held_does_not_change_with_the_callers_array(what):
    make, shape = HOLDERS[what]
    values = 0.5 + np.random.default_rng(0).random(shape)
    memory = np.zeros(values.size + 16)
    for begin in range(16):
        given = memory[begin : begin + values.size].reshape(shape)
        given[:] = values
        held = [leaf for leaf in jax.tree.leaves(make(given)) if hasattr(leaf, "shape")]
        before = [np.array(leaf) for leaf in held]
        given[:] = 7.0
        for leaf, value in zip(held, before, strict=True):
            np.testing.assert_array_equal(leaf, value)


@pytest.mark.parametrize(
    "value",
    [np.zeros((2, 3)), np.float32(1.5), np.array([True]), np.zeros(2, complex), 2.0, [1, 2]],
)
def test_types_are_those_of_jax(value):
    for wide in (True, False):
        with jax.enable_x64(wide):
            expected, found = jnp.asarray(value), as_array(value)
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            np.testing.assert_array_equal(found, expected)
