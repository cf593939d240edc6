"""Activity in a basis of spatial modes: eigenvectors of a graph, harmonics of a surface."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.pictured import Pictured
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax.signals._arrays import (
    Number,
    as_masses,
    as_number,
    as_pattern,
    as_signal,
    at_once,
    finite_or_not,
    real_type,
    rounding,
    square,
)
from ngnmm_jax.signals.spectra import PowerSpectrum, power_spectrum

# Products of left and right vectors are those of the identity to this.
_ORTHONORMAL = 1e-6


class ModalBasis(Pictured):
    """Spatial modes, and how activity is projected on them.

    The amplitude of mode m is Σ_j conj(left_jm) x_j, and activity is rebuilt as
    Σ_m amplitude_m vectors_jm.

    **Arguments:**

    - `vectors` (node, mode): orthonormal by the masses, Σ_j mass_j conj(v_jm) v_jn = 1 for m = n,
      else 0. So are eigenvectors of symmetric weights, of length one, with masses of one;
      harmonics of a surface with the vertices' areas (or with their mass matrix M:
      `left=M @ vectors`).
    - `mass` (node,): by default one.
    - `left` (node, mode): where modes are not orthogonal, such as those of directed weights: left
      eigenvectors, scaled so that left^H vectors is the identity. Of all modes these are
      `np.linalg.inv(vectors).conj().T`; of some that have none see `ModalBasis.fitted`.

    Raises `ValueError` where that identity is missed by over 1e-6.
    """

    vectors: Inexact[Array, "node mode"]
    left: Inexact[Array, "node mode"]
    mass: Float[Array, "node"]

    def __init__(
        self, vectors: ArrayLike, mass: ArrayLike | None = None, left: ArrayLike | None = None
    ) -> None:
        self.vectors = _vectors("vectors", vectors)
        n, modes = self.vectors.shape
        self.mass = as_masses(mass, n, real_type(self.vectors))
        if left is None:
            self.left = at_once(lambda _, m, v: m[:, None] * v, self.mass, self.vectors)
        else:
            self.left = _vectors("left", left)
            _checks.shape("left", self.left, (n, modes), "(node, mode), as `vectors`")
        if _checks.on_host(self.vectors, self.left):
            product = np.asarray(self.left).conj().T @ np.asarray(self.vectors)
            off = float(np.abs(product - np.eye(modes)).max())
            least = max(_ORTHONORMAL, 64 * float(jnp.finfo(self.mass.dtype).eps))
            if not off <= least:
                must = "be orthonormal by `mass` (else give `left`, or take `ModalBasis.fitted`)"
                if left is not None:
                    must = "be scaled so that left^H vectors is the identity"
                _checks.fail(
                    "vectors" if left is None else "left",
                    must,
                    f"its products are off by {off:.2g}",
                )

    @classmethod
    def fitted(cls, vectors: ArrayLike, mass: ArrayLike | None = None) -> "ModalBasis":
        """Of any patterns that are independent: amplitudes are those of least squares, by mass."""
        array = _vectors("vectors", vectors)
        masses = as_masses(mass, array.shape[0], real_type(array))
        weighted = at_once(lambda _, m, a: m[:, None] * a, masses, array)
        gram = at_once(lambda _, a, b: a.conj().T @ b, array, weighted)
        if _checks.on_host(gram):
            size = np.linalg.cond(np.asarray(gram))
            if not size < 1e-6 / float(jnp.finfo(masses.dtype).eps):
                must = "be independent patterns, no more than nodes"
                _checks.fail("vectors", must, f"the condition of their products is {size:.2g}")
        left = at_once(lambda xp, b, g: b @ xp.linalg.inv(g), weighted, gram)
        return cls(array, masses, left)

    def card(self) -> tuple[str, dict[str, Any]]:
        """How many modes of how many nodes."""
        n, modes = self.vectors.shape
        head = f"ModalBasis: {modes} modes of {n} nodes"
        return head, {"vectors": self.vectors, "mass": self.mass}

    def project(self, values: Any) -> Any:
        """Amplitudes (…, mode) of values (…, node)."""
        return at_once(lambda _, x, left: x @ left.conj(), values, self.left)

    def rebuild(self, amplitudes: Any, modes: Any = None) -> Any:
        """Values (…, node) that amplitudes (…, mode) stand for; of some `modes` (indices) only."""
        chosen = slice(None) if modes is None else np.atleast_1d(np.asarray(modes))
        return at_once(lambda _, a, v: a[..., chosen] @ v[:, chosen].T, amplitudes, self.vectors)


class ModalActivity(AbstractResult):
    """What each mode does in time.

    - `amplitudes` (time, mode): complex where the modes are.
    - `power` (mode,): mean of the squared modulus of the amplitude, its mean over time included
      (`variance` is without it).
    - `energy`: mean over time of Σ_j mass_j x_j²: what all power adds up to where the basis is
      orthonormal and complete (Parseval).
    - `missed`: share of the energy that the modes do not rebuild.
    - `sampling_interval`: s.
    - `status` (mode,): NOT_FINITE where an amplitude is not.
    """

    amplitudes: Inexact[Array, "time mode"]
    power: Float[Array, "mode"]
    energy: Float[Array, ""]
    missed: Float[Array, ""]
    sampling_interval: float

    @property
    def status(self) -> Int[Array, "mode"]:
        """Whether all amplitudes of a mode are finite (`Status`)."""
        return finite_or_not(self.amplitudes)

    @property
    def stats(self) -> dict[str, Any]:
        """What the modes do not rebuild."""
        return {"missed": self.missed}

    def summary(self) -> dict[str, Any]:
        """How many there are, and which has most power."""
        strongest = int(np.argmax(self.power))
        rows = {"modes": self.power.shape[0], "power": self.power, "strongest": strongest}
        return {**rows, "its share": self.share[strongest]}

    @property
    def share(self) -> Float[Array, "mode"]:
        """Power over the energy; NaN where there is none."""
        return at_once(lambda xp, p, e: p / xp.where(e > 0, e, xp.nan), self.power, self.energy)

    @property
    def variance(self) -> Float[Array, "mode"]:
        """Power of what changes: without the amplitude's mean over time."""
        return at_once(
            lambda xp, a: (xp.abs(a - a.mean(axis=0)) ** 2).mean(axis=0), self.amplitudes
        )

    @property
    def connectivity(self) -> Inexact[Array, "mode mode"]:
        """Correlation of the modes' amplitudes in time; NaN for modes that do not move.

        Complex where amplitudes are, the first one conjugate: mean(conj(a_m) a_n), normalised.
        """
        small = rounding(self.power)

        def found(xp: Any, amplitudes: Any) -> Any:
            apart = amplitudes - amplitudes.mean(axis=0)
            size = xp.linalg.norm(apart, axis=0)
            top = xp.linalg.norm(amplitudes, axis=0)
            apart = apart / xp.where(size > small * top, size, xp.nan)
            return apart.conj().T @ apart

        return at_once(found, self.amplitudes)

    def power_of(self, groups: ArrayLike) -> tuple[np.ndarray, Float[Array, "group"]]:
        """Power of groups of modes (mode,), such as degrees on a sphere: their labels, and power.

        Of modes with the same eigenvalue only the sum is a property of the activity: each one's
        power depends on which basis of their space was chosen. See `multiplets`.
        """
        array = np.asarray(groups)
        _checks.shape("groups", array, self.power.shape, "(mode,)")
        labels, members = np.unique(array, return_inverse=True)
        sums = members == np.arange(len(labels))[:, None]
        return labels, at_once(lambda _, power: sums @ power, self.power)

    def spectrum(self, **options: Any) -> PowerSpectrum:
        """Power spectral density (frequency, mode) of amplitudes, by `power_spectrum`.

        Of complex ones the power at f and at -f together.
        """
        if not jnp.iscomplexobj(self.amplitudes):
            return power_spectrum(self.amplitudes, self.sampling_interval, **options)
        parts = [
            power_spectrum(part, self.sampling_interval, **options)
            for part in (self.amplitudes.real, self.amplitudes.imag)
        ]
        total = at_once(lambda _, one, other: one + other, *(part.power for part in parts))
        return PowerSpectrum(parts[0].frequencies, total)


