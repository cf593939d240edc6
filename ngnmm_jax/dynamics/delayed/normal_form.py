"""The normal form of Hopf points of systems with one delay.

Source: Hassard, Kazarinoff and Wan, Theory and Applications of Hopf Bifurcation (1981); in the
notation of Kuznetsov, Elements of Applied Bifurcation Theory (2004), section 5.4, with the
characteristic matrix Δ(z) in place of z - A.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ngnmm_jax.dynamics.continuation.normal_forms import second


@eqx.filter_jit
def first_lyapunov_with_delay(
    system: Any, state: Float[Array, "variable"], omega: Float[Array, ""]
) -> Float[Array, ""]:
    """The first Lyapunov coefficient at a Hopf point: negative where cycles are born stable.

    As `normal_forms.first_lyapunov` has it, of a `DelayedSystem` whose equilibrium has the
    characteristic roots ± i omega.
    """
    n, delay = state.shape[0], system.delay

    def slope(both: jax.Array) -> jax.Array:
        return system.slope(both[:n], system.gain * system.sent(both[n:]))

    both = jnp.concatenate([state, state])
    now, then = jnp.split(jax.jacfwd(slope)(both), 2, axis=1)

    def matrix(z: Any) -> jax.Array:
        return z * jnp.eye(n) - now - then * jnp.exp(-z * delay)

    def lifted(vector: jax.Array, z: Any) -> jax.Array:
        """The solution vector · exp(z t), now and then."""
        return jnp.concatenate([vector + 0j, vector * jnp.exp(-z * delay)])

    def twofold(a: jax.Array, b: jax.Array) -> jax.Array:
        def real(a: jax.Array, b: jax.Array) -> jax.Array:
            return second(slope, both, a, b)

        parts = real(a.real, b.real) - real(a.imag, b.imag)
        return parts + 1j * (real(a.real, b.imag) + real(a.imag, b.real))

    def third(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
        return jax.jvp(lambda y: second(slope, y, a, b), (both,), (c,))[1]

    left, _, right = jnp.linalg.svd(matrix(1j * omega))
    q, p = right[-1].conj(), left[:, -1].conj()
    p = p / (p @ (jnp.eye(n) + delay * then * jnp.exp(-1j * omega * delay)) @ q)
    wave = lifted(q, 1j * omega)
    a, b = wave.real, wave.imag
    cubic = third(a, a, a) + third(a, b, b) + 1j * (third(a, a, b) + third(b, b, b))
    mean = jnp.linalg.solve(matrix(0j), twofold(wave, wave.conj()))
    twice = jnp.linalg.solve(matrix(2j * omega), twofold(wave, wave))
    mixed = 2 * twofold(wave, lifted(mean, 0j))
    mixed = mixed + twofold(wave.conj(), lifted(twice, 2j * omega))
    return (p @ (cubic + mixed)).real / (2 * omega)
