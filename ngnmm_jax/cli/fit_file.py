"""The TOML file of `ngnmm fit`, as `fit` takes it: a network, what is free, the data, the loss."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.cli.arrays import read_array
from ngnmm_jax.cli.checked import called
from ngnmm_jax.cli.estimates import step_of
from ngnmm_jax.cli.settings.fit import FitRunTable, FitSettings, LossTable, TargetTable, VaryTable
from ngnmm_jax.cli.settings.network import DELAYS
from ngnmm_jax.fitting import Free, Gradient, Unknown, interval, losses, positive, real, simulated
from ngnmm_jax.integrators import fixed
from ngnmm_jax.integrators.steps import step_between
from ngnmm_jax.models.times import seconds_in
from ngnmm_jax.signals import functional_connectivity, power_spectrum
from ngnmm_jax.stability.response import linear_response
from ngnmm_jax.systems.driven import Driven
from ngnmm_jax.systems.network import Network

# Seconds between the samples of a simulated prediction.
_SAMPLE = 1e-3
# Frequencies (Hz) at which an oscillation would show, where the data have none.
_WATCHED = np.arange(10.0, 200.0, 10.0)
# Entries of `[run]` that are options of `Gradient`.
_OF_GRADIENTS = ("mode", "learning_rate", "polish", "monitor")


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
        result: dict[str, Any] = {"fc": functional_connectivity(samples)}
        if "spectrum" in self.target:
            width = float(frequencies[1] - frequencies[0])
            welch = power_spectrum(samples, _SAMPLE, segment=1 / width)
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


def _unknown(table: VaryTable) -> Unknown:
    """A free parameter, as `Free` takes it."""
    options: dict[str, Any] = {}
    if table.per is not None:
        options["per"] = table.per if table.per == "region" else read_array("per", table.per)
    if table.prior is not None:
        options["prior"] = tuple(table.prior)
    if table.spread is not None:
        options["spread"] = table.spread
    if table.interval is not None:
        return interval(*table.interval, **options)
    return (positive if table.positive else real)(**options)


@dataclasses.dataclass(frozen=True)
class FitFile:
    """What a file says, as `fit` takes it."""

    network: Network
    system: Driven
    free: Free
    objective: Objective
    options: dict[str, Any]
    check: dict[str, Any]
    settings: FitSettings

    @classmethod
    def read(cls, path: Path) -> "FitFile":
        """Read and check a file; relative paths are relative to where the command runs."""
        settings = FitSettings.of_file(path)
        network = settings.build()
        system = Driven(network, settings.noise)
        if not settings.vary:
            _checks.fail("vary", "name at least one parameter", "it is empty")
        parameters = {name: _unknown(table) for name, table in settings.vary.items()}
        bounds = {name: settings.vary[name].interval for name in DELAYS if name in settings.vary}
        ends = {name: np.asarray(pair) for name, pair in bounds.items() if pair is not None}
        step = step_of(network, settings.loss.dt, ends)
        objective = _objective(settings.target, settings.loss, network, step)
        options = _run_options(settings.run, objective)
        check = settings.check.model_dump(exclude_none=True)
        if check.get("signal") is not None:
            names = (*network.model.variables, network.model.shown)
            _checks.one_of("signal", check["signal"], names)
        with called("vary", "parameters"):
            free = Free(system, parameters)
        return cls(network, system, free, objective, options, check, settings)


def _run_options(table: FitRunTable, objective: Objective) -> dict[str, Any]:
    """`[run]` as `fit` takes it: what is of gradients in one object, also how far they go."""
    given = table.model_dump(exclude_none=True)
    of_gradients = {name: given.pop(name) for name in _OF_GRADIENTS if name in given}
    if table.method == "cma":
        if of_gradients:
            name = next(iter(of_gradients))
            _checks.fail(f"run.{name}", 'go with method = "gradient"', 'it is "cma"')
        return given
    if objective.prediction == "simulated":
        through = objective.options.get("truncate") or objective.options["duration"]
        of_gradients["through"] = through
    return {**given, "method": Gradient(**of_gradients)}


def _objective(target: TargetTable, loss: LossTable, network: Network, longest: float) -> Objective:
    """`longest`: a step where none is given."""
    data: dict[str, np.ndarray] = {}
    if target.fc is not None:
        data["fc"] = load_fc("target.fc", target.fc, network)
    if target.spectrum is not None:
        table = read_array("target.spectrum", target.spectrum)
        if table.ndim != 2 or table.shape[1] != 1 + network.n_regions:
            columns = f"have a column of frequencies (Hz) and {network.n_regions} more"
            _checks.fail("target.spectrum", columns, f"its shape is {table.shape}")
        data["frequencies"], data["spectrum"] = table[:, 0], table[:, 1:]
        if (np.diff(table[:, 0]) <= 0).any() or (table < 0).any():
            must = "have rising frequencies and powers that are not negative"
            _checks.fail("target.spectrum", must, "it has not")
    model = network.model
    variable = model.synaptic if loss.variable is None else loss.variable
    _checks.one_of("loss.variable", variable, (*model.variables, model.shown))
    if loss.prediction == "linear":
        for name in ("duration", "transient", "dt", "truncate"):
            if getattr(loss, name) is not None:
                _checks.fail(f"loss.{name}", 'go with prediction = "simulated"', "it is linear")
    options = loss.model_dump(
        include={"duration", "transient", "dt", "truncate"}, exclude_none=True
    )
    if loss.prediction == "simulated" and "duration" not in options:
        _checks.fail("loss", "have a `duration` to simulate", "it has none")
    weights = loss.weights
    if not weights:
        weights = {"fc_correlation": 1.0} if "fc" in data else {"spectral_distance": 1.0}
        known = loss.prediction == "linear" and network.delays is None
        weights |= {"margin": 1.0} if known else {}
    for name in weights:
        needs = None if name == "margin" else "fc" if name.startswith("fc") else "spectrum"
        if needs and needs not in data:
            _checks.fail("target", f"have `{needs}` for {name!r}", "it has not")
        if name == "margin" and loss.prediction != "linear":
            _checks.fail("margin", "go with the linear prediction", "it is simulated")
        if name == "margin" and network.delays is not None:
            must = "be left out with delays, whose roots no fit follows (`ngnmm dispersion` has "
            _checks.fail("loss.margin", must + "those of the fitted network)", "it is given")
    if loss.prediction == "simulated":
        sample = options["sample"] = _SAMPLE / seconds_in(model.time_unit)
        if "dt" not in options:  # of the network as it is: in a fit its values are not known
            others = options["duration"], options.get("transient", 0.0)
            options["integrator"] = fixed(network)
            options["dt"] = step_between(sample, others, longest)
    return Objective(data, weights, loss.prediction, variable, options, loss.limit)


def load_fc(argument: str, where: str, network: Network) -> np.ndarray:
    """A functional connectivity: "embedded" in the connectome, or a file."""
    if where == "embedded":
        known = None if network.connectome is None else network.connectome.functional_connectivity
        if known is None:
            _checks.fail(argument, "be a file", "the connectome embeds none")
        return np.asarray(known)
    matrix = read_array(argument, where)
    n = network.n_regions
    _checks.shape(argument, matrix, (n, n), "(region, region)")
    if not np.allclose(matrix, matrix.T, atol=1e-6):
        _checks.fail(argument, "be symmetric", f"{where!r} is not")
    return matrix
