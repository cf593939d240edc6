"""Connectomes in text files: matrices with or without names, and edge lists."""

import csv
import re
from collections.abc import Callable, Sequence

import numpy as np

from ngnmm_jax.connectome.edges import from_edges
from ngnmm_jax.connectome.parts import Parts, Reading, dense_size

_SEPARATORS = ("\t", ";", ",", None)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf(inity)?)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_EDGE_HEADERS = (
    {"source", "from", "src", "pre", "i", "node1", "region1", "roi1", "row", "start"},
    {"target", "to", "dst", "post", "j", "node2", "region2", "roi2", "col", "column", "end"},
)
_LENGTH_HEADERS = {"length", "tract_length", "fiber_length", "distance"}

Rows = list[list[str]]


def decoded(data: bytes, notes: list[str]) -> str:
    """Text in UTF-8, in UTF-16 or UTF-32 with its mark, or else in Latin-1.

    UTF-16 without its mark is known by its zeros, which no text has otherwise.
    """
    if data[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return data.decode("utf-32")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    if b"\0" in data[:2]:
        order = "little" if data[1:2] == b"\0" else "big"
        notes.append(f"read as UTF-16 without its mark, {order}-endian")
        return data.decode(f"utf-16-{order[0]}e")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        notes.append("read as Latin-1, for it is not UTF-8")
        return data.decode("latin-1")


def read_text(data: bytes, reading: Reading) -> Parts:
    """The parts of a text file: a dense matrix with names or without, or an edge list."""
    notes: list[str] = []
    rows = table(decoded(data, notes), reading.separator, notes)
    if not rows:
        raise ValueError("it holds no numbers")
    parts = _parts(rows, reading)
    parts.notes[:0] = notes
    return parts


def table(text: str, separator: str | None, notes: list[str]) -> Rows:
    """The entries of each line, without comments (#, %), quotes and decimal commas."""
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] not in "#%"]
    if lines and lines[0].lower().startswith("sep=") and len(lines[0].strip()) == 5:  # Excel's
        separator = lines[0].strip()[4] if separator is None else separator
        lines = lines[1:]
    if not lines:
        return []
    if separator is None:
        separator = _separator(lines)
    rows = [[entry.strip() for entry in row] for row in _split(lines, separator)]
    rows = [row for row in rows if any(row)]
    if not rows:
        return []
    if separator in (None, " "):
        shown = "blanks"
    else:
        shown = {"\t": "tabs", ";": "semicolons", ",": "commas"}.get(separator, repr(separator))
        while all(len(row) > 1 and row[-1] == "" for row in rows):  # a separator ends each line
            rows = [row[:-1] for row in rows]
    if len(rows[0]) > 1 or len(rows) > 1:
        notes.append(f"entries are separated by {shown}")
    if separator != "," and any(_DECIMAL_COMMA.fullmatch(e) for row in rows for e in row):
        notes.append("commas are decimal ones")
        rows = [
            [e.replace(",", ".") if _DECIMAL_COMMA.fullmatch(e) else e for e in row] for row in rows
        ]
    return rows


def _split(lines: Sequence[str], separator: str | None) -> Rows:
    if separator is None or separator == " ":
        lines = [" ".join(line.split()) for line in lines]
        return list(csv.reader(lines, delimiter=" ", skipinitialspace=True))
    return list(csv.reader(lines, delimiter=separator, skipinitialspace=True))


def _separator(lines: Sequence[str]) -> str | None:
    """The first separator at which most lines have the same number of entries, over one."""
    best, most = None, 0.0
    for separator in _SEPARATORS:
        widths = [len(row) for row in _split(lines, separator)]
        common = max(set(widths), key=widths.count)
        share = widths.count(common) / len(widths)
        if common > 1 and share > most + 0.3:
            best, most = separator, share
    return best


def is_number(entry: str) -> bool:
    """Whether an entry is a number."""
    return _NUMBER.fullmatch(entry) is not None


def _parts(rows: Rows, reading: Reading) -> Parts:
    if reading.edges is not False and (found := _edges(rows, reading)) is not None:
        return found
    if reading.edges:
        raise ValueError("it is no list of edges: its lines have not two or three entries each")
    if len(rows) > 2 and rows[0][:2] == rows[1][:2] == ["data", "data"]:
        return _connectogram(rows)
    return _matrix(rows)


def _connectogram(rows: Rows) -> Parts:
    """DSI Studio's: two columns and two lines before the numbers, the second ones are names."""
    names = rows[1][2:]
    if [row[1] for row in rows[2:]] != names:
        raise ValueError("the names of its lines and columns differ")
    numbers = _numbers([row[2:] for row in rows[2:]])
    return Parts({"weights": numbers, "labels": np.array(names)}, ["a connectogram of DSI Studio"])


# ---------------------------------------------------------------- edge lists


