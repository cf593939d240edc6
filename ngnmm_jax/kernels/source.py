"""A program as the source of a kernel, in CUDA C++ and, with other macros, C++."""

import dataclasses
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from ngnmm_jax.kernels.markers import CannotFuse
from ngnmm_jax.kernels.primitives import TYPES
from ngnmm_jax.kernels.program import Leaf, Program
from ngnmm_jax.kernels.walk import TEMPORARY, Event, Product, used

# What is kept for each item: read by a name that stands for a register, or an array's entry.
_ITEMS = re.compile(r"\b(?:[mp]\d+_\d+|key\d+_\d)\b")
#: A multiprocessor's shared memory (sm_90), bytes.
MOST_SHARED = 227 * 1024
_WARP = 32
# A tile of the weights in a product of tensor cores, by bits: rows, and steps of the sum.
_TILE = {64: (8, 4), 32: (16, 8)}
# Of the warps that items need, how many more may be there for products.
_SPARE = 1.1
# Threads of a block: each has 80 registers then. And items, by bits, of which doubles take more.
_ITEMS_AT_ONCE = 768
# Items of a thread, at most.
_MOST_EACH = 8
_MOST_ITEMS = {32: 2 * _ITEMS_AT_ONCE, 64: _ITEMS_AT_ONCE}


