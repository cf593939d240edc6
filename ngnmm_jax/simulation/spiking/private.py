"""Noise that each neuron has of its own: white, Gaussian or Cauchy's, in its current.

With Cauchy's noise of strength Γ the density of the potentials of neurons that receive κ,
tau V' = V² + b V + κ + Γ ζ, obeys in Fourier's variable k, where such noise is a factor -Γ |k|,

    tau ∂φ/∂t = (i κ k - Γ |k|) φ - i k ∂²φ/∂k² + b k ∂φ/∂k.

A Lorentzian, φ = exp(i v k - x |k|), solves it with tau x' = (2 v + b) x + Γ and
tau v' = v² + b v + κ - x²: with a Lorentzian of κ, whose half width Δ is added in the same place,
the mean field has Δ + Γ. (Such noise in QIF networks: Clusella and Montbrió, Phys. Rev. E 109,
014229, 2024.) Gaussian noise leaves no such solution.
"""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.randomness import Purpose, noise_source, stream
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.simulation.spiking.populations import parameter
from ngnmm_jax.systems.noises import AbstractNoise, Cauchy, White, not_negative


class PrivateNoise(eqx.Module):
    """White noise of each neuron's own, by the populations' names; those without are left out."""

    noises: dict[str, White | Cauchy]

    def texts(self) -> tuple[str, ...]:
        """What there is, and what it makes of the mean field."""

        def text(name: str, noise: White | Cauchy) -> str:
            if isinstance(noise, Cauchy):
                return f"{name}: Cauchy (in the mean field: delta plus its strength)"
            return f"{name}: Gaussian"

        return tuple(text(*item) for item in self.noises.items())

    def notes(self) -> tuple[str, ...]:
        """Where the mean field is not exact because of it."""
        found = [name for name, noise in self.noises.items() if isinstance(noise, White)]
        if not found:
            return ()
        return (f"the mean field has no Gaussian noise of each neuron's own ({', '.join(found)})",)

    def kicks(
        self, model: AbstractNeuralMass, seed: Any, dt: Any, like: jax.Array
    ) -> Callable[[Any], jax.Array] | None:
        """The function of a step's number of which `Spiking` says.

        `like` (population, *region, neuron): in the shape and precision of which it returns.
        """
        if not self.noises:
            return None
        key = stream(seed, Purpose.PRIVATE)
        tau = parameter(model, "tau", like.ndim - 2)
        names = [p.name for p in model.populations()]
        keys = [noise_source(key, k, dt) for k in range(len(names))]

        def drawn(k: int, number: Any) -> jax.Array:
            noise, shape = self.noises.get(names[k]), like.shape[1:]
            if noise is None:
                return jnp.zeros(shape, like.dtype)
            draw, time = jax.random.normal, jnp.sqrt(dt)
            if isinstance(noise, Cauchy):
                draw, time = jax.random.cauchy, dt
            size = (noise.strength * time / tau[k]).astype(like.dtype)
            return size[..., None] * draw(jax.random.fold_in(keys[k], number), shape, like.dtype)

        return lambda number: jnp.stack([drawn(k, number) for k in range(len(names))])


def private_noise(system: Any, given: Any) -> PrivateNoise:
    """What was given, checked, in the system's precision; without what has no strength."""
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        must = "be noise by names of populations"
        _checks.fail("private", must, f"it is a {type(given).__name__}")
    names, regions = [p.name for p in system.model.populations()], system.state_shape[1:]
    found = {}
    for name, value in given.items():
        _checks.one_of("private", name, names)
        noise = value
        if not isinstance(value, AbstractNoise | Cauchy):
            noise = White(not_negative("private", value))
        plain = isinstance(noise, White) and noise.factor is None and noise.correlation is None
        if not (plain or isinstance(noise, Cauchy)):
            must = "be `noises.White` without factor and correlation, or `noises.Cauchy`"
            but = f"it is {type(noise).__name__}"
            _checks.fail("private", must, but if not isinstance(noise, White) else "it has them")
        if noise.strength.ndim:
            _checks.shape("private", noise.strength, regions, "(region,)")
        if not _checks.is_concrete(noise.strength) or noise.strength.any():
            found[name] = noise
    dtype = system.coupling.dtype
    return PrivateNoise(
        jax.tree.map(lambda value: value.astype(dtype), dict(sorted(found.items())))
    )
