"""Steps per second of each model beside the same model in tvboptim, vbjax and PyRates.

    python -m benchmarks.models                       # this library: each model by its name
    python -m benchmarks.models --peers FOLDER        # and tvboptim 0.4.0, vbjax 0.0.19 and PyRates
                                                      # 1.2.3, each in an environment of its own,
                                                      # made there if missing
    python -m benchmarks.models --only mpr jansen-rit # some of them
    python -m benchmarks.models --small               # does it run? (times of it mean nothing)

A network of 90 regions: synthetic weights (log-normal, rows of sum 1, dense), no delays; 64 bits;
one simulation, and 64 at once with a parameter and a start each. Each engine has a process of its
own, all of them one after the other. Peers take their own models, where they have one of the same
equations: both fields at the same state have to agree, or the run ends. How each is set up is in
`benchmarks/models_peers.py`.
"""

import argparse
import dataclasses
import functools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common, models_peers
from benchmarks.common import PEERS, best_of, engine_or, environment, in_process, machine, table
from benchmarks.models_peers import EVALUATIONS, NOTES, REPEATS, SIZES
from benchmarks.simulation import weights

COUPLING = 1.0
#: Of RK4's steps in the fastest time of a model.
FINENESS = 20
#: Largest difference of two fields, relative to the largest value of the variable's.
AGREEMENT = 1e-10
NONE = "–"


# This library


def names(**_: Any) -> list[str]:
    """Of all models."""
    from ngnmm_jax.models import MODELS

    return list(MODELS)


def ours(model: str, problem: str, small: bool) -> list[Any]:
    """Microseconds per step and simulation by RK4, and by Möbius steps where there are any.

    Writes the problem for the peers: parameters, weights, starts, and the field at the first.
    """
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    import ngnmm_jax as ng
    from ngnmm_jax.models import MODELS

    size, mass = SIZES[small], MODELS[model]()
    network = ng.Network(mass, weights(size.regions), COUPLING)
    axis = next(iter(mass.plane))
    middle, dt = float(getattr(mass, axis)), float(mass.fastest_time()) / FINENESS
    values = middle + np.linspace(-0.05, 0.05, size.batch) * max(1.0, abs(middle))
    starts = _starts(mass, size.batch, size.regions)
    field = np.asarray(network.vector_field(jax.numpy.asarray(starts[0])))
    parameters = {each.name: float(getattr(mass, each.name)) for each in dataclasses.fields(mass)}
    models_peers.write(
        problem, parameters=parameters, variables=mass.variables, axis=axis, dt=dt,
        coupling=COUPLING, weights=weights(size.regions), starts=starts, values=values, field=field,
    )  # fmt: skip

    def timed(integrator: str, batch: int) -> float:
        steps = size.ours[batch > 1]
        duration = steps * dt
        options: dict[str, Any] = {"dt": dt, "integrator": integrator, "save_every": duration / 2}

        def work() -> None:
            if batch == 1:
                run = ng.simulate(network, duration, start=starts[0], **options)
            else:
                run = ng.simulate_batch(network, {axis: values}, duration, start=starts, **options)
            jax.block_until_ready(run.states)

        return best_of(work, REPEATS) / (steps * batch) * 1e6

    methods = ["rk4"] if mass.exact_flow(jax.numpy.asarray(dt)) is None else ["rk4", "moebius"]
    return [[timed(method, batch) for batch in (1, size.batch)] for method in methods]


def _starts(mass: Any, batch: int, regions: int) -> np.ndarray:
    """Different in all regions, (run, variable, region), where the model looks for its states."""
    low, high = (np.asarray(bound)[:, None] for bound in mass.search_box())
    spread = np.random.default_rng(1).uniform(0.2, 0.4, size=(batch, len(low), regions))
    # Derivatives have no width there.
    return low + (high - low) * spread + 0.01 * spread


ENGINES: dict[str, Callable[..., Any]] = {"names": names, "ours": ours, **models_peers.ENGINES}
measure = functools.partial(in_process, "benchmarks.models")


# Tables


