"""The command line, `ngnmm`: thin wrappers of the library's public functions."""

import dataclasses
import functools
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from ngnmm_jax._settings import Settings

try:
    import matplotlib as mpl
    import typer
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
except ImportError as error:  # pragma: no cover
    sys.exit(f"ngnmm needs the package {error.name}: pip install 'ngnmm-jax[all]'")

app = typer.Typer(
    name="ngnmm",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Whole-brain networks of next-generation neural masses: simulation and stability.",
)
console = Console()

Config = Annotated[
    Path | None,
    typer.Option(help="TOML file of settings, as written beside every output; options win."),
]
Out = Annotated[Path, typer.Option(help="Folder for the output, made if needed.")]
Source = Annotated[
    str | None,
    typer.Option(
        help="'hcp-schaefer100' (embedded), 'aal90' (downloaded once), or a file: .npz, .npy, "
        ".csv, .txt, .mat, or a TVB .zip. Default: hcp-schaefer100."
    ),
]
Order = Annotated[str | None, typer.Option(help="Of aal90: 'atlas' or 'source'. Default: atlas.")]
Cache = Annotated[str | None, typer.Option(help="Folder that keeps downloaded connectomes.")]
Power = Annotated[
    float | None, typer.Option(help="Raise all weights to this power first. Default: 1.")
]
Model = Annotated[str | None, typer.Option(help="'nextgen' or 'jansen-rit'. Default: nextgen.")]
Coupling = Annotated[float | None, typer.Option(help="Coupling epsilon. Default: 5.")]
Values = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A parameter of the model, as i_ext_e=13; repeatable; commas for one value per "
        "region. An unknown name lists all.",
    ),
]


_NETWORK = {
    "config": Config,
    "connectome": Source,
    "order": Order,
    "cache_dir": Cache,
    "power": Power,
    "model": Model,
    "coupling": Coupling,
    "set_": Values,
}


