"""The explorer: its answers, its widgets, and JupyterLab in a real browser where there is one."""

import asyncio
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import nbformat
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.explorer import widgets
from ngnmm_jax.explorer.background import Background
from ngnmm_jax.explorer.shipped import shipped

ROOT = Path(__file__).resolve().parents[1]
PNG = b"\x89PNG"


class Begun:
    """In place of a map that is computed in the background: of which network it would be."""

    every: ClassVar[list] = []
    newest, whole, failed = None, True, ""

    def __init__(self, network, axes, news):
        self.every.append((network, axes))

    def begin(self):
        pass

    stop = wait = begin


@pytest.fixture(scope="module", autouse=True)
def begun():
    """What maps would be computed: minutes of compilation that answers do not need."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(widgets, "Background", Begun)
        yield Begun.every


@pytest.fixture(scope="module")
def explorer(small, begun):
    return ng.explore(ng.Network(ng.NextGenEI(i_ext_e=3.0), small, 9.0), points=5)


def test_answers_are_those_of_the_library(explorer):
    """At rest, on an orbit, and where modes grow; each picture is another."""
    pictures = set()
    for i_ext_e, coupling, words in (
        (3.0, 9.0, "At rest, stable alone."),
        (9.0, 9.0, "On an orbit of"),
        (15.0, 9.0, "At rest, stable alone."),
    ):
        explorer.set(i_ext_e=i_ext_e, coupling=coupling)
        explorer.wait()  # for what an orbit takes the first time
        assert words in explorer.text
        network = explorer.network
        assert float(network.model.i_ext_e) == pytest.approx(i_ext_e)
        rest = ng.find_equilibria(network.homogeneous())
        state = rest.states[0] if "rest" in words else ng.find_orbit(network.homogeneous())
        growing = int(ng.dispersion(network, state).number_growing)
        assert f"{growing} of 11 modes grow" in explorer.text
        assert explorer.png.startswith(PNG)
        pictures.add(explorer.png)
    assert len(pictures) == 3
    assert "The network's regions peak at" in explorer.text
    assert explorer.seconds < 60


def test_sliders_and_a_third_parameter(explorer, begun):
    explorer.set(i_ext_e=3.0, coupling=9.0)
    before = explorer.png
    explorer._sliders["i_ext_e"].value = 5.0  # what the browser does
    assert explorer.values["i_ext_e"] == 5.0
    assert bytes(explorer._image.value) == explorer.png != before
    explorer.set(j_ie=14.0)
    assert (explorer.third, explorer.values["j_ie"]) == ("j_ie", 14.0)
    assert float(explorer.network.model.j_ie) == 14.0
    explorer.set(tau_si=7.0)  # another third one: the first is back where it was
    assert float(explorer.network.model.j_ie) == 13.0
    assert float(explorer.network.model.tau_si) == 7.0
    assert float(begun[-1][0].model.tau_si) == 7.0  # the map's
    explorer._third_name.value = "(none)"
    assert explorer._third.disabled
    assert float(explorer.network.model.tau_si) == 5.0


def test_sums_of_couplings(small):
    """Modes of one graph are shown wherever they lie; those of several without a curve."""
    graph = ng.graphs.MatrixGraph(jnp.asarray(small.weights))
    linear, diffusive = ng.coupling.LinearCoupling, ng.coupling.DiffusiveCoupling
    both = ng.coupling.CouplingSum({"far": linear(graph, 5.0), "near": diffusive(graph, 4.0)})
    seen = ng.explore(ng.Network(ng.NextGenEI(i_ext_e=3.0), coupling=both), points=2)
    lambdas = np.asarray(seen.network.spectrum()[0]).real
    low, high = seen._picture.curve.get_xlim()
    assert low < lambdas.min() < -1
    assert high > lambdas.max() > 1
    assert sum(len(line.get_xdata()) for line in seen._picture._modes.values()) == lambdas.size
    bent = ng.coupling.SigmoidAfterSum(ng.graphs.IdentityGraph(12), 0.1)
    both = ng.coupling.CouplingSum({"far": linear(graph, 5.0), "own": bent})
    network = ng.Network(ng.NextGenEI(i_ext_e=3.0), coupling=both)
    seen = ng.explore(network, points=2)
    state = ng.find_equilibria(network.homogeneous()).states[0]
    growing = int(ng.dispersion(network, state).number_growing)
    assert f"{growing} of 11 modes grow" in seen.text
    assert len(seen._picture._line.get_xdata()) == 0


def test_an_orbit_comes_later_the_first_time(small):
    """Rest is shown until then, with what grows on it; then orbits are there at once."""
    network = ng.Network(ng.NextGenEI(i_ext_e=9.0), small, 0.0)
    seen = ng.explore(network, points=2)
    assert seen.text.startswith("At rest, unstable alone; its orbit is being looked for.")
    state = ng.find_equilibria(network.homogeneous()).states[0]
    growing = int(ng.dispersion(network, state).number_growing)
    assert f"{growing} of 11 modes grow" in seen.text
    assert "find_orbit" not in seen.code
    before = seen.png
    seen.wait()
    assert seen.text.startswith("On an orbit of")
    assert "0 of 11 modes grow" in seen.text  # without coupling all are neutral, to rounding
    assert "find_orbit" in seen.code
    assert seen.png != before
    seen.set(i_ext_e=9.5)
    assert seen.text.startswith("On an orbit of")


def test_in_jupyter_an_orbit_is_drawn_as_it_comes(small):
    """By its loop, without being asked; where another model was chosen meanwhile, of that one."""

    async def looked_at(choose):
        seen = ng.explore(ng.Network(ng.NextGenEI(i_ext_e=9.0), small, 9.0), points=2)
        first = seen.text
        if choose:
            seen.choose("mpr")
        for _ in range(600):
            await asyncio.sleep(0.1)
            if "being looked for" not in seen.text:
                break
        return first, seen

    first, seen = asyncio.run(looked_at(choose=False))
    assert "its orbit is being looked for" in first
    assert seen.text.startswith("On an orbit of")
    assert seen._picture.curve.yaxis.get_tightbbox().x0 >= 0  # longer numbers are not cut off
    _, seen = asyncio.run(looked_at(choose=True))
    assert seen.text.startswith("At rest, stable alone")
    assert "MontbrioPazoRoxin" in seen.code


def test_what_cannot_be_shown_is_said(explorer, small, as_users_call):
    with pytest.raises(ValueError, match="`coupling` must be a number"):
        explorer.set(coupling="a")
    with pytest.raises(ValueError, match="`coupling` must lie in"):
        explorer.set(coupling=1000.0)
    with pytest.raises(ValueError, match="did you mean 'j_ee'"):
        explorer.set(jee=1.0)
    network = ng.Network(ng.NextGenEI(), small)
    with pytest.raises(ValueError, match="`parameters` must name two"):
        ng.explore(network, {"coupling": (0, 1)})
    with pytest.raises(ValueError, match="must have bounds"):
        ng.explore(network, {"coupling": (1, 0), "i_ext_e": (0, 1)})
    with pytest.raises(ValueError, match="homogeneous"):
        ng.explore(ng.Network(ng.NextGenEI(i_ext_e=np.arange(12.0)), small))
    connectome, plane = ng.Connectome.load("hcp-schaefer100").normalised(), ng.NextGenEI.plane
    axes = {name: np.array([low, high]) for name, (low, high, _) in plane.items()}
    background = shipped(ng.Network(ng.NextGenEI(), connectome, 9.0), axes)
    background = dataclasses.replace(background, parameters={"coupling": axes["coupling"]})
    with pytest.raises(ValueError, match="`background` must span"):
        ng.explore(network, background=background)


def test_the_map_becomes_finer_in_the_background(small, monkeypatch):
    """While sliders answer; in the end it is the library's map, whatever the passes."""
    monkeypatch.setattr(widgets, "Background", Background)
    explorer = ng.explore(ng.Network(ng.NextGenEI(i_ext_e=3.0), small, 9.0), points=3)
    assert "is being computed" in explorer.text
    explorer.wait()
    assert explorer._background.whole
    assert "is being computed" not in explorer.text
    shown = explorer._drawn
    axes = {name: np.linspace(0, high, 3) for name, high in (("i_ext_e", 16), ("coupling", 30))}
    whole = ng.dispersion_map(ng.Network(ng.NextGenEI(), small), axes)
    assert list(shown.parameters) == list(whole.parameters)
    np.testing.assert_array_equal(shown.parameters["coupling"], whole.parameters["coupling"])
    np.testing.assert_array_equal(np.sort(shown.kind, axis=2)[..., -whole.kind.shape[2] :],
                                  np.sort(whole.kind, axis=2))  # fmt: skip
    largest = [np.nanmax(m.growth_transverse, axis=2, initial=-9) for m in (shown, whole)]
    np.testing.assert_allclose(*largest, atol=1e-6)


