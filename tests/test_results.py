"""Results are of one style; what is shown of them, of models and of systems is short."""

import dataclasses
import enum
import importlib
import inspect
import pkgutil
import typing
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import csr_array

import ngnmm_jax as ng
from ngnmm_jax._core.cards import shown
from ngnmm_jax._core.pictures import thumbnail
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.bifurcations.branches import Diagram
from ngnmm_jax.dynamics.lyapunov import LyapunovSpectrum

#: What public functions return beside results.
NO_RESULTS = {"AbstractFixedStep", "Unknown"}
#: Data: of surfaces, and what an inference from simulations is given.
NO_RESULTS |= {"Harmonics", "Pairs", "Parcellation", "Surface"}


def public_modules():
    """The package, and its rooms that are a part of its front."""
    yield ng
    for room in pkgutil.iter_modules(ng.__path__, "ngnmm_jax."):
        if room.name.rpartition(".")[2] in ng.__all__ and room.ispkg:
            yield importlib.import_module(room.name)


def result_classes():
    """The records of ours that public functions return."""
    public = [getattr(module, name) for module in public_modules() for name in module.__all__]
    given = {f.__annotations__.get("return") for f in public if inspect.isfunction(f)}
    ours = [kind for kind in given if getattr(kind, "__module__", "").startswith("ngnmm_jax.")]
    ours = [kind for kind in ours if dataclasses.is_dataclass(kind)]
    return sorted((k for k in ours if k.__name__ not in NO_RESULTS), key=lambda k: k.__name__)


RESULTS = result_classes()
ADOPTED = [kind for kind in RESULTS if issubclass(kind, AbstractResult)]


# ------------------------------------------------------------------------ specimens


@pytest.fixture(scope="module")
def network():
    return ng.Network(ng.NextGenEI(i_ext_e=15.0), ng.Connectome.synthetic(6).normalised(), 9.0)


def of_spectrum(network):
    return ng.signals.power_spectrum(np.sin(np.arange(200.0)), 1e-3)


def of_map(network):
    plane = {"i_ext_e": [14.0, 15.0], "coupling": [9.0]}
    return ng.dispersion_map(network, plane, oscillations=False)


def of_fit(network):
    return ng.fit(network, {"coupling": ng.fitting.interval(0.0, 20.0)}, lambda s, key: s.coupling,
                  n_starts=2, steps=3)  # fmt: skip


def of_waves(side):
    """A signal, its interval and a grid."""
    turns = np.arange(120)[:, None] / 10 - np.arange(side**2) % side / side
    return np.sin(2 * np.pi * turns), 1e-3, ng.signals.Grid((side, side), 1.0)


#: Results that cost little; of the others specimens are made from their fields.
MADE = {
    "Equilibria": lambda network: ng.find_equilibria(network.homogeneous()),
    "Dispersion": lambda n: ng.dispersion(n, ng.find_equilibria(n.homogeneous()).states[0]),
    "DispersionMap": of_map,
    "Fit": of_fit,
    "PhaseSingularities": lambda n: ng.signals.phase_singularities(*of_waves(4), (50, 150)),
    "PowerSpectrum": of_spectrum,
    "Simulation": lambda network: ng.simulate(network, 20.0, dt=0.05),
    "TravellingWaves": lambda n: ng.signals.travelling_waves(*of_waves(4), (50, 150)),
    "WavenumberSpectrum": lambda n: ng.signals.wavenumber_spectrum(*of_waves(4)),
}
#: Values of fields that have to be of a kind.
KNOWN: dict[str, Any] = {
    "ends": ("bound", "bound"),
    "halves": np.zeros((2, 3, 3)),
    "kind": "equilibrium",
    "labels": None,
    "method": "gradient",
    "measure": "phase_locking",
    "names": ("i_ext_e",),
    "notation": None,
    "parameters": {"i_ext_e": np.zeros(2)},
    "rates": ("r_e",),
    "time_unit": "ms",
    "units": ("1",),
    "variables": ("v_e",),
}
SIZES = {"parameter": 1, "variable": 6}


def specimen(kind):
    """A record of a class, whose fields have the types and shapes that they are annotated with."""
    made = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(made, field.name, value_of(field))
    return made


