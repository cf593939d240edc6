"""Arrays that come from the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ngnmm_jax._core.arrays import as_array


def test_what_is_written_later_is_not_seen():
    """Wherever an array begins in memory: JAX takes aligned ones as they are, by itself."""
    memory = np.zeros(256)
    for begin in range(16):
        given = memory[begin : begin + 100]
        taken = as_array(given)
        given[:] = 1.0
        assert not np.asarray(taken).any()
        given[:] = 0.0


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
