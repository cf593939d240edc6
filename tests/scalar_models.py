"""What models of one variable share in the tests."""

from typing import ClassVar

import jax.numpy as jnp

from ngnmm_jax.models import AbstractNeuralMass


class OneVariable(AbstractNeuralMass):
    """A model of one variable, x, which is sent; times in ms. It lacks its `vector_field`."""

    variables: ClassVar = ("x",)
    units: ClassVar = ("1",)
    time_unit: ClassVar = "ms"
    shown: ClassVar = "x"
    shown_unit: ClassVar = "1"
    nonnegative: ClassVar = ()

    def output(self, state):
        return state[0]

    def search_box(self):
        return jnp.array([-1.0]), jnp.array([1.0])