def value_of(field):
    kind, known = field.type, KNOWN.get(field.name)
    if field.name == "status":
        return Status.OK if kind is Status else jnp.zeros(shape_of(kind), int)
    if known is not None and not hasattr(kind, "dim_str"):
        return known
    if field.default is not dataclasses.MISSING:
        return field.default
    if hasattr(kind, "dim_str"):  # of jaxtyping
        names = " ".join(kind.dtypes) if isinstance(kind.dtypes, tuple | list) else ""
        types = {"float": "float64", "complex": "complex128", "bool": "bool", "int": "int64"}
        dtype = next((types[part] for part in types if part in names), "float64")
        make = np.zeros if kind.array_type is np.ndarray else jnp.zeros
        return make(shape_of(kind), dtype)
    if dataclasses.is_dataclass(kind):
        return specimen(kind)
    origin = typing.get_origin(kind) or kind
    for simple in (str, int, float, bool, tuple, list, dict):
        if origin is simple:
            return simple(1) if simple in (int, float) else simple()
    return np.zeros(2) if origin is np.ndarray else None


def shape_of(kind):
    """The shape of a jaxtyping annotation: two along axes of any length, none of unknown ones."""
    words = getattr(kind, "dim_str", "").split()
    names = [word for word in words if word[0] not in "*." and word != "..."]
    return tuple(int(n) if n.isdigit() else SIZES.get(n, 2) for n in names)


@pytest.fixture(params=ADOPTED or [None], ids=lambda kind: getattr(kind, "__name__", "none"))
def result(request, network):
    kind = request.param
    if kind is None:
        pytest.skip("no result has the one style yet")
    return MADE[kind.__name__](network) if kind.__name__ in MADE else specimen(kind)


def test_results_are_short_and_say_how_they_ended(result):
    lines = repr(result).split("\n")
    assert lines[0].startswith(f"{type(result).__name__}: ")
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 100
    assert isinstance(result.ok, bool)
    assert isinstance(result.stats, dict)
    assert "<table>" in result._repr_html_()


def test_results_draw_themselves(result):
    """By a public function of the figures, which notebooks show in small; or they say none does."""
    plt = importlib.import_module("matplotlib.pyplot")
    before = plt.get_fignums()
    if result.drawn_by is None:
        with pytest.raises(TypeError, match=f"of a `{type(result).__name__}`"):
            result.plot()
        assert "<img" not in result._repr_html_()
    else:
        assert result.drawn_by in ng.plot.__all__
        if type(result).__name__ in MADE:
            assert "src='data:image/png;base64,iVBOR" in result._repr_html_()
            drawn = result.plot()
            assert getattr(drawn, "figure", drawn).axes
            plt.close(getattr(drawn, "figure", drawn))
    assert plt.get_fignums() == before


def test_a_figure_that_fails_does_not_hide_a_card():
    def fails():
        raise ValueError

    assert thumbnail(fails) == ""


def test_a_connectome_shows_its_matrix():
    page = ng.Connectome.synthetic(6)._repr_html_()
    assert "6 regions" in page
    assert "iVBOR" in page


def test_results_pass_through_transformations(result):
    """What is traced can be shown, and comes out the same; of many, each says if it is well."""
    seen = []

    @eqx.filter_jit
    def look(one):
        seen.append((repr(one), one._repr_html_()))
        return one

    again = jax.tree.map(
        lambda new, old: np.asarray(new) if isinstance(old, np.ndarray) else new,
        look(result),
        result,
    )
    assert seen
    assert repr(again) == repr(result)
    assert isinstance(again.ok, bool)
    arrays, rest = eqx.partition(result, eqx.is_array)
    if isinstance(getattr(arrays, "status", None), jax.Array):
        pair = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), arrays)
        both = jax.vmap(lambda some: eqx.combine(some, rest).ok)(pair)
        assert both.shape == (2,)
        assert both.all() == result.ok


def test_results_go_into_files(result, tmp_path):
    if type(result) is ng.Fit:
        pytest.skip("a fit holds the function of its loss, or how parameters are put in")
    ng.save(tmp_path / "result.npz", result)
    again = ng.load(tmp_path / "result.npz")
    assert type(again) is type(result)
    assert repr(again) == repr(result)
    assert jax.tree.structure(again) == jax.tree.structure(result)


# ------------------------------------------------------------------------ the record itself