@pytest.mark.slow
def test_python_ends_while_a_map_is_computed(tmp_path):
    """Without a word, and well: the thread is waited for."""
    program = (
        "import jax, time\n"
        "jax.config.update('jax_enable_x64', True)\n"
        "import ngnmm_jax as ng\n"
        "ng.keep_compiled()\n"
        "small = ng.Connectome.synthetic(4, seed=3).normalised()\n"
        "seen = ng.explore(ng.Network(ng.NextGenEI(i_ext_e=3.0), small, 9.0))\n"
        "time.sleep(1.5)\n"
        "print(seen._background._thread.is_alive())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.strip() == "True"
    assert "Traceback" not in done.stderr, done.stderr[-1500:]
    assert "FATAL" not in done.stderr


def test_the_map_that_ships():
    """It is there at once; points of it, computed anew, are the same; of others there is none."""
    connectome = ng.Connectome.load("hcp-schaefer100").normalised()
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), connectome, 9.0)
    axes = {"i_ext_e": np.array([0.0, 16.0]), "coupling": np.array([0.0, 30.0])}
    found = shipped(network, axes)
    assert found.status.shape == (33, 31)
    assert set(np.unique(found.kind)) == {0, 1, 2, 3}
    some = {name: values[[8, 30]] for name, values in found.parameters.items()}
    again = ng.dispersion_map(network, some, oscillations=False)
    place = np.ix_([8, 30], [8, 30])
    resting = found.kind[place] == 1
    rates = [np.sort(m.growth_transverse[m.kind == 1]) for m in (again,)]
    rates.append(np.sort(found.growth_transverse[place][resting]))
    np.testing.assert_allclose(*rates, atol=1e-9)
    assert shipped(network.with_parameters(tau_si=6.0), axes) is None
    assert shipped(ng.Network(ng.NextGenEI(), connectome.scaled(), 9.0), axes) is None
    assert shipped(network, {**axes, "coupling": np.array([0.0, 20.0])}) is None
    assert shipped(ng.Network(ng.NextGenEI(), connectome, 9.0, speed=10.0), axes) is None


