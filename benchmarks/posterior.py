"""A posterior from simulations, checked by calibration: docs/posterior.png and its numbers.

    pip install 'ngnmm-jax[all,sbi]'
    python -m benchmarks.posterior [--runs 2048] [--checks 400] [--out docs/posterior.png]

Two parameters of ten regions under noise, known by nine features of 400 ms. The sweep's runs train
a neural posterior estimator (`sbi`'s NPE, a masked autoregressive flow within the prior's bounds);
fresh runs with other parameters say whether its posteriors are as wide as they should be (Talts et
al., arXiv 1804.06788). The same once more with training runs that share one seed, to show why each
has to have its own. Some minutes of two cores.
"""

import argparse
import time
from typing import Any

import jax
import numpy as np

import ngnmm_jax as ng
from ngnmm_jax import fitting

PRIOR = {"i_ext_e": (0.0, 6.0), "coupling": (0.0, 15.0)}
SYMBOLS = {"i_ext_e": "external current", "coupling": "coupling ε"}
# Draws from each posterior; the observation that is shown.
DRAWS, SHOWN = 1000, {"i_ext_e": 3.0, "coupling": 8.0}
ACTIVITY = ng.Activity(
    duration=400.0,
    transient=300.0,
    sample=2.0,
    signals=("s_e",),
    keep=("mean", "variance", "fc_mean", "field_variance", "field_band_power"),
    segment=200.0,
    bands={"theta": (4, 12), "beta": (12, 30), "gamma": (30, 60), "high gamma": (60, 120)},
    dtype="float32",
)


def system() -> ng.Driven:
    """Ten regions with noise in their inputs."""
    connectome = ng.Connectome.synthetic(10, seed=1).normalised()
    return ng.Driven(ng.Network(ng.NextGenEI(), connectome, 10.0), {"input": 0.2})


def features(data: Any) -> dict[str, Any]:
    """Of the mean gate and its fluctuations, over regions; logarithms of powers."""
    return {
        "mean": data.s_e_mean.mean("region"),
        "spread of means": np.log(data.s_e_mean.std("region")),
        "variance": np.log(data.s_e_variance.mean("region")),
        "fc": data.s_e_fc_mean,
        "field": np.log(data.s_e_field_variance),
        "bands": np.log(data.s_e_field_band_power),
    }


def simulated(design: ng.Design) -> fitting.Pairs:
    """What a design's runs show."""
    data = ng.sweep(system(), design, ACTIVITY)
    return fitting.simulated_pairs(data, design, features(data))


def trained(pairs: fitting.Pairs) -> Any:
    """The posterior that the runs give, for any observation; none of it is outside the prior."""
    import torch
    from sbi.inference import NPE
    from sbi.neural_nets import posterior_nn

    torch.manual_seed(0)
    prior = pairs.prior()
    flow = posterior_nn(model="zuko_maf", z_score_theta="transform_to_unconstrained", x_dist=prior)
    inference = NPE(prior=prior, density_estimator=flow, show_progress_bars=False)
    inference.append_simulations(*pairs.tensors()).train()
    return inference.build_posterior()


def calibration(posterior: Any, checks: fitting.Pairs) -> dict[str, Any]:
    """Ranks (check, parameter) of the true parameters among draws; what they say."""
    import scipy.stats
    import torch
    from sbi.diagnostics import run_sbc

    torch.manual_seed(1)
    theta, x = checks.tensors()
    ranks, _ = run_sbc(theta, x, posterior, DRAWS, show_progress_bar=False)
    places = (np.asarray(ranks) + 0.5) / (DRAWS + 1)
    within = np.abs(places - 0.5) * 2  # the narrowest central interval that holds the truth
    return {
        "places": places,
        "p": [scipy.stats.kstest(column, "uniform").pvalue for column in places.T],
        "held": {level: (within <= level).mean(axis=0) for level in (0.5, 0.9)},
    }


def figure(posterior: Any, pairs: fitting.Pairs, found: dict[str, dict[str, Any]]) -> Any:
    """One posterior, and how often intervals hold the truth."""
    import matplotlib.pyplot as plt
    import torch

    fig, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    design = ng.Design.listed({k: [v] for k, v in SHOWN.items()}, seed=99)
    data = ng.sweep(system(), design, ACTIVITY, checks=0)
    observed = pairs.observed({k: v[0] for k, v in features(data).items()})
    torch.manual_seed(2)
    draws = posterior.sample(
        (2000,), x=torch.as_tensor(observed, dtype=torch.float32), show_progress_bars=False
    ).numpy()
    axes[0].plot(*draws.T, ".", ms=2, alpha=0.4, color="C0", label="posterior")
    axes[0].plot(*SHOWN.values(), "+", ms=14, mew=2, color="k", label="truth")
    names = [SYMBOLS[name] for name in pairs.parameters]
    axes[0].set(xlim=pairs.bounds[0], ylim=pairs.bounds[1], xlabel=names[0], ylabel=names[1])
    axes[0].set_title("(a) one observation, in the prior's range", fontsize=10)
    axes[0].legend(loc="lower left")
    for ax, (title, one) in zip(axes[1:], found.items(), strict=True):
        places = one["places"]
        count = len(places)
        expected = np.linspace(0, 1, 101)
        sd = np.sqrt(expected * (1 - expected) / count)
        ax.fill_between(expected, -2 * sd, 2 * sd, color="0.88", label="± 2 sd")
        for k, column in enumerate(places.T):
            ranked = np.sort(column)
            ax.plot(ranked, (np.arange(count) + 0.5) / count - ranked, label=names[k])
        ax.axhline(0, color="0.5", lw=0.8)
        ax.set(xlim=(0, 1), xlabel="rank of the truth among draws")
        ax.set_ylabel("share below it, less expected")
        ax.set_title(title, fontsize=10)
        ax.legend(fontsize=8)
    limit = max(np.abs(ax.get_ylim()).max() for ax in axes[1:])
    for ax in axes[1:]:
        ax.set_ylim(-limit, limit)
    return fig


def row(name: str, one: dict[str, Any]) -> str:
    """What calibration says, in Markdown."""
    cells = [f"{p:.2g}" for p in one["p"]]
    cells += [" / ".join(f"{share:.3f}" for share in one["held"][level]) for level in (0.5, 0.9)]
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """The figure and the table."""
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_enable_x64", True)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=2048)
    parser.add_argument("--checks", type=int, default=400)
    parser.add_argument("--out", default="docs/posterior.png")
    chosen = parser.parse_args()
    began = time.perf_counter()
    design = ng.Design.sobol(PRIOR, chosen.runs, seed=1).with_own_seeds()
    pairs = simulated(design)
    checks = simulated(ng.Design.random(PRIOR, chosen.checks, seed=2).with_own_seeds())
    took = time.perf_counter() - began
    posterior = trained(pairs)
    print(pairs, f"({took:.0f} s; trained in {time.perf_counter() - began - took:.0f} s)")
    # All training runs with the noise of the first.
    shared = ng.Design.sobol(PRIOR, chosen.runs, seed=1)
    same = ng.sweep(system(), shared, ACTIVITY)
    wrong = trained(fitting.simulated_pairs(same, design, features(same)))
    found = {
        "(b) each run with noise of its own": calibration(posterior, checks),
        "(c) all training runs with the same noise": calibration(wrong, checks),
    }
    print("| training runs | p, current | p, coupling | 50 % held | 90 % held |")
    print("|---|---|---|---|---|")
    for title, one in found.items():
        print(row(title[4:], one))
    figure(posterior, pairs, found).savefig(chosen.out, dpi=110)


if __name__ == "__main__":
    main()
