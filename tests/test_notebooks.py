"""Every notebook runs from start to end with its small settings, and is stored without outputs."""

import importlib.util
from pathlib import Path

import nbformat
import pytest
from jupyter_core.utils import run_sync

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
_SPEC = importlib.util.spec_from_file_location("render", ROOT / "notebooks" / "render.py")
render = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(render)


@pytest.fixture(scope="module")
def run():
    """Notebooks by number, with small settings, in one kernel: what they compile is shared."""
    empty = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    first = render.Client(empty, resources={"metadata": {"path": str(ROOT)}})
    first.execute(env={**render.environment(), "JAX_NUM_CPU_DEVICES": "2"}, cleanup_kc=False)

    def one(name):
        (path,) = (ROOT / "notebooks").glob(f"{name}_*.ipynb")
        return render.run(path, quick=True, timeout=600, kernel=first.km)

    yield one
    first.kc.stop_channels()
    run_sync(first.km.shutdown_kernel)(now=True)


def pictures(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def printed(notebook):
    return "".join(
        output.get("text", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )


def test_there_are_notebooks():
    assert [path.stem[:2] for path in NOTEBOOKS] == sorted({p.stem[:2] for p in NOTEBOOKS})
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs"), cell.source
        assert cell.get("execution_count") is None


def test_node(run):
    """The period, the lag of inhibition, and the mean field that neurons approach."""
    notebook = run("01")
    text = printed(notebook)
    assert "period 21.37 ms, 46.8 Hz, stable: True" in text
    assert 0.5 < float(text.split("follows excitation by ")[1].split()[0]) < 5
    assert float(text.split("error falls as N^")[1].split()[0]) < -0.3
    assert pictures(notebook) == 4


@pytest.mark.slow
def test_homogeneous_states(run):
    """The Hopf points and period doublings at coupling 12, chaos between, the cusp."""
    notebook = run("02")
    text = printed(notebook)
    assert "hopf               i_ext_e = 3.255779" in text
    assert text.count("period_doubling") == 2
    assert "'cusp', {'i_ext_e': 4.8294, 'coupling': 25.4365}" in text
    assert "'generalised_hopf', {'i_ext_e': 8.4858, 'coupling': 22.6511}" in text
    windows = text.split("chaos: ")[1].splitlines()[0].split(", ")
    assert any(low <= 10.5 <= high for low, high in (map(float, w.split(" to ")) for w in windows))
    assert pictures(notebook) == 3


def test_dispersion(run):
    """The modes are those of the whole Jacobian; the map has both kinds of regions."""
    notebook = run("03")
    text = printed(notebook)
    assert "79 of 99 modes grow; the fastest has Λ = -0.532 and 118.7 Hz" in text
    assert float(text.split("600 eigenvalues: ")[1].split()[0]) < 1e-9
    assert "period 14.180 ms; 12 modes grow" in text
    assert pictures(notebook) == 5


@pytest.mark.slow
def test_delays(run):
    """The certified roots, and their growth in a run of the whole equations."""
    text = printed(run("11"))
    assert "0.0241 per ms without delays, 0.0691 with them, at 106.0 Hz; 84 roots grow" in text
    assert "all certified: True" in text
    assert float(text.split("in the simulation ")[1].split()[0]) == pytest.approx(0.06912, abs=2e-5)


@pytest.mark.slow
def test_waves(run):
    """What the curve says of a surface, and what all vertices do."""
    pytest.importorskip("pyvista", reason="figures of surfaces need pyvista")
    notebook = run("12")
    text = printed(notebook)
    assert "stable alone: True" in text
    assert "fastest: 0.0249 per ms, 54.5 Hz, 52.8 mm" in text
    assert "96 of the first 121 harmonics grow" in text
    assert float(text.split("off by ")[1].split()[0]) < 1e-5
    hertz, length, speed = (float(word) for word in text.split("seen: ")[1].split()[:5:2])
    assert hertz == pytest.approx(54.5, rel=0.02)
    assert length == pytest.approx(52.8, rel=0.2)
    assert speed == pytest.approx(2.88, rel=0.5)
    assert pictures(notebook) == 5


@pytest.mark.slow
def test_classical(run):
    notebook = run("05")
    text = printed(notebook)
    assert "JansenRit  patterns grow on equilibria at 0%" in text
    assert "NextGenEI  patterns grow on equilibria at 0%" not in text
    assert pictures(notebook) == 6


def test_your_own(run):
    """A model of two equations goes through everything, as far as a fit that finds the truth."""
    notebook = run("06")
    text = printed(notebook)
    assert "must not be negative" in text
    assert 6 < int(text.split("regions that stay active: ")[1].split()[0]) < 18
    assert "stable: [ True False  True]" in text
    assert "[('fold', -3.452), ('fold', -7.3548)]" in text
    assert float(text.split("eta = ")[1].split(",")[0]) == pytest.approx(-4.3, abs=0.01)
    assert pictures(notebook) == 7


def test_explorer(run):
    text = printed(run("10"))
    assert "15.0 At rest, stable alone. 79 of 99 modes grow" in text


def test_executed_notebooks(tmp_path, capsys):
    """Of a notebook that runs, once; and of one that fails, which is said."""
    cell = nbformat.v4.new_code_cell
    parameters = cell("quick = False", metadata={"tags": ["parameters"]})
    for name, last in (("good", "print('quick is', quick)"), ("bad", "1 / 0")):
        notebook = nbformat.v4.new_notebook(cells=[parameters, cell(last)])
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(notebook, path)
        if name == "good":
            render.keep(render.run(path, quick=True), tmp_path / "out" / "good.ipynb", True, 1.4)
            kept = nbformat.read(tmp_path / "out" / "good.ipynb", as_version=4)
            assert kept.metadata["rendered"] == {"quick": True, "seconds": 1}
            cells = kept.cells
            assert cells[-1].outputs[0].text == "quick is True\n"
            removed = [cell.source for cell in cells if "remove" in cell.metadata.get("tags", ())]
            assert removed == ["%reset -f", "quick = True"]  # which the page leaves out
        else:
            with pytest.raises(render.nbclient.exceptions.CellExecutionError, match="ZeroDiv"):
                render.run(path, quick=True)
    assert render.main(["no such notebook"]) == 1
    assert "No notebook begins" in capsys.readouterr().err


def test_rhythms(run):
    """What the fastest mode foretells is what the simulated network does."""
    notebook = run("04")
    text = printed(notebook)
    words = text.replace(",", " ").split()
    growth, measured = (
        float(words[k - 3]) for k in (words.index("foretold") + 0, words.index("measured") + 0)
    )
    assert measured == pytest.approx(growth, rel=0.02)
    assert "79 of 99 modes grow" in text
    assert pictures(notebook) == 9


def test_sweep(run):
    """The plane is computed, stored, opened and drawn; the store is removed."""
    notebook = run("07")
    assert "'i_ext_e': 8" in printed(notebook)
    assert "failed: 0" in printed(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    data = [output.get("data", {}) for output in outputs]
    assert pictures(notebook) >= 2
    assert any("application/vnd.jupyter.widget-view+json" in d for d in data)
    assert not (ROOT / "sweep_notebook.zarr").exists()


@pytest.mark.slow
def test_fit(run):
    """The truth is found within its errors; the gradient grows with the horizon."""
    words = printed(run("08"))
    off = words.split("off by standard deviations: [")[1].split("]")[0].split()
    assert max(map(float, off)) < 4
    assert float(words.split("finite differences: ")[1].split()[0]) < 1e-6


@pytest.mark.slow
def test_functional_connectivity(run):
    words = printed(run("09"))
    assert "structure alone (log weights): 0.249" in words
    assert "currents and noise: correlation 0." in words
