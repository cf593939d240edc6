"""What the explorer shows, as a program of its own."""

import jax.numpy as jnp

import ngnmm_jax.models as models
from ngnmm_jax._core.parameters import declared, leaf, parameter_names
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.coupling.linear import LinearCoupling
from ngnmm_jax.graphs.delays import TractDelays
from ngnmm_jax.systems.network import Network

_HEAD = """import jax

jax.config.update("jax_enable_x64", True)

import ngnmm_jax as ng
"""
_AT_REST = """rest = ng.find_equilibria(network.homogeneous())
state = rest.states[int(rest.stable.argmax())]
"""
_MOVING = """state = ng.find_orbit(network.homogeneous())
"""
_DELAYED = """state = ng.find_equilibria(network.homogeneous()).states[0]
"""
_SHOWN = """modes = ng.dispersion(network, state)
modes.plot()
run = ng.simulate(network, {duration:g})
ng.plot.activity(run)
"""


def as_code(network: Network, *, moving: bool, duration: float) -> str:
    """Python that makes this network, its dispersion relation and a run.

    **Arguments:** `moving`: whether the state is an orbit; `duration`: of the run.
    """
    made = _network(network)
    if made is None:
        values = ", ".join(f"{name}={value:.9g}" for name, value in _scalars(network).items())
        made = "# `network` is yours, as the explorer was given it\n"
        made += f"network = network.with_parameters({values})\n"
    state = _MOVING if moving else _AT_REST
    if network.delays is not None and not network.one_delay:
        state = _DELAYED
    return _HEAD + "\n" + made + state + _SHOWN.format(duration=duration)


def _network(network: Network) -> str | None:
    """The line that makes it; None where its parts are not those that a line makes."""
    coupling, kind = network.interaction, type(network.model)
    known = getattr(models, kind.__name__, None) is kind
    if type(network) is not Network or type(coupling) is not LinearCoupling or not known:
        return None
    given = [f"{name}={value:.9g}" for name, value in _values(network).items()
             if value != declared(network.model)[name].default]  # fmt: skip
    options = f"coupling={float(coupling.strength):.9g}"
    if isinstance(network.delays, TractDelays):
        options += f", speed={float(network.delays.speed):.9g}"
    elif network.delays is not None:
        return None
    of = network.connectome
    line = "# `connectome` is yours, as the explorer was given it\n"
    if of is not None and of == Connectome.load("hcp-schaefer100").normalised():
        line = 'connectome = ng.Connectome.load("hcp-schaefer100").normalised()\n'
    model = f"ng.models.{kind.__name__}({', '.join(given)})"
    return f"{line}network = ng.Network({model}, connectome, {options})\n"


def _scalars(network: Network) -> dict[str, float]:
    """All parameters that are one number, those of the coupling and of delays too."""
    values = {name: leaf(network, name) for name in parameter_names(network)}
    return {name: float(value) for name, value in values.items() if jnp.ndim(value) == 0}


def _values(network: Network) -> dict[str, float]:
    """The model's parameters that are one number."""
    values = {name: getattr(network.model, name) for name in declared(network.model)}
    return {name: float(value) for name, value in values.items() if jnp.ndim(value) == 0}