def measured(
    model: str, pythons: dict[str, str | None], folder: str, small: bool
) -> tuple[list[Any], dict[str, Any]]:
    """This library's times, and what each peer that has the model gave."""
    some: dict[str, Any] = {
        "problem": str(Path(folder) / f"{model}.npz"),
        "model": model,
        "small": small,
    }
    here, theirs = measure("ours", **some), {}
    if not isinstance(here, list):
        raise SystemExit(f"{model}: this library could not be timed")
    for peer, python in pythons.items():
        if python is None or (peer, model) not in NOTES:
            continue
        found = measure(peer, python=python, **some)
        if not isinstance(found, dict):
            continue  # `in_process` has said why
        if not found["difference"] < AGREEMENT:
            raise SystemExit(f"{model} of {peer} is another one: {found['difference']:.3g}")
        theirs[peer] = found
    return here, theirs


def agreement_table(everything: dict[str, Any]) -> None:
    print(
        "The same equations: largest difference of the fields of the whole network at the same "
        "state,\nrelative to the largest value of the same variable's:\n"
    )
    rows = [
        [model, peer, found["difference"], NOTES[peer, model]]
        for model, (_, theirs) in everything.items()
        for peer, found in theirs.items()
    ]
    table(["model", "peer", "difference", "how it is set up there"], rows)


def times_table(everything: dict[str, Any], batches: tuple[int, int]) -> None:
    print("Microseconds per step and simulation (in brackets the evaluations of a step):\n")
    header = ["model", "simulations", "RK4 (4)", "moebius"]
    header += [f"{peer}, {method} ({n})" for peer, (method, n) in EVALUATIONS.items()]
    header += ["pyrates, by"]
    rows = []
    for model, (here, theirs) in everything.items():
        for k, batch in enumerate(batches):
            own = [times[k] for times in here] + [NONE] * (2 - len(here))
            found = [theirs[peer]["times"][k] if peer in theirs else NONE for peer in EVALUATIONS]
            by = theirs["pyrates"]["by"][k] if "pyrates" in theirs else NONE
            rows.append([model, batch, *own, *found, by])
    table(header, rows)


def rates_table(everything: dict[str, Any], batches: tuple[int, int]) -> None:
    print("Thousands of steps, and of evaluations of a network's field by RK4, per second:\n")
    header = ["model", "simulations", "steps, RK4", "steps, moebius", "evaluations"]
    header += [f"{peer}, evaluations" for peer in EVALUATIONS]
    header += [f"ours / {peer}" for peer in EVALUATIONS]
    rows = []
    for model, (here, theirs) in everything.items():
        for k, batch in enumerate(batches):
            steps = [1e3 / times[k] for times in here] + [NONE] * (2 - len(here))
            found = {
                peer: EVALUATIONS[peer][1] * 1e3 / each["times"][k] for peer, each in theirs.items()
            }
            ratios = {peer: 4 * steps[0] / rate for peer, rate in found.items()}
            cells = [each.get(peer, NONE) for each in (found, ratios) for peer in EVALUATIONS]
            rows.append([model, batch, *steps, 4 * steps[0], *cells])
    table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="the peers' environments")
    parser.add_argument("--only", nargs="+", metavar="MODEL", help="some of the models")
    parser.add_argument("--small", action="store_true", help="see whether it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the tables there too")
    options = parser.parse_args()
    known = measure("names")
    chosen = options.only or known
    if unknown := sorted(set(chosen) - set(known)):
        parser.error(f"no such model: {', '.join(unknown)}; there are {', '.join(known)}")
    print(f"Machine: {machine()}\n")
    pythons = {peer: environment(options.peers, peer) for peer in PEERS}
    size = SIZES[options.small]
    print(f"{size.regions} regions, synthetic weights, no delays, 64 bits.\n")
    if options.small:
        print("(Tiny: what a call costs is most of these times.)\n")
    with tempfile.TemporaryDirectory() as folder:
        everything = {model: measured(model, pythons, folder, options.small) for model in chosen}
    if any(theirs for _, theirs in everything.values()):
        agreement_table(everything)
    times_table(everything, (1, size.batch))
    rates_table(everything, (1, size.batch))
    if options.json is not None:
        common.save(options.json, "models")


if __name__ == "__main__":
    if "--engine" in sys.argv:
        engine_or(main, ENGINES)
    else:
        main()
