"""What a model's class declares, checked once for each class."""

from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakSet

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import INPUT, declared, is_reserved

# What reads the state by place, and so depends on the order of the variables.
_BY_PLACE = ("vector_field", "output", "search_box", "observe")

# What results have beside the variables.
_OF_RESULTS = ("status", "time", "region", "run")

_checked: WeakSet[type] = WeakSet()


def definer(model: type, name: str) -> type:
    """The class that defines an attribute of a model, itself or one that it inherits from."""
    return next(kind for kind in model.__mro__ if name in kind.__dict__)


def check_declarations(model: type[Any], base: type[Any], times: Iterable[str]) -> None:
    """Refuse a class whose declarations contradict each other.

    `base` is the class of all models, `times` are the units of time that are known.
    """
    if model in _checked:
        return
    _names(model)
    _units(model, times)
    if bool(_texts(model, "outputs")) != bool(_texts(model, "inputs")):
        _fail(model, "outputs", "be named where `inputs` are, and only there", "one of them is")
    _shown(model, base)
    _symbols(model)
    _order(model, base)
    _parameters(model, base)
    _checked.add(model)


def _fail(model: type[Any], attribute: str, must: str, but: str) -> None:
    _checks.fail(f"{model.__name__}.{attribute}", must, but)


def _texts(model: type[Any], attribute: str) -> tuple[str, ...]:
    value = getattr(model, attribute)
    if not isinstance(value, tuple) or not all(isinstance(v, str) for v in value):
        _fail(model, attribute, "be a tuple of texts", f"it is {value!r}")
    return value


def _names(model: type[Any]) -> None:
    variables = _texts(model, "variables")
    if not variables:
        _fail(model, "variables", "name at least one variable", "it is empty")
    for name in variables:
        if not name.isidentifier():
            _fail(model, "variables", "be names as Python knows them", f"one is {name!r}")
        if name == INPUT:
            _fail(model, "variables", "be called otherwise", f"noise in {INPUT!r} is of the input")
        _not_of_results(model, "variables", name)
        if variables.count(name) > 1:
            _fail(model, "variables", "be unique", f"{name!r} stands more than once")


def _not_of_results(model: type[Any], attribute: str, name: str) -> None:
    if name in _OF_RESULTS:
        must = f"be called otherwise than {', '.join(map(repr, _OF_RESULTS))}"
        _fail(model, attribute, must, f"{name!r} is what results have of their own")


def _units(model: type[Any], times: Iterable[str]) -> None:
    units, count = _texts(model, "units"), len(model.variables)
    if len(units) != count:
        must = f"have one entry for each of {count} variables"
        _fail(model, "units", must, f"it has {len(units)}")
    _checks.one_of(f"{model.__name__}.time_unit", model.time_unit, times)
    for name in _texts(model, "nonnegative"):
        _checks.one_of(f"{model.__name__}.nonnegative", name, model.variables)


def _shown(model: type[Any], base: type[Any]) -> None:
    for name in ("shown", "shown_unit"):
        if not isinstance(getattr(model, name), str):
            _fail(model, name, "be text", f"it is {getattr(model, name)!r}")
    _not_of_results(model, "shown", model.shown)
    if definer(model, "observe") is base and model.shown not in model.variables:
        _fail(
            model,
            "shown",
            "be a variable, or what an `observe` of the class returns",
            f"it is {model.shown!r} and there is no `observe`",
        )
    if isinstance(model.synaptic, str):
        _checks.one_of(f"{model.__name__}.synaptic", model.synaptic, visible(model))


def _symbols(model: type[Any]) -> None:
    """A class writes what it has, or inherits."""
    own = model.__dict__.get("symbols", {})
    if not isinstance(own, Mapping) or not all(isinstance(v, str) for v in own.values()):
        _fail(model, "symbols", "be texts by name", f"it is {own!r}")
    known = dict.fromkeys((*visible(model), *declared(model)))
    for name in own:
        _checks.one_of(f"{model.__name__}.symbols", name, known)


def _order(model: type[Any], base: type[Any]) -> None:
    """Inherited functions read the state by place: the places they know must be the same."""
    for name in _BY_PLACE:
        owner = definer(model, name)
        known = tuple(getattr(owner, "variables", ())) if owner is not base else ()
        size = len(known) if name != "search_box" else max(len(known), len(model.variables))
        if known and tuple(model.variables)[:size] != known:
            _fail(
                model,
                name,
                f"be defined for its own variables {tuple(model.variables)}",
                f"it is that of {owner.__name__}, whose variables are {known}",
            )


def _parameters(model: type[Any], base: type[Any]) -> None:
    for name, field in declared(model).items():
        for what in ("unit", "doc"):
            if not isinstance(field.metadata[what], str):
                but = f"its {what} is {field.metadata[what]!r}"
                _fail(model, name, f"have text as its {what}", but)
        if is_reserved(name) or hasattr(base, name):
            _fail(model, name, "have a name of its own", "it is that of something else")
        if name in (*model.variables, model.shown):
            _fail(model, name, "have a name of its own", "a variable, or what is shown, has it")
        for kind in model.__mro__:
            if name in getattr(kind, "__annotations__", {}):
                break
            if name in kind.__dict__:
                must = f"be declared anew, as in `{name}: jax.Array = parameter(…)`"
                _checks.fail(f"{kind.__name__}.{name}", must, "it is only assigned: without effect")


def visible(model: Any) -> tuple[str, ...]:
    """Names of what can be seen of a model or its class: its variables, and what it shows."""
    return tuple(dict.fromkeys((*model.variables, model.shown)))
