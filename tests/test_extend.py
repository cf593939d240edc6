"""The pages on one's own models, couplings, summaries, …: their code runs as it is written."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

PAGES = Path(__file__).resolve().parents[1] / "docs" / "extend"


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_page(page, tmp_path, monkeypatch):
    """All blocks, one after the other, in a module of their own; warnings are errors."""
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert blocks or page.stem == "index"
    space = {"__name__": f"extend_{page.stem}"}
    for block in blocks:
        line = text[: text.index(block)].count("\n")
        exec(compile("\n" * line + block, str(page), "exec"), space)
    plt.close("all")


def test_every_page_is_in_the_list():
    listed = set(re.findall(r"\]\((\w+)\.md\)", (PAGES / "index.md").read_text(encoding="utf-8")))
    assert {page.stem for page in PAGES.glob("*.md")} - {"index"} <= listed
