"""Pages that are made from files outside of docs/: README, changes, measurements, notebooks."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "index.md": "README.md",
    "changes.md": "CHANGELOG.md",
    "results.md": "benchmarks/RESULTS.md",
}
#: Where `notebooks/render.py` puts its pages.
RENDERED = ROOT / "build" / "notebooks"


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages, and the rendered notebooks where they have been built."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_links(text)))
    files.append(File.generated(config, "notebooks.md", content=_notebooks()))
    for path in RENDERED.glob("*.html"):
        files.append(File.generated(config, f"notebooks/{path.name}", abs_src_path=str(path)))
    return files


def _links(text: str) -> str:
    """Links of a file of the repository, as seen from docs/; those that lead out become text."""
    text = text.replace("](docs/", "](").replace("](benchmarks/RESULTS.md", "](results.md")
    text = re.sub(r"\]\(notebooks/[\w.]*\)", "](notebooks.md)", text)
    return re.sub(r"\[([^\]]+)\]\((?:connectivity/|CITATION|\.\./|LICENSE)[^)]*\)", r"`\1`", text)


def _notebooks() -> str:
    lines = [
        "# Notebooks",
        "",
        "In the folder `notebooks/`, without outputs; `make pages` runs them and renders them here "
        "(`make pages QUICK=1` with small settings).",
        "",
    ]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        title = re.search(r'"# ([^"\\]+)', path.read_text(encoding="utf-8"))
        name = title.group(1) if title else path.stem
        there = (RENDERED / f"{path.stem}.html").exists()
        lines.append(f"- [{name}](notebooks/{path.stem}.html)" if there else f"- {name}")
    return "\n".join(lines) + "\n"
