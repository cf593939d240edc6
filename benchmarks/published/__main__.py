"""Prints the table; ends with 1 if a value is not where it should be."""

import argparse
import sys
from pathlib import Path

from benchmarks import common
from benchmarks.published import files, values

HEADER = ["model", "quantity", "published", "ours", "difference", "source"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.published")
    parser.add_argument("files", nargs="*", help=f"of {', '.join(files())}; default: all")
    parser.add_argument("--json", type=Path, help="write the table there too")
    given = parser.parse_args()
    unknown = set(given.files) - set(files())
    if unknown:
        parser.error(f"no file of values is called {', '.join(sorted(unknown))}")
    rows, wrong = [], []
    for known in values(given.files):
        ours = known.ours()
        difference = abs(ours - known.value)
        if not difference <= known.within:
            wrong.append(f"{known.model}, {known.quantity}")
        rows.append(
            [known.model, known.quantity, f"{known.value:.10g}", f"{ours:.10g}",
             f"{difference:.1e}", known.source]
        )  # fmt: skip
    print(common.machine(), end="\n\n")
    common.table(HEADER, rows)
    if given.json:
        common.save(given.json, "published")
    for name in wrong:
        print(f"not where it should be: {name}", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
