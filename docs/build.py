"""Build the documentation into site/: `python docs/build.py`, which is what `make docs` runs.

The pages of docs/ are gathered in build/pages with those that are made from other files (changes,
measurements, notebooks), and rendered with warnings as errors. Then lists of arguments become
tables, and each link and picture of each page is looked for.
"""

import argparse
import html
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"changes.md": "CHANGELOG.md", "results.md": "benchmarks/RESULTS.md"}
#: Where `notebooks/render.py` keeps executed notebooks.
EXECUTED = ROOT / "build" / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"


def gather(folder: Path) -> None:
    """All pages, as Markdown, with their pictures."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for path in folder.rglob("*.md"):
        up = "../" * (len(path.relative_to(folder).parts) - 1)
        path.write_text(_made_pages(path.read_text(encoding="utf-8"), up), encoding="utf-8")
    for page, source in PAGES.items():
        (folder / page).write_text(_links((ROOT / source).read_text(encoding="utf-8")))
    (folder / "notebooks").mkdir()
    listed = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        executed = EXECUTED / path.name
        title = _notebook(executed if executed.exists() else path, folder / "notebooks")
        listed.append(f"- [{title}]({path.stem}.md)")
    text = (
        "# Notebooks\n\nIn the folder `notebooks/`, without outputs, to run and to change. "
        "`make pages` runs them all, and puts their figures into these pages "
        "(`make pages QUICK=1` with small settings).\n\n"
    )
    (folder / "notebooks" / "index.md").write_text(text + "\n".join(listed) + "\n")


def _made_pages(text: str, up: str) -> str:
    """A page of docs/, its links to other files of the repository to the pages made from them.

    `up`: from the page to docs/.
    """
    for page, source in PAGES.items():
        text = text.replace(f"](../{up}{source}", f"]({up}{page}")
    text = text.replace(f"](../{up}notebooks/)", f"]({up}notebooks/index.md)")
    return re.sub(
        rf"\]\(\.\./{re.escape(up)}notebooks/(\w+)\.ipynb", rf"]({up}notebooks/\1.md", text
    )


def _links(text: str) -> str:
    """Links of a file of the repository, as seen from docs/; those that lead out become text."""
    text = text.replace("](docs/", "](").replace("](benchmarks/RESULTS.md", "](results.md")
    text = re.sub(r"\]\(notebooks/[\w.]*\)", "](notebooks/index.md)", text)
    return re.sub(r"\[([^\]]+)\]\((?:connectivity/|CITATION|\.\./|LICENSE)[^)]*\)", r"`\1`", text)


def _notebook(path: Path, folder: Path) -> str:
    """A notebook as a page, with the figures that it holds; its title."""
    from nbconvert import MarkdownExporter

    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [c for c in notebook.cells if "remove" not in c.metadata.get("tags", ())]
    for cell in notebook.cells:  # of sliders and progress bars a page has only a line of text
        cell.outputs = [o for o in cell.get("outputs", ()) if WIDGET not in o.get("data", ())]
    text, resources = MarkdownExporter().from_notebook_node(
        notebook, resources={"output_files_dir": f"{path.stem}_files"}
    )
    for name, data in (resources.get("outputs") or {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    title = re.search(r"^# (.+)$", text, re.MULTILINE).group(1)  # type: ignore[union-attr]
    text = re.sub(r"\]\(\.\./docs/", "](../", text)
    headings = _under(notebook.cells)
    text = re.sub(r"!\[png\]", lambda _: f"![Figure: {next(headings)}]", text)
    text = text.replace(f"# {title}\n", f"# {title}\n\n*{_made(path, notebook.metadata)}*\n", 1)
    (folder / f"{path.stem}.md").write_text(text, encoding="utf-8")
    return title


def _under(cells: list[Any]) -> Iterator[str]:
    """For each figure the heading that it stands under, in the order of the page."""
    heading = ""
    for cell in cells:
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)][-1]
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", ()):
                yield heading


def _made(path: Path, metadata: Any) -> str:
    """How a page's outputs were made."""
    name = f"`notebooks/{path.name}`"
    if "rendered" not in metadata:
        return f"{name}, without outputs; `make pages` runs it."
    how = metadata["rendered"]
    size, option = ("small", " --quick") if how["quick"] else ("full", "")
    command = f"python notebooks/render.py {path.stem[:2]}{option}"
    return f"{name} with its {size} settings: `{command}`, {how['seconds']} s."


def render(folder: Path, site: Path) -> None:
    """The pages, as a site; `SystemExit` where there are warnings."""
    config = folder.parent / "mkdocs.yml"
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    made = folder.parent / "rendered"  # it has to lie beside the settings
    for key, path in (("docs_dir", folder), ("site_dir", made)):
        text = re.sub(rf"^{key}: .*$", f"{key}: {path.name}", text, flags=re.MULTILINE)
    config.write_text(text.replace("paths: [.]", f"paths: ['{ROOT}']"), encoding="utf-8")
    zensical = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(
        [*zensical, "--config-file", config.name],
        cwd=config.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    shutil.rmtree(site, ignore_errors=True)
    shutil.move(made, site)


#: A list of names with what each means, as docstrings have it below a bold word.
_ARGUMENTS = re.compile(r"(<p><strong>Arguments:</strong></p>\n)<ul>\n(.*?)\n</ul>", re.DOTALL)
_ARGUMENT = re.compile(
    r"<li>\s*(?:<p>)?(<code>.*?</code>(?:, <code>[^<]*</code>)*)(.*?)(?:</p>)?\s*</li>", re.DOTALL
)


def tables(page: str) -> str:
    """The same page with each list of arguments as a table of names and meanings."""

    def table(found: re.Match[str]) -> str:
        rows = _ARGUMENT.findall(found.group(2))
        if len(rows) != found.group(2).count("<li>"):  # a list in a list: it stays
            return found.group(0)
        body = "".join(
            f"<tr><td>{names}</td><td>{text.lstrip(': ')}</td></tr>" for names, text in rows
        )
        return f'{found.group(1)}<table class="arguments"><tbody>{body}</tbody></table>'

    return _ARGUMENTS.sub(table, page)


def broken(site: Path) -> list[str]:
    """Links within the site, and pictures, that lead nowhere; each with its page."""
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    ids = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    found = []
    for path, text in pages.items():
        for link in re.findall(r'\b(?:href|src)="([^"]+)"', text):
            target, _, anchor = html.unescape(link).partition("#")
            if re.match(r"[a-z]+:|//", target) or path.name == "404.html":
                continue
            there = (path.parent / unquote(target.split("?")[0])).resolve() if target else path
            there = there / "index.html" if there.is_dir() else there
            lost = anchor and there in ids and unquote(anchor) not in ids[there]
            if not there.exists() or (lost and not anchor.startswith("__")):
                found.append(f"{path.relative_to(site)}: {link}")
    return sorted(set(found))


def main(arguments: list[str] | None = None) -> None:
    """Build the site."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, default=ROOT / "site")
    parser.add_argument("--pages", type=Path, default=ROOT / "build" / "pages")
    options = parser.parse_args(arguments)
    site, folder = options.site.resolve(), options.pages.resolve()
    gather(folder)
    render(folder, site)
    for path in site.rglob("*.html"):
        path.write_text(tables(path.read_text(encoding="utf-8")), encoding="utf-8")
    if lost := broken(site):
        sys.exit("Links that lead nowhere:\n" + "\n".join(lost))
    print(f"{sum(1 for _ in site.rglob('*.html'))} pages in {site}")


if __name__ == "__main__":
    main()
