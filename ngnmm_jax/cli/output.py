"""What a command says, and the folder that it writes: whole files, settings last."""

import codecs
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ngnmm_jax.cli.toml import read_toml

_SPELLED = {
    "Λ": "Lambda", "λ": "lambda", "ε": "epsilon", "τ": "tau", "π": "pi", "×": "x", "…": "...",
    "→": "->", "–": "-", "±": "+-", "≥": ">=", "≤": "<=", "²": "^2",
}  # fmt: skip


def _spell(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_SPELLED.get(letter, "?") for letter in text), error.end


codecs.register_error("spelled", _spell)
with contextlib.suppress(AttributeError, OSError):
    sys.stdout.reconfigure(errors="spelled")  # type: ignore[union-attr]
console = Console()


def say(line: str) -> None:
    """One line, as it is."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def complain(line: str) -> None:
    """An error, in one line."""
    text = escape(" ".join(line.split()))
    console.print(f"[bold red]Error:[/] {text}", highlight=False, soft_wrap=True)


def progress() -> bool | None:
    """Whether to draw bars: where there is a terminal; None leaves it to the library."""
    return console.is_terminal or None


def table(title: str, columns: list[dict[str, Any]]) -> None:
    """One column for each entry, named by its first value; one line for each quantity."""
    first, *names = columns[0]
    made = Table(first, title=title)
    for column in columns:
        made.add_column(escape(str(column[first])), justify="right")
    for name in names:
        values = (column[name] for column in columns)
        made.add_row(
            escape(name), *(f"{v:.5g}" if isinstance(v, float) else escape(str(v)) for v in values)
        )
    console.print(made)


def title_of(settings: Any, without: Iterable[str] = (), connectome: bool = True) -> str:
    """A figure's title: model, connectome, parameters that differ from the defaults."""
    values: dict[str, Any] = {**settings.parameters, "coupling": settings.coupling}
    values = {name: value for name, value in values.items() if name not in set(without)}
    shown = ", ".join(f"{k} = {v:g}" for k, v in values.items() if not isinstance(v, list))
    where = f" on {Path(settings.connectome).stem}" if connectome else ""
    return settings.model + where + (f": {shown}" if shown else "")


class Folder:
    """A command's folder: what it writes gets there whole, and its settings last.

    `part` is where files are written first; `kept`, if a command sets it, is where long work
    is kept while it runs, so that an interrupted command can say so.
    """

    def __init__(self, part: Path) -> None:
        self.part = part
        self.kept: Path | None = None


@contextlib.contextmanager
def folder(out: Path, command: str, settings: Any) -> Iterator[Folder]:
    """The folder of one run of a command."""
    begun = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(out)
    _look(out, command, settings)
    part = Path(tempfile.mkdtemp(prefix=f".part-{os.getpid()}-", dir=out))
    place = Folder(part)
    try:
        yield place
        files = sorted(str(path.relative_to(part)) for path in part.rglob("*") if path.is_file())
        text = as_toml(settings, command, files)
        for path in sorted(part.rglob("*.nc")):
            _note(path, text)
        _clear(out, files)
        (part / "settings.toml").write_text(text, encoding="utf-8")
        names = _move(part, out)
    except KeyboardInterrupt:
        interrupted(place.kept)
    except Exception:
        finished = [path for path in sorted(part.rglob("*.nc")) if path.is_file()]
        if finished:  # what was computed is worth more than the figure that failed
            _move(part, out)
            say(f"What was computed is kept in {out}, but the command failed:")
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    say(f"{time.perf_counter() - begun:.1f} s. In {out}: {', '.join(names)}")


@contextlib.contextmanager
def kept_in(store: Path | None = None) -> Iterator[None]:
    """While it lasts, an interruption says that `store` keeps what is finished."""
    try:
        yield
    except KeyboardInterrupt:
        interrupted(store)


def interrupted(store: Path | None) -> NoReturn:
    """End the command, saying what is kept."""
    if store is None:
        say("Interrupted.")
    else:
        say(f"Interrupted: what was finished is kept in {store}; the same command goes on.")
    raise typer.Exit(130)


def _remove_leftovers(out: Path) -> None:
    """Parts of runs that are no longer there."""
    for path in out.glob(".part-*"):
        number = path.name.split("-")[1]
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            shutil.rmtree(path, ignore_errors=True)
        except (ValueError, PermissionError):
            continue


def _look(out: Path, command: str, settings: Any) -> None:
    """Say whose files are replaced, where another run's lie there."""
    path = out / "settings.toml"
    if not path.is_file():
        return
    with contextlib.suppress(ValueError, OSError):
        known = read_toml(path)
        provenance = known.pop("provenance", None)
        if not isinstance(provenance, dict):
            raise RuntimeError(
                f"Argument `--out` must be a folder whose files may be replaced, but {str(path)!r} "
                "is a file of your own: choose another folder."
            )
        other = provenance.get("command", "another command")
        if other != command:
            say(f"{out} holds the output of ngnmm {other}: files of the same name are replaced.")
        elif known != _values(settings):
            say(f"{out} holds another run of ngnmm {command}: its files are replaced.")


def _clear(out: Path, files: list[str]) -> None:
    """Remove what an earlier run wrote, as its settings say, and this one does not replace."""
    with contextlib.suppress(ValueError, OSError, AttributeError, TypeError, KeyError):
        known = read_toml(out / "settings.toml")["provenance"]["files"]
        for name in set(map(str, known)) - set(files):
            path = out / name
            if path.resolve().is_relative_to(out.resolve()) and path.is_file():
                path.unlink()


def _values(settings: Any) -> dict[str, Any]:
    def without_none(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without_none(v) for k, v in value.items() if v is not None}
        return value

    values: dict[str, Any] = without_none(settings.model_dump())
    return values


def as_toml(settings: Any, command: str, files: list[str]) -> str:
    """Settings, so that `ngnmm COMMAND --config FILE` does the same again, and where from."""
    import tomli_w

    from ngnmm_jax._core.version import __version__

    provenance: dict[str, Any] = {
        "command": command,
        "ngnmm_jax": __version__,
        "files": files,
    }
    source = Path(settings.connectome)
    if source.exists():
        provenance["connectome"] = str(source.resolve())
    provenance["connectome_sha256"] = settings.loaded_connectome.digest
    return tomli_w.dumps({**_values(settings), "provenance": provenance})


def _note(path: Path, text: str) -> None:
    """Settings in a NetCDF file."""
    from ngnmm_jax._core import checks as _checks

    h5py = _checks.require_module("h5py", "data")
    with h5py.File(path, "r+") as file:
        file.attrs["settings"] = text


def _move(part: Path, out: Path) -> list[str]:
    """Each file to its place, replacing what is there at once; settings after all others."""
    files = [path.relative_to(part) for path in part.rglob("*") if path.is_file()]
    for name in sorted(files, key=lambda name: (name.name == "settings.toml", str(name))):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(part / name, out / name)
    return sorted({name.parts[0] for name in files})
