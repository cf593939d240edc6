"""The documentation's pages: built with warnings as errors, and nothing public is missing."""

import base64
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import ngnmm_jax as ng

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` builds it: warnings are errors, and each link leads somewhere."""
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "docs/build.py", "--site", folder / "site"]
    done = subprocess.run(
        [*command, "--pages", folder / "pages"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_pages(site):
    pages = "".join(path.read_text() for path in (site / "api").glob("*.html"))
    ids = {name.rpartition(".")[2] for name in re.findall(r'id="(ngnmm_jax\.[\w.]+)"', pages)}
    rooms = {"coupling", "fitting", "graphs", "integrators", "models", "observe", "plot"}
    rooms |= {"noises", "signals", "stimuli", "surfaces", "sweeps", "__version__"}
    assert set(ng.__all__) - ids <= rooms  # whose own names have pages
    values = {"LYAPUNOV_QUANTITIES", "MAP_QUANTITIES", "GROWING", "DECAYING", "UNIFORM"}
    values |= {"ROOTS_QUANTITIES", "TONGUES_QUANTITIES"}
    assert set(ng.plot.__all__) - ids == values
    assert "To judge" in (site / "index.html").read_text()
    states = (site / "api" / "states.html").read_text()
    assert '<table class="arguments">' in states
    assert "**Arguments" not in pages


def test_links_lead_somewhere_in_the_repository_too():
    """As it is read where it is kept, before `make docs` makes pages of other files."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "benchmarks").glob("*.md"), *ROOT.glob("docs/**/*.md")]
    lost = []
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            target = link.partition("#")[0]
            if target and "://" not in target and not (page.parent / target).exists():
                lost.append(f"{page.relative_to(ROOT)}: {link}")
    assert len(pages) > 40
    assert not lost


def test_every_page_is_in_the_navigation(site):
    """And each notebook is a page."""
    settings = (ROOT / "mkdocs.yml").read_text()
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    pages |= {f"notebooks/{p.stem}.md" for p in (ROOT / "notebooks").glob("*.ipynb")}
    assert {page for page in pages if page not in settings} == set()
    assert all((site / page).with_suffix(".html").exists() for page in pages)


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build", ROOT / "docs" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_link_that_leads_nowhere_is_found(build, tmp_path):
    (tmp_path / "there.html").write_text('<p id="here">')
    links = ["there.html", "there.html#here", "there.html#gone", "no.png", "https://a.org/b"]
    (tmp_path / "page.html").write_text("".join(f'<a href="{link}">' for link in links))
    assert build.broken(tmp_path) == ["page.html: no.png", "page.html: there.html#gone"]


def test_the_page_of_a_notebook(build, tmp_path):
    """How it ran, and what a figure is of; no bars, and nothing that a reader need not see."""
    new = nbformat.v4
    bar = {"text/plain": "a bar: 36%|###6 |", build.WIDGET: {"model_id": "1"}}
    outputs = [new.new_output("display_data", bar)]
    outputs += [
        new.new_output("display_data", {"image/png": base64.b64encode(b"a figure").decode()})
    ]
    cells = [
        new.new_code_cell("%reset -f", metadata={"tags": ["remove"]}),
        new.new_markdown_cell("# A title\n\nWords.\n\n## One part"),
        new.new_code_cell("# no heading\ndraw()", outputs=outputs),
    ]
    path = tmp_path / "13_some.ipynb"
    nbformat.write(new.new_notebook(cells=cells), path)
    assert build._notebook(path, tmp_path) == "A title"
    page = (tmp_path / "13_some.md").read_text()
    assert "`notebooks/13_some.ipynb`, without outputs; `make pages` runs it" in page
    assert "![Figure: One part](13_some_files/output_1_0.png)" in page
    assert (tmp_path / "13_some_files" / "output_1_0.png").read_bytes() == b"a figure"
    assert "36%" not in page
    assert "%reset" not in page
    how = {"rendered": {"quick": True, "seconds": 3}}
    nbformat.write(new.new_notebook(cells=cells, metadata=how), path)
    build._notebook(path, tmp_path)
    page = (tmp_path / "13_some.md").read_text()
    assert "small settings: `python notebooks/render.py 13 --quick`, 3 s" in page