def test_another_model_and_code(explorer, small, begun):
    """What is shown, as a program that runs and finds the same."""
    explorer.set(i_ext_e=15.0, coupling=9.0)
    code = explorer.code
    space = {"connectome": small}
    exec(compile(code.partition("run = ")[0], "code", "exec"), space)
    assert f"{int(space['modes'].number_growing)} of 11 modes grow" in explorer.text
    assert "ng.models.NextGenEI(i_ext_e=15)" in code
    explorer.choose("mpr")
    assert isinstance(explorer.network.model, ng.MontbrioPazoRoxin)
    assert isinstance(begun[-1][0].model, ng.MontbrioPazoRoxin)
    assert explorer.png.startswith(PNG)
    assert "modes grow" in explorer.text
    assert "ng.models.MontbrioPazoRoxin(" in explorer.code
    explorer.choose("(as given)")
    assert isinstance(explorer.network.model, ng.NextGenEI)
    with pytest.raises(ValueError, match="did you mean 'mpr'"):
        explorer.choose("mpt")


def test_code_of_what_a_line_does_not_make(small):
    """A model of one's own: its network as it was given, at the sliders' values, coupling too."""

    class Own(ng.NextGenEI):
        pass

    seen = ng.explore(ng.Network(Own(i_ext_e=3.0), small, 9.0), points=2)
    seen.set(coupling=3.0)
    space = {"network": seen._given}
    exec(compile(seen.code.partition("run = ")[0], "code", "exec"), space)
    assert float(space["network"].coupling) == 3.0
    growth = ng.dispersion(seen.network, space["state"]).growth
    np.testing.assert_allclose(space["modes"].growth, growth, atol=1e-9)


def test_where_it_begins_is_where_it_was_given(small):
    """Beyond the model's plane too; and refusals say what to do."""
    seen = ng.explore(ng.Network(ng.NextGenEI(i_ext_e=3.0), small, 40.0), points=2)
    assert seen.values["coupling"] == 40.0
    assert repr(seen).startswith("Explorer: ")
    network = ng.Network(ng.NextGenEI(), small, 9.0)
    with pytest.raises(ValueError, match="must lie within its bounds"):
        ng.explore(network, {"coupling": (0.0, 1.0), "i_ext_e": (0.0, 1.0)})
    with pytest.raises(ValueError, match=r"`tau_e` must be .*positive|above zero"):
        ng.explore(network, {"tau_e": (-5.0, 20.0), "coupling": (0.0, 30.0)})
    with pytest.raises(ValueError, match="must be a network"):
        ng.explore(network.homogeneous())
    with pytest.raises(ValueError, match="has no `plane` of its own"):
        ng.explore(ng.Network(Bare(), small, 0.1))


class Bare(ng.NextGenEI):
    plane: ClassVar = {}


@pytest.mark.slow
def test_delays_by_a_box():
    """They are had along the tracts, with the speed for the third slider; and left away."""
    connectome = ng.Connectome.synthetic(4, seed=3).normalised()
    seen = ng.explore(ng.Network(ng.NextGenEI(i_ext_e=15.0), connectome, 9.0), points=2)
    seen._delays.value = True
    assert (seen.third, seen.values["speed"]) == ("speed", 10.0)
    assert "roots grow" in seen.text
    assert "speed=10)" in seen.code
    seen._delays.value = False
    assert seen.network.delays is None
    assert "modes grow" in seen.text


