"""Wilson and Cowan's classical neural mass."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from ngnmm_jax._core.certain_roots import CertainReduction, over_interval
from ngnmm_jax._core.types import Field, ParameterArray, Scalar, State
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.hooks import EquilibriumReduction
from ngnmm_jax.models.parameters import parameter

# Of rounding errors, relative to the terms of a sum.
_SLACK = 64 * float(np.finfo(float).eps)
# Halvings that find where inhibition rests alone, to rounding.
_HALVINGS = 60


class WilsonCowan(AbstractNeuralMass):
    r"""Active fractions of excitatory and of inhibitory cells.

    With S_j(x) = 1 / (1 + exp(-a_j (x - theta_j))) - 1 / (1 + exp(a_j theta_j)), which is 0 at 0,
    and `c` the network's input:

        tau_e e' = -e + (k_e - r_e e) S_e(c1 e - c2 i + p + c)
        tau_i i' = -i + (k_i - r_i i) S_i(c3 e - c4 i + q)

    State of a region: `e, i`. It sends e, and what it receives adds to the input p of excitatory
    cells. Times in ms, all else without dimension.

    Source: Wilson and Cowan, Biophys. J. 12, 1 (1972), with the parameters of its limit cycle.
    """

    variables: ClassVar[tuple[str, ...]] = ("e", "i")
    units: ClassVar[tuple[str, ...]] = ("1", "1")
    time_unit: ClassVar[str] = "ms"
    shown: ClassVar[str] = "e"
    shown_unit: ClassVar[str] = "1"
    nonnegative: ClassVar[tuple[str, ...]] = ()
    symbols: ClassVar[dict[str, str]] = {
        "e": "$E$", "i": "$I$", "p": "$P$", "q": "$Q$",
        "c1": "$c_1$", "c2": "$c_2$", "c3": "$c_3$", "c4": "$c_4$",
        "a_e": "$a_e$", "a_i": "$a_i$", "theta_e": r"$\theta_e$", "theta_i": r"$\theta_i$",
        "k_e": "$k_e$", "k_i": "$k_i$", "r_e": "$r_e$", "r_i": "$r_i$",
        "tau_e": r"$\tau_e$", "tau_i": r"$\tau_i$",
    }  # fmt: skip
    synaptic = "e"
    plane: ClassVar[dict[str, tuple[float, float, int]]] = {
        "p": (0.0, 3.0, 61),
        "coupling": (0.0, 2.0, 41),
    }
    cut: ClassVar[float] = 0.5

    p: ParameterArray = parameter(1.25, unit="1", doc="external input to excitatory cells")
    q: ParameterArray = parameter(0.0, unit="1", doc="external input to inhibitory cells")
    c1: ParameterArray = parameter(16.0, unit="1", doc="excitatory to excitatory")
    c2: ParameterArray = parameter(12.0, unit="1", doc="inhibitory to excitatory")
    c3: ParameterArray = parameter(15.0, unit="1", doc="excitatory to inhibitory")
    c4: ParameterArray = parameter(3.0, unit="1", doc="inhibitory to inhibitory")
    a_e: ParameterArray = parameter(1.3, unit="1", doc="steepness, excitatory", positive=True)
    a_i: ParameterArray = parameter(2.0, unit="1", doc="steepness, inhibitory", positive=True)
    theta_e: ParameterArray = parameter(4.0, unit="1", doc="threshold, excitatory")
    theta_i: ParameterArray = parameter(3.7, unit="1", doc="threshold, inhibitory")
    k_e: ParameterArray = parameter(1.0, unit="1", doc="what can be active, excitatory")
    k_i: ParameterArray = parameter(1.0, unit="1", doc="what can be active, inhibitory")
    r_e: ParameterArray = parameter(1.0, unit="1", doc="refractoriness, excitatory")
    r_i: ParameterArray = parameter(1.0, unit="1", doc="refractoriness, inhibitory")
    tau_e: ParameterArray = parameter(
        8.0, unit="ms", doc="time constant, excitatory", positive=True
    )
    tau_i: ParameterArray = parameter(
        8.0, unit="ms", doc="time constant, inhibitory", positive=True
    )

    def vector_field(self, state: State, drive: Field) -> State:
        e, i = state
        to_e = _response(self.c1 * e - self.c2 * i + self.p + drive, self.a_e, self.theta_e)
        to_i = _response(self.c3 * e - self.c4 * i + self.q, self.a_i, self.theta_i)
        return jnp.stack(
            [
                (-e + (self.k_e - self.r_e * e) * to_e) / self.tau_e,
                (-i + (self.k_i - self.r_i * i) * to_i) / self.tau_i,
            ]
        )

    def output(self, state: State) -> Field:
        return state[0]

    def search_box(self) -> tuple[jax.Array, jax.Array]:
        return jnp.array([-0.1, -0.1]), jnp.array([0.6, 0.6])

    def synaptic_currents(self, state: State, drive: Field) -> tuple[Field, Field]:
        """Onto excitatory cells: c1 e + c and c2 i."""
        return self.c1 * state[0] + drive, self.c2 * state[1]

    # At rest e = f_e(x) with f(x) = k S(x) / (1 + r S(x)), x = (c1 + coupling) e - c2 i + p, and
    # i = f_i(w), w = c3 e - c4 i + q. Where c3 ≠ 0, e follows from w, and f_e(x) - e is left.
    # Where c3 = 0, i rests alone, and x - w is left with e = f_e(w).

    def equilibrium_reduction(self, coupling: Scalar) -> EquilibriumReduction | None:
        """Scalar reduction in w, the input of inhibitory cells, or of excitatory ones if c3 = 0."""
        rest = _Rest(self, coupling, ..., jnp)

        def function(w: Scalar) -> tuple[jax.Array, Scalar]:
            e, i, value, _ = rest.at(w)
            return jnp.stack([e, i]), value

        return EquilibriumReduction(*rest.ends(), function)

    def certain_reduction(self, coupling: Any) -> CertainReduction:
        """All equilibria where 1 + r S is positive (r from 0 to 1 and beyond), by that function.

        Where c3 = 0, inhibition has to rest at one place: c4 ≥ 0.
        """

        def value(owner: Any, w: Any) -> tuple[Any, Any]:
            rest = _Rest(self, coupling, owner, np)
            _, _, left, size = rest.at(w)
            return left, np.where(rest.bounded(), _SLACK * size, np.inf)

        def states(owner: Any, w: Any) -> Any:
            e, i, *_ = _Rest(self, coupling, owner, np).at(w)
            return np.stack([e, i], axis=-1)

        return over_interval(
            *_Rest(self, coupling, ..., np).ends(),
            value,
            lambda owner, *ends: _Rest(self, coupling, owner, np).slopes(*ends),
            states,
        )


def _response(x: Any, steep: Any, threshold: Any) -> Any:
    return jax.nn.sigmoid(steep * (x - threshold)) - jax.nn.sigmoid(-steep * threshold)


class _Rest:
    """The equations at rest, of scalars or of the systems `owner`, in NumPy or in JAX (`xp`)."""

    def __init__(self, model: WilsonCowan, coupling: Any, owner: Any, xp: Any) -> None:
        names = ("p", "q", "c2", "c3", "c4")
        self.p, self.q, self.c2, self.c3, self.c4 = (getattr(model, k)[owner] for k in names)
        self.c1 = (model.c1 + coupling)[owner]
        self.alone = self.c3 == 0
        self.over = xp.where(self.alone, 1.0, self.c3)
        self.e, self.i = (
            _Curve(*(getattr(model, f"{k}_{of}")[owner] for k in ("k", "r", "a", "theta")), xp=xp)
            for of in "ei"
        )
        self.xp = xp

    def ends(self) -> tuple[Any, Any]:
        """Below and above all w."""
        xp, (e, i) = self.xp, (self.e.largest(), self.i.largest())
        inhibitory = xp.abs(self.c3) * e + xp.abs(self.c4) * i + xp.abs(self.q)
        excitatory = xp.abs(self.c1) * e + xp.abs(self.c2) * i + xp.abs(self.p)
        high = 1.1 * xp.where(self.alone, excitatory, inhibitory) + 1
        return -high, high

    def bounded(self) -> Any:
        """Where bounds hold, and there is one i for each w."""
        several = self.alone & (self.c4 * self.i.k < 0)
        return (self.e.least > 0) & (self.i.least > 0) & ~several

    def at(self, w: Any) -> tuple[Any, Any, Any, Any]:
        """e, i, what is left, and the size of its terms with what they hang on."""
        xp, alone = self.xp, self.alone
        i = xp.where(alone, self._alone(), self.i(w))
        e = xp.where(alone, self.e(w), (w + self.c4 * i - self.q) / self.over)
        x = self.c1 * e - self.c2 * i + self.p
        value = xp.where(alone, x - w, self.e(x) - e)
        off_i = self.i.size(w)
        off_e = (xp.abs(w) + xp.abs(self.c4) * off_i + xp.abs(self.q)) / xp.abs(self.over)
        off_e = xp.where(alone, self.e.size(w), off_e)
        off_x = xp.abs(self.c1) * off_e + xp.abs(self.c2) * off_i + xp.abs(self.p) + xp.abs(w)
        coupled = self.e.size(x) + self.e.steepest() * off_x + off_e
        return e, i, value, xp.where(alone, off_x, coupled)

    def _alone(self) -> Any:
        """Where inhibition rests with c3 = 0, if that is one place."""
        xp = self.xp
        high = self.i.largest() + xp.zeros_like(self.q)

        def halved(_: Any, ends: tuple[Any, Any]) -> tuple[Any, Any]:
            low, high = ends
            middle = (low + high) / 2
            above = self.i(self.q - self.c4 * middle) > middle
            return xp.where(above, middle, low), xp.where(above, high, middle)

        ends = (-high, high)
        if xp is jnp:
            low, high = jax.lax.fori_loop(0, _HALVINGS, halved, ends)
            return (low + high) / 2
        for _ in range(_HALVINGS if self.alone.any() else 0):
            ends = halved(None, ends)
        return (ends[0] + ends[1]) / 2

    def slopes(self, left: Any, right: Any) -> tuple[Any, Any]:
        """Bounds on the slope of what is left, between two places; in NumPy."""
        slope_i = self.i.slopes(left, right)
        by_w, by_i = self.c1 / self.over, self.c1 * self.c4 / self.over - self.c2
        start = self.p - self.c1 * self.q / self.over
        x = _sum(_times(by_w, (left, right)), _times(by_i, self.i.between(left, right)))
        slope_x = _sum((by_w, by_w), _times(by_i, slope_i))
        slope_e = _sum((1 / self.over, 1 / self.over), _times(self.c4 / self.over, slope_i))
        low, high = _product(self.e.slopes(x[0] + start, x[1] + start), slope_x)
        low, high = low - slope_e[1], high - slope_e[0]
        low_alone, high_alone = _times(self.c1, self.e.slopes(left, right))
        low = np.where(self.alone, low_alone - 1, low)
        high = np.where(self.alone, high_alone - 1, high)
        terms = self.e.steepest() * (np.abs(by_w) + np.abs(by_i) * self.i.steepest())
        terms = terms + (1 + np.abs(self.c4) * self.i.steepest()) / np.abs(self.over)
        slack = _SLACK * (terms + np.abs(self.c1) * self.e.steepest() + 1)
        return low - slack, high + slack


class _Curve:
    """f = k S / (1 + r S), which rises or falls throughout where 1 + r S is positive."""

    def __init__(self, k: Any, r: Any, a: Any, theta: Any, *, xp: Any) -> None:
        self.k, self.r, self.a, self.theta, self.xp = k, r, a, theta, xp
        self.sigmoid = jax.nn.sigmoid if xp is jnp else expit
        self.base = self.sigmoid(-a * theta)
        #: The least 1 + r S.
        self.least = 1 + xp.minimum(-r * self.base, r * (1 - self.base))

    def _part(self, x: Any) -> Any:
        return self.sigmoid(self.a * (x - self.theta)) - self.base

    def __call__(self, x: Any) -> Any:
        part = self._part(x)
        return self.k * part / (1 + self.r * part)

    def largest(self) -> Any:
        """Above |f| everywhere."""
        return self.xp.abs(self.k) / self.xp.maximum(self.least, 1e-3)

    def steepest(self) -> Any:
        """Above |f'| everywhere."""
        return self.xp.abs(self.k) * self.a / 4 / self.xp.maximum(self.least, 1e-3) ** 2

    def size(self, x: Any) -> Any:
        """Of its rounding errors, in units of rounding."""
        xp = self.xp
        doubt = 1 + self.a * (xp.abs(x) + xp.abs(self.theta))
        return xp.abs(self.k) / xp.maximum(self.least, 1e-3) ** 2 * doubt

    def between(self, left: Any, right: Any) -> tuple[Any, Any]:
        """Its values between two places."""
        one, other = self(left), self(right)
        return np.minimum(one, other), np.maximum(one, other)

    def slopes(self, left: Any, right: Any) -> tuple[Any, Any]:
        """Bounds on f' = k S' / (1 + r S)² between two places."""
        low, high = left - self.theta, right - self.theta
        near = self.a * np.maximum(np.maximum(low, -high), 0.0)
        far = self.a * np.maximum(np.abs(low), np.abs(high))
        least, most = (self.a * expit(-z) * expit(z) for z in (far, near))
        one, other = ((1 + self.r * self._part(x)) ** 2 for x in (left, right))
        least, most = least / np.maximum(one, other), most / np.minimum(one, other)
        return _times(self.k, (least * (1 - _SLACK), most * (1 + _SLACK)))


Bounds = tuple[Any, Any]


def _times(factor: Any, bounds: Bounds) -> Bounds:
    one, other = factor * bounds[0], factor * bounds[1]
    return np.minimum(one, other), np.maximum(one, other)


def _sum(one: Bounds, other: Bounds) -> Bounds:
    return one[0] + other[0], one[1] + other[1]


def _product(one: Bounds, other: Bounds) -> Bounds:
    every = [a * b for a in one for b in other]
    return np.minimum.reduce(every), np.maximum.reduce(every)