class Found(AbstractResult):
    """A result with a name that HTML would read."""

    status: Any
    stats: dict[str, Any]
    size: Any = 1.0

    def summary(self):
        return {"<b>size</b>": self.size, "note": "a < b & c"}


def test_the_record():
    one, many = Found(0, {"steps": 12}), Found(np.array([0, 3, 3, 99]), {})
    assert repr(one).split("\n") == [
        "Found: OK", "  <b>size</b>  1", "  note         a < b & c", "  steps        12",
    ]  # fmt: skip
    assert one.ok
    assert repr(jax.eval_shape(lambda: many)).startswith("Found: without values")
    assert not many.ok
    assert repr(many).startswith("Found: 1 OK, 2 NOT_FINITE, 1 status 99 of 4\n")
    assert "<b>" not in one._repr_html_()
    assert "a &lt; b &amp; c" in one._repr_html_()
    assert repr(Found(np.zeros((2, 0), int), {})).startswith("Found: empty")
    assert not jax.jit(lambda code: Found(code, {}).ok)(3)
    for other in (lambda leaf: True, lambda leaf: None):
        assert repr(jax.tree.map(other, one)).startswith("Found: without values")
    long = Found(0, {f"entry {k}": "word " * 100 for k in range(30)})
    assert max(map(len, repr(long).split("\n"))) <= 100
    assert repr(long).endswith("  … and 22 more")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (np.float64(1 / 3), "0.333333"),
        (True, "True"),
        (np.array([1.0, np.nan, 4.0]), "3: 1 … 4, 1 not finite"),
        (np.array([np.nan]), "1: nothing finite"),
        (np.zeros((2, 0)), "2 × 0 float64"),
        (np.array([[True, False]]), "1 × 2: 1 of 2 true"),
        (np.array(["a"]), "1 <U1"),
        (jax.ShapeDtypeStruct((2,), "float32"), "float32 (2,)"),
        ({"low": 1.0, "names": ("a",)}, "low 1, names ('a',)"),
        (("x" * 100,), "('" + "x" * 57 + "…"),
    ],
)
def test_values_in_short(value, text):
    assert shown(value) == text


def test_random_keys_are_shown():
    assert shown(jax.random.key(0)) == "key<fry>"
    assert shown(jax.random.split(jax.random.key(0))) == "2 key<fry>"


# ------------------------------------------------------------------------ models, systems


def test_models_and_systems_are_shown_with_what_was_set(network):
    text = repr(ng.JansenRit(p=200.0))
    assert text.startswith("JansenRit: a neural mass, times in s\n")
    assert "y0_dot (mV/s)" in text
    assert "p 200 1/s, A 3.25 mV" in text
    other = network.with_parameters(eta_e=np.linspace(-5.0, -4.0, 6))
    driven = ng.Driven(other, {"input": 0.1}, ng.stimuli.Pulse(1.0, 1.0, 2.0))
    assert repr(driven).split("\n") == [
        "Driven: 6 regions of NextGenEI",
        "  parameters  i_ext_e 15, eta_e -5 … -4; the others as by default",
        "  coupling    9",
        "  connectome  synthetic-6",
        "  noise       input 0.1",
        "  stimulus    Pulse",
    ]
    node = repr(ng.Homogeneous(ng.NextGenEI(), [1.0, 2.0]))
    assert node.startswith("Homogeneous: one region of NextGenEI\n  parameters  all as by default")
    assert "<table>" in driven._repr_html_()


@pytest.mark.parametrize("other", [lambda leaf: True, lambda leaf: None, jnp.shape])
def test_systems_of_other_leaves_are_shown(network, other):
    """As JAX and Equinox make them on the way, and error messages show them."""
    for system in (network, network.homogeneous(), ng.Driven(network, {"input": 0.1})):
        assert type(system).__name__ in repr(jax.tree.map(other, system))
        jax.eval_shape(lambda traced: (repr(traced), traced)[1], system)
        assert repr(jax.eval_shape(lambda same: same, system))


# ------------------------------------------------------------------------ all that is public


def rooms():
    """The public modules, those of noise, stimuli and summaries too."""
    yield from (*public_modules(), ng.noises, ng.stimuli)
    yield importlib.import_module("ngnmm_jax.sweeps.summaries")


