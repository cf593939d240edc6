"""What a Turing-Hopf instability leaves on a ring and on a sphere: docs/waves.png and its numbers.

    python -m benchmarks.waves [--out docs/waves.png]

Takes some minutes of one core.
"""

import argparse
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg
from scipy.spatial import ConvexHull

import ngnmm_jax as ng
from ngnmm_jax import signals

# Of the ring: regions, mm between them, mm to those that they reach, and the spread of that.
REGIONS, SPACING, REACH, SPREAD = 60, 4.0, 20.0, 8.0
# Of the sphere: nodes, radius and spread in mm.
NODES, RADIUS, NARROW = 600, 36.0, 4.0
# ms between samples, and half the width of the band that is looked at, Hz.
SAMPLE, HALF = 0.5, 40.0


def ring() -> tuple[ng.Network, signals.Grid, np.ndarray]:
    """The paper's model on a ring; and how many waves around it each mode has."""
    steps = np.minimum(np.arange(REGIONS), REGIONS - np.arange(REGIONS))
    kernel = np.exp(-((SPACING * steps - REACH) ** 2) / (2 * SPREAD**2)) * (steps > 0)
    weights = scipy.linalg.circulant(kernel / kernel.sum())
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), weights, 15.0)
    return network, signals.Grid(REGIONS, SPACING), np.arange(REGIONS // 2 + 1)


def sphere() -> tuple[ng.Network, signals.Mesh, np.ndarray]:
    """The same on a sphere, and its nodes, which lie on a spiral of even density."""
    height = 1 - (2 * np.arange(NODES) + 1) / NODES
    turn = np.pi * (1 + 5**0.5) * (np.arange(NODES) + 0.5)
    wide = np.sqrt(1 - height**2)
    places = np.stack([wide * np.cos(turn), wide * np.sin(turn), height], axis=1)
    faces = ConvexHull(places).simplices
    a, b, c = (places[faces[:, k]] for k in range(3))
    outward = (np.cross(b - a, c - a) * a).sum(axis=1) > 0
    mesh = signals.Mesh(RADIUS * places, np.where(outward[:, None], faces, faces[:, ::-1]))
    away = RADIUS * np.arccos(np.clip(places @ places.T, -1, 1))
    weights = np.exp(-((away - REACH) ** 2) / (2 * NARROW**2)) * np.asarray(mesh.shares)
    np.fill_diagonal(weights, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return ng.Network(ng.NextGenEI(i_ext_e=13.0), weights, 12.0), mesh, RADIUS * places


def activity(network: ng.Network, rest: np.ndarray, time: float) -> np.ndarray:
    """Potentials (time, region) from the uniform rest with noise of one percent."""
    noise = np.random.default_rng(1).normal(size=(len(rest), network.n_regions))
    run = ng.simulate(
        network,
        time,
        start=rest[:, None] * (1 + 0.01 * noise),
        dt=0.05,
        save_every=SAMPLE,
        variables=("v_e",),
    )
    return np.asarray(run.v_e)


def on_the_ring() -> dict[str, Any]:
    """Dispersion, activity, power of modes, and what travels."""
    network, grid, number = ring()
    rest = np.asarray(ng.find_equilibria(network.homogeneous()).states[0])
    lambdas = np.fft.rfft(np.asarray(network.weights)[0]).real
    modes = ng.dispersion(network, rest, lambdas=lambdas)
    values = activity(network, rest, 2000.0)
    angle = 2 * np.pi * np.outer(np.arange(REGIONS), number) / REGIONS
    basis = signals.ModalBasis.fitted(np.exp(1j * angle) / REGIONS**0.5)
    amplitudes = signals.modal_activity(values - rest[1], SAMPLE / 1000, basis).amplitudes
    power = np.abs(np.asarray(amplitudes)) ** 2
    smooth = power[: len(power) // 40 * 40].reshape(-1, 40, len(number)).mean(axis=1)
    return {
        "modes": modes,
        "number": number,
        "values": values,
        "power": smooth,
        "space": grid,
        **seen(values, modes, grid),
    }


def on_the_sphere() -> dict[str, Any]:
    """The same, with the wavelength of each eigenvector, and rotors."""
    network, mesh, places = sphere()
    rest = np.asarray(ng.find_equilibria(network.homogeneous()).states[0])
    modes = ng.dispersion(network, rest)
    vectors = np.asarray(network.interaction.graph.eigenvectors())
    lengths = np.asarray(signals.pattern_wavelength(vectors.real.T, mesh))
    values = activity(network, rest, 6000.0)
    found = seen(values, modes, mesh)
    rotors = signals.phase_singularities(found["end"], SAMPLE / 1000, mesh, found["band"])
    groups = signals.multiplets(np.asarray(modes.lambdas), 1e-2)
    chosen = np.flatnonzero(groups == groups[int(modes.fastest)])
    basis = signals.ModalBasis.fitted(vectors[:, chosen].real, mesh.shares)
    rhythm = signals.band_pass(found["end"], SAMPLE / 1000, found["band"])
    held = 1 - float(signals.modal_activity(rhythm, SAMPLE / 1000, basis).missed)
    return {
        "modes": modes,
        "lengths": lengths,
        "values": values,
        "rotors": rotors,
        "space": mesh,
        "places": places,
        "multiplet": chosen.size,
        "held": held,
        **found,
    }


def seen(values: np.ndarray, modes: Any, space: Any) -> dict[str, Any]:
    """What the rhythm is in the last 300 ms, and in time how much of it travels."""
    dt, middle = SAMPLE / 1000, float(modes.frequency[modes.fastest])
    band = (middle - HALF, middle + HALF)
    end = values[-600:]
    leading = signals.complex_modes(end, dt, band, count=1, mass=space.shares)
    waves = signals.travelling_waves(end, dt, space, band)
    z = signals.analytic_signal(values, dt, band)[200:-200:20]
    return {
        "band": band,
        "end": end,
        "leading": leading,
        "waves": waves,
        "times": SAMPLE * (200 + 20 * np.arange(len(z))),
        "travelling": np.asarray(signals.travelling_index(z, space.shares)),
    }


def figure(around: dict[str, Any], ball: dict[str, Any]) -> Any:
    """Growth, activity and power on the ring; growth, activity and rotors on the sphere."""
    fig, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    number, growth = around["number"], np.asarray(around["modes"].growth)
    axes[0, 0].axhline(0, color="0.7", lw=1)
    axes[0, 0].plot(number, growth, "-o", ms=4)
    title = "(a) ring: the dispersion relation"
    axes[0, 0].set(xlabel="waves around the ring", ylabel="growth (1/ms)", title=title)
    part = around["values"][-120:]
    extent = (0, SAMPLE * len(part), 0, REGIONS * SPACING)
    image = axes[0, 1].imshow(part.T, aspect="auto", origin="lower", extent=extent)
    fig.colorbar(image, ax=axes[0, 1], label="$v_e$")
    title = "(b) ring: the last 60 ms"
    axes[0, 1].set(xlabel="time (ms)", ylabel="place (mm)", title=title)
    times = SAMPLE * 40 * (np.arange(len(around["power"])) + 0.5)
    for k in (3, 4, 5, 6, 7):
        axes[0, 2].semilogy(times, around["power"][:, k], label=f"{k} waves")
    axes[0, 2].set(xlabel="time (ms)", ylabel="power of $v_e$", title="(c) ring: modes in time")
    axes[0, 2].set_ylim(top=1e9)
    axes[0, 2].legend(fontsize="small", frameon=False, loc="upper center", ncols=3)

    axes[1, 0].axhline(0, color="0.7", lw=1)
    axes[1, 0].plot(ball["lengths"], np.asarray(ball["modes"].growth), ".")
    title = "(d) sphere: each mode by its wavelength"
    axes[1, 0].set(xlim=(10, 160), xlabel="wavelength (mm)", ylabel="growth (1/ms)", title=title)
    rotors = ball["rotors"].places(300)
    now = round(float(ball["rotors"].times[300]) * 1000 / SAMPLE)
    longitude, latitude = _map(ball["places"])
    shown = axes[1, 1].scatter(longitude, latitude, c=ball["end"][now], s=22)
    fig.colorbar(shown, ax=axes[1, 1], label="$v_e$")
    across, up = _map(rotors["centres"])
    for charge, colour in ((1, "#c1272d"), (-1, "#111111")):
        there = rotors["charges"] == charge
        label = f"charge {charge:+d}: {there.sum()}"
        axes[1, 1].scatter(across[there], up[there], marker="x", c=colour, label=label)
    title = "(e) sphere: a moment of it, and its rotors"
    axes[1, 1].set(xlabel="longitude · cos(latitude) (°)", ylabel="latitude (°)", title=title)
    axes[1, 1].legend(fontsize="small", loc="lower center", ncols=2)
    axes[1, 1].set_ylim(-125, 95)
    for one, name in ((around, "ring"), (ball, "sphere")):
        axes[1, 2].plot(one["times"], one["travelling"], label=name)
    title = "(f) 0: standing, 1: travelling"
    axes[1, 2].set(xlabel="time (ms)", ylabel="travelling index", ylim=(0, 1.02), title=title)
    axes[1, 2].legend(frameon=False)
    return fig


def _map(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sinusoidal coordinates, which keep areas, in degrees."""
    latitude = np.arcsin(places[:, 2] / np.linalg.norm(places, axis=1))
    longitude = np.arctan2(places[:, 1], places[:, 0]) * np.cos(latitude)
    return np.degrees(longitude), np.degrees(latitude)


def table(around: dict[str, Any], ball: dict[str, Any]) -> str:
    """Predicted and seen, in Markdown."""
    rows = ["| | dispersion relation | activity |", "|---|---|---|"]
    for name, one in (("ring", around), ("sphere", ball)):
        modes, leading, waves = one["modes"], one["leading"], one["waves"]
        best = int(modes.fastest)
        if name == "ring":
            length = REGIONS * SPACING / one["number"][best]
        else:
            length = float(one["lengths"][best])
        found = float(signals.pattern_wavelength(leading.vectors[:, 0], one["space"]))
        turning = float(modes.frequency[best])
        speeds = [length * turning / 1000, float(np.nanmedian(waves.speed))]
        rows.append(f"| {name}: growth (1/ms) | {float(modes.growth[best]):.4f} | |")
        rows.append(f"| {name}: wavelength (mm) | {length:.2f} | {found:.2f} |")
        now = float(leading.frequency[0])
        rows.append(f"| {name}: frequency (Hz) | {turning:.2f} | {now:.2f} |")
        rows.append(f"| {name}: speed (m/s) | {speeds[0]:.2f} | {speeds[1]:.2f} (median) |")
        share, index = float(leading.share[0]), float(leading.travelling[0])
        rows.append(f"| {name}: leading complex mode | | {share:.3f} of power, index {index:.3f} |")
    rotors = ball["rotors"]
    count = f"{int(rotors.positive.min())} to {int(rotors.positive.max())} of each sign"
    total = np.abs(np.asarray(rotors.total)).max()
    rows.append(f"| sphere: rotors | | {count}; sum {total} at all times |")
    held = f"{ball['held']:.3f} of the rhythm's power"
    rows.append(f"| sphere: in the {ball['multiplet']} fastest modes | | {held} |")
    return "\n".join(rows)


def main() -> None:
    """The figure and the table."""
    jax.config.update("jax_enable_x64", True)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="docs/waves.png")
    chosen = parser.parse_args()
    around, ball = on_the_ring(), on_the_sphere()
    figure(around, ball).savefig(chosen.out, dpi=110)
    print(table(around, ball))


if __name__ == "__main__":
    main()