@dataclasses.dataclass(frozen=True)
class Shape:
    """How items lie in blocks: `regions` of `runs` runs each; threads; parts of a product's sum.

    - `each`: items of a thread.
    - `steps`: of the sum, in tiles, in each part.
    - `shared`: whether the weights are in shared memory; if not they are read through the caches.
    """

    regions: int
    runs: int
    each: int
    threads: int
    parts: int
    steps: int
    shared: bool
    bytes: int

    @classmethod
    def of(cls, program: Program, regions: int, runs: int) -> "Shape":
        """Of so many runs a block; `CannotFuse` where these are too many."""
        each = -(-regions * runs // _ITEMS_AT_ONCE)
        if each > _MOST_EACH:
            raise CannotFuse(f"{regions} regions of {runs} runs are too many for a block.")
        warps = -(-regions * runs // (_WARP * each))
        if not program.networked:
            return cls(regions, runs, each, _WARP * warps, 1, 1, False, 0)
        m, k = _TILE[program.bits]
        m_tiles, steps, row = -(-regions // m), -(-regions // k), -(-runs // 8) * 8
        # A product in as many parts as there are warps for, or nearly.
        parts = max(p for p in (1, 2, 3, 4) if p == 1 or p * m_tiles <= _SPARE * warps)
        warps = max(warps, parts * m_tiles) if parts > 1 else warps
        steps = -(-steps // parts)
        rest = parts * steps * k * row + parts * m_tiles * m * row
        weights = m_tiles * parts * steps * m * k
        for shared in (True, False):
            held = program.bits // 8 * (rest + (weights if shared else 0))
            if held <= MOST_SHARED:
                return cls(regions, runs, each, _WARP * warps, parts, steps, shared, held)
        raise CannotFuse(f"{regions} regions of {runs} runs do not fit into shared memory.")


def runs_of(program: Program, regions: int, runs: int, processors: int) -> int:
    """How many runs a block takes: what registers allow, or fewer, so that all processors work."""
    most = 128
    if program.networked:
        most = max(1, min(_MOST_ITEMS[program.bits] // regions, 32))
        most = 8 * (most // 8) if most >= 8 else most  # whole tiles of a product
    return int(min(most, max(1, -(-runs // processors))))


def fragments(weights: np.ndarray, program: Program, shape: Shape) -> np.ndarray:
    """The weights as lanes of a warp take them: (row tile, step, lane, number), flat."""
    n, steps = weights.shape[0], shape.parts * shape.steps
    m, k = _TILE[program.bits]
    tiles = -(-n // m)
    padded = np.zeros((tiles * m, steps * k), f"float{program.bits}")
    padded[:n, :n] = weights
    blocks = padded.reshape(tiles, m, steps, k).transpose(0, 2, 1, 3)
    row, column = np.arange(_WARP) // 4, np.arange(_WARP) % 4
    places = [(row, column)]
    if program.bits == 32:
        places += [(row + 8, column), (row, column + 4), (row + 8, column + 4)]
    return np.stack([blocks[:, :, a, b] for a, b in places], axis=-1).ravel()


def source(program: Program, shape: Shape) -> str:
    """The kernel `march`, with what it needs before it."""
    defines = {
        "BITS": program.bits,
        "N": shape.regions,
        "R": shape.runs,
        "Q": shape.each,
        "THREADS": shape.threads,
        "PARTS": shape.parts,
        "STEPS": shape.steps,
        "W_SHARED": int(shape.shared),
        "UNIFORMS": max(1, len(program.uniforms)),
        **dict(zip(("M_SIZE", "K_SIZE"), _TILE[program.bits], strict=True)),
    }
    lines = [f"typedef {'double' if program.bits == 64 else 'float'} real;"]
    lines += [f"#define {name} {value}" for name, value in defines.items()]
    if program.networked:
        lines.append("#define NETWORKED")
    lines.append(files(__package__).joinpath("march.h").read_text(encoding="utf-8"))
    lines.append("CONSTANT real U[UNIFORMS];")
    lines.append("#ifndef __CUDACC__")
    lines.append('extern "C" void uniforms(const real* values) { memcpy(U, values, sizeof(U)); }')
    lines.append("#endif")
    return "\n".join([*lines, *_kernel(program)]) + "\n"


def arguments(program: Program) -> list[tuple[str, str]]:
    """Type and name of the kernel's arguments, in order."""
    found = [("int", name) for name in ("runs", "samples", "stride", "write")]
    for k, leaf in enumerate(program.memory):
        kind = TYPES[str(leaf.dtype)]
        found += [(f"const {kind}*", f"memory{k}"), (f"{kind}*", f"later{k}")]
    found += [
        (f"const {TYPES[str(leaf.dtype)]}*", f"given{k}")
        for k, leaf in enumerate(program.parameters)
    ]
    found += [("const unsigned*", f"keys{k}") for k in range(len(program.sources))]
    return [*found, ("const real*", "pushed"), ("const real*", "tiles"), ("real*", "shown")]


def check_arrays(
    program: Program, regions: int, runs: int, memory: Any, given: Any, keys: Any
) -> None:
    """Refuse arrays that are not as a kernel reads them, by pointers alone."""
    expected = [*program.memory, *program.parameters]
    arrays = [*memory, *given]
    if len(arrays) != len(expected) or len(keys) != len(program.sources):
        raise ValueError("A kernel was given another number of arrays than it reads.")
    for array, leaf in zip(arrays, expected, strict=True):
        size = leaf.size * (regions if leaf.by_region else 1) * (runs if leaf.by_run else 1)
        _check_array(array, leaf.dtype, size)
    for key in keys:
        _check_array(key, np.dtype("uint32"), 2 * runs)


def _check_array(array: Any, dtype: np.dtype, size: int) -> None:
    if array.dtype != dtype or array.size != size or not array.flags.c_contiguous:
        found = f"{array.dtype}{list(array.shape)}"
        raise ValueError(f"A kernel reads {size} of {dtype} in a row, and was given {found}.")


def _kernel(program: Program) -> list[str]:
    signature = ", ".join(f"{kind} {name}" for kind, name in arguments(program))
    phases = _phases(program.step)
    kept = _kept(phases, program)
    lines = [f"KERNEL march({signature}) {{"]
    lines += _shared(program)
    lines.append("EACH_BLOCK")
    lines += [f"KEPT({kind}, {name})" for name, kind in _items(program, kept)]
    lines += _begin(program)
    lines.append("for (int sample = 0; sample < samples; ++sample) {")
    lines.append("for (int step = sample * stride; step < (sample + 1) * stride; ++step) {")
    if program.stimulated:
        lines.append("#define STIMULUS(moment) pushed[((size_t)step * 2 + moment) * N + j]")
    for number, phase in enumerate(phases):
        lines.append("EACH_ITEM")
        if number:
            lines.append(_assigned(phase[0].name, "real", "RECEIVED", kept))
        lines += [_statement(event, kept) for event in phase if not isinstance(event, Product)]
        if number + 1 < len(phases):
            product = phase[-1]
            assert isinstance(product, Product)
            lines += [f"SEND({_named(product.operand, kept)});", "DONE", "BARRIER"]
            lines += ["ng_product(W, S, I);", "BARRIER"]
        else:
            lines += [*_updates(program, kept), "DONE"]
    lines += ["}", "if (write) {", "EACH_ITEM", "const int run = block * R + r;"]
    lines += [_statement(event, set()) for event in program.sample]
    for k, name in enumerate(program.signals):
        place = f"(((size_t)sample * {len(program.signals)} + {k}) * N + j) * runs + run"
        lines.append(f"if (run < runs) shown[{place}] = {_named(name, set())};")
    return [*lines, "DONE", "}", "}", *_end(program), "}", "}"]


def _shared(program: Program) -> list[str]:
    if not program.networked:
        return []
    sizes = "S_SIZE", "PARTS * I_ROWS * ROW"
    weights = "M_TILES * K_STEPS * M_SIZE * K_SIZE"
    return [
        "#ifdef __CUDACC__",
        "extern __shared__ __align__(16) char scratch[];",
        "real* S = (real*)scratch;",
        f"real* I = S + {sizes[0]};",
        "#if W_SHARED",
        f"real* W = I + {sizes[1]};",
        f"STRIDED(k, {weights}) W[k] = tiles[k];",
        "#else",
        "const real* W = tiles;",
        "#endif",
        "#else",
        f"static real S[{sizes[0]}], I[{sizes[1]}];",
        "const real* W = tiles;",
        "#endif",
        f"STRIDED(k, {sizes[0]}) S[k] = 0;",
        "BARRIER",
    ]


def _phases(events: Sequence[Event]) -> list[list[Event]]:
    """Events up to each product, which comes last of its phase, and those after the last one.

    A product's result is received first in the phase after it.
    """
    phases: list[list[Event]] = [[]]
    for event in events:
        phases[-1].append(event)
        if isinstance(event, Product):
            phases.append([event])
    return phases


def _kept(phases: list[list[Event]], program: Program) -> set[str]:
    """Names that are read in a later phase than they are written in."""
    written = {}
    for number, phase in enumerate(phases):
        for event in phase:
            written[event.name] = number  # a product's is that of the phase that receives it
    kept = set()
    for number, phase in enumerate(phases):
        for place, event in enumerate(phase):
            if isinstance(event, Product) and place == 0 and number:
                continue  # received
            kept |= {name for name in used(event) if written[name] != number}
    final = len(phases) - 1
    names = {name for texts in program.after for text in texts for name in TEMPORARY.findall(text)}
    return kept | {name for name in names if written[name] != final}


def _named(text: str, kept: set[str]) -> str:
    """A text in which what is kept for each item is read as such."""
    text = _ITEMS.sub(lambda found: f"V({found[0]})", text)
    return TEMPORARY.sub(lambda f: f"V({f[0]})" if f[0] in kept else f[0], text)


def _statement(event: Any, kept: set[str]) -> str:
    return _assigned(event.name, event.kind, _named(event.text, kept), kept)


def _assigned(name: str, kind: str, text: str, kept: set[str]) -> str:
    return f"V({name}) = {text};" if name in kept else f"const {kind} {name} = {text};"


def _updates(program: Program, kept: set[str]) -> list[str]:
    """The memory after the step: all of it is read before any of it is written."""
    first, then = [], []
    for k, (leaf, texts) in enumerate(zip(program.memory, program.after, strict=True)):
        for n, text in enumerate(texts):
            name = f"m{k}_{n}"
            if text == name:
                continue
            value = _named(text, kept)
            if _ITEMS.search(text):
                first.append(f"const {TYPES[str(leaf.dtype)]} n{k}_{n} = {value};")
                value = f"n{k}_{n}"
            then.append(f"V({name}) = {value};")
    return first + then


def _items(program: Program, kept: set[str]) -> list[tuple[str, str]]:
    """Name and type of all that is kept for each item."""
    found = []
    for letter, leaves in (("m", program.memory), ("p", program.parameters)):
        for k, leaf in enumerate(leaves):
            found += [(f"{letter}{k}_{n}", TYPES[str(leaf.dtype)]) for n in range(leaf.size)]
    found += [(f"key{k}_{n}", "unsigned") for k in range(len(program.sources)) for n in (0, 1)]
    kinds = {event.name: getattr(event, "kind", "real") for event in program.step}
    return found + [(name, kinds[name]) for name in sorted(kept, key=lambda t: int(t[1:]))]


def _place(leaf: Leaf, number: int) -> str:
    """Where a leaf's number is for region j of a run."""
    if leaf.by_region and leaf.by_run:
        return f"(size_t)({number} * N + j) * runs + run"
    if leaf.by_run:
        return f"(size_t){number} * runs + run"
    return f"{number} * N + j" if leaf.by_region else f"{number}"


def _begin(program: Program) -> list[str]:
    lines = ["EACH_ITEM", "const int run = block * R + r < runs ? block * R + r : runs - 1;",
             "(void)run;"]  # fmt: skip
    for letter, array, leaves in (
        ("m", "memory", program.memory),
        ("p", "given", program.parameters),
    ):
        for k, leaf in enumerate(leaves):
            for n in range(leaf.size):
                lines.append(f"V({letter}{k}_{n}) = {array}{k}[{_place(leaf, n)}];")
    for k in range(len(program.sources)):
        lines += [f"V(key{k}_{n}) = keys{k}[2 * run + {n}];" for n in (0, 1)]
    # Threads and runs beyond the last read what others write over at the end.
    return [*lines, "DONE", "BARRIER"]


def _end(program: Program) -> list[str]:
    lines = ["EACH_ITEM", "const int run = block * R + r;", "if (run < runs) {"]
    for k, leaf in enumerate(program.memory):
        guard = "" if leaf.wide else "if (it == 0) ONE_THREAD "
        if leaf.by_run and not leaf.by_region and program.networked:
            guard = "if (j == 0) "
        for n in range(leaf.size):
            lines.append(f"{guard}later{k}[{_place(leaf, n)}] = V(m{k}_{n});")
    return [*lines, "}", "DONE"]
