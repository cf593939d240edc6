"""The Virtual Brain's connectivity: an archive or a folder of text files."""

import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from ngnmm_jax.connectome.packed import unpacked
from ngnmm_jax.connectome.parts import MOST_BYTES, Parts, Reading
from ngnmm_jax.connectome.text import decoded, is_number, table

_MATRICES = ("weights", "tract_lengths")
_CENTRES = ("centres", "centers")


def read_zip(path: Path, reading: Reading) -> Parts:
    """An archive of text files."""
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        size = sum(info.file_size for info in infos)
        if size > MOST_BYTES:
            raise ValueError(f"it unpacks to {size / 1e9:.3g} GB")
        names = [info.filename for info in infos if "__MACOSX" not in info.filename]
        return _members(names, archive.read, reading, "the archive")


def read_folder(path: Path, reading: Reading) -> Parts:
    """A folder of text files."""
    files = {p.relative_to(path).as_posix(): p for p in sorted(path.rglob("*")) if p.is_file()}
    return _members(list(files), lambda name: files[name].read_bytes(), reading, "the folder")


def _members(names: list[str], read: Callable[[str], bytes], reading: Reading, where: str) -> Parts:
    stems: dict[str, list[str]] = {}
    for name in names:
        stem = PurePosixPath(name).name.split(".")[0].lower()
        stems.setdefault(stem, []).append(name)
    parts = Parts({}, ["The Virtual Brain's files"])
    used: dict[str, str] = {}
    for stem in _MATRICES:
        option, given = ("variable", reading.variable) if stem == "weights" else (
            "lengths", reading.lengths)  # fmt: skip
        found = _member(stems, (stem,), names, given, option, where)
        if found is not None:
            used[stem] = found
            values = _numbers(_text(found, read, parts), parts)
            if values.size:
                parts.arrays[given if isinstance(given, str) else stem] = values
            else:
                parts.notes.append(f"{found} is empty")
    if "weights" not in used:
        raise ValueError(f"{where} holds no weights.txt")
    centres = _member(stems, _CENTRES, names, reading.labels, "labels", where)
    if centres is not None:
        used["labels"] = centres
        key = reading.labels if isinstance(reading.labels, str) else "labels"
        _centres(_text(centres, read, parts), parts, key)
    _one_home(used, reading, where)
    unused = sorted(set(names) - set(used.values()))
    if unused:
        parts.notes.append(f"not used: {', '.join(map(repr, unused[:6]))}")
    return parts


def _one_home(used: dict[str, str], reading: Reading, where: str) -> None:
    """Refuse members of different folders, such as two subjects', that nobody chose together."""
    option: dict[str, object] = {"weights": reading.variable, "tract_lengths": reading.lengths}
    option["labels"] = reading.labels if isinstance(reading.labels, str) else None
    free = [member for name, member in used.items() if option[name] is None]
    homes = {str(PurePosixPath(member).parent) for member in (*free, used["weights"])}
    if len(homes) > 1:
        raise ValueError(
            f"{where} has {' and '.join(map(repr, used.values()))} in different folders: choose "
            "what belongs together with `variable=`, `labels=` and `lengths=`"
        )


def _member(
    stems: dict[str, list[str]],
    wanted: tuple[str, ...],
    names: list[str],
    given: object,
    option: str,
    where: str,
) -> str | None:
    """The member that is named, or the only one of its kind."""
    if isinstance(given, str):
        ends = [name for name in names if name == given or name.endswith("/" + given)]
        if len(ends) == 1:
            return ends[0]
        if option == "variable":
            raise ValueError(f"{where} has {len(ends)} members called {given!r} (`variable=`)")
    found = [name for stem in wanted for name in stems.get(stem, ())]
    if len(found) > 1:
        raise ValueError(
            f"{where} has {' and '.join(map(repr, found))}: choose one with `{option}=`"
        )
    return found[0] if found else None


def _text(name: str, read: Callable[[str], bytes], parts: Parts) -> str:
    return decoded(unpacked(read(name), PurePosixPath(name).suffix), parts.notes)


def _numbers(text: str, parts: Parts) -> np.ndarray:
    rows = table(text, None, [])
    try:
        return np.array(rows, dtype=float)
    except ValueError as error:
        raise ValueError(f"a matrix in it is not one of numbers ({error})") from None


def _centres(text: str, parts: Parts, key: str) -> None:
    """Lines of a name, which may be several words, and three coordinates."""
    names, places = [], []
    lines = [line.split() for line in text.splitlines()]
    for row in table(text, None, []) if "," in text else lines:
        if not row:
            continue
        if len(row) < 4 and not any(map(is_number, row)):  # names alone
            names.append(" ".join(row))
            continue
        try:
            places.append([float(x) for x in row[-3:]])
        except ValueError:
            raise ValueError(f"the line {' '.join(row)!r} of its centres has no place") from None
        if len(places[-1]) != 3:
            raise ValueError(f"the line {' '.join(row)!r} of its centres has no place")
        names.append(" ".join(row[:-3]))
    if any(names):
        parts.arrays[key] = np.array(names)
    if places:
        parts.arrays["centroids"] = np.array(places)
