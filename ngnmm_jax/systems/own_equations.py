"""What a class of networks does otherwise than the library's own, which some functions rely on."""

from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax.coupling.combined import CouplingSum
from ngnmm_jax.coupling.contract import drawn, like
from ngnmm_jax.models.agreement import is_own

# Sizes of outputs at which a drive is looked at, and what no drive is smaller than.
_SIZES = np.array([1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3])
_TINY = 1e-30
# What is left where modes are not known.
_STILL = (
    "or use what takes any vector field (`simulate`, `find_equilibria`, `lyapunov_spectrum`, "
    "`continue_equilibria`)."
)


class OwnEquations(NamedTuple):
    """What a class of networks does otherwise than the library's.

    `field`: its vector field is not its model's under its drive; `drive`: that is not the strength
    times what the graph of a linear coupling gives; `bends`: it is not linear in the outputs.
    """

    field: bool = False
    drive: bool = False
    bends: bool = False

    @property
    def flows(self) -> bool:
        """Whether a model's exact flow is one of the network: the drive may be any linear one."""
        return not (self.field or self.bends)


def own_equations(network: Any, base: type) -> OwnEquations:
    """As random numbers in place of a network's tell it, once for each class and size.

    A coupling that says nothing in `linear` counts as one that is not, whatever numbers tell: what
    they were drawn from may lie on one side of a bend.
    """
    if _library_s(network.interaction) and not _overridden(network, base):
        bent = network.interaction.linear() is None
        return OwnEquations(drive=bent, bends=bent)
    network = network.undelayed()
    parts = network.model, network.coupling  # of any axes, elementwise: scalars will do
    scalars = jax.tree.map(lambda leaf: jnp.zeros((), jnp.result_type(leaf)), parts)
    simple = eqx.tree_at(lambda n: (n.model, n.coupling), network.bare(), scalars)
    leaves, structure = jax.tree.flatten(simple)
    own = _told(structure, tuple(map(like, leaves)))
    silent = network.interaction.linear() is None and "drive" not in _overridden(network, base)
    return own._replace(bends=True) if silent else own


def _library_s(coupling: Any) -> bool:
    """Whether a coupling, and what it sums up, is the library's."""
    if isinstance(coupling, CouplingSum):
        return all(map(_library_s, coupling.parts.values()))
    return is_own(type(coupling))


def _overridden(network: Any, base: type) -> list[str]:
    """Methods that classes below `base` have of their own."""
    mro = type(network).__mro__
    newer = mro[: mro.index(base)]
    return [n for n in ("vector_field", "drive") if any(n in kind.__dict__ for kind in newer)]


@lru_cache(maxsize=128)
def _told(structure: Any, likes: Any) -> OwnEquations:
    rng = np.random.default_rng(0)
    network: Any = drawn(structure, likes, rng)
    states = rng.uniform(0.1, 0.9, (2, *network.state_shape)).astype(network.coupling.dtype)
    # What bends does so somewhere: outputs of all sizes, of both signs.
    shape = (2, _SIZES.size, network.n_regions)
    outputs = rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape) * _SIZES[:, None]
    outputs[1] = np.roll(outputs[1], 1, axis=0)
    with jax.ensure_compile_time_eval():
        results = map(np.asarray, _terms(network, states, outputs.astype(states.dtype)))
        field, plain, drive, linear, between, middle = results

    def differ(a: np.ndarray, b: np.ndarray) -> bool:
        """Relative to the largest number of a row."""
        size = np.abs(np.nan_to_num(b, posinf=0.0)).max(axis=-1, keepdims=True)
        return not np.allclose(a / (size + _TINY), b / (size + _TINY), 1e-4, 1e-4, equal_nan=True)

    return OwnEquations(differ(field, plain), differ(drive, linear), differ(between, middle))


@jax.jit
def _terms(network: Any, states: jax.Array, outputs: jax.Array) -> Any:
    """Slopes, drives by `outputs` (2, pair, region), and drives by what is between these."""
    model, state = network.model, states[0]
    plain = model.vector_field(state, network.drive(model.output(state)))
    drive = jax.vmap(jax.vmap(network.drive))
    graph = network.interaction.linear()
    drives = drive(outputs)
    linear = jnp.full_like(drives, jnp.inf)
    if graph is not None:
        linear = network.coupling * jax.vmap(jax.vmap(graph.apply))(outputs)
    between = drive(outputs.mean(axis=0)[None])[0]
    return network.vector_field(state), plain, drives, linear, between, drives.mean(axis=0)


def only_by_coupling(network: Any, base: type, way_out: str) -> None:
    """Refuse a network whose regions follow other equations than their model's, under other inputs
    than its coupling's; or whose coupling is not what its `linear` says.
    """
    own = own_equations(network, base)
    mistaken = own.drive and network.interaction.linear() is not None
    if own.field or mistaken or (own.drive and "drive" in _overridden(network, base)):
        raise ValueError(
            f"{_whose(network, base, own)}; what was asked for is known only of networks whose "
            f"regions receive what their coupling gives: {way_out}, {_STILL}"
        )


def only_with_modes(network: Any, base: type) -> None:
    """Refuse the same, and couplings of which no modes are known."""
    only_by_coupling(network, base, "define `homogeneous` in it")
    kind = type(network.interaction).__name__
    if not network.interaction.has_modes:
        raise ValueError(
            f"`{kind}` has `inputs` that are not linear, as far as its `linear` says, and are not "
            "those of weighted sums: homogeneous states and their modes are not known of it. "
            "Make it a `coupling.AbstractSum` or `coupling.AbstractPairwise`, "
            f"{_STILL}"
        )


def only_a_drive_of_its_own(network: Any, base: type) -> None:
    """Refuse a network whose regions do not follow their model, or whose drive is not linear."""
    own = own_equations(network, base)
    if not own.flows:
        raise ValueError(
            f"{_whose(network, base, own)}, for which the method "
            '"moebius" is not known: use "rk4", or define `exact_flow` in the network\'s class.'
        )


def only_fields_of_models(network: Any, base: type) -> None:
    """Refuse a network whose regions do not follow their model, under whatever they receive."""
    own = own_equations(network, base)
    if own.field:
        raise ValueError(
            f"{_whose(network, base, own)}, which its spiking populations would not follow: "
            "write a model with these equations."
        )


def _whose(network: Any, base: type, own: OwnEquations) -> str:
    """The method that is not the library's, and whose it is."""
    if own.field or "drive" in _overridden(network, base):
        name = "vector_field" if own.field else "drive"
        return f"`{type(network).__name__}` has a `{name}` of its own"
    kind = type(network.interaction).__name__
    if network.interaction.linear() is None:
        return f"`{kind}` has `inputs` that are not linear, as far as its `linear` says"
    return f"`{kind}` has `inputs` of its own, which are not those of its `linear`"
