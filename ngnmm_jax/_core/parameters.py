"""Parameters of a system, by name: which there are, what they may be; read, replaced, gathered.

A system's parameters are those that its model declares, those that a coupling of one's own
declares beside its strength, "coupling" (the strength of what passes between regions), and the
strengths of a driven system's noise, as in "v_e_noise", with the correlation times of coloured
noise, "v_e_noise_time". What a model declares comes first, whatever else of the system is called
so.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.names import STIMULUS

#: The strength of a coupling, among the parameters.
COUPLING = "coupling"
#: What stands for a region's input among the variables to which noise is added.
INPUT = "input"
#: The standard deviation of initial noise, which designs of sweeps vary beside the parameters.
SCATTER = "scatter"
_NOISE = "_noise"
#: What of a noise is a parameter, by what its name ends in.
NOISE_PARTS = {_NOISE: "strength", "_noise_time": "time"}

Whole = TypeVar("Whole")


@dataclasses.dataclass
class _Part:
    """One of several couplings, as far as its strength is concerned."""

    strength: Any = dataclasses.field(
        metadata={"unit": "1", "doc": "strength of this coupling", "positive": False}
    )


(_STRENGTH,) = dataclasses.fields(_Part)


def noise_name(variable: str) -> str:
    """What the strength of a variable's noise, or of that of the input, is called."""
    return variable + _NOISE


def noise_of(name: str) -> str | None:
    """The variable, or "input", of whose noise this is the strength; None for other names."""
    return name.removesuffix(_NOISE) if name.endswith(_NOISE) else None


def noise_part(name: str) -> tuple[str, str] | None:
    """Of which noise a name is a parameter, and which: its "strength", or its correlation "time".

    None for other names.
    """
    for end, part in NOISE_PARTS.items():
        if name.endswith(end):
            return name.removesuffix(end), part
    return None


def noise_value(noises: Mapping[str, Any], name: str) -> Any:
    """The value of a parameter of noises; None where there is none of that name."""
    found = noise_part(name)
    if found is None:
        return None
    noise, part = noises.get(found[0]), found[1]
    if not isinstance(noise, eqx.Module):
        return noise if part == "strength" else None
    return getattr(noise, part, None)


def _noise_names(system: Any) -> tuple[str, ...]:
    """Names of all noises' parameters."""
    noises = getattr(system, "noise", {})
    every = (on + end for on in noises for end in NOISE_PARTS)
    return tuple(name for name in every if noise_value(noises, name) is not None)


def stimulus_leaves(system: Any) -> dict[str, Any]:
    """Arrays of a driven system's stimulus by name, as "stimulus_amplitude"; those of the parts of
    a sum as "stimulus_0_amplitude".
    """
    every = _values(getattr(system, "stimulus", None))
    return {STIMULUS + k: v for k, v in every.items() if eqx.is_inexact_array(v)}


def _values(part: Any) -> dict[str, Any]:
    """What the fields of a module hold, and those of modules in it, by name.

    A module's own come first: what an inner one has under the same name is that of its field, as
    "pattern_period" beside "period".
    """
    every = vars(part) if isinstance(part, eqx.Module) else {}
    found = {k: v for k, v in every.items() if not isinstance(v, eqx.Module | tuple)}
    for name, value in every.items():
        if isinstance(value, eqx.Module):
            inner = {k if k not in found else f"{name}_{k}": v for k, v in _values(value).items()}
            found |= inner
        elif isinstance(value, tuple):
            found |= {f"{k}_{own}": v for k, p in enumerate(value) for own, v in _values(p).items()}
    return found


def declared(model: Any) -> dict[str, dataclasses.Field]:
    """What `parameter` declared in a model, or its class: the fields by name, in order."""
    fields = dataclasses.fields(model) if dataclasses.is_dataclass(model) else ()
    return {field.name: field for field in fields if "unit" in field.metadata}


def declared_between(system: Any) -> dict[str, dataclasses.Field]:
    """What a network's coupling, its graph and its delays declare, but for the strength.

    That is called "coupling".
    """
    return {name: field for name, (_, field) in parts_between(system).items()}


def parts_between(system: Any) -> dict[str, tuple[Any, dataclasses.Field]]:
    """The same, each with the part of the coupling that has it, and its field there.

    What belongs to one of several couplings has the name of that before its own; its strength is
    "…_coupling".
    """
    inner = getattr(system, "system", system)
    found = _between(getattr(inner, "interaction", None))
    delays = getattr(inner, "delays", None)  # of a homogeneous system, beside its coupling
    return {**{name: (delays, field) for name, field in declared(delays).items()}, **found}


def _between(coupling: Any, prefix: str = "") -> dict[str, tuple[Any, dataclasses.Field]]:
    found: dict[str, tuple[Any, dataclasses.Field]] = {}
    if coupling is None:
        return found
    several = getattr(coupling, "parts", None)
    left = [coupling]
    while left:
        part = left.pop()
        if part is not None:
            own = {k: field for k, field in declared(part).items() if k != "strength"}
            found |= {prefix + k: (part, field) for k, field in own.items()}
            if several is None:
                left += [getattr(part, name, None) for name in ("delays", "graph", "coupling")]
    if prefix:
        found[prefix + COUPLING] = (coupling, _STRENGTH)
    for name, part in (several or {}).items():
        more = _between(part, f"{prefix}{name}_")
        for twice in found.keys() & more.keys():
            must = "have names by which their parameters differ"
            _checks.fail("parts", must, f"two are called `{twice}`")
        found |= more
    return found


