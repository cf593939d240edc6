r"""The Balloon-Windkessel model of the blood in a region.

Neural activity z raises a vasodilatory signal s, and that the blood flow f into a venous balloon of
volume v that holds deoxyhaemoglobin q (f, v and q relative to rest):

    ds/dt = z - κ s - γ (f - 1)                E(f) = 1 - (1 - E0)^(1/f)
    df/dt = s
    τ dv/dt = f - v^(1/α)
    τ dq/dt = f E(f) / E0 - v^(1/α) q / v
    BOLD = V0 [k1 (1 - q) + k2 (1 - q/v) + k3 (1 - v)]

The equations hold while blood flows, f > 0. Constant activity has a steady state where
z > -γ. Signal and flow are a linear oscillator, so that a fall of activity makes the flow swing
below where it settles: with p = exp(-κπ / √(4γ - κ²)) (0.157 by default; 0 where κ² ≥ 4γ), activity
that stays between z_low and z_high never stops the flow, and all solutions stay bounded, if

    z_low - p z_high > -γ (1 - p),

z from 0 to 2.2 by default. Beyond that it depends on the course of activity: a rise to 100 has its
solution; a fall to zero from a steady γ/p (2.61) or more would need f < 0, and there is none.

Sources: Friston, Harrison and Penny, NeuroImage 19, 1273 (2003), whose constants are the default;
Stephan et al., NeuroImage 38, 387 (2007), for log-transformed v and q, which stay positive.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.cards import Shown
from ngnmm_jax.models.parameters import as_float_array

# Steps of so many seconds, with the default constants.
_STEP = 0.02
# Largest estimate of a step's error in log v and log q; what is left of it is far smaller.
_TOLERANCE = 1e-4
# Terms of the flow's Taylor series in a step.
_TERMS = 7

# Rodas4: the stages' times, weights of the derivatives by time, and couplings, a row a stage.
# Source: Hairer and Wanner, Solving Ordinary Differential Equations II (1996), their code RODAS.
_GAMMA = 0.25
_TIMES = (0.0, 0.386, 0.21, 0.63, 1.0, 1.0)
_SLOPES = (0.25, -0.1043, 0.1035, -0.0362, 0.0, 0.0)
_A = (
    (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (1.544, 0.0, 0.0, 0.0, 0.0, 0.0),
    (0.9466785280815826, 0.2557011698983284, 0.0, 0.0, 0.0, 0.0),
    (3.314825187068521, 2.896124015972201, 0.9986419139977817, 0.0, 0.0, 0.0),
    (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950, 0.0, 0.0),
    (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950, 1.0, 0.0),
)
_C = (
    (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (-5.6688, 0.0, 0.0, 0.0, 0.0, 0.0),
    (-2.430093356833875, -0.2063599157091915, 0.0, 0.0, 0.0, 0.0),
    (-0.1073529058151375, -9.594562251023355, -20.47028614809616, 0.0, 0.0, 0.0),
    (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160, 0.0, 0.0),
    (8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136,
     -6.058818238834054, 0.0),
)  # fmt: skip


class BalloonWindkessel(Shown, eqx.Module):
    """The haemodynamics of a region; time in s, BOLD as a fraction of the signal at rest.

    - `gain`, `baseline`: z = gain * (activity - baseline), in 1/s². With the default, an activity
      of 0.05 above the baseline raises BOLD by some 0.3 %.
    - `kappa`, `gamma` (1/s, 1/s²): decay of the vasodilatory signal, and autoregulation;
      `tau` (s): transit time; `alpha`: Grubb's exponent; `e0`: oxygen extraction at rest;
      `v0`: resting fraction of blood; `k1`, `k2`, `k3`: by default 7 e0, 2 and 2 e0 - 0.2, of
      whatever `e0` is.

    All of them are leaves: scalars, or one value per region.
    """

    gain: Float[Array, "..."]
    baseline: Float[Array, "..."]
    kappa: Float[Array, "..."]
    gamma: Float[Array, "..."]
    tau: Float[Array, "..."]
    alpha: Float[Array, "..."]
    e0: Float[Array, "..."]
    v0: Float[Array, "..."]
    k2: Float[Array, "..."]
    _k1: Float[Array, "..."] | None
    _k3: Float[Array, "..."] | None

    def __init__(
        self,
        gain: Any = 1.0,
        baseline: Any = 0.0,
        kappa: Any = 0.65,
        gamma: Any = 0.41,
        tau: Any = 0.98,
        alpha: Any = 0.32,
        e0: Any = 0.34,
        v0: Any = 0.02,
        k1: Any = None,
        k2: Any = 2.0,
        k3: Any = None,
    ) -> None:
        constants = {"kappa": kappa, "gamma": gamma, "tau": tau, "alpha": alpha, "e0": e0, "v0": v0}
        for name, value in constants.items():
            _checks.positive(name, value)
        free = {"gain": gain, "baseline": baseline, "k2": k2, "_k1": k1, "_k3": k3}
        for name, value in (constants | free).items():
            array = None if value is None else as_float_array(value)
            if array is not None:
                _checks.finite(name.lstrip("_"), array)
            setattr(self, name, array)
        if _checks.is_concrete(e0) and np.max(np.asarray(e0)) >= 1:
            _checks.fail("e0", "be below 1", f"its largest value is {np.max(np.asarray(e0)):g}")

    @property
    def k1(self) -> Float[Array, "..."]:
        """What deoxyhaemoglobin weighs outside of the vessels: 7 e0 unless given."""
        return 7 * self.e0 if self._k1 is None else self._k1

    @property
    def k3(self) -> Float[Array, "..."]:
        """What the volume weighs: 2 e0 - 0.2 unless given."""
        return 2 * self.e0 - 0.2 if self._k3 is None else self._k3

    @property
    def time_step(self) -> float:
        """A step (s) that resolves the fastest region: 20 ms with the default constants.

        Also where the constants are traced; there, the error of each step tells.
        """
        constants = (self.kappa, self.gamma, self.tau, self.alpha)
        if not _checks.is_concrete(constants):
            return _STEP
        kappa, gamma, tau, alpha = map(np.asarray, constants)
        slow = (0.65 / kappa, np.sqrt(0.41 / gamma), alpha * tau / (0.32 * 0.98))
        least = min(float(value.min()) for value in slow)
        # 32 bits hold the default's constants less exactly: it stays the default.
        return _STEP if math.isclose(least, 1.0, rel_tol=1e-6) else _STEP * least

    def definition(self) -> dict[str, Any]:
        """Its constants by name, for a store."""
        names = ("gain", "baseline", "kappa", "gamma", "tau", "alpha", "e0", "v0", "k1", "k2", "k3")
        return {name: np.asarray(getattr(self, name)).tolist() for name in names}

    def steady(self, activity: Float[Array, "*axes"]) -> Float[Array, "4 *axes"]:
        """The state that constant activity leads to: s, f - 1, log v, log q.

        NaN where there is none, at gain * (activity - baseline) <= -gamma.
        """
        rise = self._drive(activity) / self.gamma
        flows = rise > -1
        rise = jnp.where(flows, rise, 0.0)
        volume = self.alpha * jnp.log1p(rise)
        oxygen = volume + jnp.log1p(self._supply(rise)) - jnp.log1p(rise)
        state = jnp.broadcast_arrays(jnp.zeros_like(rise), rise, volume, oxygen)
        return jnp.where(flows, jnp.stack(state), jnp.nan)

    def advance(
        self, state: Float[Array, "4 *axes"], activity: Float[Array, "*axes"], dt: Any,
        slope: Any = 0.0,
    ) -> Float[Array, "4 *axes"]:  # fmt: skip
        """The state after `dt` seconds in which activity starts there and rises by `slope` a s.

        Signal and flow by their Taylor series; log v and log q by a step of Rodas4, of order four
        and stable however fast they are, with the flow as a known function of time. With steps of
        `time_step` the error of BOLD is below 1e-9 of its largest value while activity stays
        between -gamma and 2, and below 1e-6 up to 1000. All are NaN once the blood has stopped
        to flow; log v and log q where the step's own estimate of its error is above 1e-4.
        """
        s, rise, volume, oxygen = state
        flow, rest = self._flow(s, rise, self._drive(activity), self.gain * slope, dt)
        inner = self.tau / (_GAMMA * dt)
        out = jnp.exp((1 / self.alpha - 1) * volume)
        thin, pale = jnp.exp(-volume), jnp.exp(-oxygen)
        supply, d_supply = jax.jvp(self._supply, (rise,), (s,))
        # The Jacobian, and the rates' own derivatives by time, times tau.
        by_volume = -((1 + rise) * thin + (1 / self.alpha - 1) * out)
        across, by_oxygen = -(1 / self.alpha - 1) * out, -(1 + supply) * pale
        late = dt * s * thin, dt * d_supply * pale

        start = jnp.stack(jnp.broadcast_arrays(volume, oxygen))

        # One stage at a time: a small program.
        def stage(carry: tuple[jax.Array, jax.Array], row: Any) -> tuple[Any, None]:
            found, _ = carry
            number, time, weight, along, coupling = row
            v, q = now = start + jnp.tensordot(along, found, 1)
            pull = jnp.tensordot(coupling, found, 1) * self.tau / dt
            dv, dq = self._rates(v, q, flow(time))
            more = (dv + weight * late[0] + pull[0]) / (inner - by_volume)
            less = (dq + weight * late[1] + pull[1] + across * more) / (inner - by_oxygen)
            return (found.at[number].set(jnp.stack([more, less])), now), None

        rows = (np.arange(6), *(as_array(t, start.dtype) for t in (_TIMES, _SLOPES, _A, _C)))
        empty = jnp.zeros((6, *start.shape), start.dtype)
        (found, now), _ = jax.lax.scan(stage, (empty, start), rows)
        v, q = now + found[-1]
        rise, s = flow(1.0), flow(1.0, 1)
        error = jnp.abs(found[-1]).max(axis=0)
        flows = rise > -1
        good = flows & (error <= _TOLERANCE) & (rest <= _TOLERANCE * (1 + rise))
        s, rise = (jnp.where(flows, value, jnp.nan) for value in (s, rise))
        v, q = (jnp.where(good, value, jnp.nan) for value in (v, q))
        return jnp.stack(jnp.broadcast_arrays(s, rise, v, q))

    def signal(self, state: Float[Array, "4 *axes"]) -> Float[Array, "*axes"]:
        """BOLD, as a fraction of the signal at rest."""
        v, q = state[2], state[3]
        fall = self.k1 * jnp.expm1(q) + self.k2 * jnp.expm1(q - v) + self.k3 * jnp.expm1(v)
        return -self.v0 * fall

    def _drive(self, activity: Any) -> jax.Array:
        return self.gain * (activity - self.baseline)

    def _supply(self, rise: jax.Array) -> jax.Array:
        """What comes in, f E(f) / E0 - 1, of f - 1: without cancellation near rest."""
        flow = 1 + rise
        more = jnp.expm1(-jnp.log1p(-self.e0) * rise / flow)
        return rise - flow * (1 - self.e0) / self.e0 * more

    def _rates(self, v: jax.Array, q: jax.Array, rise: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Derivatives of log v and log q, times tau; zero at rest, without cancellation near it."""
        out = jnp.expm1((1 / self.alpha - 1) * v)
        supply = self._supply(rise)
        thin, pale = jnp.expm1(-v), jnp.expm1(-q)
        return rise + (1 + rise) * thin - out, supply + (1 + supply) * pale - out

    def _flow(
        self, s: jax.Array, rise: jax.Array, z: jax.Array, slope: Any, dt: Any
    ) -> tuple[Any, jax.Array]:
        """A function: f - 1, or with 1 its derivative, at a part of the step; and the last term."""
        series = [rise, s, z - self.kappa * s - self.gamma * rise]
        series.append(slope - self.kappa * series[2] - self.gamma * s)
        for _ in range(_TERMS - 4):
            series.append(-self.kappa * series[-1] - self.gamma * series[-2])
        terms = jnp.broadcast_arrays(*(a * dt**k / math.factorial(k) for k, a in enumerate(series)))

        def at(part: Any, order: int = 0) -> jax.Array:
            if order:
                return jnp.stack([k * a for k, a in enumerate(terms)][1:]).sum(axis=0) / dt
            return jnp.stack([part**k * a for k, a in enumerate(terms)]).sum(axis=0)

        return at, jnp.abs(terms[-1])
