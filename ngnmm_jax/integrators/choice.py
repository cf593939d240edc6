"""Which integrator: by name, by object, and by default."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.programs import body, program
from ngnmm_jax.integrators.adaptive import Adaptive
from ngnmm_jax.integrators.base import AbstractFixedStep, AbstractIntegrator
from ngnmm_jax.integrators.fused import Fused
from ngnmm_jax.integrators.moebius import Moebius
from ngnmm_jax.integrators.names import PLAIN
from ngnmm_jax.integrators.runge_kutta import RK4
from ngnmm_jax.models.hooks import has_exact_flow

#: Shorthands.
NAMES: dict[str, type[AbstractFixedStep | Adaptive]] = {**PLAIN, "fused": Fused}


def named(integrator: Any) -> AbstractFixedStep | Adaptive:
    """An integrator from its name, from a diffrax solver (adaptive), or itself."""
    if isinstance(integrator, AbstractFixedStep | Adaptive):
        return integrator
    if isinstance(integrator, dfx.AbstractSolver):
        return Adaptive(integrator)
    if isinstance(integrator, AbstractIntegrator):
        but = f"{type(integrator).__name__} is neither"
        _checks.fail(
            "integrator", "be an `AbstractFixedStep` (`AbstractOneStep`) or `Adaptive`", but
        )
    if not isinstance(integrator, str):
        kind = f"the class `{integrator.__name__}`" if isinstance(integrator, type) else None
        but = f"it is {kind or repr(integrator)}"
        _checks.fail("integrator", "be a name, an integrator or a diffrax solver", but)
    _checks.one_of("integrator", integrator, NAMES)
    return NAMES[integrator]()


def chosen(
    system: Any, integrator: Any = None, dt: Any = None, *, lockstep: bool
) -> AbstractFixedStep | Adaptive:
    """The integrator that is meant, which suits the system: a network, driven or homogeneous.

    The one that is given; else RK4 where a step `dt` is given; else, of a single run, `Adaptive`,
    and of runs in lock-step or with delays, which take fixed steps, `Moebius` where the system has
    an exact flow (its model has one, and its coupling is linear) and RK4 where it has none.
    """
    delayed = getattr(system, "delays", None) is not None
    lockstep = lockstep or delayed
    if integrator is None:
        if dt is not None:
            return RK4()
        if not lockstep:
            return Adaptive()
        return Moebius() if system.has_flow() else RK4()
    found = named(integrator)
    if lockstep and not isinstance(found, AbstractFixedStep):
        where = "with delays" if delayed else "here"
        _checks.fail("integrator", f"take fixed steps {where}", f"it is {spelled(found)}")
    if found.needs_flow and not has_exact_flow(system.model):
        free = ", ".join(repr(name) for name, kind in PLAIN.items() if not kind.needs_flow)
        kind = type(system.model).__name__
        _checks.fail("integrator", f"be one of {free} for {kind}", f"it is {spelled(found)}")
    return found


def fixed(system: Any, integrator: Any = None, dt: Any = None) -> AbstractFixedStep:
    """`chosen` for runs in lock-step."""
    found = chosen(system, integrator, dt, lockstep=True)
    assert isinstance(found, AbstractFixedStep)
    return found


def spelled(integrator: AbstractIntegrator) -> str:
    """The integrator's name as a caller writes it, or how it is made."""
    kind = type(integrator)
    return next((repr(name) for name, known in PLAIN.items() if kind is known), repr(integrator))


def identified(integrator: AbstractFixedStep, system: Any) -> Any:
    """What decides an integrator's numbers on a system: a name, or for one's own its program."""
    kind = type(integrator)
    if kind in PLAIN.values():
        return spelled(integrator).strip("'")
    if isinstance(integrator, Fused):  # rounding apart
        return identified(integrator.integrator, system)

    def first_step(system: Any, state: jax.Array, dt: jax.Array) -> Any:
        system = system.undelayed() if getattr(system, "delays", None) is not None else system
        stepper = integrator.stepper(system, dt)
        return stepper.advance(stepper.start(state), None)

    like = jax.ShapeDtypeStruct(system.state_shape, jnp.result_type(float))
    step = program(first_step, system, like, jax.ShapeDtypeStruct((), like.dtype))
    return {"step": step, "class": body(kind), "settings": eqx.tree_pformat(integrator)}
