"""Fits: recovery of known parameters, and what a gradient through a simulation costs.

    python -m benchmarks.fits --recovery both [--starts 32]   # six numbers; a map of 100 regions
    python -m benchmarks.fits --gradients                # time and memory for 1, 10 and 60 s
    pip install tvboptim==0.4.0                          # to have it in the second table

Recovery: the data are spectra of a linear response, times the scatter of 600 (300) averaged
periodograms. A start succeeds when its loss is within one of the lowest, and all its parameters
within three standard deviations (of the curvature) of the truth; of the map, when the root mean
squared error is below twice what the curvature tells.

Gradients: of the variance of v_e over all regions of the embedded connectome, by all 100 currents
i_ext_e, in reverse mode; each number in a process of its own, whose peak memory is reported.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.common import machine, table


def six(starts: int) -> dict[str, Any]:
    """Five parameters and the noise's strength, from spectra of 12 regions."""
    import jax

    import ngnmm_jax as ng
    from ngnmm_jax import fitting
    from ngnmm_jax.fitting import interval, losses, positive

    frequencies = np.arange(2.0, 160.0, 4.0)
    network = ng.Network(
        ng.NextGenEI(i_ext_e=3.5), ng.Connectome.synthetic(12, seed=3).normalised(), 7.0
    )
    truth = ng.Driven(network, {"input": 0.001})
    spectra = _estimated(truth, frequencies, 600)
    parameters = {
        "i_ext_e": interval(0, 6),
        "coupling": interval(0, 15),
        "j_ee": interval(0, 10),
        "j_ie": interval(5, 20),
        "tau_si": interval(2, 10),
        "input_noise": positive(),
    }

    def loss(system: Any, key: Any) -> Any:
        found = ng.linear_response(system, frequencies, throw=False, stability=False)
        return losses.whittle(found.power, spectra, 600.0)

    begun = time.perf_counter()
    free = ng.Free(truth, parameters)
    # Random starts only: the first of `starts` would be the truth.
    first = free.draw(jax.random.key(1), starts)
    method = fitting.Gradient(learning_rate=0.15, polish=150)
    result = ng.fit(truth, free, loss, method=method, n_starts=first, steps=150, patience=150)
    known = fitting.identifiability(result, loss)
    exact = np.array([3.5, 7.0, 5.0, 13.0, 5.0, 0.001])
    sd = np.asarray(known.value_sd)
    values = np.array([[float(v) for v in result.values(k).values()] for k in range(starts)])
    off = np.abs(values - exact) / sd
    good = (result.loss < result.loss.min() + 1) & (off < 3).all(axis=1)
    return {
        "rate": f"{int(good.sum())} of {starts}",
        "seconds": time.perf_counter() - begun,
        "names": list(known.names),
        "truth": exact.tolist(),
        "found": values[result.best].tolist(),
        "sd": sd.tolist(),
        "curvatures": np.asarray(known.curvatures).tolist(),
    }


def regional(starts: int) -> dict[str, Any]:
    """i_ext_e of each of 100 regions, from their spectra and the growth of the leading mode."""
    import jax
    import jax.numpy as jnp

    import ngnmm_jax as ng
    from ngnmm_jax.fitting import Gradient, interval, losses
    from ngnmm_jax.stability.network_equilibrium import equilibrium
    from ngnmm_jax.stability.roots import root_at

    frequencies = np.arange(6.0, 130.0, 12.0)
    connectome = ng.Connectome.load().normalised()
    drive = 2.5 + 0.5 * np.random.default_rng(4).standard_normal(100)
    network = ng.Network(ng.NextGenEI(i_ext_e=drive), connectome, 7.0)
    truth = ng.Driven(network, {"input": 0.001})
    spectra = _estimated(truth, frequencies, 300)
    state, _ = equilibrium(network)
    from ngnmm_jax.dynamics.newton import jacobian

    every = np.linalg.eigvals(np.asarray(jacobian(network.vector_field, state)))
    leading = complex(every[np.argmax(every.real)])
    parameters = {"i_ext_e": interval(-1.0, 5.0, per="region")}

    def loss(system: Any, key: Any) -> Any:
        found = ng.linear_response(system, frequencies, throw=False, stability=False)
        value, error = root_at(system.system, found.state, leading)
        miss = jnp.where(error < 1e-6, jnp.abs(value - leading) ** 2, 0.0)
        return {
            "spectra": losses.whittle(found.power, spectra, 300.0),
            "stability": 0.5 * miss / 0.002**2,
        }

    begun = time.perf_counter()
    free = ng.Free(truth, parameters)
    first = free.draw(jax.random.key(1), starts)
    method = Gradient(learning_rate=0.2)
    result = ng.fit(truth, free, loss, method=method, n_starts=first, steps=120, patience=120)
    # Fisher's information of the spectra, by forward differentiation.
    log_power = jax.jacfwd(
        lambda d: jnp.log(
            ng.linear_response(
                truth.with_parameters(i_ext_e=d), frequencies, throw=False, stability=False
            ).power
        ).ravel()
    )(jnp.asarray(drive))
    sd = np.sqrt(np.diag(np.linalg.inv(300.0 * np.asarray(log_power.T @ log_power))))
    expected = float(np.sqrt((sd**2).mean()))
    rmse = np.array(
        [np.sqrt(((result.values(k)["i_ext_e"] - drive) ** 2).mean()) for k in range(starts)]
    )
    return {
        "rate": f"{int((rmse < 2 * expected).sum())} of {starts}",
        "seconds": time.perf_counter() - begun,
        "rmse": float(rmse[result.best]),
        "worst": float(rmse.max()),
        "expected": expected,
        "spread": float(drive.std()),
    }


