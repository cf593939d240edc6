"""Whether a model's optional methods agree with its vector field, checked where they are used.

A class that inherits an `exact_flow` and overrides `vector_field` would be simulated by the
equations of its parent. So the optional methods of all models but the library's own are compared
with `vector_field` and `output` before their first use: at the class's default parameters, moved a
little so that no term is zero by chance, and at those in use where they are known. What was
compared once is remembered.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

import jax

from ngnmm_jax._core.checks import Disagreement
from ngnmm_jax.models.declarations import definer

#: Optional methods that must agree with the vector field.
HOOKS = ("exact_flow", "equilibrium_reduction", "populations", "synaptic_currents")

# What was found before, the newest last: None, or what is wrong.
_KEPT = 4096
_found: dict[Any, str | None] = {}
# What a thread compares at the moment.
_busy = threading.local()


def is_own(model: type) -> bool:
    """Whether a model is the library's own, which its tests compare."""
    return model.__module__.startswith("ngnmm_jax.")


def guarded(method: Any, name: str) -> Any:
    """An optional method that is compared with the vector field before it is used."""
    if not callable(method) or hasattr(method, "compared"):
        return method

    @functools.wraps(method)
    def compared(self: Any, *arguments: Any, **options: Any) -> Any:
        check_agreement(self, name, arguments[:1])
        return method(self, *arguments, **options)

    compared.compared = True  # type: ignore[attr-defined]
    return compared


def check_agreement(model: Any, name: str, arguments: tuple[Any, ...] = ()) -> None:
    """Refuse a model whose optional method `name` does not follow from its vector field.

    Not the library's own, which its tests compare.
    """
    kind = type(model)
    if is_own(kind):
        return
    from ngnmm_jax.models import comparisons  # which is needed for no model of the library

    if name == "synaptic_currents":
        _vouched(kind, name)
        return
    compare: Callable[..., str | None] = getattr(comparisons, name)
    coupling = arguments[0] if name == "equilibrium_reduction" and arguments else None
    busy = _busy.__dict__.setdefault("keys", set())
    for key, trial in comparisons.trials(model, coupling):
        key = (kind, name, *key)
        if key in busy:  # what compares calls the method again
            continue
        if key not in _found:
            busy.add(key)
            try:
                # In 64 bits, whatever is in use: rounding would hide small differences.
                with jax.enable_x64(True), jax.ensure_compile_time_eval():
                    _found[key] = compare(*trial())
            except Disagreement:
                raise
            except Exception as error:
                why = f"it could not be evaluated ({type(error).__name__}: {error})"
                raise Disagreement(_message(kind, name, why)) from error
            finally:
                busy.remove(key)
            while len(_found) > _KEPT:
                _found.pop(next(iter(_found)), None)
        wrong = _found.get(key)
        if wrong is not None:
            raise Disagreement(_message(kind, name, wrong))


def _vouched(kind: type, name: str) -> None:
    """What cannot be compared must not be older than the equations."""
    owner = definer(kind, name)
    for other in ("vector_field", "output"):
        newer = definer(kind, other)
        if kind.__mro__.index(newer) < kind.__mro__.index(owner):
            raise Disagreement(
                f"`{kind.__name__}.{name}` is inherited from `{owner.__name__}`, but "
                f"`{newer.__name__}` has its own `{other}`. Define it for these equations, or say "
                f"that it holds: `{name} = {owner.__name__}.{name}` in the class."
            )


def _message(kind: type, name: str, wrong: str) -> str:
    owner = definer(kind, name)
    whose = "" if owner is kind else f" (inherited from `{owner.__name__}`)"
    return (
        f"`{kind.__name__}.{name}`{whose} does not follow the model's `vector_field` and `output`: "
        f"{wrong}. Define it for these equations, or set `{name} = None` in the class, which goes "
        "without."
    )
