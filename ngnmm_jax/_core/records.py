"""Records: JSON with a digest of itself, and what differs between two of them; packed arrays."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np


class Damaged(Exception):
    """A file of a store is not what was written. `path`: which."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is damaged ({why})")
        self.path = path


def read(path: Path) -> dict[str, Any] | None:
    """A record, without its digest; None where there is none. Raises `Damaged`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(path, error.strerror or repr(error)) from error
    try:
        record = json.loads(data)
        known = record.pop("digest")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Damaged(path, str(error)) from error
    if known != digest(record):
        raise Damaged(path, "its digest is another one")
    return record


def plain(value: Any) -> Any:
    """As it comes back from JSON."""
    return json.loads(json.dumps(value))


def digest(record: dict[str, Any]) -> str:
    """Of what JSON says, not of how it is written."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def seal(data: bytes) -> list[Any]:
    """A file's size and digest."""
    return [len(data), hashlib.sha256(data).hexdigest()]


def text(record: dict[str, Any]) -> bytes:
    """A record with its digest, as it is written."""
    return json.dumps({**record, "digest": digest(record)}, indent=1).encode()


def differences(known: dict[str, Any], wanted: dict[str, Any]) -> str:
    """In which entries two definitions differ, in words; empty where in none."""
    # As text, in which NaN is NaN.
    differs = [
        k
        for k in sorted({*known, *wanted})
        if json.dumps(known.get(k), sort_keys=True) != json.dumps(wanted.get(k), sort_keys=True)
    ]
    pairs = ((k, *_apart(known.get(k), wanted.get(k))) for k in differs)
    return "; ".join(f"{k} ({there} there, {here} here)" for k, there, here in pairs)


def _apart(known: Any, wanted: Any) -> tuple[str, str]:
    """Two values as texts of at most 60 characters, which begin shortly before they differ."""
    texts = [json.dumps(value, sort_keys=True) for value in (known, wanted)]
    pairs = enumerate(zip(*texts, strict=False))
    same = next((k for k, (one, other) in pairs if one != other), min(map(len, texts)))
    begin = 0 if max(map(len, texts)) <= 60 else max(same - 20, 0)
    there, here = (
        ("…" if begin else "") + (rest if len(rest) <= 58 else rest[:57] + "…")
        for rest in (text[begin:] for text in texts)
    )
    return there, here


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    """A file of NumPy's: the same bytes for the same arrays, for it has no date in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, value in arrays.items():
            one = io.BytesIO()
            np.lib.format.write_array(one, np.asarray(value), allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), one.getvalue())
    return stream.getvalue()
