"""What the network does: rasters and spectra, chaos, modulated gamma, a film."""

import matplotlib.pyplot as plt
import numpy as np

import ngnmm_jax as ng
from ngnmm_jax import plot, signals
from ngnmm_jax.reproduce.task import AGREES, DIFFERS, Row, Task, agree

#: (i_ext_e, coupling), as in the dispersion relations.
_POINTS = ((3.0, 9.0), (9.0, 9.0), (15.0, 9.0), (12.0, 8.0), (13.0, 5.0))
_DT, _EVERY = 0.05, 1.0  # ms
_ALIVE = 1e-3


def _run(task: Task, point: tuple[float, float], seconds: float) -> ng.Simulation:
    """After a second, from the homogeneous equilibrium plus noise of sd 0.01."""
    times = np.arange(1000.0, 1000.0 * (1 + seconds) + _EVERY / 2, _EVERY)
    return ng.simulate(
        task.network(*point),
        float(times[-1]),
        dt=_DT,
        integrator="moebius",
        save_at=times,
        variables="v_e",
        progress=task.progress,
    )


def activity(task: Task) -> list[Row]:
    """Rasters and power spectra of v_e where nothing grows, and where modes do."""
    figure = plt.figure(figsize=(10.5, 2.3 * len(_POINTS)), layout="constrained")
    axes = figure.subplots(len(_POINTS), 2, width_ratios=[1.7, 1])
    seeds, end = task.choose(2, 8), task.choose(3000.0, 11_000.0)
    as_foretold = bistable = 0
    parts = []
    for (left, right), point in zip(axes, _POINTS, strict=True):
        network = task.network(*point)
        runs = ng.simulate_batch(
            network,
            None,
            end,
            dt=_DT,
            integrator="moebius",
            seed=np.arange(seeds),
            save_at=np.arange(1000.0, end + _EVERY / 2, _EVERY),
        )
        every = np.asarray(runs.v_e)
        # How much regions differ at a time, in the last half second of each run.
        patterned = every[:, -500:].std(axis=2).mean(axis=1) > _ALIVE
        homogeneous = network.homogeneous()
        rest = ng.find_equilibria(homogeneous)
        orbit = ng.find_orbit(homogeneous, throw=False)
        state = orbit if orbit.status == ng.Status.OK else rest.states[0]
        growing = int(ng.dispersion(network, state).number_growing)
        as_foretold += int(patterned.all() if growing else not patterned.all())
        bistable += bool(not growing and patterned.any())
        parts.append(
            f"{point}: {growing} modes grow, a pattern in {patterned.sum()} of {seeds} runs"
        )

        plot.raster(runs.run(0), ax=left, window=(end - 300.0, end))
        if every[0].std() > _ALIVE:
            plot.spectrum(runs.run(0), ax=right, segment=1.0)
        else:
            right.text(0.5, 0.5, "at rest", ha="center", va="center", color="0.4")
            right.set_axis_off()
        drive = plot.symbol("i_ext_e", ng.NextGenEI)
        name = rf"{drive} = {point[0]:g}, $\varepsilon$ = {point[1]:g}"
        left.set_title(name, fontsize="medium", loc="left")
    task.save(figure, "activity")
    return [
        Row(
            "where modes grow on the homogeneous state, activity differs between regions; "
            "where none does, all regions can do the same",
            "; ".join(parts),
            agree(as_foretold == len(_POINTS), as_foretold >= len(_POINTS) - 1),
            "a pattern lives beside the stable homogeneous state: the initial noise decides"
            if bistable
            else "",
        )
    ]


