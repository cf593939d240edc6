"""Array aliases with named axes.

Axis names used throughout: `variable` (a mass's state variables), `region`, `mode`
(an eigenvalue of the connectome), `equilibrium`, `time`, `run` (a simulation of a batch).
`*axes` are trailing axes over which a model is elementwise: `region`, or `region run`.
"""

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, Num

Scalar = Float[Array, ""]
#: A time: a number of any kind, of Python, NumPy or JAX, which `_checks.time` reads.
Time = Any
State = Num[Array, "variable *axes"]
if TYPE_CHECKING:
    # What is given for a parameter is converted to an array; type checkers cannot know.
    ParameterArray = Any
else:
    ParameterArray = Float[Array, "..."]
Field = Num[Array, "*axes"]
#: What goes through a graph: (*axes), or (channel, *axes).
Channels = Num[Array, "..."]


@runtime_checkable
class System(Protocol):
    """What `dynamics` asks of a dynamical system: an autonomous vector field on a state."""

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Shape of the state: (variable,) or (variable, region)."""
        ...

    def vector_field(self, state: jax.Array) -> jax.Array:
        """Time derivative of `state`, same shape."""
        ...
