"""What a fit found: tables, files and figures in a folder."""

import csv
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from ngnmm_jax import fitting, plot
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax._core.status import Status
from ngnmm_jax.cli.fit_file import FitFile
from ngnmm_jax.fitting import Fit, losses

#: The folder in which a fit is kept while it runs.
STORE = "fit"


def write_fit(task: FitFile, result: Fit, out: Path) -> list[dict[str, Any]]:
    """Files and figures of the best start; a table's columns: the parameters' values."""
    result.to_xarray().to_netcdf(out / "fit.nc", engine="h5netcdf")
    values = result.values()
    with (out / "parameters.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        labels = result.system.system.labels
        writer.writerow(["parameter", "all", *labels])
        for name, value in values.items():
            regional = value.ndim > 0
            writer.writerow([name, "" if regional else float(value), *(value if regional else [])])
    _save(plot.fit_history(result).figure, out / "history.png")
    _save(plot.fit_parameters(result), out / "parameters.png")
    found = task.objective.predict(result.system, stream(task.options.get("seed", 0), Purpose.LOSS))
    target = task.objective.target
    if "fc" in target:
        np.save(out / "fc.npy", np.asarray(found["fc"]))
        _save(plot.fc_comparison(found["fc"], target["fc"]), out / "fc.png")
    if "spectrum" in target:
        figure = plot.spectrum_fit(target["frequencies"], found["power"], target["spectrum"])
        _save(figure, out / "spectrum.png")
    rows = {"": "value", **{name: _short(value) for name, value in values.items()}}
    return [rows]


# What a status says of a start.
_ENDS = {
    Status.OK: "the loss had stopped to fall",
    Status.MAX_STEPS: "it still fell at the last step",
    Status.NOT_FINITE: "the loss was never finite",
}


def fit_facts(task: FitFile, result: Fit) -> dict[str, Any]:
    """How the fit ended."""
    facts: dict[str, Any] = {"free numbers": result.free.size, "starts": result.loss.size}
    for code in Status:
        count = int((result.status == code).sum())
        if count:
            facts[f"starts: {_ENDS.get(code, code.explanation)}"] = count
    facts["lowest loss"] = f"{result.loss.min():.6g}"
    for name in result.history:
        if name not in ("loss", "x") and len(result.history) > 3:
            row = int(np.nanargmin(result.history["loss"][:, result.best]))
            facts[f"  {name}"] = f"{result.history[name][row, result.best]:.6g}"
    if "fc" in task.objective.target:
        key = stream(task.options.get("seed", 0), Purpose.LOSS)  # the fit's own
        found = task.objective.predict(result.system, key)
        target = task.objective.target["fc"]
        facts["correlation with the data"] = (
            f"{1 - float(losses.fc_correlation(found['fc'], target)):.4f}"
        )
    facts["how"] = "; ".join(result.explanation)
    return facts


def check_fit(
    task: FitFile, result: Fit, out: Path, against: dict[str, np.ndarray], progress: Any
) -> list[dict[str, Any]]:
    """Simulated connectivity of the best start in two halves, against each target: a table."""
    options = check_options(task)
    found = fitting.simulated_fc(result.system, progress=progress, **options)
    np.save(out / "fc_simulated.npy", found.fc)
    column: dict[str, Any] = {
        "": "correlation",
        "halves with each other": f"{found.reliability:.4f}",
        "runs that ended well": f"{found.ended_well} of {found.status.size}",
    }
    for name, target in against.items():
        first, second = found.correlation(target)
        whole = float(losses.pearson(losses.upper(found.fc), losses.upper(target)))
        column[f"{name}: first half, second, all"] = f"{first:.4f}, {second:.4f}, {whole:.4f}"
    if "fc" in task.objective.target:
        figure = plot.fc_comparison(found.fc, task.objective.target["fc"], title="simulated BOLD")
        _save(figure, out / "fc_simulated.png")
    return [column]


def check_options(task: FitFile) -> dict[str, Any]:
    """What the file says of the check, over eight runs of five minutes, in the model's unit."""
    from ngnmm_jax.models.times import seconds_in

    unit = seconds_in(task.system.model.time_unit)
    return {"duration": 300.0 / unit, "repetition_time": 0.75 / unit, "runs": 8} | task.check


def _short(value: np.ndarray) -> str:
    if value.ndim == 0:
        return f"{float(value):.6g}"
    low, middle, high = value.min(), np.median(value), value.max()
    return f"{low:.4g} … {middle:.4g} … {high:.4g} (lowest, median, highest)"


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=150)
    plt.close(figure)