def all_declared(system: Any) -> dict[str, dataclasses.Field]:
    """What the model of a system and its coupling declare."""
    return {**declared_between(system), **declared(system.model)}


def is_reserved(name: str) -> bool:
    """Whether a name means something of its own beside a model's parameters."""
    return name in (COUPLING, SCATTER) or noise_part(name) is not None


def parameter_names(system: Any) -> tuple[str, ...]:
    """The names of a system's parameters; none where it is not made of a model."""
    if not hasattr(system, "model"):
        return ()
    coupling = (COUPLING,) if hasattr(system, COUPLING) else ()
    own = (*declared(system.model), *declared_between(system))
    return (*own, *coupling, *_noise_names(system))


def known_name(
    name: str, system: Any, known: Iterable[str] | None = None, argument: str = "parameters"
) -> None:
    """Refuse what is no parameter of a system, or none of those `known`; says what is meant."""
    names = parameter_names(system) if known is None else tuple(known)
    if name not in names:
        _of_other_ways(argument, name, getattr(system, "system", system), names)
        _checks.one_of(argument, name, names)


def _of_other_ways(argument: str, name: str, system: Any, names: tuple[str, ...]) -> None:
    """Refuse what makes a network, and is no parameter of this one, by the way to change it."""
    if name in ("connectome", "weights", "tract_lengths") and hasattr(system, "with_connectome"):
        must = "name parameters: `network.with_connectome(…)` is the network over another one"
        _checks.fail(argument, must, f"it names {name!r}")
    if name not in ("delay", "delays", "speed") or not hasattr(system, "delays"):
        return
    own = [known for known in names if known.split("_")[-1] in ("delay", "speed")]
    if own:
        must = f"name its delays by what they are made of, {' or '.join(map(repr, own))}"
    elif system.delays is None:
        must = "name parameters: this network has no delays, so make one that has with "
        must += "`Network(…, delays=…)` or `speed=…`"
    else:
        must = "name parameters: delays of single connections are none, so make the network anew "
        must += "with `Network(…, delays=…)` of other ones"
    _checks.fail(argument, must, f"it names {name!r}")


def scalar_names(system: Any) -> list[str]:
    """Names of what is one number: parameters, and fields of a system of one's own."""
    parts = [part for part in (system, getattr(system, "model", None)) if part is not None]
    fields = (name for part in parts for name in vars(part))
    names = dict.fromkeys((*parameter_names(system), *stimulus_leaves(system), *fields))
    values = {name: leaf(system, name) for name in names}
    return [k for k, v in values.items() if eqx.is_inexact_array(v) and v.ndim == 0]


def never_negative(system: Any, name: str) -> bool:
    """Whether a parameter must be positive, or is one of noise."""
    field = all_declared(system).get(name)
    return noise_part(name) is not None if field is None else field.metadata["positive"]


def check_values(system: Any, name: str, values: Any) -> None:
    """Refuse values that a parameter cannot have: none is NaN, some are above zero only."""
    if name in all_declared(system) and never_negative(system, name):
        _checks.positive(name, values)
        return
    _checks.finite(name, values)
    found = noise_part(name)
    if found is not None and found[1] == "time":
        _checks.positive(name, values)
    elif found is not None and _checks.is_concrete(values):
        low = np.min(np.asarray(values), initial=0.0)
        if low < 0:
            _checks.fail(name, "not be negative", f"its smallest value is {low:g}")


