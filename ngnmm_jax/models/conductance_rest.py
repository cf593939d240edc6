r"""Where two QIF populations rest that are coupled by conductances and gap junctions.

At rest every conductance is its strength times a rate. With G the sum of a population's
conductances and gap junctions, v = (G - delta / x) / 2 with x = π tau r, and what is left of the
equation for v is, with E the reversal potentials,

    (delta / 2x)² - x² - G² / 4 + eta + Σ g E + gap_own v + gap_other v_other = 0.

For the inhibitory population, at a given rate of the excitatory one, that is a quartic in r_i. It
has one positive root, or three where its cubic coefficient is positive (inhibition that excites
itself) or where its neurons have gap junctions with each other. They lie between its stationary
points, and are found by halving. What is left is the excitatory equation, a function of r_e on
each of the three branches.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

_PI = 3.141592653589793
# Halvings of a bracket, to rounding.
_HALVINGS = 60


class Population(NamedTuple):
    """A population's own coefficients.

    - `by_e`, `by_i`, `far`: strengths of its synapses from e, from i, and from other regions.
    - `gap_own`, `gap_other`: of its gap junctions with itself, and with the other population.
    """

    tau: Any
    eta: Any
    delta: Any
    by_e: Any
    by_i: Any
    far: Any
    gap_own: Any
    gap_other: Any


class Rest(NamedTuple):
    """Both populations, and the reversal potentials."""

    e: Population
    i: Population
    v_syn_e: Any
    v_syn_i: Any
    v_ext: Any


def ends(rest: Rest) -> tuple[Any, Any]:
    """The interval of `at`: that of log x_e, three times where there may be three branches."""
    low, high = _range(rest)
    e, i = rest.e, rest.i
    cubic = i.by_i * (rest.v_syn_i - i.gap_other / 2) + i.gap_other * e.by_i / 2
    several = (cubic > 0) | (i.gap_own != 0)
    return low, low + jnp.where(several, 3.0, 1.0) * (high - low)


def at(rest: Rest, u: Any) -> tuple[Any, Any, Any, Any]:
    """r_e, v_e, r_i and v_i where all equations hold but that of v_e.

    NaN where the branch has no such state.
    """
    low, high = _range(rest)
    branch = jnp.clip(jnp.floor((u - low) / (high - low)), 0.0, 2.0)
    e, i = rest.e, rest.i
    x_e = jnp.exp(u - branch * (high - low))
    r_e, width = x_e / (_PI * e.tau), i.delta / (2 * _PI * i.tau)
    # Without inhibition: v_e, and what opens the inhibitory population.
    v_e = ((e.by_e + e.far) * r_e + e.gap_own + e.gap_other - e.delta / x_e) / 2
    opened = (i.by_e + i.far) * r_e + i.gap_own + i.gap_other
    current = i.eta + (i.by_e * rest.v_syn_e + i.far * rest.v_ext) * r_e + i.gap_other * v_e
    quartic = (
        -((_PI * i.tau) ** 2) - i.by_i**2 / 4,
        i.by_i * (rest.v_syn_i + (i.gap_own - opened) / 2) + i.gap_other * e.by_i / 2,
        current + (2 * i.gap_own - opened) * opened / 4,
        -i.gap_own * width,
        width**2,
    )
    r_i = _root(quartic, branch)
    return r_e, v_e + e.by_i * r_i / 2, r_i, (opened + i.by_i * r_i) / 2 - width / r_i


def _root(quartic: tuple[Any, ...], branch: Any) -> Any:
    """The positive root of a quartic that falls in the end: of branch 0 the only one, or the last.

    Where there are three, branch 1 has the first and branch 2 the second; NaN where there are not.
    """
    a, b, c, d, e = quartic
    over = [jnp.abs(k / a) for k in (b, c, d, e)]
    top = 2.2 * _most(over[0], jnp.sqrt(over[1]), jnp.cbrt(over[2]), over[3] ** 0.25)

    def value(r: Any) -> Any:
        return (((a * r + b) * r + c) * r + d) * r + e

    def slope(r: Any) -> Any:
        return ((4 * a * r + 3 * b) * r + 2 * c) * r + d

    # Where the slope is greatest; if it is positive there, a minimum is before and a maximum after.
    inside = jnp.maximum(9 * b * b - 24 * a * c, 0.0)
    steepest = jnp.maximum((-3 * b - jnp.sqrt(inside)) / (12 * a), 0.0)
    before = jnp.maximum((-3 * b + jnp.sqrt(inside)) / (12 * a), 0.0)
    bends = slope(steepest) > 0
    lowest = _halved(slope, before, steepest)
    highest = -_halved(lambda r: slope(-r), -top, -steepest)
    lowest, highest = (jnp.where(bends, r, 0.0) for r in (lowest, highest))
    low = jnp.where(branch == 0, highest, jnp.where(branch == 1, 0.0, lowest))
    high = jnp.where(branch == 0, top, jnp.where(branch == 1, lowest, highest))
    only = (branch == 0) & bends & (value(highest) <= 0)  # the first is left
    low, high = jnp.where(only, 0.0, low), jnp.where(only, lowest, high)
    three = bends & (value(lowest) < 0) & (value(highest) > 0)
    root = _halved(lambda r: jnp.where(branch == 2, 1.0, -1.0) * value(r), low, high)
    return jnp.where((branch == 0) | three, root, jnp.nan)


def _halved(function: Any, low: Any, high: Any) -> Any:
    """Where a function turns from negative to positive."""

    def halved(_: Any, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        low, high = ends
        middle = (low + high) / 2
        after = function(middle) > 0
        return jnp.where(after, low, middle), jnp.where(after, middle, high)

    low, high = jnp.broadcast_arrays(low, high)
    low, high = jax.lax.fori_loop(0, _HALVINGS, halved, (low, high))
    return (low + high) / 2


def _range(rest: Rest) -> tuple[Any, Any]:
    """Ends of log x_e of whatever solves the equations where no strength is negative.

    A potential v above those of reversal, E at most, has v² < (2 E + gaps) v + eta, whatever the
    conductances; Σ g E - (Σ g)² / 4 is E² at most.
    """
    e, i = rest.e, rest.i
    reversal = _most(jnp.abs(rest.v_syn_e), jnp.abs(rest.v_syn_i), jnp.abs(rest.v_ext))
    gaps = _most(e.gap_own + e.gap_other, i.gap_own + i.gap_other)
    eta, delta = _most(jnp.abs(e.eta), jnp.abs(i.eta)), _most(e.delta, i.delta)
    potential = 2 * reversal + gaps + jnp.sqrt(eta)
    high = jnp.sqrt(reversal**2 + eta + gaps * potential) + jnp.sqrt(delta / 2)
    opened = _most(*(
        ((jnp.abs(p.by_e) + jnp.abs(p.far)) / e.tau + jnp.abs(p.by_i) / i.tau) * high / _PI + gaps
        for p in (e, i)
    ))  # fmt: skip
    least = gaps + jnp.sqrt(high**2 + (opened / 4 + reversal) * opened + eta)
    return jnp.log(e.delta / (2.2 * least)), jnp.log(1.1 * high)


def _most(*values: Any) -> Any:
    most = values[0]
    for value in values[1:]:
        most = jnp.maximum(most, value)
    return most
