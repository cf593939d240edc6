"""The pages that answer one question each: their code runs as it stands."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
HOWTO = sorted(page for page in DOCS.glob("howto/*.md") if page.stem != "index")
PAGES = [*HOWTO, DOCS / "index.md", DOCS / "sharp_bits.md"]
#: Those that compile much.
LONG = {"bifurcation", "delays", "fit", "from_vbjax", "model", "spiking", "sweep"}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page.stem in LONG else [])
        for page in PAGES
    ],
)
def test_page(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    space: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for k, block in enumerate(blocks):
        exec(compile(block, f"{page.name} block {k}", "exec"), space)
    assert blocks
