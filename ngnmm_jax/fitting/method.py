"""How a loss is made smaller: what a method is given, and what it has to do."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown, shown_as_made
from ngnmm_jax._core.definition import plain
from ngnmm_jax._core.programs import body, identity
from ngnmm_jax.fitting.checkpoints import Arrays, leaves, with_leaves_of
from ngnmm_jax.fitting.compiled import Compiled
from ngnmm_jax.fitting.free import Free
from ngnmm_jax.fitting.gradients import Loss, objective


class Problem(Shown):
    """What is made smaller.

    - `free`: what is free; `starts` (start, parameter): where to begin, in unbounded space.
    - `function(x, key)`: loss with priors at x (parameter,), and its terms by name.
    - `evaluate(x, key)`: by name "loss" (row,) and its terms at x (row, parameter); compiled.
    - `steps`: at most so many; `seed`: of what a method draws.
    """

    def __init__(self, free: Free, loss: Loss, starts: np.ndarray, steps: int, seed: int) -> None:
        self.free, self.starts, self.steps, self.seed = free, starts, steps, seed
        self.function = objective(loss, free)

        def one(x: jax.Array, key: Any) -> dict[str, jax.Array]:
            value, terms = self.function(x, key)
            return {**terms, "loss": value}

        self.evaluate = Compiled(jax.vmap(one, in_axes=(0, None)))


@shown_as_made
class Ended(NamedTuple):
    """What a method finds from each start's best: x (start, parameter), loss and `converged`."""

    x: np.ndarray
    loss: np.ndarray
    converged: np.ndarray


class AbstractMethod(Shown, eqx.Module):
    """A way to make a loss smaller. An own one has `begin` and `advance`; its fields are options.

    - `step_name`: what a step is called in figures.
    - `traced`: whether `advance` is made of JAX operations: it is then compiled, and known to a
      store by its program, and so is `begin`. Else it runs as Python, and its class and fields
      tell what it does: where one of these is a function, a store needs the fit's `key` too.
    """

    step_name: ClassVar[str] = "step"
    traced: ClassVar[bool] = True

    @abc.abstractmethod
    def begin(self, problem: Problem) -> Any:
        """The state at the starts: a PyTree of arrays."""

    @abc.abstractmethod
    def advance(self, problem: Problem, state: Any, key: Any) -> tuple[Any, dict[str, Any]]:
        """A step of all starts: the state after it, and what was found.

        That is by name "loss" (start,), its terms, and "x" (start, parameter), where they are.
        """

    def explained(self, problem: Problem) -> str:
        """How it goes about it, in words."""
        return type(self).__name__

    def notice(self, problem: Problem, number: int, x: np.ndarray) -> str | None:
        """A warning before a step, from the best x (parameter,) so far."""
        return None

    def finish(self, problem: Problem, x: np.ndarray, key: Any) -> Ended | None:
        """What it does after the steps, from each start's best."""
        return None

    def definition(self, problem: Problem, key: Any) -> dict[str, Any]:
        """What decides the numbers of its steps, besides the problem.

        **Arguments:** `key`: what identifies that which is not traced.
        """
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.traced or key is not None:
            told = {name: plain(value) for name, value in found.items()}
        else:
            told = {name: _told(self, name, value) for name, value in found.items()}
        return {**told, "class": body(type(self))}

    def kept(self, state: Any, done: int) -> Arrays:
        """A state as arrays by name, as a checkpoint holds it after so many steps."""
        return leaves(state)

    def restored(self, problem: Problem, arrays: Arrays, done: int) -> Any:
        """The state again; `ValueError` where it is another method's."""
        return with_leaves_of(self.begin(problem), arrays)


def _told(method: AbstractMethod, name: str, value: Any) -> Any:
    """A field by value, of what no trace shows; `ValueError` where it does not tell its own."""
    if value is None or isinstance(value, bool | int | float | str):
        return plain(value)
    try:
        return identity(value)
    except ValueError:
        must = "be given, as in `fit(…, key=…)` (any text that is another one when the numbers are)"
        kind, place = type(value).__name__, f"`{type(method).__name__}.{name}`"
        _checks.fail("key", must, f"they depend on {place}, a {kind} that no trace shows")


def step_of(method: AbstractMethod, problem: Problem) -> Callable[[Any, Any], Any]:
    """`advance` as a function of state and key: compiled where it can be."""

    def step(state: Any, key: Any) -> Any:
        return method.advance(problem, state, key)

    return Compiled(step) if method.traced else step
