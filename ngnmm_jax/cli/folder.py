"""The folder that a command writes: whole files, settings last, and what lay there before."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ngnmm_jax._core.files import SCRATCH, clear, scratch
from ngnmm_jax._core.messages import fail
from ngnmm_jax.cli.output import interrupted, say
from ngnmm_jax.cli.toml import read_toml

# A disk on which there is no room, or none for this user.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Folder:
    """A command's folder: what it writes gets there whole, and its settings last.

    `part` is where files are written first; `kept`, if a command sets it, is where long work
    is kept while it runs, so that an interrupted command can say so.
    """

    def __init__(self, part: Path) -> None:
        self.part = part
        self.kept: Path | None = None


@contextlib.contextmanager
def writable(out: Path) -> Iterator[None]:
    """What goes wrong inside is said of `--out`."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        fail("--out", "be a place that can be written to", f"{str(out)!r} is none: {why}")


@contextlib.contextmanager
def folder(out: Path, settings: Any) -> Iterator[Folder]:
    """The folder of one run of the command whose settings these are."""
    begun = time.perf_counter()
    with writable(out):
        out.mkdir(parents=True, exist_ok=True)
        clear(out, (SCRATCH,))
    before = _written_before(out, settings)
    with contextlib.ExitStack() as stack:
        with writable(out):
            part = stack.enter_context(scratch(out))
        place = Folder(part)
        try:
            yield place
            names = _finish(part, out, settings, before)
        except KeyboardInterrupt as stop:
            interrupted(stop, place.kept)
        except Exception as error:
            # What was computed is worth more than the figure that failed.
            if _only_whole(part):
                with contextlib.suppress(OSError):
                    _finish(part, out, settings, before)
                    say(f"What was computed is kept in {out}, but the command failed:")
            if isinstance(error, OSError) and error.errno in _FULL:
                raise OSError(
                    f"{error.strerror}, for {str(out)!r}: make room, and call again."
                ) from error
            raise
    say(f"{time.perf_counter() - begun:.1f} s. In {out}: {', '.join(names)}")


def _finish(part: Path, out: Path, settings: Any, before: list[str]) -> list[str]:
    """All files to their places, with the settings that they come from; what there is."""
    files = sorted(map(str, _files(part)))
    text = as_toml(settings, files)
    for path in sorted(part.rglob("*.nc")):
        _note(path, text)
    (part / "settings.toml").write_text(text, encoding="utf-8")
    _remove(out, set(before) - set(files))
    return _move(part, out)


def _only_whole(part: Path) -> bool:
    """Whether there are results that can be read to their end; all else goes."""
    from ngnmm_jax._core import checks as _checks

    h5py = _checks.require_module("h5py", "data")
    for name in _files(part):
        try:
            with h5py.File(part / name) as file:
                file.visititems(lambda _, item: item[()] if hasattr(item, "shape") else None)
        except OSError:
            (part / name).unlink()
    return bool(_files(part))


def _written_before(out: Path, settings: Any) -> list[str]:
    """The files that an earlier run wrote, as its settings say; whose are replaced is said."""
    path = out / "settings.toml"
    if not path.is_file():
        return []
    try:
        known = read_toml(path)
    except (ValueError, OSError):
        return []
    provenance = known.pop("provenance", None)
    if not isinstance(provenance, dict):
        raise RuntimeError(
            f"Argument `--out` must be a folder whose files may be replaced, but {str(path)!r} "
            "is a file of your own: choose another folder."
        )
    other, files = provenance.get("command", "another command"), provenance.get("files")
    if other != settings.command:
        say(f"{out} holds the output of ngnmm {other}: files of the same name are replaced.")
    elif known != _values(settings):
        say(f"{out} holds another run of ngnmm {other}: its files are replaced.")
    return [str(name) for name in files] if isinstance(files, list) else []


def _remove(out: Path, names: set[str]) -> None:
    """Remove files of an earlier run, but nothing outside of the folder."""
    for path in (out / name for name in names):
        with contextlib.suppress(OSError):
            if path.resolve().is_relative_to(out.resolve()) and path.is_file():
                path.unlink()


def _values(settings: Any) -> dict[str, Any]:
    """All settings that say something: TOML has no word for nothing."""

    def without_none(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without_none(v) for k, v in value.items() if v is not None}
        return value

    values: dict[str, Any] = without_none(settings.model_dump())
    return values


def as_toml(settings: Any, files: list[str]) -> str:
    """Settings, so that `ngnmm COMMAND --config FILE` does the same again, and where from."""
    import tomli_w

    from ngnmm_jax._core.version import __version__

    provenance: dict[str, Any] = {
        "command": settings.command,
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


def _files(folder: Path) -> list[Path]:
    """The files in a folder and below, as seen from it."""
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def _move(part: Path, out: Path) -> list[str]:
    """Each file to its place, replacing what is there at once; settings after all others."""
    files = _files(part)
    for name in sorted(files, key=lambda name: (name.name == "settings.toml", str(name))):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(part / name, out / name)
    return sorted({name.parts[0] for name in files})