def network_chaos(task: Task) -> list[Row]:
    """Lyapunov spectra of the whole network, along i_ext_e at coupling 9, and over the plane."""
    line = {"i_ext_e": np.linspace(0.0, 16.0, task.choose(5, 33))}
    count = task.choose(10, 90)
    window = task.choose(1000.0, 2000.0)
    along = ng.lyapunov_map(
        task.network(coupling=9.0),
        line,
        count,
        duration=window,
        transient=window,
        store=task.folder / "line",
        progress=task.progress,
    )
    plane = {
        "i_ext_e": np.linspace(0.0, 16.0, task.choose(4, 17)),
        "coupling": np.linspace(0.0, 30.0, task.choose(4, 16)),
    }
    over = ng.lyapunov_map(
        task.network(),
        plane,
        task.choose(2, 8),
        duration=task.choose(800.0, 1000.0),
        transient=task.choose(500.0, 1000.0),
        store=task.folder / "plane",
        progress=task.progress,
    )
    figure = plt.figure(figsize=(12.0, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot.lyapunov(along, ax=left)
    plot.lyapunov(over, ax=right)
    task.save(figure, "network_chaos")
    positive = np.asarray(along.spectra.number_positive)
    share = float((np.asarray(over.spectra.number_positive) > 0).mean())
    return [
        Row(
            "the network is chaotic in many dimensions, where the homogeneous state alone is not",
            f"up to {positive.max()} of {count} exponents are positive along coupling 9; chaos at "
            f"{share:.0%} of the plane",
            agree(positive.max() >= 5 and 0 < share < 1, positive.max() > 0),
            "quick: short windows, few points" if task.quick else "",
        )
    ]


def modulation(task: Task) -> list[Row]:
    """Gamma in the mean v_e at (13, 5), whose amplitude slower rhythms modulate."""
    run = _run(task, (13.0, 5.0), task.choose(6.0, 60.0))
    values = np.asarray(run.v_e)
    mean = values.mean(axis=1)
    figure = plt.figure(figsize=(11.0, 6.6), layout="constrained")
    places = figure.add_gridspec(2, 2, height_ratios=[1, 1.2])
    band = (50.0, 110.0)
    plot.rhythm(run, band=band, ax=figure.add_subplot(places[0, :]))
    plot.spectrum(run, ax=figure.add_subplot(places[1, 0]), segment=task.choose(1.0, 2.0))
    slow = np.arange(2.0, 17.0, task.choose(3.0, 1.0))
    fast = np.arange(40.0, 140.0, task.choose(20.0, 8.0))
    coupled = signals.comodulogram(
        mean, run.sampling_interval, slow, fast, surrogates=task.choose(40, 200)
    )
    plot.comodulogram(coupled, ax=figure.add_subplot(places[1, 1]))
    task.save(figure, "modulation")

    inner = slice(500, -500)  # without what the filter spoils
    strength = np.asarray(signals.envelope(mean, run.sampling_interval, band))[inner]
    varies = float(strength.std() / strength.mean())
    node = task.network(13.0, 5.0).homogeneous()
    alone = ng.simulate(node, 4000.0, dt=_DT, save_every=_EVERY, progress=False)
    still = np.asarray(signals.envelope(alone.v_e[1000:], run.sampling_interval, band))[inner]
    steady = float(still.std() / still.mean())
    return [
        Row(
            "the mean v_e at (13, 5) has gamma whose amplitude is modulated by slower rhythms, "
            "and the connectome is what brings it about",
            f"the envelope of {band[0]:g} to {band[1]:g} Hz varies by {varies:.0%} of its mean; "
            f"without the connectome's modes by {steady:.0%}",
            agree(varies > 0.2 and steady < 0.02, varies > 0.2),
        ),
        Row(
            "the phase of slower rhythms and gamma's amplitude are coupled",
            f"significant against surrogates: {coupled.significant}",
            AGREES if coupled.significant else DIFFERS,
            ""
            if coupled.significant
            else "the envelope's own rhythm is irregular: in this "
            "window no slow phase foretells it better than in the surrogates",
        ),
    ]


def animation(task: Task) -> list[Row]:
    """A film of v_e on the brain."""
    if task.connectome.centroids is None:
        return [Row("films of v_e on the brain", "none", DIFFERS, "no coordinates of regions")]
    run = _run(task, (13.0, 5.0), 1.0)
    film = plot.animate(run, task.connectome, window=task.choose(0.04, 0.2))
    film.save(task.folder / "activity.gif", writer="pillow")
    plt.close("all")
    size = (task.folder / "activity.gif").stat().st_size / 2**20
    return [Row("films of v_e on the brain", f"activity.gif, {size:.1f} MiB", AGREES)]
