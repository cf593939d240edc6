"""What arrives with delays at the times of a run, from what the run has saved."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import make_interp_spline

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.coupling.base import AbstractSum
from ngnmm_jax.simulation.history import History
from ngnmm_jax.simulation.result import Simulation
from ngnmm_jax.systems.network import Network

# The order of splines; how far those of every second sample may be from the others, relative to how
# much values vary (those of all samples are some eight times nearer or more); times that are one.
_ORDER, _FAR, _SAME = 5, 1e-2, 1e-9


def arrived(
    network: Network, run: Simulation, states: Float[Array, "variable time region"]
) -> dict[str, Any]:
    """The sums that arrive over each coupling with delays, (time, *channel, region), if any."""
    if network.delays is None:
        return {}
    if not _checks.on_host(network, run):
        but = "JAX traces them: what arrives with delays is interpolated on the host"
        _checks.fail("run", "have known values where the system has delays", but)
    ts = np.asarray(run.ts)
    began = ts[0] if run.t0 is None else float(run.t0)
    if ts[0] > began + _SAME * max(1.0, abs(began)) or ts.size < 2 * _ORDER + 2:
        must = f"be saved from its beginning on, where there are delays, {2 * _ORDER + 2} times"
        _checks.fail(
            "run", must, f"it begins at {began:g}, and is saved {ts.size} times from {ts[0]:g}"
        )
    outputs = network.model.output(jnp.swapaxes(states, 1, 2))  # (region, time)
    found, in_time = {}, network.over_runs().interaction.delayed()
    for name, part in network.interaction.delayed().items():
        if not isinstance(part, AbstractSum):
            must = "be one of weighted sums, or of several of these, where it has delays"
            _checks.fail("coupling", must, f"`{type(part).__name__}` is none")
        values = np.asarray(in_time[name].sent(outputs))
        sent = np.moveaxis(values, (-1, -2), (0, 1))  # (time, region, *channel)
        past = _Past(ts, sent, name, run.before, float(network.time_step))
        sums = _summed(part.graph, past, ts)
        found[name] = as_array(np.moveaxis(sums, 1, -1))
    return found


class _Past:
    """What was sent (region, *channel), at any time up to the end of a run."""

    def __init__(
        self,
        ts: np.ndarray,
        sent: np.ndarray,
        name: str,
        before: History | None,
        step: float,
    ) -> None:
        self.begin, self.first, self.step = ts[0], sent[0], step
        self.spline = make_interp_spline(ts, sent, _ORDER)
        self.before: Any = None
        if before is not None:
            values = np.moveaxis(np.asarray(before.sent[name]), 1, 0)
            there = np.isfinite(values).reshape(len(values), -1).all(axis=1)
            times = ts[0] - before.dt * np.arange(len(values))[::-1]
            self.before = make_interp_spline(times[there], values[there], _ORDER)
        self._check(ts, sent)

    def _check(self, ts: np.ndarray, sent: np.ndarray) -> None:
        """Refuse samples that are too far apart."""
        coarse = make_interp_spline(ts[::2], sent[::2], _ORDER)
        among = ts <= ts[::2][-1]
        # After the beginning, where slopes may jump, splines ring.
        among &= np.arange(ts.size) >= 2 * _ORDER if self.before is None else among
        miss = np.abs(coarse(ts[among]) - sent[among]).max(initial=0.0)
        size = float(np.ptp(sent, axis=0).max())
        if miss > _FAR * size:
            step = float(np.diff(ts).max())
            finer = self.step if step > (1 + _SAME) * self.step else step / 2
            must = "be saved more often, where there are delays: "
            must += f"`save_every={finer:.6g}` (and a `dt` that goes into it)"
            _checks.fail(
                "run", must, f"samples are {step:g} apart, and do not tell what is between"
            )

    def at(self, region: int, times: np.ndarray) -> np.ndarray:
        """Of one region, (*times, *channel)."""
        now = self._of(self.spline, region)(np.maximum(times, self.begin))
        if self.before is None:
            then = np.broadcast_to(self.first[region], now.shape)
        else:
            then = self._of(self.before, region)(np.minimum(times, self.begin))
        early = times < self.begin
        return np.where(early.reshape(*early.shape, *(1,) * (now.ndim - early.ndim)), then, now)

    @staticmethod
    def _of(spline: Any, region: int) -> Any:
        return spline.construct_fast(spline.t, spline.c[:, region], spline.k)


def _summed(graph: Any, past: _Past, ts: np.ndarray) -> np.ndarray:
    """The sums (time, region, *channel)."""
    weights, times = np.asarray(graph.matrix()), np.asarray(graph.times())
    times = np.broadcast_to(times, weights.shape)
    total: Any = 0.0
    for k in range(len(weights)):
        to = np.flatnonzero(weights[:, k])
        different, which = np.unique(times[to, k], return_inverse=True)
        each = past.at(k, ts[:, None] - different)[:, which]  # (time, to, *channel)
        part = np.zeros((len(ts), len(weights), *each.shape[2:]))
        part[:, to] = weights[to, k].reshape(-1, *(1,) * (each.ndim - 2)) * each
        total = total + part
    return np.asarray(total)
