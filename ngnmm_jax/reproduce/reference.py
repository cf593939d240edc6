"""Values from independent implementations, and how far this library is from them."""

import functools
import importlib.resources
import json
from typing import Any

import numpy as np

import ngnmm_jax as ng
from ngnmm_jax.reproduce.task import Row, Task, agree

# One region whose mode has any Λ wanted.
_NODE = np.ones((1, 1))


@functools.cache
def values() -> dict[str, Any]:
    """The reference values, with an account of where they come from."""
    text = importlib.resources.files("ngnmm_jax.reproduce").joinpath("reference.json")
    return json.loads(text.read_text(encoding="utf-8"))


def largest_gap(found: Any, reference: Any) -> float:
    """The largest relative difference, where both are of the size of one or more; else absolute."""
    found, reference = np.asarray(found, float), np.asarray(reference, float)
    return float(np.max(np.abs(found - reference) / np.maximum(np.abs(reference), 1.0)))


def nearest_gap(found: list[float], reference: list[float]) -> float:
    """Of each reference value the relative distance to the nearest found one; the largest."""
    if not found:
        return float("inf")
    gaps = [min(abs(f - r) / max(abs(r), 1.0) for f in found) for r in reference]
    return max(gaps)


def states_and_growth(task: Task) -> list[Row]:
    """Equilibria, orbits, their growth at given Λ, Lyapunov exponents; both models."""
    known = values()
    lambdas = np.asarray(known["lambdas"])
    rows = []
    rest_gap, growth_gap = 0.0, 0.0
    for entry in known["equilibria"]:
        network = _node(entry)
        rest = ng.find_equilibria(network.homogeneous())
        gaps = [largest_gap(state, entry["state"]) for state in rest.states]
        best = int(np.argmin(gaps))
        curve = ng.dispersion(network, rest.states[best], lambdas=lambdas)
        rest_gap = max(rest_gap, gaps[best])
        growth_gap = max(growth_gap, largest_gap(curve.growth, entry["growth"]))
    n = len(known["equilibria"])
    rows.append(_within(f"{n} equilibria (SciPy, 1e-12)", rest_gap, 1e-8))
    rows.append(_within(f"growth at {lambdas.size} values of Λ on them, per ms", growth_gap, 1e-8))
    period_gap, growth_gap = 0.0, 0.0
    for entry in known["orbits"]:
        network = _node(entry)
        orbit = ng.find_orbit(network.homogeneous())
        curve = ng.dispersion(network, orbit, lambdas=lambdas)
        period_gap = max(period_gap, abs(float(orbit.period) / entry["period"] - 1))
        growth_gap = max(growth_gap, largest_gap(curve.growth, entry["growth"]))
    n = len(known["orbits"])
    rows.append(_within(f"periods of {n} orbits (SciPy, Newton shooting)", period_gap, 1e-8))
    rows.append(_within("transverse Floquet growth on them, per ms", growth_gap, 1e-8))

    gap = 0.0
    for entry in known["lyapunov"]:
        found = ng.lyapunov_spectrum(
            _node(entry).homogeneous(),
            duration=task.choose(5_000.0, 50_000.0),
            transient=1000.0,
            progress=task.progress,
        )
        gap = max(gap, largest_gap(found.exponents[:1], entry["exponents"][:1]))
    limit = task.choose(3e-3, 1e-3)
    rows.append(_within("leading Lyapunov exponents at 3 points (C), per ms", gap, limit))

    jansen = known["jansen_rit"]
    network = ng.Network(ng.JansenRit(p=float(jansen["p"])), _NODE, float(jansen["epsilon"]))
    orbit = ng.find_orbit(network.homogeneous())
    at = np.array([float(name) for name in jansen["growth_per_s"]])
    curve = ng.dispersion(network, orbit, lambdas=at)
    gap = largest_gap(curve.growth, list(jansen["growth_per_s"].values()))
    rows.append(_within("Jansen and Rit's orbit: growth at 5 values of Λ, per s", gap, 1e-6))
    return rows


def _node(entry: dict[str, Any]) -> ng.Network:
    model = ng.NextGenEI(i_ext_e=float(entry["i_ext_e"]))
    return ng.Network(model, _NODE, float(entry["epsilon"]))


def _within(what: str, gap: float, limit: float) -> Row:
    return Row(what, f"largest difference {gap:.1e} (allowed: {limit:.0e})", agree(gap <= limit))