def test_delays(caplog):
    """Roots where delays differ, a curve where they do not, as the library has both."""
    connectome = ng.Connectome.synthetic(6, seed=3).normalised()
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), connectome, 9.0, speed=10.0)
    seen = ng.explore(network, {"speed": (2, 20), "coupling": (0, 12)}, points=2)
    for speed in (10.0, 4.0):
        seen.set(speed=speed)
        here = network.with_parameters(speed=speed)
        state = ng.find_equilibria(network.undelayed().homogeneous()).states[0]
        found = ng.dispersion(here, state)
        assert f"{int(found.number_growing)} roots grow" in seen.text
        assert f"{float(found.growth[0]):.3g} per ms" in seen.text
        assert seen.png.startswith(PNG)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        seen.set(speed=7.3)
    assert caplog.records  # of what depends on how many roots there are
    assert not [r for r in caplog.records if "Compiling jit(_run)" in r.message]
    before = seen.png
    seen.set(i_ext_e=2.0)
    assert "0 roots grow" in seen.text
    assert "The map is of i_ext_e = 15" in seen.text
    assert seen.png != before

    network = ng.Network(ng.NextGenEI(i_ext_e=9.0), connectome, 9.0, delays=10.0)
    seen = ng.explore(network, {"delay": (2, 20), "i_ext_e": (0, 12)}, points=2)
    state = ng.find_equilibria(network.undelayed().homogeneous()).states[0]
    growing = int(ng.dispersion(network, state).number_growing)
    assert f"{growing} of 5 modes grow" in seen.text
    assert "unstable alone; oscillations with a delay are not looked for" in seen.text


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab of its own, with the explorer's notebook; its address."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    notebook = nbformat.read(ROOT / "notebooks" / "10_explorer.ipynb", as_version=4)
    notebook.cells[0].source = notebook.cells[0].source.partition("![")[0]  # not this picture
    notebook.cells[1].source = "quick = True"
    nbformat.write(notebook, tmp_path / "explorer.ipynb")
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
    }
    log = (tmp_path / "lab.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root",
         "--expose-app-in-browser", "--ip=127.0.0.1", f"--port={port}",
         "--IdentityProvider.token=known", f"--ServerApp.root_dir={tmp_path}"],
        env=environment, stdout=log, stderr=log, cwd=tmp_path,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"{address}/api?token=known", timeout=5) as answer:
                assert "version" in json.load(answer)
            break
        except OSError:
            assert server.poll() is None, (tmp_path / "lab.log").read_text()
            time.sleep(0.5)
    yield f"{address}/lab/tree/explorer.ipynb?token=known"
    server.terminate()
    server.wait(20)
    log.close()


@pytest.mark.slow
def test_in_a_browser(lab, tmp_path):
    """All cells run; a slider is dragged; picture and numbers follow, several times a second."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1260})
        page.goto(lab)
        page.wait_for_selector(".jp-Notebook", timeout=60_000)
        page.wait_for_function("window.jupyterapp && window.jupyterapp.restored", timeout=60_000)
        page.wait_for_timeout(2000)
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        image = page.wait_for_selector(".jp-OutputArea img.widget-image", timeout=240_000)
        page.wait_for_selector("text=/15.0 .*modes grow/", timeout=240_000)  # the last cell ran
        page.wait_for_timeout(8000)  # what orbits take is compiled, which the first place asked for

        handle = page.locator(".widget-slider .noUi-handle").first
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        seen = {image.get_attribute("src")}
        page.mouse.move(box["x"] + 5, box["y"] + 5)
        page.mouse.down()
        begun = time.monotonic()
        for step in range(40):
            page.mouse.move(box["x"] + 5 - 4 * step, box["y"] + 5)
            page.wait_for_timeout(75)
            seen.add(page.locator("img.widget-image").first.get_attribute("src"))
        rate = (len(seen) - 1) / (time.monotonic() - begun)
        page.mouse.move(box["x"] - 75, box["y"] + 5)  # to where regions oscillate
        page.mouse.up()
        page.wait_for_timeout(8000)
        text = page.locator(".widget-html").first.inner_text()
        value = page.locator(".widget-readout").first.inner_text()
        page.add_style_tag(content=".Toastify { display: none }")  # JupyterLab's own questions
        picture = Path(os.environ.get("NGNMM_SCREENSHOT", tmp_path / "explorer.png"))
        page.screenshot(path=picture)
        browser.close()
    print(f"{rate:.1f} pictures a second while dragged; now {value}: {text}")
    assert 8.0 < float(value) < 12.0
    assert "On an orbit" in text
    assert "modes grow" in text
    assert rate > 1.0