def objects():
    """Public classes of which there are objects: no results, errors, lists of words."""
    named = [getattr(room, n) for room in rooms() for n in getattr(room, "__all__", dir(room))]
    ours = {kind for kind in named if inspect.isclass(kind) and kind.__module__[:9] == "ngnmm_jax"}
    apart = (AbstractResult, BaseException, enum.Enum)
    kinds = [kind for kind in ours if not (issubclass(kind, apart) or inspect.isabstract(kind))]
    return sorted(kinds, key=lambda kind: kind.__name__)


def tetrahedron():
    points = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return points, np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])


def a_connectome():
    return ng.Connectome.synthetic(6).normalised()


def a_graph():
    return ng.graphs.MatrixGraph(jnp.asarray(a_connectome().weights))


def a_free():
    known = {"coupling": ng.fitting.interval(0.0, 20.0)}
    return ng.Free(ng.Network(ng.NextGenEI(), a_connectome(), 9.0), known)


#: How those are made that need something; the others are made of nothing.
EXAMPLES: dict[str, Any] = {
    "Alike": lambda: ng.Network(ng.NextGenEI(), a_connectome(), 9.0).over_modes().interaction.graph,
    "Along": lambda: ng.Along("i_ext_e"),
    "Average": lambda: ng.observe.Average([0, 0, 0, 1, 1, 1], "v_e"),
    "Bold": lambda: summaries().Bold(repetition_time=1000.0),
    "BoldFC": lambda: summaries().BoldFC(repetition_time=1000.0),
    "Cauchy": lambda: ng.noises.Cauchy(0.1),
    "CirculantGraph": lambda: ng.graphs.CirculantGraph(np.array([0, 0.5, 0, 0, 0, 0.5])),
    "Connectome": a_connectome,
    "Connectomes": lambda: ng.Connectomes([a_connectome()]),
    "CouplingSum": lambda: ng.coupling.CouplingSum({"one": linear(), "other": linear()}),
    "Custom": lambda: ng.stimuli.Custom(np.sin),
    "DampedWaveKernel": lambda: ng.surfaces.DampedWaveKernel(30.0),
    "DelayedGraph": lambda: ng.graphs.DelayedGraph(a_graph(), ng.graphs.CommonDelay(3.0)),
    "DenseGraph": lambda: ng.graphs.DenseGraph(a_connectome()),
    "Design": lambda: ng.Design.sobol({"coupling": (0.0, 9.0)}, 64, replicates=3),
    "DiffusiveCoupling": lambda: ng.coupling.DiffusiveCoupling(a_graph(), 2.0),
    "Driven": lambda: ng.Driven(ng.Network(ng.NextGenEI(), a_connectome(), 9.0), {"input": 0.1}),
    "Eigenmodes": lambda: a_connectome().eigenmodes(),
    "Ended": lambda: ng.fitting.Ended(np.zeros((32, 90)), np.zeros(32), np.zeros(32, bool)),
    "EquilibriumReduction": lambda: ng.NextGenEI().equilibrium_reduction(jnp.ones(())),
    "Exponential": lambda: ng.surfaces.Exponential(2.5),
    "Field": lambda: summaries().Field(summaries().Mean()),
    "Free": a_free,
    "Function": lambda: ng.sweeps.Function(lambda system: system.coupling),
    "Gaussian": lambda: ng.surfaces.Gaussian(2.5),
    "GivenDelays": lambda: ng.graphs.GivenDelays(np.ones((6, 6))),
    "Grid": lambda: ng.signals.Grid((4, 4), 1.0),
    "Harmonics": lambda: ng.surfaces.harmonics(ng.surfaces.Surface(*tetrahedron()), 3),
    "HeatKernel": lambda: ng.surfaces.HeatKernel(2.5),
    "Homogeneous": lambda: ng.Homogeneous(ng.NextGenEI(), 9.0),
    "IdentityGraph": lambda: ng.graphs.IdentityGraph(6),
    "KuramotoCoupling": lambda: ng.coupling.KuramotoCoupling(a_graph(), 2.0),
    "LaplaceBeltramiGraph": lambda: ng.surfaces.LaplaceBeltramiGraph(
        ng.surfaces.Surface(*tetrahedron()), ng.surfaces.HeatKernel(1.0)
    ),
    "LaplacianGraph": lambda: ng.graphs.LaplacianGraph(a_graph()),
    "LatticeGraph": lambda: ng.graphs.LatticeGraph(np.eye(4)),
    "LeadField": lambda: ng.observe.LeadField(np.ones((64, 6))),
    "LinearCoupling": lambda: linear(),
    "Linearised": lambda: linear().linearised(jnp.zeros(6))[0],
    "MatrixGraph": a_graph,
    "Mesh": lambda: ng.signals.Mesh(*tetrahedron()),
    "ModalBasis": lambda: ng.signals.ModalBasis(np.eye(6)),
    "Network": lambda: ng.Network(ng.NextGenEI(i_ext_e=np.arange(6.0)), a_connectome(), 9.0),
    "OnAverage": lambda: summaries().OnAverage(summaries().Moments()),
    "OrnsteinUhlenbeck": lambda: ng.noises.OrnsteinUhlenbeck(np.arange(6.0), 5.0),
    "PairwiseCoupling": lambda: ng.coupling.PairwiseCoupling(a_graph(), 2.0, lambda own, x: x),
    "Pairs": lambda: ng.fitting.Pairs(
        np.ones((900, 1)), np.ones((900, 2)), ("coupling",), ("fc[0]", "fc[1]"), np.eye(2)[:1], 3
    ),
    "Parcellation": lambda: ng.surfaces.Parcellation(np.arange(6) % 2),
    "Periodic": lambda: ng.stimuli.Periodic(ng.stimuli.Pulse(1.0, 1.0, 2.0), 10.0),
    "Points": lambda: ng.signals.Points(np.eye(2)[[0, 1, 1, 0]] + np.eye(4)[:, :2], 3),
    "Problem": lambda: ng.fitting.Problem(
        a_free(), lambda s, key: s.coupling, np.ones((9, 1)), 3, 0
    ),
    "Pulse": lambda: ng.stimuli.Pulse(1.0, 1.0, np.arange(6.0)),
    "RegionalMap": lambda: ng.RegionalMap("i_ext_e", np.arange(6.0)),
    "Routed": lambda: ng.coupling.Routed(linear(), 0, 0, 2),
    "Sampled": lambda: ng.stimuli.Sampled(np.arange(90.0), np.zeros((90, 6))),
    "SigmoidAfterSum": lambda: ng.coupling.SigmoidAfterSum(a_graph(), 2.0),
    "SigmoidBeforeSum": lambda: ng.coupling.SigmoidBeforeSum(a_graph(), 2.0),
    "Sine": lambda: ng.stimuli.Sine(10.0, 1.0),
    "SparseGraph": lambda: ng.graphs.SparseGraph(csr_array(a_connectome().weights)),
    "SpectralBounds": lambda: a_graph().bounds(),
    "SpectralDensity": lambda: a_graph().density(),
    "SphereGraph": lambda: ng.graphs.SphereGraph(np.array([1.0, 0.5])),
    "Stepper": lambda: ng.integrators.RK4().stepper(a_free().system, jnp.ones(())),
    "Sum": lambda: ng.stimuli.Sine(10.0, 1.0) + ng.stimuli.Pulse(1.0, 1.0, 2.0),
    "SumGraph": lambda: ng.graphs.SumGraph((a_graph(), a_graph())),
    "Surface": lambda: ng.surfaces.Surface(*tetrahedron()),
    "TractDelays": lambda: ng.Network(ng.NextGenEI(), a_connectome(), 9.0, speed=10.0).delays,
    "TractGraph": lambda: ng.graphs.TractGraph(np.eye(2)[::-1], np.arange(6) % 2),
    "TransposedGraph": lambda: ng.graphs.TransposedGraph(a_graph()),
    "Unknown": lambda: ng.fitting.interval(0.0, 20.0),
    "Variable": lambda: ng.observe.Variable("v_e"),
    "White": lambda: ng.noises.White(np.arange(6.0)),
}
#: What the library makes, from much that is large: their values stand in.
STAND_INS = {"CorticalParts", "Course", "Layout", "QIFPopulation", "Run", "Window"}


