r"""BOLD: what a scanner sees of neural activity, by the Balloon-Windkessel model.

Neural activity z raises a vasodilatory signal, and that the blood flow f into a venous balloon of
volume v that holds deoxyhaemoglobin q (all relative to rest):

    ds/dt = z - κ s - γ (f - 1)                E(f) = 1 - (1 - E0)^(1/f)
    df/dt = s
    τ dv/dt = f - v^(1/α)
    τ dq/dt = f E(f) / E0 - v^(1/α) q / v
    BOLD = V0 [k1 (1 - q) + k2 (1 - q/v) + k3 (1 - v)]

Sources: Friston, Harrison and Penny, NeuroImage 19, 1273 (2003), whose constants are the default;
Stephan et al., NeuroImage 38, 387 (2007), for log-transformed f, v and q, which stay positive.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ngnmm_jax import _checks
from ngnmm_jax.dynamics.integrate import rk4_step
from ngnmm_jax.models.base import as_float_array
from ngnmm_jax.signals._arrays import Number, as_signal

# Steps of at most this many seconds: RK4 is then exact to 1e-9.
_STEP = 0.02


def _constant(default: float) -> Any:
    return eqx.field(default=default, converter=as_float_array)


class BalloonWindkessel(eqx.Module):
    """The haemodynamics of a region; time in s, BOLD as a fraction of the signal at rest.

    - `gain`, `baseline`: z = gain * (activity - baseline), in 1/s². With the default, an activity
      of 0.05 above the baseline raises BOLD by some 0.3 %.
    - `kappa`, `gamma` (1/s, 1/s²): decay of the vasodilatory signal, and autoregulation;
      `tau` (s): transit time; `alpha`: Grubb's exponent; `e0`: oxygen extraction at rest;
      `v0`: resting fraction of blood; `k1`, `k2`, `k3`: by default 7 e0, 2 and 2 e0 - 0.2.

    All of them are leaves: scalars, or one value per region.
    """

    gain: Float[Array, "..."] = _constant(1.0)
    baseline: Float[Array, "..."] = _constant(0.0)
    kappa: Float[Array, "..."] = _constant(0.65)
    gamma: Float[Array, "..."] = _constant(0.41)
    tau: Float[Array, "..."] = _constant(0.98)
    alpha: Float[Array, "..."] = _constant(0.32)
    e0: Float[Array, "..."] = _constant(0.34)
    v0: Float[Array, "..."] = _constant(0.02)
    k1: Float[Array, "..."] = _constant(7 * 0.34)
    k2: Float[Array, "..."] = _constant(2.0)
    k3: Float[Array, "..."] = _constant(2 * 0.34 - 0.2)

    def __check_init__(self) -> None:
        for name in ("kappa", "gamma", "tau", "alpha", "e0", "v0"):
            _checks.positive(name, getattr(self, name))
        for name in ("gain", "baseline", "k1", "k2", "k3"):
            _checks.finite(name, getattr(self, name))

    def steady(self, activity: Float[Array, "*axes"]) -> Float[Array, "4 *axes"]:
        """The state that constant activity leads to: s, log f, log v, log q."""
        flow = jnp.maximum(1 + self._drive(activity) / self.gamma, 1e-3)
        volume = self.alpha * jnp.log(flow)
        oxygen = volume + jnp.log(self._extraction(flow) / self.e0)
        return jnp.stack(jnp.broadcast_arrays(jnp.zeros_like(flow), jnp.log(flow), volume, oxygen))

    def advance(
        self, state: Float[Array, "4 *axes"], activity: Float[Array, "*axes"], dt: Any
    ) -> Float[Array, "4 *axes"]:
        """The state after `dt` seconds of constant activity, by one step of RK4."""
        z = self._drive(activity)

        def field(state: jax.Array) -> jax.Array:
            s, log_f, log_v, log_q = state
            f = jnp.exp(log_f)
            out = jnp.exp(log_v / self.alpha)
            return jnp.stack(
                [
                    z - self.kappa * s - self.gamma * (f - 1),
                    s / f,
                    (f - out) * jnp.exp(-log_v) / self.tau,
                    (f * self._extraction(f) / self.e0 * jnp.exp(-log_q) - out * jnp.exp(-log_v))
                    / self.tau,
                ]
            )

        return rk4_step(field, state, dt)

    def signal(self, state: Float[Array, "4 *axes"]) -> Float[Array, "*axes"]:
        """BOLD, as a fraction of the signal at rest."""
        v, q = jnp.exp(state[2]), jnp.exp(state[3])
        return self.v0 * (self.k1 * (1 - q) + self.k2 * (1 - q / v) + self.k3 * (1 - v))

    def _drive(self, activity: jax.Array) -> jax.Array:
        return self.gain * (activity - self.baseline)

    def _extraction(self, flow: jax.Array) -> jax.Array:
        return 1 - (1 - self.e0) ** (1 / flow)


def steps_of(samples: int, interval: float) -> int:
    """How many samples make a step of the haemodynamics: a divisor of `samples`."""
    most = max(1, int(_STEP / interval))
    return max(k for k in range(1, min(most, samples) + 1) if samples % k == 0)


def bold(
    activity: Any,
    sampling_interval: Number,
    repetition_time: Number,
    *,
    haemodynamics: BalloonWindkessel | None = None,
) -> Float[Array, "volume *region"]:
    """BOLD of sampled activity, one value every repetition time; differentiable.

    Starts where the first repetition's mean activity leads to in the long run, so that there is
    no transient to wait for.  For long simulations `Activity(keep=["bold"])` does the same while
    the network is integrated.

    **Arguments:**

    - `activity` (time, *region): by habit a rate or a gate (`run.s_e`).
    - `sampling_interval`, `repetition_time`: s; the latter a whole multiple of the former. What
      remains at the end is left out.
    - `haemodynamics`: by default `BalloonWindkessel()`.
    """
    array = as_signal(activity, sampling_interval, least=2)
    haemodynamics = BalloonWindkessel() if haemodynamics is None else haemodynamics
    dt = float(sampling_interval)
    _checks.positive("repetition_time", repetition_time)
    samples = round(float(repetition_time) / dt)
    if samples < 1 or abs(samples * dt - repetition_time) > 1e-6 * dt:
        _checks.fail(
            "repetition_time",
            f"be a multiple of the sampling interval {dt:g} s",
            f"it is {repetition_time:g} s",
        )
    count = array.shape[0] // samples
    if count < 1:
        _checks.fail(
            "activity",
            f"last for {repetition_time:g} s at least",
            f"it has {array.shape[0]} samples",
        )
    step = steps_of(samples, dt)
    means = array[: count * samples].reshape(-1, step, *array.shape[1:]).mean(axis=1)
    return _volumes(haemodynamics, means, samples // step, jnp.asarray(step * dt, array.dtype))


@eqx.filter_jit
def _volumes(
    haemodynamics: BalloonWindkessel, means: jax.Array, per_volume: int, dt: jax.Array
) -> jax.Array:
    blocks = means.reshape(-1, per_volume, *means.shape[1:])

    @jax.checkpoint
    def volume(state: jax.Array, block: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = through(haemodynamics, state, block, dt)
        return state, haemodynamics.signal(state)

    return jax.lax.scan(volume, haemodynamics.steady(blocks[0].mean(axis=0)), blocks)[1]


def through(
    haemodynamics: BalloonWindkessel, state: jax.Array, activity: jax.Array, dt: jax.Array
) -> jax.Array:
    """The state after activity (step, *axes), each of which lasts for `dt`."""

    def step(state: jax.Array, z: jax.Array) -> tuple[jax.Array, None]:
        return haemodynamics.advance(state, z, dt), None

    return jax.lax.scan(step, state, activity)[0]
