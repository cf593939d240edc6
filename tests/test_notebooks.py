"""Every notebook runs from start to end with its small settings, and is stored without outputs."""

import os
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def run(path, quick):
    """As a reader runs it, with `quick` set after the cell of its parameters."""
    notebook = nbformat.read(path, as_version=4)
    (place,) = [
        k for k, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ())
    ]
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(f"quick = {quick}"))
    nbclient.NotebookClient(
        notebook, timeout=1200, resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    return notebook


def printed(notebook):
    return "".join(
        output.get("text", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")


def test_there_are_notebooks():
    assert [path.stem[:2] for path in NOTEBOOKS] == sorted({p.stem[:2] for p in NOTEBOOKS})
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs"), cell.source
        assert cell.get("execution_count") is None


def test_rhythms():
    """What the fastest mode foretells is what the simulated network does."""
    notebook = run(ROOT / "notebooks" / "04_rhythms.ipynb", quick=True)
    text = printed(notebook)
    words = text.replace(",", " ").split()
    growth, measured = (
        float(words[k - 3]) for k in (words.index("foretold") + 0, words.index("measured") + 0)
    )
    assert measured == pytest.approx(growth, rel=0.02)
    assert "79 of 99 modes grow" in text
    pictures = sum(
        "image/png" in output.get("data", {})
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    assert pictures == 9


def test_sweep(tmp_path):
    """The plane is computed, stored, opened and drawn; the store is removed."""
    notebook = run(ROOT / "notebooks" / "07_sweep.ipynb", quick=True)
    assert "'i_ext_e': 8" in printed(notebook)
    assert "failed: 0" in printed(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    data = [output.get("data", {}) for output in outputs]
    assert sum("image/png" in d for d in data) >= 2
    assert any("application/vnd.jupyter.widget-view+json" in d for d in data)
    assert not (ROOT / "sweep_notebook.zarr").exists()


def test_fit():
    """The truth is found within its errors; the gradient grows with the horizon."""
    words = printed(run(ROOT / "notebooks" / "08_fit.ipynb", quick=True))
    off = words.split("off by standard deviations: [")[1].split("]")[0].split()
    assert max(map(float, off)) < 4
    assert float(words.split("finite differences: ")[1].split()[0]) < 1e-6


def test_functional_connectivity():
    words = printed(run(ROOT / "notebooks" / "09_functional_connectivity.ipynb", quick=True))
    assert "structure alone (log weights): 0.249" in words
    assert "currents and noise: correlation 0." in words
