"""The TOML file of `ngnmm fit`: a network, what is free, the data, the loss."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ngnmm_jax import _checks
from ngnmm_jax._settings import Settings, read_tables
from ngnmm_jax.driven import Driven
from ngnmm_jax.fitting import Free, Unknown, interval, losses, positive, real, simulated
from ngnmm_jax.models.base import SECONDS
from ngnmm_jax.network import Network
from ngnmm_jax.response import linear_response
from ngnmm_jax.signals import functional_connectivity, power_spectrum

_TABLES = ("white_noise", "free", "target", "loss", "run", "check")
_LOSS = ("prediction", "variable", "duration", "transient", "dt", "truncate", "limit",
         "fc_correlation", "fc_distance", "spectral_distance", "whittle", "margin")  # fmt: skip
_RUN = ("steps", "starts", "method", "mode", "learning_rate", "patience", "polish", "resample",
        "seed", "save_every", "monitor")  # fmt: skip
_CHECK = ("duration", "repetition_time", "runs", "transient", "dt", "dtype", "seed", "signal")
# Frequencies (Hz) at which an oscillation would show, where the data have none.
_WATCHED = np.arange(10.0, 200.0, 10.0)


@dataclasses.dataclass(frozen=True)
class Objective:
    """The loss that a file describes; called with a system and a key."""

    target: dict[str, np.ndarray]
    weights: dict[str, float]
    prediction: str
    variable: str
    options: dict[str, Any]
    limit: float

    def predict(self, system: Any, key: Any) -> dict[str, Any]:
        """Functional connectivity and power (frequency, region) of a system."""
        frequencies = self.target.get("frequencies", _WATCHED)
        if self.prediction == "linear":
            found = linear_response(system, frequencies, variable=self.variable, throw=False,
                                    stability="margin" in self.weights)  # fmt: skip
            return {"fc": found.fc, "power": found.power, "response": found}
        samples = simulated(system, key, variables=(self.variable,), **self.options)[:, 0]
        unit = SECONDS[system.model.time_unit]
        step = 20 * system.time_step * unit
        result: dict[str, Any] = {"fc": functional_connectivity(samples)}
        if "spectrum" in self.target:
            width = float(frequencies[1] - frequencies[0])
            welch = power_spectrum(samples, step, segment=1 / width)
            first = round(float(frequencies[0]) / width)
            result["power"] = welch.power[first : first + frequencies.size]
        return result

    def __call__(self, system: Any, key: Any) -> dict[str, jax.Array]:
        found, terms = self.predict(system, key), {}
        for name, weight in self.weights.items():
            if name == "margin":
                value = losses.margin(found["response"], self.limit)
            elif name.startswith("fc"):
                value = getattr(losses, name)(found["fc"], self.target["fc"])
            else:
                value = getattr(losses, name)(found["power"], self.target["spectrum"])
            terms[name] = weight * value
        return terms


@dataclasses.dataclass(frozen=True)
class FitFile:
    """What a file says, as `fit` takes it."""

    network: Network
    system: Driven
    free: Free
    objective: Objective
    options: dict[str, Any]
    check: dict[str, Any]
    settings: Settings

    @classmethod
    def read(cls, path: Path) -> "FitFile":
        """Read and check a file; relative paths are relative to where the command runs."""
        values, tables = read_tables(path, _TABLES)
        settings = Settings.merge(None, values)
        network = settings.build()
        system = Driven(network, tables["white_noise"])
        if not tables["free"]:
            _checks.fail("free", "name at least one parameter", "it is empty")
        unknowns = {name: _unknown(name, table, network) for name, table in tables["free"].items()}
        for name, known in (("run", _RUN), ("check", _CHECK)):
            for option in tables[name]:
                _checks.one_of(name, option, known)
        objective = _objective(tables["target"], tables["loss"], network)
        options = dict(tables["run"])
        if objective.prediction == "simulated":
            options["through"] = objective.options.get("truncate") or objective.options["duration"]
        return cls(
            network, system, Free(system, unknowns), objective, options, tables["check"], settings
        )


def _unknown(name: str, table: Any, network: Network) -> Unknown:
    if not isinstance(table, dict):
        _checks.fail(name, "be a table such as { interval = [0, 10] }", f"it is {table!r}")
    table = dict(table)
    kinds = [kind for kind in ("interval", "positive", "real") if table.get(kind)]
    if len(kinds) != 1:
        _checks.fail(
            name, "have one of `interval`, `positive`, `real`", f"it has {kinds or 'none'}"
        )
    bounds = table.pop(kinds[0])
    for other in ("positive", "real"):
        table.pop(other, None)
    for option in table:
        _checks.one_of(name, option, ("per", "prior", "spread"))
    if table.get("per") not in (None, "region"):
        table["per"] = _array(table["per"])
    if "prior" in table:
        table["prior"] = tuple(table["prior"])
    if kinds[0] == "interval":
        if not isinstance(bounds, list) or len(bounds) != 2:
            _checks.fail(name, "have an interval [low, high]", f"it is {bounds!r}")
        return interval(*bounds, **table)
    return (positive if kinds[0] == "positive" else real)(**table)


def _objective(target: dict[str, Any], loss: dict[str, Any], network: Network) -> Objective:
    for name in target:
        _checks.one_of("target", name, ("fc", "spectrum"))
    for name in loss:
        _checks.one_of("loss", name, _LOSS)
    data: dict[str, np.ndarray] = {}
    if "fc" in target:
        data["fc"] = load_fc(target["fc"], network)
    if "spectrum" in target:
        table = _array(target["spectrum"])
        if table.ndim != 2 or table.shape[1] != 1 + network.n_regions:
            columns = f"have a column of frequencies (Hz) and {network.n_regions} more"
            _checks.fail("spectrum", columns, f"its shape is {table.shape}")
        data["frequencies"], data["spectrum"] = table[:, 0], table[:, 1:]
    loss = dict(loss)
    prediction = loss.pop("prediction", "linear")
    _checks.one_of("prediction", prediction, ("linear", "simulated"))
    variable = loss.pop(
        "variable", "s_e" if "s_e" in network.model.variables else network.model.shown
    )
    limit = loss.pop("limit", 30.0)
    options: dict[str, Any] = {
        name: loss.pop(name) for name in ("duration", "transient", "dt", "truncate") if name in loss
    }
    if prediction == "simulated" and "duration" not in options:
        _checks.fail("loss", "have a `duration` to simulate", "it has none")
    weights = {name: float(weight) for name, weight in loss.items()}
    if not weights:
        weights = {"fc_correlation": 1.0} if "fc" in data else {"spectral_distance": 1.0}
        weights |= {"margin": 1.0} if prediction == "linear" else {}
    for name in weights:
        needs = None if name == "margin" else "fc" if name.startswith("fc") else "spectrum"
        if needs and needs not in data:
            _checks.fail("target", f"have `{needs}` for {name!r}", "it has not")
        if name == "margin" and prediction != "linear":
            _checks.fail("margin", "go with the linear prediction", "it is simulated")
    return Objective(data, weights, prediction, variable, options, limit)


def load_fc(where: str, network: Network) -> np.ndarray:
    """A functional connectivity: "embedded" in the connectome, or a file."""
    if where == "embedded":
        known = None if network.connectome is None else network.connectome.functional_connectivity
        if known is None:
            _checks.fail("fc", "be a file", "the connectome embeds none")
        return np.asarray(known)
    matrix = _array(where)
    n = network.n_regions
    _checks.shape("fc", matrix, (n, n), "(region, region)")
    if not np.allclose(matrix, matrix.T, atol=1e-6):
        _checks.fail("fc", "be symmetric", f"{where!r} is not")
    return matrix


def _array(where: Any) -> np.ndarray:
    """Numbers in a file: .npy, .npz (its only array), or text."""
    path = Path(str(where))
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        if path.suffix == ".npy":
            array = np.load(path)
        elif path.suffix == ".npz":
            with np.load(path) as file:
                if len(file.files) != 1:
                    _checks.fail("file", "hold one array", f"{str(path)!r} holds {file.files}")
                array = file[file.files[0]]
        else:
            array = np.loadtxt(path, delimiter="," if path.suffix == ".csv" else None)
    except (OSError, ValueError) as error:
        raise ValueError(f"The file {str(path)!r} cannot be read: {error}") from error
    array = np.asarray(array, dtype=float)
    _checks.finite(str(path), array)
    return array
