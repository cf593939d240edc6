"""Noise as objects: white or coloured, by the state, correlated between regions.

Where a strength is all there is to say, `Driven` takes the number. Sources: Kloeden and Platen,
Numerical Solution of Stochastic Differential Equations (1992), for the methods of white noise that
a state multiplies; Gillespie, Phys. Rev. E 54, 2084 (1996), for exact steps of Ornstein and
Uhlenbeck's process and of its integral.
"""

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.cards import Shown, shown_as_made
from ngnmm_jax._core.parameters import INPUT, NOISE_PARTS, with_fields
from ngnmm_jax._core.types import Scalar
from ngnmm_jax.models import comparisons
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.hooks import QIFPopulation
from ngnmm_jax.models.parameters import as_parameter

#: What white noise that the state multiplies can mean.
SENSES = ("ito", "stratonovich")
# Below this part of the correlation time a step is short: series in place of differences.
_SHORT = 0.1
# Correlations of a matrix are symmetric, and one of each region with itself, to this.
_SAME = 1e-8


@shown_as_made
class Course(NamedTuple):
    """What a noise is in a step: its mean over it, and how much it rises; what goes on after it."""

    mean: Any
    rise: Any
    process: Any


class AbstractNoise(Shown, eqx.Module):
    """Gaussian noise of a strength, which a factor of the state may multiply.

    - `strength`: scalar or (region,).
    - `factor`: None; or what the noise is multiplied by: the name of a variable, or a function of
      a region's state (variable, *axes) that returns (*axes), written with `jax.numpy`.
    - `correlation` between the noises of two regions: None, where they are independent; a number
      from 0 to 1, the same for each two (1: one noise for all); or a matrix (region, region).
    """

    strength: eqx.AbstractVar[Any]
    factor: eqx.AbstractVar[Any]
    sense: eqx.AbstractVar[str | None]
    correlation: eqx.AbstractVar[Any]
    root: eqx.AbstractVar[Any]
    #: Whether it is a function of time with values, which equations can be integrated along.
    smooth: ClassVar[bool] = False

    def begun(self, normal: Float[Array, "..."]) -> Any:
        """What goes on from step to step, at the beginning, by standard normal numbers."""
        return None

    @abc.abstractmethod
    def course(self, process: Any, dt: Scalar, normal: Callable[[int], Any]) -> Course:
        """A step of it, without strength and factor; `normal(part)`: independent normal numbers."""

    def amplitude(
        self, model: AbstractNeuralMass, state: Float[Array, "variable ..."]
    ) -> Float[Array, "..."]:
        """Its strength times its factor, (*axes)."""
        if self.factor is None:
            return jnp.broadcast_to(self.strength, state.shape[1:]).astype(state.dtype)
        return self.strength * self.times(model, state)

    def times(self, model: AbstractNeuralMass, state: Float[Array, "variable ..."]) -> Any:
        """Its factor at a state, (*axes)."""
        if isinstance(self.factor, str):
            return state[model.variables.index(self.factor)]
        return 1.0 if self.factor is None else self.factor(state)

    def mixed(self, normal: Float[Array, "..."]) -> Float[Array, "..."]:
        """Independent normal numbers of regions as correlated ones."""
        if self.correlation is None:
            return normal
        if self.root is not None:
            return jnp.tensordot(self.root, normal, 1, precision="highest")
        own, all_others = _shares(self.correlation, normal.shape[0])
        return own * normal + all_others * normal.sum(axis=0)

    def mixing(self, regions: int) -> Float[Array, "region region"]:
        """The matrix by which `mixed` multiplies."""
        return self.mixed(jnp.eye(regions))

    def colour(self, omega: Scalar) -> Any:
        """What it is at an angular frequency, by white noise of its strength: a complex factor."""
        return jnp.ones_like(self.strength)

    def over_runs(self) -> "AbstractNoise":
        """With values per region that broadcast over (region, run)."""
        held = {name: getattr(self, name) for name in NOISE_PARTS.values() if hasattr(self, name)}
        wide = {name: value[:, None] if value.ndim == 1 else value for name, value in held.items()}
        return with_fields(self, **wide)

    def with_part(self, part: str, value: Any) -> "AbstractNoise":
        """The same with another "strength" or "time"."""
        if not hasattr(self, part):
            kind = type(self).__name__
            _checks.fail(part, "be of coloured noise", f"it would be of `{kind}`")
        value = not_negative(part, value)
        if part == "time":
            _checks.positive(part, value)
        return with_fields(self, **{part: value})

    def check(self, model: AbstractNeuralMass, regions: tuple[int, ...]) -> None:
        """Refuse what does not suit a model and its regions: so many, or none."""
        for part in (p for p in NOISE_PARTS.values() if hasattr(self, p)):
            if jnp.ndim(value := getattr(self, part)):
                _checks.shape(part, value, regions, "(region,)")
        if self.correlation is not None and not regions:
            _checks.fail("correlation", "be None for a system without regions", "it is given")
        if self.root is not None and self.root.shape[0] != regions[0]:
            but = f"its shape is {self.root.shape}"
            _checks.fail("correlation", f"be of {regions[0]} regions", but)
        if isinstance(self.factor, str):
            _checks.one_of("factor", self.factor, model.variables)
        elif self.factor is not None:
            like = jax.ShapeDtypeStruct((len(model.variables), 3, 2), jnp.result_type(float))
            try:
                shape = jnp.shape(jax.eval_shape(self.factor, like))
            except Exception as error:  # of a function of a user
                but = f"it could not be traced ({type(error).__name__})"
                must = "be a function of a state (variable, *axes), written with `jax.numpy`"
                _checks.fail("factor", must, but)
            if shape != (3, 2):
                but = f"of (variable, 3, 2) it is {shape}"
                _checks.fail("factor", "return (*axes) of a state (variable, *axes)", but)