def of_a_network(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that describe a network, which it gets as its `settings`.

    They hold the command's own options too, where these are settings; `--axis` becomes `axes`.
    """
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "settings"]
    common = [
        inspect.Parameter(name, own[0].kind, default=None, annotation=kind)
        for name, kind in _NETWORK.items()
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        from ngnmm_jax._settings import Settings

        names = {field.name for field in dataclasses.fields(Settings)}
        options = {name: value for name, value in given.items() if name in names}
        options |= {
            "parameters": _assignments(given["set_"]),
            "axes": _numbers("--axis", "NAME=LOW:HIGH:COUNT", given.get("axis")),
            "bounds": _numbers("--range", "NAME=LOW:HIGH", given.get("range_")),
        }
        settings = Settings.merge(given["config"], options)
        command(settings=settings, **{p.name: given[p.name] for p in own})

    every = [own[0], *common, *own[1:]]
    run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in every}
    return run


@app.callback()
def common(
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep compiled programs for the next call.")
    ] = True,
) -> None:
    """Whole-brain networks of next-generation neural masses: simulation and stability."""
    import jax

    if not cache:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    from ngnmm_jax._cache import keep_compiled

    try:
        keep_compiled()
    except OSError as error:
        console.print(f"Compiled programs are not kept: {escape(str(error))}.", highlight=False)


def main() -> None:
    """Entry point: errors of use are one line, not a traceback."""
    # Before the libraries that read them: XLA's complaints about its own tuning hints in cached
    # programs are silenced, and Equinox's checks, which programs on disk cannot hold, give NaN,
    # which statuses report.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("EQX_ON_ERROR", "nan")
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    mpl.use("Agg")
    try:
        app(sorted(sys.argv[1:], key=lambda word: word not in ("--cache", "--no-cache")))
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        console.print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("Interrupted.")
        sys.exit(130)


@app.command()
def demo(
    out: Out = Path("ngnmm_demo"),
    connectome: Source = None,
    cache_dir: Cache = None,
    quick: Annotated[bool, typer.Option(help="A coarse map, for a first look.")] = False,
) -> None:
    """Show what the library does: about a minute, no network needed.

    At three points of the paper's parameter plane, on the embedded connectome: the
    homogeneous resting state, its dispersion relation, 1.5 s of the network's activity; and
    a map of transverse instabilities. Writes figures, NetCDF files and settings.toml.
    """
    from ngnmm_jax._settings import Settings
    from ngnmm_jax.demo import run_demo

    begun = time.perf_counter()
    settings = Settings.merge(None, {"connectome": connectome, "cache_dir": cache_dir})
    source = settings.load_connectome()
    console.print(f"{source.name}: {source.n_regions} regions. {source.source}", highlight=False)
    rows = run_demo(out, source, lambda line: console.print(f"  {line}", highlight=False), quick)
    settings.write(out / "settings.toml", "demo")
    _table("The paper's model on this connectome", rows)
    _report(out, begun)


@app.command()
@of_a_network
def simulate(
    settings: "Settings",
    out: Out = Path("ngnmm_simulation"),
    duration: Annotated[
        float | None, typer.Option(help="In the model's unit: ms (s for jansen-rit).")
    ] = None,
    save_every: Annotated[
        float | None, typer.Option(help="Sampling interval. Default: 1 ms.")
    ] = None,
    dt: Annotated[
        float | None, typer.Option(help="Fixed RK4 step; adaptive steps if not given.")
    ] = None,
    rtol: Annotated[float | None, typer.Option(help="Relative tolerance. Default: 1e-6.")] = None,
    atol: Annotated[float | None, typer.Option(help="Absolute tolerance. Default: 1e-8.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the initial noise. Default: 0.")] = None,
    noise: Annotated[
        float | None, typer.Option(help="Standard deviation of the initial noise. Default: 0.01.")
    ] = None,
) -> None:
    """Simulate the network and draw its activity.

    Starts at the homogeneous equilibrium plus noise. Writes activity.nc (all variables, with
    units), activity.png and settings.toml.

    Example: ngnmm simulate --set i_ext_e=13 --coupling 5 --duration 2000 --out gamma
    """
    import ngnmm_jax as ng
    from ngnmm_jax import plot
    from ngnmm_jax.models.base import SECONDS

    begun = time.perf_counter()
    network = settings.build()
    length = settings.duration or 1.0 / SECONDS[network.model.time_unit]
    out.mkdir(parents=True, exist_ok=True)
    settings.write(out / "settings.toml", "simulate")
    run = ng.simulate(
        network,
        length,
        **settings.options("save_every", "dt", "rtol", "atol", "seed", "noise"),
        progress=console.is_terminal or None,
    )
    run.to_xarray().to_netcdf(out / "activity.nc", engine="h5netcdf")
    plot.activity(run, title=_title(settings)).savefig(out / "activity.png", dpi=150)
    steps = ", ".join(f"{int(v)} {k.removeprefix('num_')}" for k, v in run.stats.items())
    console.print(f"{length:g} {run.time_unit} of {network.n_regions} regions: {steps}")
    _report(out, begun)


@app.command()
@of_a_network
def dispersion(
    settings: "Settings",
    out: Out = Path("ngnmm_dispersion"),
    lambda_low: Annotated[
        float | None, typer.Option(help="Curve from this Λ. Default: -1.")
    ] = None,
    lambda_high: Annotated[
        float | None, typer.Option(help="Curve up to this Λ. Default: 1.")
    ] = None,
    lambda_points: Annotated[
        int | None, typer.Option(help="Points of the curve. Default: 401.")
    ] = None,
) -> None:
    """Find all homogeneous equilibria and their dispersion relations.

    For each equilibrium: its stability, the connectome modes that grow on it and their
    frequency. Writes dispersion.csv (one line a mode), dispersion.png, the fastest mode on the
    brain (where the connectome has coordinates) and settings.toml.

    Example: ngnmm dispersion --set i_ext_e=15 --coupling 9 --out patterned
    """
    import ngnmm_jax as ng
    from ngnmm_jax.reports.stability import write_dispersion

    begun = time.perf_counter()
    network = settings.build()
    rest = ng.find_equilibria(network.homogeneous())
    out.mkdir(parents=True, exist_ok=True)
    settings.write(out / "settings.toml", "dispersion")
    limits = (settings.lambda_low, settings.lambda_high, settings.lambda_points)
    rows = write_dispersion(network, rest, limits, out, _title(settings))
    _table("Homogeneous equilibria", rows)
    _report(out, begun)


@app.command("map")
@of_a_network
def map_(
    settings: "Settings",
    out: Out = Path("ngnmm_map"),
    axis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LOW:HIGH:COUNT",
            help="An axis, twice; the first is swept up and down. Default: i_ext_e=0:16:65 and "
            "coupling=0:30:61 (the paper's grid: i_ext_e=0:16:321 and coupling=0:30:601).",
        ),
    ] = None,
    cut: Annotated[
        float | None,
        typer.Option(help="Value of the second axis for the dispersion curves. Default: 9."),
    ] = None,
) -> None:
    """Map all homogeneous states and their transverse stability over two parameters.

    Equilibria, periodic orbits and aperiodic states, with hysteresis; which connectome modes
    grow on them. Writes map.png, details.png, cut.png, map.nc and settings.toml. Finished parts
    are kept in the folder blocks: the same command goes on where it stopped.

    Example: ngnmm map --axis i_ext_e=0:16:321 --axis coupling=0:30:601 --out plane
    """
    from ngnmm_jax._settings import PLANES
    from ngnmm_jax.reports.stability import write_map

    begun = time.perf_counter()
    axes = settings.grid()
    if len(axes) != 2:
        raise ValueError(f"Argument `--axis` must be given twice, but is given {len(axes)} times.")
    network = settings.build()
    out.mkdir(parents=True, exist_ok=True)
    settings.write(out / "settings.toml", "map")
    cut = PLANES[settings.model][1] if settings.cut is None else settings.cut
    title = f"{settings.model} on {Path(settings.connectome).stem}"
    _table("The plane", write_map(network, axes, cut, out, title, console.is_terminal or None))
    _report(out, begun)


@app.command()
@of_a_network
def lyapunov(
    settings: "Settings",
    out: Out = Path("ngnmm_lyapunov"),
    axis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LOW:HIGH:COUNT",
            help="An axis, once or twice. Default: i_ext_e=0:16:65 (p=0:400:81).",
        ),
    ] = None,
    whole_network: Annotated[
        bool | None,
        typer.Option(
            "--network/--homogeneous", help="Of the whole network. Default: --homogeneous."
        ),
    ] = None,
    exponents: Annotated[
        int | None, typer.Option(help="How many. Default: all; of a network 20.")
    ] = None,
    variable: Annotated[
        str | None,
        typer.Option(help="Whose maxima the cascade shows. Default: that which figures show."),
    ] = None,
    duration: Annotated[
        float | None, typer.Option(help="Window, in the model's unit. Default: 100,000 steps.")
    ] = None,
    transient: Annotated[
        float | None, typer.Option(help="Left out before it. Default: 20,000 steps.")
    ] = None,
    dt: Annotated[float | None, typer.Option(help="RK4 step. Default: the model's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the initial noise. Default: 0.")] = None,
) -> None:
    """Lyapunov spectra along one parameter, with the cascade, or over two.

    Writes lyapunov.png, lyapunov.nc, along one parameter orbit_diagram.nc, and settings.toml.
    Finished parts are kept in the folder blocks: the same command goes on where it stopped.

    Example: ngnmm lyapunov --axis i_ext_e=8.5:12:351 --coupling 12 --variable s_e --out cascade
    """
    from ngnmm_jax.reports.chaos import write_lyapunov

    begun = time.perf_counter()
    axes = settings.grid() if settings.axes else dict([next(iter(settings.grid().items()))])
    if len(axes) > 2:
        raise ValueError(f"Argument `--axis` must be given once or twice, but {len(axes)} times.")
    network = settings.build()
    system = network if settings.whole_network else network.homogeneous()
    count = settings.exponents or (20 if settings.whole_network else None)
    out.mkdir(parents=True, exist_ok=True)
    settings.write(out / "settings.toml", "lyapunov")
    rows = write_lyapunov(
        system,
        axes,
        count,
        settings.variable,
        settings.options("duration", "transient", "dt", "seed"),
        out,
        _title(settings, without=axes),
        console.is_terminal or None,
    )
    _table("The spectra", rows)
    _report(out, begun)


@app.command()
@of_a_network
def spectrum(
    settings: "Settings",
    out: Out = Path("ngnmm_spectrum"),
    axis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LOW:HIGH:COUNT",
            help="Several points: an axis, once or twice. Default: one point.",
        ),
    ] = None,
    duration: Annotated[
        float | None, typer.Option(help="In the model's unit. Default: that of 20 s.")
    ] = None,
    transient: Annotated[
        float | None, typer.Option(help="Left out before it. Default: that of 2 s.")
    ] = None,
    dt: Annotated[float | None, typer.Option(help="RK4 step. Default: the model's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the initial noise. Default: 0.")] = None,
    noise: Annotated[
        float | None, typer.Option(help="Standard deviation of the initial noise. Default: 0.01.")
    ] = None,
    animate: Annotated[
        bool, typer.Option(help="Write activity.gif too, the activity on the brain.")
    ] = False,
) -> None:
    """Rhythms of the network: rasters, power spectra, coupling between frequencies.

    Writes rasters.png, spectra.png and spectra.csv; of one point also activity.nc and
    rhythm.png (mean field, envelope, comodulograms); and settings.toml.

    Example: ngnmm spectrum --set i_ext_e=13 --coupling 5 --out gamma
    """
    from ngnmm_jax.reports.activity import write_spectra

    begun = time.perf_counter()
    network = settings.build()
    out.mkdir(parents=True, exist_ok=True)
    settings.write(out / "settings.toml", "spectrum")
    axes = settings.grid() if settings.axes else {}
    rows = write_spectra(
        network,
        axes,
        settings.options("duration", "transient", "dt", "seed", "noise"),
        out,
        _title(settings, without=axes),
        animate=animate,
        say=lambda line: console.print(f"  {line}", highlight=False),
    )
    _table("Rhythms", rows)
    _report(out, begun)


@app.command()
@of_a_network
def bifurcate(
    settings: "Settings",
    out: Out = Path("ngnmm_bifurcations"),
    range_: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="NAME=LOW:HIGH",
            help="A parameter and its bounds, once or twice. Default: i_ext_e=0:16 (p=0:400).",
        ),
    ] = None,
    cuts: Annotated[
        list[float] | None,
        typer.Option(
            "--cut",
            help="Of two parameters: a value of the second at which bifurcations are looked for "
            "over the first; repeatable. Default: the middle.",
        ),
    ] = None,
    doublings: Annotated[
        int | None, typer.Option(help="How often doubled cycles are followed. Default: 1.")
    ] = None,
    longest_period: Annotated[
        float | None,
        typer.Option(help="Where cycles end, in the model's unit. Default: 4 to 10 first periods."),
    ] = None,
    variable: Annotated[
        str | None, typer.Option(help="That the diagram shows. Default: the first potential.")
    ] = None,
) -> None:
    """Bifurcation diagram of the homogeneous system: equilibria, cycles, their stability.

    Over one parameter: folds, Hopf points, folds of cycles, period doublings, tori, homoclinics.
    Over two: the curves of these, with their points of codimension two. Writes bifurcations.png,
    special.csv (all special points), branches/*.nc and settings.toml; when interrupted, what is
    there.

    Example: ngnmm bifurcate --range i_ext_e=-5:20 --coupling 12 --doublings 3 --out cascade
    """
    from ngnmm_jax.reports.bifurcations import write_bifurcations

    begun = time.perf_counter()
    bounds = settings.ranges()
    if len(bounds) > 2:
        raise ValueError(
            f"Argument `--range` must be given once or twice, but {len(bounds)} times."
        )
    network = settings.build()
    out.mkdir(parents=True, exist_ok=True)
    settings.write(out / "settings.toml", "bifurcate")
    options = settings.options("longest_period") | {"progress": console.is_terminal or None}
    if len(bounds) == 1:
        options |= settings.options("doublings")
    shown = settings.variable or _potential(network.model)
    cuts = settings.cuts or [sum(list(bounds.values())[-1]) / 2]
    title = _title(settings, without=bounds).replace(f" on {Path(settings.connectome).stem}", "")
    node = network.homogeneous()
    _table("Found", write_bifurcations(node, bounds, cuts, shown, options, out, title))
    _report(out, begun)


@app.command()
def compare(
    out: Out = Path("ngnmm_comparison"),
    connectome: Source = None,
    order: Order = None,
    cache_dir: Cache = None,
) -> None:
    """Compare the next-generation mass with Jansen and Rit's on one connectome.

    Dispersion relations and maps of transverse instabilities of both, in comparison.png, and
    a table of what each can do.
    """
    from ngnmm_jax._settings import Settings
    from ngnmm_jax.reports.stability import write_comparison

    begun = time.perf_counter()
    options = {"connectome": connectome, "order": order, "cache_dir": cache_dir}
    every = [Settings.merge(None, {**options, "model": name}) for name in ("nextgen", "jansen-rit")]
    out.mkdir(parents=True, exist_ok=True)
    every[0].write(out / "settings.toml", "compare")
    _table("Over each model's plane", write_comparison(every, out, console.is_terminal or None))
    _report(out, begun)


@app.command()
def connectome(
    source: Annotated[
        str, typer.Argument(help="A name or a file, as for --connectome elsewhere.")
    ] = "hcp-schaefer100",
    order: Order = None,
    cache_dir: Cache = None,
    power: Power = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for connectome.png and connectome.npz.")
    ] = None,
) -> None:
    """Load a connectome, check it, and describe it and its eigenmodes.

    Example: ngnmm connectome my_weights.csv --out mine
    """
    from ngnmm_jax._settings import Settings
    from ngnmm_jax.reports.connectomes import connectome_facts, write_connectome

    begun = time.perf_counter()
    settings = Settings.merge(
        None, {"connectome": source, "order": order, "cache_dir": cache_dir, "power": power}
    )
    loaded = settings.load_connectome().power(settings.power)
    for name, value in connectome_facts(loaded):
        console.print(f"{name:>24}  {value}", highlight=False)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        settings.write(out / "settings.toml", "connectome")
        write_connectome(loaded, out)
        _report(out, begun)


@app.command("sweep")
def sweep_(
    file: Annotated[Path, typer.Argument(help="TOML file: network, [design], [measure], [run].")],
    out: Annotated[
        Path | None, typer.Option(help="Zarr store. Default: the file's name with .zarr.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume/--restart", help="Go on where a store stopped, or remove it first."),
    ] = True,
    workers: Annotated[
        int | None, typer.Option(help="Processes on this machine instead of threads in one.")
    ] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler whose workers compute.")
    ] = None,
) -> None:
    """Compute a measure over many parameter sets into a Zarr store.

    Finished blocks are kept whatever happens: the same command goes on where it stopped. See
    docs/sweeps.md for the file, and for many machines.

    Example: ngnmm sweep examples/plane.toml && ngnmm show plane.zarr
    """
    import ngnmm_jax as ng
    from ngnmm_jax._core.store import remove
    from ngnmm_jax._sweep_file import SweepFile
    from ngnmm_jax.reports.sweeps import executor_of, sweep_facts

    begun = time.perf_counter()
    task = SweepFile.read(file)
    store = Path(f"{file.stem}.zarr") if out is None else out
    if not resume:
        remove(store)
    shape = " × ".join(f"{name} {size}" for name, size in zip(task.design.names, task.design.shape,
                                                              strict=True))  # fmt: skip
    console.print(f"{task.design.count} runs ({shape}) into {store}", highlight=False)
    with executor_of(workers, dask) as executor:
        data = ng.sweep(
            task.network,
            task.design,
            task.measure,
            store=store,
            executor=executor,
            progress=console.is_terminal or None,
            **task.options,
        )
    facts, exactness = sweep_facts(data)
    _table("The sweep", [{"": "runs", **facts}])
    if exactness:
        _table("Against half the step", exactness)
    seconds = time.perf_counter() - begun
    console.print(f"{seconds:.1f} s. In {store}; draw it: ngnmm show {store}", highlight=False)


@app.command()
def show(
    store: Annotated[Path, typer.Argument(help="A sweep's Zarr store, finished or not.")],
    out: Annotated[
        Path | None, typer.Option(help="The figure. Default: the store's name with .png.")
    ] = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option(help="What to draw, repeatable; default: the first six. 'list' lists all."),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Where to cut another dimension, as band=gamma."),
    ] = None,
) -> None:
    """Draw summaries of a sweep, along one parameter or over two.

    Example: ngnmm show plane.zarr --quantity v_e_band_power --at band=gamma
    """
    import ngnmm_jax as ng
    from ngnmm_jax import plot
    from ngnmm_jax.reports.sweeps import sweep_facts

    data = ng.open_sweep(store)
    names = plot.sweep_quantities(data)
    if quantity and "list" in quantity:
        for name in names:
            attrs = data[name].attrs
            console.print(f"{name:>32}  {attrs.get('long_name', '')}", highlight=False)
        return
    where: dict[str, Any] = {}
    for pair in at or []:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"Argument `--at` must be NAME=VALUE, but is {pair!r}.")
        try:
            where[name] = float(text)
        except ValueError:
            where[name] = text
    facts, _ = sweep_facts(data)
    _table("The sweep", [{"": "runs", **facts}])
    figure = plot.sweep_overview(data, quantity or None, at=where, title=store.stem)
    path = store.with_suffix(".png") if out is None else out
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    console.print(f"In {path}", highlight=False)


@app.command("fit")
def fit_(
    file: Annotated[
        Path,
        typer.Argument(
            help="TOML file: network, [white_noise], [free], [target], [loss], [run], [check]."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the output. Default: the file's name.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume/--restart", help="Go on where a fit stopped, or remove it first."),
    ] = True,
    check: Annotated[
        bool, typer.Option(help="Simulate the best fit and compare its BOLD with the data.")
    ] = True,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Another functional connectivity (.npy, .csv, .npz) to compare with; repeatable."
        ),
    ] = None,
) -> None:
    """Fit parameters of a network to data, by gradients.

    The fit is kept while it runs: the same command goes on where it stopped. See docs/fits.md for
    the file.

    Example: ngnmm fit examples/fit_global.toml --out fitted
    """
    import ngnmm_jax as ng
    from ngnmm_jax._core.store import remove
    from ngnmm_jax._fit_file import FitFile, load_fc
    from ngnmm_jax.reports.fits import STORE, check_fit, fit_facts, write_fit

    begun = time.perf_counter()
    task = FitFile.read(file)
    others = {name: load_fc(name, task.network) for name in against or []}
    out = Path(file.stem) if out is None else out
    out.mkdir(parents=True, exist_ok=True)
    if not resume:
        remove(out / STORE)
    console.print(f"{task.free.size} free numbers into {out}", highlight=False)
    show = console.is_terminal or None
    result = ng.fit(
        task.system, task.free, task.objective, store=out / STORE, progress=show, **task.options
    )
    _table("The fit", [{"": "fit", **fit_facts(task, result)}])
    _table("Parameters", write_fit(task, result, out))
    fc = task.objective.target.get("fc")
    if check and (fc is not None or others):
        targets = {**({} if fc is None else {"the data": fc}), **others}
        _, columns = check_fit(task, result, out, targets, show)
        _table("Simulated BOLD connectivity", columns)
    _report(out, begun)


@app.command()
def reproduce(
    figures: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FIGURE]...", help="Which ones; none lists them all."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All figures.")] = False,
    out: Out = Path("ngnmm_paper"),
    quick: Annotated[
        bool, typer.Option("--quick/--full", help="Small settings; default: the paper's.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Make figures again that are there already.")
    ] = False,
    connectome: Annotated[
        str | None,
        typer.Option(
            help="Default: 'aal90', the paper's, where it is on this machine; else "
            "'hcp-schaefer100'."
        ),
    ] = None,
    order: Order = None,
    cache_dir: Cache = None,
) -> None:
    """Make the paper's figures, and a table of what it found and what is found here.

    Each figure goes into a folder of its own; table.md and table.csv sum them up. The same
    command goes on where it was stopped.

    Example: ngnmm reproduce dispersion spiking --quick
    """
    from ngnmm_jax._settings import Settings
    from ngnmm_jax.connectome.fetch import aal90_is_here
    from ngnmm_jax.reproduce import FIGURES
    from ngnmm_jax.reproduce import reproduce as make
    from ngnmm_jax.reproduce.run import summary

    if not figures and not every:
        for name in FIGURES:
            console.print(f"{name:>14}  {summary(name)}", highlight=False)
        return
    begun = time.perf_counter()
    if connectome is None:
        connectome = "aal90" if aal90_is_here(cache_dir) else "hcp-schaefer100"
    settings = Settings.merge(
        None, {"connectome": connectome, "order": order, "cache_dir": cache_dir}
    )
    source = settings.load_connectome()
    note = "" if source.name == "aal90" else " (the paper's, aal90, is not on this machine)"
    console.print(f"connectome: {source.name}{note}", highlight=False)
    out.mkdir(parents=True, exist_ok=True)
    settings.write(out / "settings.toml", "reproduce")
    lines = make(
        FIGURES if every else figures or (),
        out,
        connectome=source,
        quick=quick,
        restart=restart,
        progress=console.is_terminal or None,
        say=lambda line: console.print(line, highlight=False),
    )
    table = Table(*lines[0], title="What the paper found, and what is found here", show_lines=True)
    for line in lines:
        table.add_row(*(escape(str(value)) for value in line.values()))
    console.print(table)
    _report(out, begun)
    if any(line["found here"] == "failed" for line in lines):
        raise RuntimeError("a figure failed: the table says why")


def _numbers(option: str, form: str, given: list[str] | None) -> dict[str, list[float]]:
    """`NAME=LOW:HIGH:COUNT` as given to --axis, or `NAME=LOW:HIGH` to --range."""
    found: dict[str, list[float]] = {}
    for text in given or []:
        name, _, numbers = text.partition("=")
        parts = numbers.split(":")
        try:
            values = [float(part) for part in parts]
            if len(parts) != len(form.split(":")):
                raise ValueError
            found[name.strip()] = [*values[:2], *map(int, parts[2:])]
        except ValueError:
            raise ValueError(f"Argument `{option}` must be {form}, but is {text!r}.") from None
    return found


def _assignments(pairs: list[str] | None) -> dict[str, float | list[float]]:
    """`NAME=VALUE` as given to --set; a comma-separated value is one number per region."""
    values: dict[str, float | list[float]] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        try:
            numbers = [float(part) for part in text.split(",")]
        except ValueError:
            equals = ""
            numbers = []
        if not equals:
            raise ValueError(f"Argument `--set` must be NAME=VALUE with a number, but is {pair!r}.")
        values[name.strip()] = numbers if len(numbers) > 1 else numbers[0]
    return values


def _potential(model: Any) -> str:
    """The variable that a diagram shows: what the model shows, if that is one of them."""
    return model.shown if model.shown in model.variables else model.variables[0]


def _title(settings: "Settings", without: Iterable[str] = ()) -> str:
    values: dict[str, Any] = {**settings.parameters, "coupling": settings.coupling}
    values = {name: value for name, value in values.items() if name not in set(without)}
    shown = ", ".join(f"{k} = {v:g}" for k, v in values.items() if not isinstance(v, list))
    return f"{settings.model} on {Path(settings.connectome).stem}" + (f": {shown}" if shown else "")


def _table(title: str, columns: list[dict[str, Any]]) -> None:
    """One column for each entry, named by its first value; one line for each quantity."""
    first, *names = columns[0]
    table = Table(first, title=title)
    for column in columns:
        table.add_column(str(column[first]), justify="right")
    for name in names:
        values = (column[name] for column in columns)
        table.add_row(name, *(f"{v:.5g}" if isinstance(v, float) else str(v) for v in values))
    console.print(table)


def _report(out: Path, begun: float) -> None:
    names = ", ".join(sorted(path.name for path in out.iterdir() if path.is_file()))
    seconds = time.perf_counter() - begun
    console.print(f"{seconds:.1f} s. In {out}: {names}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
