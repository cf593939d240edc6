"""The house's rules: which way imports run, what an import costs."""

import ast
import graphlib
import os
import re
import subprocess
import sys
from pathlib import Path

import ngnmm_jax as ng
from ngnmm_jax.models import MODELS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ngnmm_jax"

#: The rooms, each above all that it imports from.
ROOMS = [
    "_core",
    "models",
    "integrators",
    "dynamics",
    "connectome",
    "graphs",
    "surfaces",
    "coupling",
    "signals",
    "systems",
    "simulation",
    "kernels",
    "observe",
    "stability",
    "bifurcations",
    "chaos",
    "sweeps",
    "fitting",
    "plot",
    "saved",
    "reproduce",
    "explorer",
    "cli",
]


def modules():
    """Every module of the package: its dotted name without the package's, and its file."""
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imported(path):
    """The modules that a file imports, those inside functions and for types too."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ngnmm_jax":
            inner = node.module.removeprefix("ngnmm_jax").removeprefix(".")
            deeper = [f"{inner}.{a.name}".removeprefix(".") for a in node.names]
            names = [name if name in MODULES else inner for name in deeper]
        elif isinstance(node, ast.Import):
            names = [
                a.name.removeprefix("ngnmm_jax.")
                for a in node.names
                if a.name.startswith("ngnmm_jax.")
            ]
        yield from names


def test_every_room_has_its_place():
    assert {name.split(".")[0] for name in MODULES} - {""} == set(ROOMS)


def test_contributing_shows_the_rooms_in_their_order():
    """The house's table, read from above, is the order that is checked here."""
    _, _, text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## The house")
    rows = re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE)
    assert [room for row in rows for room in re.findall(r"`(\w+)`", row)] == ROOMS


def test_imports_run_one_way():
    """From lower rooms and from one's own; from the package itself, its version only."""
    floor = {name: level for level, name in enumerate(ROOMS)}
    for name, path in MODULES.items():
        room = name.split(".")[0]
        for other in imported(path) if room else ():
            below = other.split(".")[0]
            assert below, f"{name} imports from the package's front door"
            assert below == room or floor[below] < floor[room], f"{name} imports {other}"


def test_no_module_needs_itself():
    """No circle among modules, those of one room included."""
    needs = {name: {*imported(path)} - {name} for name, path in MODULES.items() if name}
    order = graphlib.TopologicalSorter(needs)
    order.prepare()  # raises CycleError, which names the circle


def test_single_models_are_named_where_they_belong():
    """Elsewhere what is special to one comes from the model, and which there are from `MODELS`."""
    known = {*MODELS, *(kind.__name__ for kind in MODELS.values())}
    named = set()
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            word = getattr(node, "id", None) or getattr(node, "attr", getattr(node, "value", None))
            if isinstance(word, str) and word in known:
                named.add(name)
    rooms = ("models", "reproduce")
    # The front door's names; the default of the command line; the paper's, which the demo shows.
    others = {"", "cli.settings.network", "cli.reports.demo"}
    assert {name for name in named if name.split(".")[0] not in rooms} == others


def test_titles_and_whole_numbers_of_figures_have_one_home():
    """`title_above` breaks long titles into lines; `counting` has whole numbers along an axis."""
    homes = {"plot._style", "plot.animation"}  # whose titles are the time of a frame
    others = {name for name, path in MODULES.items() if ".suptitle(" in path.read_text()}
    assert others == homes
    whole = {name for name, path in MODULES.items() if "integer=True" in path.read_text()}
    assert whole == {"plot._style"}


def test_files_and_functions_stay_short():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 500, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= 80, f"{path}: {node.name} has {lines} lines"


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=True,
    ).stdout


def test_import_is_light_and_has_no_side_effects():
    code = (
        "import sys, jax, ngnmm_jax; "
        "print([m for m in ('matplotlib', 'zarr', 'xarray', 'pooch', 'typer') "
        "if m in sys.modules], jax.config.read('jax_enable_x64'), "
        "jax._src.xla_bridge.backends_are_initialized())"
    )
    assert run(code, JAX_ENABLE_X64="0").strip() == "[] False False"


def test_rooms_are_attributes():
    code = (
        "import ngnmm_jax as ng; ng.dynamics; ng.connectome.Connectome; ng.stimuli.Pulse; "
        "print(ng.stability.__name__, hasattr(ng, 'nothing'))"
    )
    assert run(code).strip() == "ngnmm_jax.stability False"


def test_a_home_that_cannot_be_written_to(tmp_path):
    """The command then compiles anew, and says so.

    (Not with `--no-cache`: `test_an_error_of_a_process_is_one_line`.)
    """
    blocked = tmp_path / "file"
    blocked.write_text("")
    environment = {**os.environ, "NGNMM_JAX_CACHE": str(blocked)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-m", "ngnmm_jax.cli", "reproduce"],  # lists the figures
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Compiled programs are not kept" in done.stdout


def test_every_public_name_is_there_and_documented():
    for name in ng.__all__:
        assert getattr(ng, name) is not None
        if name != "__version__":
            assert getattr(ng, name).__doc__, name