def _estimated(system: Any, frequencies: np.ndarray, segments: int) -> np.ndarray:
    import ngnmm_jax as ng

    power = np.asarray(ng.linear_response(system, frequencies).power)
    scatter = np.random.default_rng(0).gamma(segments, 1 / segments, power.shape)
    return np.asarray(power * scatter)


def ours(seconds: float, gradient: bool) -> tuple[float, float]:
    """Seconds for one evaluation, and the peak memory in MiB."""
    import jax
    import jax.numpy as jnp

    import ngnmm_jax as ng
    from ngnmm_jax.fitting import simulated

    connectome = ng.Connectome.load().normalised()
    network = ng.Network(ng.NextGenEI(), connectome, 5.0)

    def loss(drive: Any) -> Any:
        system = network.with_parameters(i_ext_e=drive)
        v = simulated(system, jax.random.key(0), 1000.0 * seconds)
        return jnp.var(v)

    function = jax.jit(jax.value_and_grad(loss) if gradient else loss)
    return _timed(function, jnp.full(100, 3.0))


def tvboptim(seconds: float, gradient: bool) -> tuple[float, float]:
    """The same by RK4 of 0.05 ms, differentiated by JAX as tvboptim's own examples do."""
    import jax
    import jax.numpy as jnp
    from tvboptim.experimental.network_dynamics import prepare
    from tvboptim.experimental.network_dynamics.solvers import RungeKutta4

    from benchmarks.simulation import tvboptim_network

    network = tvboptim_network(100, ("v_e",))
    model, config = prepare(network, RungeKutta4(), t0=0.0, t1=1000.0 * seconds, dt=0.05)

    def loss(drive: Any) -> Any:
        config.dynamics.i_ext_e = drive
        return jnp.var(model(config).ys)

    function = jax.jit(jax.value_and_grad(loss) if gradient else loss)
    return _timed(function, jnp.full(100, 3.0))


def _timed(function: Any, argument: Any) -> tuple[float, float]:
    import jax

    jax.block_until_ready(function(argument))
    begun = time.perf_counter()
    jax.block_until_ready(function(argument))
    spent = time.perf_counter() - begun
    return spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _alone(name: str, seconds: float, gradient: bool) -> str:
    """A measurement in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.fits",
        "--one",
        name,
        str(seconds),
        str(int(gradient)),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    except subprocess.TimeoutExpired:
        return "over 900 s"
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()[-1:]
        return "killed for memory" if error.returncode < 0 else f"failed: {' '.join(last)[:60]}"
    spent, memory = json.loads(done.stdout.splitlines()[-1])
    return f"{spent:.3g} s, {memory:.0f} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recovery", choices=("six", "map", "both"))
    parser.add_argument("--starts", type=int, default=32)
    parser.add_argument("--gradients", action="store_true")
    parser.add_argument("--one", nargs=3, metavar=("WHO", "SECONDS", "GRADIENT"))
    options = parser.parse_args()
    import jax

    jax.config.update("jax_enable_x64", True)
    if options.one:
        who, seconds, gradient = options.one
        print(
            json.dumps({"ours": ours, "tvboptim": tvboptim}[who](float(seconds), gradient == "1"))
        )
        return
    print(machine(), flush=True)
    if options.recovery in ("six", "both"):
        found = six(options.starts)
        print(f"six numbers: {found['rate']} starts succeed, {found['seconds']:.0f} s\n")
        rows = [
            [name, f"{t:.4g}", f"{f:.4g}", f"{s:.2g}"]
            for name, t, f, s in zip(
                found["names"], found["truth"], found["found"], found["sd"], strict=True
            )
        ]
        table(["parameter", "truth", "found", "sd by the curvature"], rows)
        print("curvatures:", " ".join(f"{c:.3g}" for c in found["curvatures"]))
    if options.recovery in ("map", "both"):
        found = regional(options.starts)
        print(f"a map of 100 regions: {found['rate']} starts succeed, {found['seconds']:.0f} s\n")
        columns = ("rmse", "worst", "expected", "spread")
        heads = ["error of the best start", "worst start", "told by the data", "the map's spread"]
        table(heads, [[f"{found[name]:.3g}" for name in columns]])
    if options.gradients:
        rows = [
            [who, f"{seconds:g}", _alone(who, seconds, False), _alone(who, seconds, True)]
            for who, most in (("ours", 60.0), ("tvboptim", 10.0))  # 60 s would take 34 GiB
            for seconds in (1.0, 10.0, 60.0)
            if seconds <= most
        ]
        table(["", "simulated s", "value", "value and gradient"], rows)


if __name__ == "__main__":
    main()
