"""What a command says."""

import codecs
import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ngnmm_jax._core.interrupted import INTERRUPTED
from ngnmm_jax._core.progress import state

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
# Seconds between two lines where there is no terminal.
_BETWEEN = 10.0


def say(line: str) -> None:
    """One line, as it is, at once."""
    print(line, flush=True)


def say_normalised() -> None:
    """What holds of each network of a connectome's regions."""
    say("Rows of the connectome are normalised: what each region receives sums to one.")


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
    """A figure's title: model, connectome, and what is set, each with its unit."""
    from ngnmm_jax.graphs.delays import SPEED
    from ngnmm_jax.models.notation import notation_of

    kind = settings.kind
    notation, delays = notation_of(kind), {"speed": SPEED, "delay": kind.time_unit}
    values: dict[str, Any] = {**settings.set, "coupling": settings.coupling, **settings.delays()}
    values = {name: value for name, value in values.items() if name not in set(without)}
    shown = ", ".join(
        f"{name} = {value:g} {delays.get(name) or notation.unit(name)}".removesuffix(" 1")
        for name, value in values.items()
        if not isinstance(value, list)
    )
    where = f" on {settings.where()}" if connectome else ""
    return settings.model + where + (f": {shown}" if shown else "")


@contextlib.contextmanager
def kept_in(store: Path | None = None) -> Iterator[None]:
    """While it lasts, an interruption says what `store` keeps of what is finished."""
    try:
        yield
    except KeyboardInterrupt as stop:
        interrupted(stop, store)


def interrupted(stop: KeyboardInterrupt, store: Path | None) -> NoReturn:
    """End the command, saying what is kept."""
    kept = getattr(stop, "kept", "")  # by `Interrupted`, which knows the whole
    if not kept and store is not None:
        blocks = len(list(store.glob(".ngnmm_store/block-*.json")))
        kept = f"{blocks} block{'s' * (blocks > 1)} kept in {store}" if blocks else ""
    say(f"Interrupted: {kept}; the same command goes on." if kept else "Interrupted.")
    raise typer.Exit(INTERRUPTED)


@contextlib.contextmanager
def lines() -> Iterator[None]:
    """While it lasts, a line every ten seconds says how far the work is, without a terminal."""
    if sys.stderr is None or sys.stderr.isatty():
        yield
        return
    over, begun = threading.Event(), time.monotonic()

    def write() -> None:
        while not over.wait(_BETWEEN):
            with contextlib.suppress(OSError, ValueError):  # a pipe that nobody reads any more
                line = state() or f"at work for {time.monotonic() - begun:.0f} s"
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()

    threading.Thread(target=write, name="ngnmm lines", daemon=True).start()
    try:
        yield
    finally:
        over.set()