class White(AbstractNoise):
    """White noise: what it adds up to in a time t has the standard deviation strength * √t.

    **Arguments:**

    - `strength`, `factor`, `correlation`: as `AbstractNoise` has them; the strength in the unit of
      what it acts on per square root of time.
    - `sense`: with a factor, what the product means: "ito" (the factor as it is before each
      increment: Milstein's method without derivatives) or "stratonovich" (the limit of coloured
      noise of ever shorter memory: Heun's method). As a mean x' = σ x ξ stays where it is in the
      first sense, and grows as exp(σ² t / 2) in the other. Steps are of order one weakly, and
      strongly where one noise with a factor acts.
    """

    strength: Float[Array, "*region"]
    factor: str | Callable[[Any], Any] | None = eqx.field(static=True)
    sense: str | None = eqx.field(static=True)
    correlation: Float[Array, "..."] | None
    root: Float[Array, "region region"] | None

    def __init__(
        self,
        strength: Any,
        *,
        factor: Any = None,
        sense: str | None = None,
        correlation: Any = None,
    ) -> None:
        self.strength = not_negative("strength", strength)
        self.factor = _factor(factor)
        if factor is not None and sense is None:
            but = "there is a factor, and which is meant is not said"
            _checks.fail("sense", 'be "ito" or "stratonovich"', but)
        if sense is not None:
            _checks.one_of("sense", sense, SENSES)
        if factor is None and sense is not None:
            _checks.fail("sense", "be None without a factor", "both senses are the same then")
        self.sense = sense
        self.correlation, self.root = _correlation(correlation)

    def course(self, process: Any, dt: Scalar, normal: Callable[[int], Any]) -> Course:
        """Constant in the step."""
        return Course(self.mixed(normal(0)) / jnp.sqrt(dt), None, None)