def _edges(rows: Rows, reading: Reading) -> Parts | None:
    """The edges, if it is a list of them: by its header, its first line, or its three columns."""
    n, header = None, None
    if len(rows) > 1 and len(rows[0]) == 1 and all(len(row) == 3 for row in rows[1:]):
        if not rows[0][0].isdigit():
            return None
        n, rows = int(rows[0][0]), rows[1:]
    elif _edge_columns(rows[0], reading.variable) is not None:
        header, rows = rows[0], rows[1:]
    elif not _looks_like_edges(rows, reading):
        return None
    elif reading.edges and len(rows) > 1 and not is_number(rows[0][-1]):
        rows = rows[1:]  # a header of other words
    found = _edge_columns(header, reading.variable)
    i, j, w, length = found or (0, 1, 2 if len(rows[0]) > 2 else None, None)
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("its lines have different numbers of entries, or there is none")
    weights = [1.0] * len(rows) if w is None else _column(rows, w)
    sources, targets = ([row[k] for row in rows] for k in (i, j))
    parts = from_edges(sources, targets, weights, n, reading)
    parts.notes.insert(0, _read_as(header if found else None, (i, j, w, length)))
    if w is None:
        parts.notes.append("edges without a weight have weight 1")
    if length is not None:
        lengths = from_edges(sources, targets, _column(rows, length), n, reading)
        parts.arrays["tract_lengths"] = lengths.arrays["weights"]
    return parts


def _read_as(header: Sequence[str] | None, columns: Sequence[int | None]) -> str:
    """What each column was taken for: by the header's names, or by their order."""
    meant = ("source", "target", "weight", "tract length")
    if header is None:
        told = [what for what, k in zip(meant, columns, strict=True) if k is not None]
        return f"each line of the edge list is read as {', '.join(told)}"
    named = [
        f"{what} {header[k].strip()!r}"
        for what, k in zip(meant, columns, strict=True)
        if k is not None
    ]
    return f"the edge list is read by its header: {', '.join(named)}"


def _edge_columns(
    header: Sequence[str] | None, variable: str | None
) -> tuple[int, int, int | None, int | None] | None:
    """Which columns hold the source, the target, the weight and the length, by a header."""
    if header is None:
        return None
    names = [name.lower().strip() for name in header]
    ends = [[k for k, name in enumerate(names) if name in known] for known in _EDGE_HEADERS]
    if any(len(found) != 1 for found in ends):
        return None
    rest = [k for k in range(len(names)) if k not in (ends[0][0], ends[1][0])]
    lengths = [k for k in rest if names[k] in _LENGTH_HEADERS]
    rest = [k for k in rest if k not in lengths and names[k] != ""]
    if len(rest) > 1:
        known = ("weight", "w", "weights") if variable is None else (variable.lower(),)
        named = [k for k in rest if names[k] in known]
        if len(named) != 1:
            have = [header[k] for k in rest]
            raise ValueError(f"choose the column of the weights with `variable=`: {have}")
        rest = named
    return ends[0][0], ends[1][0], rest[0] if rest else None, lengths[0] if lengths else None