def parameter_axes(system: Any, axes: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values (value,) for each named parameter of a grid, checked."""
    if not isinstance(axes, Mapping):
        must = 'be values by name, as in {"coupling": [0, 5, 10]}'
        _checks.fail("parameters", must, f"it is {axes!r}")
    if not axes:
        _checks.fail("parameters", "name at least one parameter", "it is empty")
    values = {}
    for name, given in axes.items():
        known_name(name, system)
        value = _checks.numbers(name, given, "be a sequence of numbers").astype(float)
        if value.ndim != 1 or not value.size:
            _checks.fail(name, "be a non-empty sequence", f"its shape is {value.shape}")
        check_values(system, name, value)
        one_for_all(system, name, "use `sweep`, whose axes may have values (value, region)")
        values[name] = value
    return values


def with_fields(whole: Whole, **fields: Any) -> Whole:
    """The same, of whatever class it is, with other values of some fields, without checks."""
    same = object.__new__(type(whole))
    for field in dataclasses.fields(whole):  # type: ignore[arg-type]
        value = fields.get(field.name, getattr(whole, field.name))
        object.__setattr__(same, field.name, value)
    return same


def with_leaves(system: Any, values: Mapping[str, Any]) -> Any:
    """A system with other values of some parameters, of whatever shape, without checks.

    For inside of compiled code, where `with_parameters` cannot check and batches have axes of their
    own.
    """
    names = list(values)
    if not names:
        return system
    return eqx.tree_at(
        lambda s: [leaf(s, name) for name in names], system, [values[name] for name in names]
    )


def at_points(model: Any, points: Mapping[str, Any]) -> Any:
    """A model at many points: its parameters as (point,), (region, 1) or (region, point).

    `points`: values (point,) or (point, region) of some of them, in NumPy.
    """
    leaves = jax.tree.map(np.asarray, model)
    model = jax.tree.map(lambda leaf: leaf[:, None] if leaf.ndim else leaf, leaves)
    own = declared(model)
    known = {name: np.asarray(value).T for name, value in points.items() if name in own}
    return with_leaves(model, known)


def bare(system: Any) -> Any:
    """A system without its names, which no program depends on, so that programs are shared."""
    return system.bare() if _has_names(system) else system


def without_names(whole: Any) -> Any:
    """A module that holds the `bare` ones of what it holds."""
    held = {name: part.bare() for name, part in vars(whole).items() if _has_names(part)}
    return with_fields(whole, **held) if held else whole


def _has_names(part: Any) -> bool:
    """Whether its class has the method `bare`: a model's parameter may be called so."""
    return callable(getattr(type(part), "bare", None))


def constant(system: Any) -> Any:
    """A system through whose parameters no derivatives pass."""
    arrays, rest = eqx.partition(system, eqx.is_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)


def differentiated(*values: Any) -> bool:
    """Whether derivatives are taken of values that are known, as by `jax.grad` without `jax.jit`.

    What needs no derivatives is then computed at once, from `constant` values.
    """
    return not _checks.on_host(*values) and _checks.on_host(constant(values))


def leaf(system: Any, name: str) -> Any:
    """The value of a parameter, or of a field of a system of one's own."""
    model = getattr(system, "model", None)
    if model is None:
        return getattr(system, name)
    if name in declared(model):
        return getattr(model, name)
    noise = noise_value(getattr(system, "noise", {}), name)
    if noise is not None:
        return noise
    stimulus = getattr(system, "stimulus", None)
    if stimulus is not None and name.startswith(STIMULUS):
        return _values(stimulus)[name.removeprefix(STIMULUS)]
    between = parts_between(system)
    if name in between:
        part, field = between[name]
        return getattr(part, field.name)
    return getattr(system if hasattr(system, name) else model, name)


def one_for_all(system: Any, name: str, instead: str) -> None:
    """Refuse one value of a parameter for all regions where these differ in it.

    `instead` says how regions are varied together without becoming the same.
    """
    try:
        value = leaf(system, name)
    except AttributeError:  # what a sweep adds to the parameters
        return
    if not jnp.ndim(value) or not _checks.is_concrete(value) or not np.ptp(np.asarray(value)):
        return
    low, high = np.min(np.asarray(value)), np.max(np.asarray(value))
    _checks.fail(
        name,
        f"keep what regions differ in: {instead}",
        f"one number would replace its {jnp.size(value)} values between {low:.4g} and {high:.4g}",
    )


def checked_again(module: eqx.Module) -> None:
    """The checks that a module makes of itself when it is made."""
    for kind in type(module).__mro__:
        if "__check_init__" in kind.__dict__:
            kind.__dict__["__check_init__"](module)


def concrete_step(system: Any) -> float:
    """A system's `time_step` as a number, also where JAX traces its parameters.

    Raises `ValueError` where a model's time constants are traced.
    """
    step = system.time_step
    return float(step) if _checks.is_concrete(step) else system.model.known_time_step


def pace(system: Any) -> tuple[Any, Any]:
    """A system's `time_step`, and how many of them make one that its activity alone asks for.

    The latter from the `tempo` of its model; 1 where it has none.
    """
    step, model = system.time_step, getattr(system, "model", None)
    if model is None or not hasattr(model, "tempo"):
        return step, 1.0
    tempo = model.tempo()
    xp = np if _checks.is_concrete(step, tempo) else jnp
    return step, xp.maximum(1.0, xp.round(xp.min(tempo) / step))


class ParametrisedField(eqx.Module):
    """A system's vector field on flat states, as a function of some of its parameters."""

    system: Any
    names: tuple[str, ...] = eqx.field(static=True)

    def at(self, parameters: Float[Array, "parameter"]) -> Any:
        """The system with such values."""
        return with_leaves(self.system, {n: parameters[k] for k, n in enumerate(self.names)})

    def __call__(
        self,
        state: Float[Array, "dimension"],
        parameters: Float[Array, "parameter"],
        time: Any = None,
    ) -> Float[Array, "dimension"]:
        """Time derivative of a flattened state; of a driven system at a `time`."""
        system = self.at(parameters)
        state = state.reshape(self.system.state_shape)
        slope = system.vector_field(state) if time is None else system.slope_at(time, state)
        return slope.ravel()

    @property
    def parameters(self) -> Float[Array, "parameter"]:
        """Their values in the system."""
        return jnp.stack([as_array(leaf(self.system, name), float) for name in self.names])
