"""The documentation's pages: built with warnings as errors, and nothing public is missing."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

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


def test_every_page_is_in_the_navigation(site):
    """And each notebook is a page."""
    settings = (ROOT / "mkdocs.yml").read_text()
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    pages |= {f"notebooks/{p.stem}.md" for p in (ROOT / "notebooks").glob("*.ipynb")}
    assert {page for page in pages if page not in settings} == set()
    assert all((site / page).with_suffix(".html").exists() for page in pages)


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    spec = importlib.util.spec_from_file_location("build", ROOT / "docs" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    (tmp_path / "there.html").write_text('<p id="here">')
    links = ["there.html", "there.html#here", "there.html#gone", "no.png", "https://a.org/b"]
    (tmp_path / "page.html").write_text("".join(f'<a href="{link}">' for link in links))
    assert build.broken(tmp_path) == ["page.html: no.png", "page.html: there.html#gone"]