def modal_activity(
    signal: ArrayLike, sampling_interval: Number, basis: ModalBasis
) -> ModalActivity:
    """Activity projected on spatial modes: amplitude in time, power, and by them the rest.

    **Arguments:**

    - `signal` (time, node): real.
    - `sampling_interval`: s.
    - `basis`: a `ModalBasis`; its modes are as many as one likes, `missed` says what is left out.

    What modes make of regions' functional connectivity is that of what they rebuild:
    `functional_connectivity(basis.rebuild(activity.amplitudes, modes))`.

    Source: Atasoy, Donnelly and Pearson, Nat. Commun. 7, 10340 (2016); Pang et al., Nature 618, 566
    (2023).
    """
    array = as_signal(signal, sampling_interval, least=1, ndim=2)
    if not isinstance(basis, ModalBasis):
        _checks.fail("basis", "be a `ModalBasis`", f"it is {_checks.kind_of(basis)}")
    if array.shape[1] != basis.mass.shape[0]:
        must = f"have axes (time, node), with the {basis.mass.shape[0]} nodes of `basis`"
        _checks.fail("signal", must, f"its shape is {array.shape}")
    dt = as_number(sampling_interval)
    return ModalActivity(sampling_interval=dt, **_projected(array, basis))


@jax.jit
def _projected(array: jax.Array, basis: ModalBasis) -> dict[str, jax.Array]:
    amplitudes = basis.project(array)
    left = square(array - basis.rebuild(amplitudes))
    energy = ((array**2) @ basis.mass).mean()
    missed = (left @ basis.mass).mean() / jnp.where(energy > 0, energy, jnp.nan)
    power = square(amplitudes).mean(axis=0)
    return {"amplitudes": amplitudes, "power": power, "energy": energy, "missed": missed}


def multiplets(eigenvalues: ArrayLike, tolerance: float = 1e-6) -> np.ndarray:
    """Which modes belong together (mode,): numbers from 0, by rising real part of the eigenvalue.

    Sorted eigenvalues belong together where neighbours are at most `tolerance` of the largest
    modulus apart. On meshes, which split what is the same on a smooth surface, take more than the
    splitting and less than what lies between. Complex ones: by real part and imaginary part's size.
    """
    values = np.asarray(eigenvalues)
    if values.ndim != 1 or not values.size:
        _checks.fail("eigenvalues", "have shape (mode,)", f"its shape is {values.shape}")
    _checks.finite("eigenvalues", values)
    _checks.positive("tolerance", tolerance)
    keys = np.stack([values.real, np.abs(values.imag)])
    order = np.lexsort(keys[::-1])
    apart = np.abs(np.diff(keys[:, order])).max(axis=0) > tolerance * np.abs(values).max()
    groups = np.empty(values.size, int)
    groups[order] = np.concatenate([[0], np.cumsum(apart)])
    return groups


def _vectors(name: str, values: Any) -> jax.Array:
    """Modes (node, mode), checked."""
    array = as_pattern(values)
    if array.ndim != 2 or not array.size:
        _checks.fail(name, "have shape (node, mode)", f"its shape is {array.shape}")
    _checks.finite(name, array)
    return array
