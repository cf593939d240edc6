"""The checks of annotations, which all tests rely on, refuse what is wrong whenever it comes."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from jax import Array
from jaxtyping import Float, TypeCheckError

from tests.annotations import checked, form

check = checked(typechecker=beartype)


@check
def product(a: Float[Array, "n m"], b: Float[Array, "m"], times: int = 1) -> Float[Array, "n"]:
    return jnp.repeat(a @ b, times)


def test_axes_are_those_of_one_call():
    a, b = jnp.ones((2, 3)), jnp.ones(3)
    for _ in range(2):
        assert product(a, b).shape == (2,)
        with pytest.raises(TypeCheckError, match="'b'"):
            product(a, jnp.ones(2))
        with pytest.raises(TypeCheckError, match="'a'"):
            product(np.ones((2, 3)), b)
        with pytest.raises(TypeCheckError, match="return value"):
            product(a, b, times=2)
    assert product(jnp.ones((4, 2)), jnp.ones(2)).shape == (4,)


def test_what_returns_is_looked_at_whatever_was_right_before():
    found = iter([jnp.ones(2), jnp.ones(2), jnp.ones(3)])

    @check
    def same(a: Float[Array, "n"]) -> Float[Array, "n"]:
        return next(found)

    same(jnp.zeros(2))
    same(jnp.zeros(2))
    with pytest.raises(TypeCheckError, match="return value"):
        same(jnp.zeros(2))
    assert next(found, None) is None  # called once each time


def test_closures_of_one_text_are_called_each():
    def adding(number: int):
        @check
        def add(value: int) -> int:
            return value + number

        return add

    assert [adding(k)(10) for k in range(3)] == [10, 11, 12]
    with pytest.raises(Exception, match="value"):
        adding(1)("10")


def test_objects_are_refused_when_they_are_made():
    @check
    @dataclasses.dataclass
    class Pair:
        a: Float[Array, "n"]
        b: Float[Array, "n"]

    Pair(jnp.ones(2), jnp.zeros(2))
    with pytest.raises(TypeCheckError):
        Pair(jnp.ones(2), jnp.zeros(3))


def test_nothing_is_left_of_a_call_that_was_refused():
    """The next call's function is its own."""
    with pytest.raises(TypeCheckError):
        product(jnp.ones(2), jnp.ones(2))
    assert float(product(jnp.full((1, 1), 3.0), jnp.ones(1))[0]) == 3.0


def test_forms_differ_where_annotations_might():
    assert form(jnp.ones(2)) != form(np.ones(2))
    assert form(jnp.ones(2)) != form(jnp.ones(2, jnp.float32))
    assert form((1, "a")) == form((2, "a")) != form((1, "b"))
    assert form({"a": np.ones(2)}) != form({"a": np.ones(3)})
    assert form([1]) != form((1,)) != form((True,))