def summaries():
    return importlib.import_module("ngnmm_jax.sweeps.summaries")


def linear():
    return ng.coupling.LinearCoupling(a_graph(), 9.0)


def example(kind):
    if kind.__name__ not in STAND_INS:
        return EXAMPLES.get(kind.__name__, kind)()
    if hasattr(kind, "_fields"):
        return kind(*[np.zeros((90, 1000))] * len(kind._fields))
    made = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(made, field.name, np.zeros((90, 1000)))
    return made


@pytest.mark.parametrize("kind", objects(), ids=lambda kind: kind.__name__)
def test_every_public_object_is_short_and_has_a_card(kind):
    made = example(kind)
    assert type(made) is kind
    lines = repr(made).split("\n")
    assert lines[0].startswith(kind.__name__)
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 100
    assert "f64[" not in repr(made)
    assert "<table>" in made._repr_html_()


# ------------------------------------------------------------------------ several


def test_several_stand_a_line_each(network):
    """Typed at Python's prompt, in IPython and in Jupyter; in files and under transformations."""
    branch = ng.continue_equilibria(network.homogeneous(), {"i_ext_e": (0.0, 16.0)})
    folds = branch.of_kind("hopf")
    assert isinstance(folds, tuple)
    assert repr(folds).split("\n") == [
        f"{len(folds)} × SpecialPoint", *(f"  {k}  {point.label}" for k, point in enumerate(folds))
    ]  # fmt: skip
    assert repr(folds[1:]).count("\n") == len(folds) - 1
    assert repr(branch.of_kind("fold")) == "none"
    page = folds._repr_html_()
    assert page.count("<tr>") == len(folds)
    assert page.startswith("<table>")
    diagram = Diagram((branch, branch), ())
    assert repr(diagram.branches).count("\n") == 2
    assert "equilibria over i_ext_e from 0 to 16" in repr(diagram.branches)
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    assert pretty([*folds]) == "[" + ",\n ".join(point.label for point in folds) + "]"
    assert pretty(folds) == repr(folds)
    assert pretty(branch) == repr(branch)
    some = ng.Connectomes({"a": network.weights, "b": 2 * network.weights}).networks(network)
    assert repr(some).split("\n")[0] == "2 × Network"
    rest = ng.find_equilibria(network.homogeneous())
    assert pretty({"rest": rest}).startswith("{'rest': Equilibria: OK; number 1; ")
    assert jax.tree.map(lambda leaf: leaf, branch).special[0].label == branch.special[0].label


