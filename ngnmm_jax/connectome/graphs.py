"""Connectomes as graphs: Matrix Market and GraphML."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.connectome.edges import from_edges
from ngnmm_jax.connectome.parts import Parts, Reading, dense, dense_size

_NAMES = ("dn_name", "label", "name", "dn_fsname")
_PLACES = (("x", "y", "z"), ("dn_position_x", "dn_position_y", "dn_position_z"))
_LENGTHS = ("fiber_length_mean", "tract_length", "length")


def read_mtx(path: Path) -> Parts:
    """Matrix Market's; it says itself whether it is symmetric."""
    from scipy.io import mminfo, mmread

    rows, columns, *_, symmetry = mminfo(path)
    dense_size(max(rows, columns), "it")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        matrix = mmread(path)  # in either of SciPy's forms
    weights = dense(matrix, "it") if hasattr(matrix, "toarray") else np.asarray(matrix)
    notes = [f"a Matrix Market file, {symmetry}"]
    return Parts({"weights": weights}, notes, sure=symmetry != "general")


def read_graphml(path: Path, reading: Reading) -> Parts:
    """GraphML's nodes and edges, with their attributes."""
    networkx = _checks.require_module("networkx", "data")
    try:
        graph = networkx.read_graphml(path)
    except Exception as error:  # whatever the parser of XML makes of other files
        raise ValueError(f"it is not GraphML ({error})") from None
    nodes = list(graph.nodes)
    dense_size(len(nodes), "it")
    attribute = _attribute(graph, reading)
    parts = _matrix(graph, nodes, attribute)
    if reading.variable is not None:
        parts.arrays[reading.variable] = parts.arrays.pop("weights")
    wanted = (reading.labels,) if isinstance(reading.labels, str) else _NAMES
    names = next((key for key in wanted if all(graph.nodes[node].get(key) for node in nodes)), None)
    key = names if names is not None and names == reading.labels else "labels"
    parts.arrays[key] = np.array(
        [str(node if names is None else graph.nodes[node][names]) for node in nodes]
    )
    parts.notes.append(f"weights: the edges' {attribute!r}" if attribute else "edges weigh 1")
    lengths = reading.lengths if isinstance(reading.lengths, str) else None
    edges = [data for _, _, data in graph.edges(data=True)]
    for key in (lengths,) if lengths else _LENGTHS:
        if edges and key != attribute and all(key in data for data in edges):
            parts.arrays[lengths or "tract_lengths"] = _matrix(graph, nodes, key).arrays["weights"]
            parts.notes.append(f"tract lengths: the edges' {key!r}")
            break
    for keys in _PLACES:
        if nodes and all(key in graph.nodes[node] for node in nodes for key in keys):
            parts.arrays["centroids"] = np.array(
                [[float(graph.nodes[node][key]) for key in keys] for node in nodes]
            )
    return parts


def _attribute(graph: Any, reading: Reading) -> str | None:
    """The edges' attribute that is their weight; None where they have none."""
    edges = [data for _, _, data in graph.edges(data=True)]
    numeric = sorted({k for data in edges for k, v in data.items() if _is_number(v)})
    if reading.variable is not None:
        if reading.variable not in numeric:
            raise ValueError(f"its edges have no {reading.variable!r}; they have {numeric}")
        return reading.variable
    if "weight" in numeric:
        return "weight"
    left = [key for key in numeric if key not in _LENGTHS]
    if len(left) > 1:
        raise ValueError(f"its edges have {left}: choose the weights with `variable=`")
    return left[0] if left else None


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)


def _matrix(graph: Any, nodes: list[Any], attribute: str | None) -> Parts:
    index = {node: str(k) for k, node in enumerate(nodes)}
    ends, values = [], []
    for source, target, data in graph.edges(data=True):
        if attribute is not None and not _is_number(data.get(attribute)):
            raise ValueError(f"the edge {source} – {target} has no number {attribute!r}")
        value = 1.0 if attribute is None else float(data[attribute])
        ends.append((index[source], index[target]))
        values.append(value)
        if not graph.is_directed() and source != target:
            ends.append((index[target], index[source]))
            values.append(value)
    if not ends:
        raise ValueError("it has no edges")
    sources, targets = zip(*ends, strict=True)
    parts = from_edges(sources, targets, values, len(nodes), Reading(one_based=False))
    parts.one_way, parts.sure = False, True  # it says itself how its edges go
    parts.notes = ["a directed graph" if graph.is_directed() else "an undirected graph"]
    return parts
