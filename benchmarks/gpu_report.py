"""What a run of `benchmarks.gpu` found, as tables."""

import subprocess
from typing import Any

from benchmarks.common import table


def card() -> str:
    """Name, driver and memory of the GPU, as nvidia-smi says; or that there is none."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "no GPU"
    return done.stdout.strip()


def in_words(part: dict[str, Any]) -> str:
    """How a part ended, and why."""
    lines = (part.get("reason") or "").splitlines()
    return f"{part['status']}, {lines[0][:400]}" if lines else str(part["status"])


def show(report: dict[str, Any]) -> None:
    """All tables, the state of the parts last."""
    parts = report["parts"]
    print(f"\n{report['card']}\n")
    _device(parts.get("device", {}))
    if _rows(parts, "sweeps"):
        _sweeps(_rows(parts, "sweeps"))
    here = [*_rows(parts, "analyses"), *_rows(parts, "plane")]
    if here or _rows(parts, "cpu"):
        _analyses(here, _rows(parts, "cpu"))
    for row in _rows(parts, "where"):
        kinds = ", ".join(f"{n} {kind}" for kind, n in row.get("hlo", {}).items())
        print(f"- {row['name']}: {row['words']}" + f" In its HLO: {kinds}." * bool(kinds))
    for row in _rows(parts, "cubnm"):
        said = f"{row['rate']:.3g} network-steps a second" if "rate" in row else row["error"]
        print(f"- cuBNM, {row['runs']} runs of {row['regions']} regions: {said}")
    plane = parts.get("plane", {})
    if "expected_seconds" in plane:
        measured, expected = plane.get("plane_seconds"), plane["expected_seconds"]
        said = f"{measured:.0f} s" if measured else "not measured"
        share = plane["expected_from"]
        print(f"- the whole map: {said}; {expected:.0f} s expected from {share} points")
    print("\n" + "\n".join(f"{name}: {in_words(part)}" for name, part in parts.items()))
    outcomes = [row["outcome"] for row in _rows(parts, "tests")]
    print("tests:", {kind: outcomes.count(kind) for kind in dict.fromkeys(outcomes)} or "none")
    bad = [r["name"] for r in _rows(parts, "tests") if r["outcome"] in ("FAILED", "ERROR", "XPASS")]
    print("not passed:", ", ".join(bad) or "none", flush=True)


def _rows(parts: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return parts.get(name, {}).get("rows", [])


def _device(found: dict[str, Any]) -> None:
    names = {
        "copy_bytes_a_second": "bytes a second copied",
        "product_flops_32": "flops of the product of 90 regions, 32 bits",
        "product_flops_64": "of it in 64 bits",
        "microseconds_a_loop": "µs a pass of the smallest loop",
        "microseconds_a_call_and_back": "µs a call with its result on the host",
    }
    said = "; ".join(f"{found[k]:.3g} {text}" for k, text in names.items() if k in found)
    print(said + "\n" if said else "")


def _sweeps(rows: list[dict[str, Any]]) -> None:
    names = ("rate", "share", "share_unfused", "microseconds_a_step", "compile")
    header = ["bits", "method", "runs", "network-steps a second", "of the fused bound"]
    header += ["of the unfused", "µs a step", "compile, s", "kernels a step"]
    cells = [
        [r["bits"], r["method"], r["runs"], *_of(r, *names), _count(r.get("kernels_a_step", {}))]
        for r in rows
    ]
    table(header, cells)


def _count(kinds: dict[str, int]) -> int:
    return sum(kinds.values())


def _analyses(rows: list[dict[str, Any]], on_cpu: list[dict[str, Any]]) -> None:
    beside = {row["name"]: row for row in on_cpu}
    names = [*dict.fromkeys([*(r["name"] for r in rows), *beside])]
    here = {row["name"]: row for row in rows}
    cells = []
    for name in names:
        a, b = here.get(name, {}), beside.get(name, {})
        cells.append([name, *_of(a, "size", "first", "compile", "again"),
                      *_of(b, "size", "first", "again")])  # fmt: skip
    header = ["", "size", "first, s", "compile, s", "again, s"]
    table([*header, "size on the CPU", "first, s", "again, s"], cells)


def _of(row: dict[str, Any], *names: str) -> list[Any]:
    """Values of a row, an error in the place of the first."""
    if "error" in row:
        return [row["error"][:60], *[""] * (len(names) - 1)]
    return ["" if row.get(name) is None else row[name] for name in names]