# ------------------------------------------------------------------------ of one style


def test_every_public_result_is_of_one_style():
    others = [kind.__name__ for kind in RESULTS if not issubclass(kind, AbstractResult)]
    assert not others, f"these are no `AbstractResult`: {', '.join(others)}"


def test_what_is_free_is_shown_in_a_few_lines(network):
    parameters = {
        "coupling": ng.fitting.interval(0.0, 20.0, prior=(9.0, 2.0)),
        "i_ext_e": ng.fitting.real(per="region", spread=0.5),
        "tau_e": ng.fitting.positive(per=np.arange(6.0)),
    }
    assert repr(ng.Free(network, parameters)).split("\n") == [
        "Free: 9 of Network",
        "  coupling  0 … 20, prior 9 ± 2",
        "  i_ext_e   real, one for each region, spread 0.5",
        "  tau_e     above 0, by maps",
    ]
    assert repr(ng.fitting.positive()) == "Unknown: above 0"


def test_eigenmodes_are_shown_in_one_line():
    cycle = ng.Connectome(np.roll(np.eye(3), 1, axis=0)).eigenmodes()
    assert repr(cycle).startswith("Eigenmodes(3 complex, Re Λ -0.5 … 1, mode 0 uniform, errors to ")
    chain = ng.Connectome(np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
    assert "3 real, Re Λ -1.414 … 1.414, no uniform mode" in repr(chain.eigenmodes())


@pytest.mark.parametrize(
    ("exponents", "status", "text"),
    [
        ([0.5], 0, "nan: more exponents are needed"),
        ([0.5, -1.0], 0, "1.5"),
        ([0.5], 3, "nan"),
        ([[0.5], [-0.5]], [0, 0], "2: 0 … 0, 1 not finite: more exponents are needed by 1"),
    ],
)
def test_a_dimension_that_is_not_known_says_why(exponents, status, text):
    values = jnp.asarray(exponents)
    spectrum = LyapunovSpectrum(
        values, 0.01 * jnp.abs(values), 0 * values, values[..., None, :], values,
        values[..., 0], jnp.asarray(status),
    )  # fmt: skip
    assert shown(spectrum.summary()["kaplan_yorke"]) == text