class OrnsteinUhlenbeck(AbstractNoise):
    """Coloured noise η of a correlation time: time * η' = -η + strength * ξ, ξ white.

    Its autocorrelation is sd² exp(-|t| / time) with sd = strength / √(2 time) (so strength =
    sd √(2 time)), its one-sided spectrum that of white noise of the same strength over
    1 + (2π f time)². It begins as a draw from its stationary distribution, and goes on where a run
    goes on from another's end. It is known exactly at the steps' ends and in the mean over each of
    them, whatever the step; equations are integrated along it (order two in the step, for a given
    course), so that a factor means one thing only.

    **Arguments:**

    - `strength`, `factor`, `correlation`: as `AbstractNoise` has them; the strength in the unit of
      what it acts on per square root of time.
    - `time`: how long it remembers, in the model's unit of time; scalar or, without `correlation`,
      (region,).
    """

    strength: Float[Array, "*region"]
    time: Float[Array, "*region"]
    factor: str | Callable[[Any], Any] | None = eqx.field(static=True)
    correlation: Float[Array, "..."] | None
    root: Float[Array, "region region"] | None
    sense: str | None = eqx.field(static=True)
    smooth: ClassVar[bool] = True

    def __init__(
        self, strength: Any, time: Any, *, factor: Any = None, correlation: Any = None
    ) -> None:
        self.strength = not_negative("strength", strength)
        self.time = as_parameter("time", time)
        _checks.positive("time", self.time)
        self.factor, self.sense = _factor(factor), None
        self.correlation, self.root = _correlation(correlation)
        self._one_time(self.time)

    def _one_time(self, time: Any) -> None:
        """Refuse times by region of noise that regions share: what they share is then coloured."""
        if self.correlation is not None and jnp.ndim(time):
            must = "be one number where regions are correlated"
            _checks.fail("time", must, "it has one for each region")

    def with_part(self, part: str, value: Any) -> "AbstractNoise":
        if part == "time":
            self._one_time(value)
        return super().with_part(part, value)

    def begun(self, normal: Float[Array, "..."]) -> Float[Array, "..."]:
        """The process over its standard deviation."""
        if self.correlation is not None and jnp.ndim(self.time) == normal.ndim > 0:
            self._one_time(self.time)  # of a batch, or put in by name
        return self.mixed(normal)

    def course(self, process: Any, dt: Scalar, normal: Callable[[int], Any]) -> Course:
        """Its mean in the step, given both ends, is drawn; the rise has its first moment."""
        a = (dt / self.time).astype(process.dtype)
        ends = self.mixed(normal(0)) * jnp.sqrt(-jnp.expm1(-2 * a))
        after = jnp.exp(-a) * process + ends
        toward, spread, lean = _bridge(a)
        size = (2 * self.time) ** -0.5
        mean = toward * (process + after) + jnp.sqrt(spread) * self.mixed(normal(1))
        return Course(size * mean, size * lean * (after - process), after)

    def colour(self, omega: Scalar) -> Any:
        """A filter of order one."""
        return 1 / (1 + 1j * omega * self.time)


class Cauchy(Shown, eqx.Module):
    """White noise whose increments are Lorentzians: over a time t, of half width strength * t.

    For noise of each neuron's own, `simulate_spiking(…, private=…)`. It has no variance, and
    nothing else takes it.

    **Arguments:**

    - `strength`: scalar or (region,), in the unit of what it acts on. (That is per time of an
      increment, where Gaussian noise has a unit per square root of time.)
    """

    strength: Float[Array, "*region"]

    def __init__(self, strength: Any) -> None:
        self.strength = not_negative("strength", strength)


def _bridge(a: Any) -> tuple[Any, Any, Any]:
    """Of the process over a step of `a` correlation times, given both ends.

    Its mean by the ends' sum; that mean's variance; and the rise of the straight line with its
    first moment, by the ends' difference.
    """
    half = jnp.tanh(a / 2)
    short = a < _SHORT
    spread = jnp.where(
        short, a / 6 - a**3 / 60 + 17 * a**5 / 10080, 2 * (a - 2 * half) / jnp.square(a)
    )
    lean = jnp.where(short, 1 - a**2 / 60 + a**4 / 2520, 6 * (1 / (a * half) - 2 / jnp.square(a)))
    return half / a, spread, lean


def _shares(correlation: Any, regions: int) -> tuple[Any, Any]:
    """The symmetric root of (1 - c) I + c 1 1ᵀ as a I + b 1 1ᵀ: a, b."""
    own = jnp.sqrt(1 - correlation)
    return own, (jnp.sqrt(1 - correlation + regions * correlation) - own) / regions


def place_of(model: AbstractNeuralMass, name: str) -> tuple[int, Any]:
    """The row of the variable whose equation a noise enters, and by which factor.

    That of a population is a current, over its membrane's time constant.
    """
    if name in model.variables:
        return model.variables.index(name), 1.0
    one = next(p for p in _populations(model) if p.name == name)
    return model.variables.index(one.potential), 1 / one.tau


def places(model: AbstractNeuralMass) -> tuple[str, ...]:
    """All that noise can be added to: the input, variables, populations."""
    return tuple(dict.fromkeys((INPUT, *model.variables, *(p.name for p in _populations(model)))))


def _populations(model: AbstractNeuralMass) -> tuple[QIFPopulation, ...]:
    """A model's populations; none where they are not those of its equations."""
    try:
        return model.populations()
    except _checks.Disagreement:
        return ()


def entering(network: Any, name: str, state: jax.Array, amount: jax.Array) -> jax.Array:
    """How fast an amount (*axes) of noise moves the state (variable, *axes)."""
    if name == INPUT:
        zero = jnp.zeros_like(amount)
        moved: jax.Array = jax.jvp(lambda d: network.vector_field(state, d), (zero,), (amount,))[1]
        return moved
    row, scale = place_of(network.model, name)
    return jnp.zeros_like(state).at[row].set(scale * amount)


