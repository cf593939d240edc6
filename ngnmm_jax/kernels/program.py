"""What a kernel is made of: a step and a sample of a driven network, written out for one region."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import with_leaves
from ngnmm_jax.graphs import DenseGraph
from ngnmm_jax.integrators import AbstractFixedStep
from ngnmm_jax.kernels import markers
from ngnmm_jax.kernels.layout import narrow
from ngnmm_jax.kernels.markers import LENGTHS, CannotFuse, MarkedGraph, stand_ins, standing
from ngnmm_jax.kernels.rules import RULES
from ngnmm_jax.kernels.walk import Event, Known, Names, Product, Walk, needed
from ngnmm_jax.simulation.saving import select
from ngnmm_jax.systems.driven import Driven
from ngnmm_jax.systems.network import Network
from ngnmm_jax.systems.noises import AbstractNoise
from ngnmm_jax.systems.noisy import Sources

# Doubles in a GPU's constant memory, nearly.
_MOST_CONSTANTS = 8000


class Leaf(NamedTuple):
    """An array that a kernel reads: its narrow shape, type, and which wide axes it has."""

    shape: tuple[int, ...]
    dtype: np.dtype
    by_region: bool
    by_run: bool

    @property
    def size(self) -> int:
        """Numbers for a region and run."""
        return int(np.prod(self.shape))

    @property
    def wide(self) -> bool:
        """Whether it differs between regions or runs."""
        return self.by_region or self.by_run


@dataclasses.dataclass(frozen=True)
class Program:
    """A step and a sample as statements; all else that a kernel needs to know of a system.

    - `bits`: of its floats. `networked`: whether there are regions.
    - `memory`: leaves of the integrator's memory, which the kernel reads as `m{leaf}_{number}`;
      `step`: what a step does, and `after`: the names of the leaves' numbers after it.
    - `parameters`: arrays that differ between regions or runs, read as `p{leaf}_{number}`.
    - `sample`, `signals`: statements, and the names of a sample's signals.
    - `uniforms`: constants, read as `U[k]`.
    - `sources`: names of noises; `stimulated`: whether there is a stimulus.
    """

    bits: int
    networked: bool
    memory: tuple[Leaf, ...]
    parameters: tuple[Leaf, ...]
    step: tuple[Event, ...]
    after: tuple[tuple[str, ...], ...]
    sample: tuple[Event, ...]
    signals: tuple[str, ...]
    uniforms: tuple[float, ...]
    sources: tuple[str, ...]
    stimulated: bool


def traced(
    system: Driven,
    integrator: AbstractFixedStep,
    dt: Any,
    signals: tuple[str, ...],
    points: Mapping[str, Any],
) -> Program:
    """A system's step written out.

    **Arguments:**

    - `system`: without names; not yet over runs. `dt` (): in its precision.
    - `signals`: variables or what the model shows, sampled.
    - `points`: values (run,) or (region, run) of varied parameters, or their shapes.

    Raises `CannotFuse` for steps that are not elementwise but for the products of a dense graph.
    """
    found = []
    regions = system.state_shape[1] if isinstance(system.system, Network) else 1
    if regions >= LENGTHS[0] // 2:
        raise CannotFuse(f"{regions} regions are too many.")
    for lengths in (LENGTHS, markers.others(regions)):
        try:
            with standing(lengths):
                found.append(_traced(system, integrator, dt, signals, points))
        except CannotFuse:
            raise
        except Exception as error:  # of a step of one's own, or of a primitive that is not foreseen
            raise CannotFuse(f"The step is not one of single regions and runs: {error}") from error
    if found[0] != found[1]:
        raise CannotFuse("The step's numbers depend on how many regions, or runs, there are.")
    return found[0]


def _traced(
    system: Driven,
    integrator: AbstractFixedStep,
    dt: Any,
    signals: tuple[str, ...],
    points: Mapping[str, Any],
) -> Program:
    networked = isinstance(system.system, Network)
    for name, noise in system.noise.items():
        if isinstance(noise, AbstractNoise):
            kind = type(noise).__name__
            raise CannotFuse(f"Noise on {name!r} is `{kind}`: kernels draw plain strengths only.")
    plain, whole = (_outside(w) for w in (system.over_runs(), over(system, points)))
    stimulated = system.stimulus is not None
    regions = system.state_shape[1] if networked else 0
    for leaf in jax.tree.leaves(plain):
        if _shape(leaf) not in ((), (regions, 1)):
            raise CannotFuse(f"The system holds an array {_shape(leaf)}, not one value per region.")
    leaves, structure = jax.tree.flatten(whole)
    places = [k for k, leaf in enumerate(leaves) if _shape(leaf)]
    like = [_stand_in(leaves[k]) for k in places]
    sources = tuple(system.noise)
    dtype = as_array(dt).dtype
    state = jax.ShapeDtypeStruct(
        (len(system.model.variables), *stand_ins()[0 if networked else 1 :]), dtype
    )

    def assembled(arrays: Any) -> tuple[Driven, Any]:
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        driven = jax.tree.unflatten(structure, filled)
        inner = integrator.stepper(driven.system, dt)
        return driven, driven.assembled(inner, dt, jnp.asarray(0), _sources(sources, stimulated))

    def start(arrays: Any, state: Any) -> Any:
        return assembled(arrays)[1].start(state)

    def step(arrays: Any, memory: Any) -> Any:
        return assembled(arrays)[1].advance(memory, None)

    def sample(arrays: Any, memory: Any) -> Any:
        driven, stepper = assembled(arrays)
        return select(driven.model, signals, stepper.state(memory))

    walk = Walk(np.dtype(dtype).type, RULES)
    memory = jax.eval_shape(start, like, state)
    jaxprs = [jax.make_jaxpr(f)(like, memory) for f in (step, sample)]
    kept = jax.tree.leaves(memory)
    for leaf in (*like, *kept):
        walk.kind(leaf.dtype)
    given = [*_read("p", like), *_read("m", kept)]
    after = _written(walk, jaxprs[0], given)
    for before, then in zip(kept, after, strict=True):
        _stays(before, then)
    begin = len(walk.events)
    step_events, names = walk.events[:begin], [_texts(a) for a in after]
    shown = _texts(_written(walk, jaxprs[1], given)[0])
    if len(shown) != len(signals):
        raise CannotFuse("What is sampled is not one value for each region and run.")
    flat = [name for leaf in names for name in leaf]
    program = Program(
        bits=8 * np.dtype(dtype).itemsize,
        networked=networked,
        memory=tuple(map(_leaf, kept)),
        parameters=tuple(map(_leaf, like)),
        step=tuple(needed(step_events, flat)),
        after=tuple(names),
        sample=tuple(needed(walk.events, shown)),
        signals=shown,
        uniforms=tuple(walk.uniforms),
        sources=sources,
        stimulated=stimulated,
    )
    _check(program)
    return program


def over(system: Driven, points: Mapping[str, Any]) -> Driven:
    """A system over runs, with values (run,) or (region, run) of some parameters."""
    return with_leaves(system.over_runs(), dict(points))


def varied(whole: Driven) -> list[Any]:
    """The arrays of a system `over` runs that a program has as parameters, in its order."""
    return [leaf for leaf in jax.tree.leaves(_outside(whole)) if _shape(leaf)]


def weights_of(system: Driven) -> np.ndarray:
    """The weights of a system's dense graph, wherever in it that is: those of all its products."""
    parts = jax.tree.leaves(system, is_leaf=lambda part: type(part) is DenseGraph)
    found = [np.asarray(part.weights) for part in parts if type(part) is DenseGraph]
    if not found:
        n = system.state_shape[1] if isinstance(system.system, Network) else 1
        return np.zeros((n, n))
    if any(not np.array_equal(found[0], other) for other in found[1:]):
        raise CannotFuse("The system holds dense graphs with other weights than each other's.")
    return found[0]


