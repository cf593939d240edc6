"""Programs that equal fits share: a loss that is the same program is compiled once."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ngnmm_jax._core.definition import setting
from ngnmm_jax._core.programs import Operations, Traced

# So many programs are held, the latest ones.
_MOST = 16
_HELD: OrderedDict[Any, Any] = OrderedDict()


class Compiled:
    """A function of arrays, traced anew and compiled only where no equal program is held.

    What identifies it is the *traced program*: its operations with all constants by value (the
    values of a system that are not free, what a loss closes over), the shapes and types of the
    arguments. A loss that is called again after its data changed, or another closure of the same
    text, gives what it says; one that is traced to the same program costs its tracing alone.
    Programs that call back into Python, or print, belong to their own call.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = jax.jit(function)
        self._traced: dict[Any, tuple[Any, Operations]] = {}
        self._programs: dict[Any, Any] = {}

    def operations(self, *arguments: Any) -> Operations:
        """What identifies the program for arguments like these."""
        return self._trace(_form(arguments), arguments)[1]

    def __call__(self, *arguments: Any) -> Any:
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arguments)):
            return self._function(*arguments)  # part of another program
        form = _form(arguments)
        if form not in self._programs:
            self._programs[form] = _compiled(form, *self._trace(form, arguments))
        return self._programs[form](*arguments)

    def _trace(self, form: Any, arguments: Any) -> tuple[Any, Operations]:
        if form not in self._traced:
            traced = self._function.trace(*arguments)
            known = Traced(traced.jaxpr, traced.out_info).operations
            self._traced[form] = traced, known
        return self._traced[form]


def _form(arguments: Any) -> Any:
    """Structure, shapes and types of arguments."""
    leaves, structure = jax.tree.flatten(arguments)
    return structure, tuple((np.shape(leaf), leaf.dtype) for leaf in leaves)


def _compiled(form: Any, traced: Any, known: Operations) -> Any:
    if known.unknown or traced.jaxpr.effects:
        return traced.lower().compile()
    config: Any = jax.config
    key = (form, known.text, str(config.jax_default_device), tuple(setting("fit").items()))
    if key not in _HELD:
        _HELD[key] = traced.lower().compile()
    _HELD.move_to_end(key)
    while len(_HELD) > _MOST:
        _HELD.popitem(last=False)
    return _HELD[key]