def check_entries(system: Any) -> None:
    """Refuse runs of noise on an input that does not enter a driven system's equations linearly.

    White noise has no limit there for short steps, and the factor of coloured noise no one meaning.
    (The linear response has: it is of small noise.)
    """
    noise = system.noise.get(INPUT)
    coloured = isinstance(noise, AbstractNoise) and noise.smooth and noise.factor is None
    if noise is None or coloured or _enters_linearly(system.model):
        return
    must = "be coloured and without a factor, or on a variable, where the input is not linear"
    kind = type(system.model).__name__
    but = f"it is on the input of `{kind}`: use `noises.OrnsteinUhlenbeck(strength, time)`"
    _checks.fail("noise", must, but)


# What is known of classes of models already, the newest last.
_KEPT = 128
_linear: dict[type, bool] = {}


def _enters_linearly(model: AbstractNeuralMass) -> bool:
    """Whether a model's equations are straight lines in its input, tried at its default values."""
    kind = type(model)
    if kind not in _linear:
        with jax.ensure_compile_time_eval():
            like = comparisons.usual(model)
            state = as_array(comparisons.random_state(like, (1,)))
            drive = jnp.ones((*([len(like.inputs)] if like.inputs else []), 1), state.dtype)
            slopes = jax.jit(jax.vmap(lambda k: like.vector_field(state, k * drive)))
            found = np.asarray(slopes(jnp.arange(3, dtype=state.dtype)))
        bend, size = np.abs(found[0] + found[2] - 2 * found[1]), np.abs(found).sum(axis=0)
        _linear[kind] = bool((bend <= 100 * np.finfo(found.dtype).eps * size).all())
        while len(_linear) > _KEPT:
            _linear.pop(next(iter(_linear)))
    return _linear[kind]


def noise_that_acts(noises: Mapping[str, Any]) -> None:
    """Refuse none at all, and noise whose every strength is zero: nothing fluctuates then."""
    if not noises:
        _checks.fail("system", "have white noise, or coloured", "it has none: use `Driven`")
    every = [v.strength if isinstance(v, AbstractNoise) else v for v in noises.values()]
    if _checks.is_concrete(every) and not any(np.asarray(v).any() for v in every):
        named = ", ".join(map(repr, noises))
        must = "have noise of a strength above zero: nothing fluctuates without"
        _checks.fail("system", must, f"that on {named} is zero")


def not_negative(name: str, value: Any) -> Any:
    """A strength, or strengths (region,), as an array."""
    found = as_parameter(name, value)
    _checks.finite(name, found)
    low = np.min(np.asarray(found)) if _checks.is_concrete(found) else 0.0
    if low < 0:
        _checks.fail(name, "not be negative", f"it is {low:g} somewhere")
    return found


def _factor(factor: Any) -> Any:
    if not (factor is None or isinstance(factor, str) or callable(factor)):
        but = f"it is {factor!r}"
        _checks.fail("factor", "be the name of a variable, or a function of the state", but)
    _checks.hashable("factor", factor)
    return factor


def _correlation(given: Any) -> tuple[Any, Any]:
    """What was given, as an array; and of a matrix its symmetric root."""
    if given is None:
        return None, None
    value = as_parameter("correlation", given)
    _checks.finite("correlation", value)
    if not value.ndim:
        if _checks.is_concrete(value) and not 0 <= float(value) <= 1:
            _checks.fail("correlation", "lie in [0, 1]", f"it is {float(value):g}")
        return value, None
    if not _checks.is_concrete(value):
        _checks.fail("correlation", "be known where it is a matrix", "JAX traces it")
    known = np.asarray(value)
    if known.ndim != 2 or known.shape[0] != known.shape[1]:
        _checks.fail("correlation", "be (region, region)", f"its shape is {known.shape}")
    if np.abs(known - known.T).max() > _SAME or np.abs(known.diagonal() - 1).max() > _SAME:
        but = "it is not: noise of other sizes by region is `strength`'s"
        _checks.fail("correlation", "be symmetric, with ones on its diagonal", but)
    values, vectors = np.linalg.eigh(known)
    if values[0] < -_SAME * len(known):
        but = f"its smallest eigenvalue is {values[0]:.3g}"
        _checks.fail("correlation", "be one that noise can have", but)
    return value, as_array(vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T)