def _outside(whole: Driven) -> Driven:
    """With a marker for the dense graph, and without the stimulus, which is handed over."""
    whole = jax.tree.map(
        lambda part: MarkedGraph() if type(part) is DenseGraph else part,
        whole,
        is_leaf=lambda part: type(part) is DenseGraph,
    )
    return eqx.tree_at(lambda d: d.stimulus, whole, None, is_leaf=lambda x: x is None)


def _check(program: Program) -> None:
    if len(program.uniforms) > _MOST_CONSTANTS:
        raise CannotFuse("The step has more constants in it than a GPU holds.")
    if any(isinstance(event, Product) for event in program.sample):
        raise CannotFuse("What is sampled needs the graph.")


def _stays(before: Any, after: Names) -> None:
    """Refuse a memory that is not laid out as the kernel has it, or not after a step."""
    shape = tuple(before.shape)
    if (after.shape, after.dtype) != (shape, np.dtype(before.dtype)):
        but = f"{shape} of {before.dtype} becomes {after.shape} of {after.dtype}"
        raise CannotFuse(f"A step changes what the integrator remembers: {but}.")
    across = tuple(size for size in shape if size in stand_ins())
    if (
        across not in ((), stand_ins()[1:], stand_ins())
        or shape[len(shape) - len(across) :] != across
    ):
        raise CannotFuse(f"The integrator remembers {shape}: regions and runs are not the last.")


def _stand_in(leaf: Any) -> jax.ShapeDtypeStruct:
    """The shape that stands for values (run,), (region, 1) or (region, run)."""
    shape = _shape(leaf)
    regions, runs = stand_ins()
    found: tuple[int, ...] = (runs,)
    if len(shape) == 2:
        found = (regions, 1 if shape[1] == 1 else runs)
    return jax.ShapeDtypeStruct(found, leaf.dtype)


def _shape(leaf: Any) -> tuple[int, ...]:
    """Of an array, or of what stands for one."""
    return tuple(getattr(leaf, "shape", ()))


def _sources(names: tuple[str, ...], stimulated: bool) -> Sources:
    """Noise and stimulus as markers."""

    def drawn(name: str, number: Any, state: Any) -> Any:
        return markers.normal.bind(state[0], number, source=names.index(name))

    def stimulus(number: Any, state: Any) -> Any:
        if not stimulated:
            return None, None
        return tuple(markers.stimulus.bind(state[0], number, moment=k) for k in (0, 1))

    return Sources(drawn, stimulus)


def _read(letter: str, leaves: Any) -> list[Names]:
    found = []
    for k, leaf in enumerate(leaves):
        shape = narrow(leaf.shape)
        texts = [f"{letter}{k}_{n}" for n in range(int(np.prod(shape)))]
        text = np.array(texts, dtype=object).reshape(shape)
        found.append(Names(text, tuple(leaf.shape), np.dtype(leaf.dtype)))
    return found


def _written(walk: Walk, closed: Any, given: list[Any]) -> list[Names]:
    consts = [Known(np.asarray(c), fixed=False) for c in closed.consts]
    return [walk.names(x) for x in walk.walk(closed.jaxpr, consts, given)]


def _texts(names: Names) -> tuple[str, ...]:
    return tuple(names.text.ravel())


def _leaf(like: Any) -> Leaf:
    shape = tuple(like.shape)
    regions, runs = stand_ins()
    inner = tuple(size for size in shape if size not in (regions, runs))
    dtype = np.dtype(like.dtype)
    return Leaf(inner, dtype, regions in shape, runs in shape)