def _looks_like_edges(rows: Rows, reading: Reading) -> bool:
    if reading.edges or reading.one_based is not None:
        return all(len(row) in (2, 3) for row in rows)
    if any(len(row) != 3 for row in rows):
        return False
    numeric = [[is_number(entry) for entry in row] for row in rows]
    if all(row == [False, False, True] for row in numeric):  # named ones
        return True
    if not all(map(all, numeric)) or not all(_whole(row[0]) and _whole(row[1]) for row in rows):
        return False
    pairs = {(row[0], row[1]) for row in rows}
    if len(pairs) < len(rows):  # an edge would stand twice
        return len(rows) != 3
    columns = [[row[0] for row in rows], rows[0]]  # names of 2 x 2 numbers, or of 3 x 3
    named = len(rows) in (2, 4) and _counting(columns[len(rows) // 4])
    if len(rows) != 3 and not named:
        return True
    raise ValueError(
        f"{len(rows)} lines of three numbers are a matrix or a list of edges: say `edges=False` or "
        "`edges=True`"
    )


def _numbering(entries: Sequence[str]) -> bool:
    """Whether numbers may be names: whole, not negative, and each another one."""
    numbers = all(is_number(entry) and "." not in entry for entry in entries)
    return numbers and all(map(_whole, entries)) and len(set(entries)) == len(entries)


def _counting(entries: Sequence[str]) -> bool:
    """Whether they count from zero or from one."""
    return list(entries) in ([str(k) for k in range(len(entries))],
                             [str(k + 1) for k in range(len(entries))])  # fmt: skip


def _whole(entry: str) -> bool:
    value = float(entry)
    return np.isfinite(value) and value == int(value) >= 0


def _column(rows: Rows, k: int) -> list[float]:
    return list(_numbers([[row[k]] for row in rows])[:, 0])


# ---------------------------------------------------------------- matrices


def _matrix(rows: Rows) -> Parts:
    """A dense matrix with names in a line above, in a column before, in both, or in none."""
    notes: list[str] = []
    above, before = None, None
    widths = {len(row) for row in rows[1:]} or {len(rows[0])}
    if len(widths) > 1 or len(rows[0]) - min(widths) not in (0, -1):
        raise ValueError(
            f"its lines have different numbers of entries ({sorted({len(r) for r in rows})})"
        )
    width = widths.pop()
    if len(rows[0]) == width - 1:  # R's write.table: the header names the columns only
        above, rows = rows[0], rows[1:]
        before, rows = _off(rows)
    else:
        if _names_above(rows, width):
            above, rows = rows[0], rows[1:]
        if rows and _names_before(rows, width, above):
            before, rows = _off(rows)
            above = above[1:] if above is not None else None
    if not rows or not rows[0]:
        raise ValueError("it holds no numbers (another `separator=`?)")
    _sure_of_names(rows, above, before)
    dense_size(len(rows), "it")
    numbers = _numbers(rows)
    parts = Parts({"weights": numbers}, notes)
    if numbers.shape[0] == numbers.shape[1]:
        _label(parts, above, before)
    return parts


def _off(rows: Rows) -> tuple[list[str], Rows]:
    return [row[0] for row in rows], [row[1:] for row in rows]


def _names_above(rows: Rows, width: int) -> bool:
    """Whether the first line holds names: words, an empty corner, or one line too many."""
    first = rows[0]
    words = [not is_number(entry) for entry in first if entry]
    if first[0] == "" or all(words):
        return True
    if words[0] and not any(words[1:]):  # a word in the corner of numbers
        return len(rows) == width
    return len(rows) == width + 1 and not any(words)


def _names_before(rows: Rows, width: int, above: Sequence[str] | None) -> bool:
    """Whether the first column holds names: likewise."""
    if (above is not None and above[0] == "" and len(rows) == width - 1) or width == len(rows) + 1:
        return True
    return not all(row[0] == "" or is_number(row[0]) for row in rows)


def _sure_of_names(rows: Rows, above: Sequence[str] | None, before: Sequence[str] | None) -> None:
    """Refuse numbers that may be names or weights."""
    lists = [names for names in (above, before) if names and all(map(is_number, names))]
    if any(not _numbering(names) for names in lists) or (
        len(lists) == 1 and (above is None or before is None) and not _counting(lists[0])
    ):
        raise ValueError(
            f"it is {len(rows)} x {len(rows[0])} beside a line or a column of numbers that count "
            "nothing: a matrix with a line or column too many or too few? If they are names, have "
            "them above and before"
        )
    if not lists and above is None and before is None and len(rows) > 3:
        first, column = rows[0][1:], [row[0] for row in rows[1:]]
        rising = _numbering(first) and first == sorted(first, key=float)
        if rising and len(rows) == len(rows[0]) and first == column and float(first[0]) > 1:
            raise ValueError(
                "its first line and its first column are the same rising numbers: names or "
                "weights? If they are names, leave the corner empty"
            )


def _label(parts: Parts, above: Sequence[str] | None, before: Sequence[str] | None) -> None:
    """Names by the lines', by the columns', or by both, in the lines' order."""
    n = len(parts.arrays["weights"])
    lists = [names for names in (before, above) if names is not None and len(names) == n]
    if len(lists) == 2 and sorted(lists[0]) == sorted(lists[1]) and lists[0] != lists[1]:
        parts.arrays["weights"] = parts.arrays["weights"][:, matching(*lists)]
        parts.notes.append("its columns stand in another order than its lines, and were sorted")
        parts.arrays["labels"] = np.array(lists[0])
        return
    automatic: list[Callable[[int], str]] = [str, lambda k: str(k + 1), lambda k: f"V{k + 1}"]
    given = [names for names in lists if not any(
        list(names) == [rule(k) for k in range(n)] for rule in automatic
    )]  # fmt: skip
    if not given:
        if lists:
            parts.notes.append("its lines and columns are numbered, not named")
        return
    parts.arrays["labels"] = np.array(given[0])
    if len(given) == 2 and list(given[0]) != list(given[1]):
        matching(given[0], given[1])  # refuses names that differ


def matching(rows: Sequence[str], columns: Sequence[str]) -> list[int]:
    """Where each line's name stands among the columns'."""
    if sorted(rows) != sorted(columns) or len(set(rows)) != len(rows):
        extra = sorted(set(columns) ^ set(rows))
        raise ValueError(
            f"its lines and columns have different names (only one of them has {extra[:4]})"
            if extra
            else "its lines and columns have names that repeat, in different orders"
        )
    where = {name: k for k, name in enumerate(columns)}
    return [where[name] for name in rows]


def _numbers(rows: Rows) -> np.ndarray:
    try:
        return np.array(rows, dtype=float)
    except ValueError:
        line, column, bad = next(
            (i + 1, j + 1, entry)
            for i, row in enumerate(rows)
            for j, entry in enumerate(row)
            if not is_number(entry)
        )
    what = f"{bad!r} is not a number" if bad else "an entry is empty"
    raise ValueError(f"{what} (line {line}, column {column} of the numbers)")
