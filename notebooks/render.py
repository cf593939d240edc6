"""Run notebooks from start to end, for the documentation: `python notebooks/render.py`.

`--quick` takes their small settings; names (as 03, or 03_dispersion) choose some. What is there
already, from the same notebook and settings, is left alone.
"""

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import nbclient
import nbformat

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "notebooks"


class Client(nbclient.NotebookClient):
    """Runs notebooks whose widgets nobody moves.

    nbclient answers an `Output` widget on the channel on which it waits for the cell to end, and
    then sometimes waits for ever (its issue 312). Without answers outputs stay with their cells.
    """

    def on_comm_open_jupyter_widget(self, msg: Any) -> None:
        """Nothing: no widget is registered."""


def run(path: Path, quick: bool, timeout: float = 7200, kernel: Any = None) -> Any:
    """A notebook with its outputs, as a reader runs it, with `quick` set after its parameters.

    `kernel`: one that is running (a kernel manager of nbclient's), which forgets all names first;
    by default one of the notebook's own.
    """
    notebook = nbformat.read(path, as_version=4)
    (place,) = [
        k for k, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ())
    ]
    for where, code in ((place + 1, f"quick = {quick}"), (0, "%reset -f")):
        cell = nbformat.v4.new_code_cell(code, metadata={"tags": ["remove"]})
        notebook.cells.insert(where, cell)
    resources = {"metadata": {"path": str(ROOT)}}
    client = Client(notebook, timeout=timeout, resources=resources, km=kernel)
    try:
        client.execute(env=environment())
    finally:
        if kernel is not None and client.kc is not None:
            client.kc.stop_channels()
    return notebook


def environment() -> dict[str, str]:
    """That of a kernel: this checkout, figures inline."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {
        **os.environ,
        "PYTHONPATH": paths.rstrip(os.pathsep),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }


def keep(notebook: Any, path: Path, quick: bool, seconds: float) -> None:
    """Write an executed notebook, of which `docs/build.py` makes a page, with how it ran."""
    notebook.metadata["rendered"] = {"quick": quick, "seconds": round(seconds)}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def main(arguments: list[str] | None = None) -> int:
    """Run all notebooks, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which ones, by the beginning of their names")
    parser.add_argument("--quick", action="store_true", help="with their small settings")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    every = sorted((ROOT / "notebooks").glob("*.ipynb"))
    chosen = [p for p in every if not options.names or p.stem.startswith(tuple(options.names))]
    if not chosen:
        print(f"No notebook begins with {options.names}.", file=sys.stderr)
        return 1
    failed = []
    for path in chosen:
        digest = hashlib.sha256(path.read_bytes() + str(options.quick).encode()).hexdigest()
        out, mark = options.out / path.name, options.out / f"{path.stem}.sha256"
        if out.exists() and mark.exists() and mark.read_text() == digest:
            print(f"{path.stem}: there already")
            continue
        begun = time.perf_counter()
        print(f"{path.stem} …", end=" ", flush=True)
        try:
            notebook = run(path, options.quick)
        except nbclient.exceptions.CellExecutionError as error:
            failed.append(path.stem)
            print("failed", flush=True)
            print(error, file=sys.stderr)
            continue
        seconds = time.perf_counter() - begun
        keep(notebook, out, options.quick, seconds)
        mark.write_text(digest)
        print(f"{seconds:.0f} s, in {out}", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
