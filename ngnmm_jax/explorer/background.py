"""What the explorer computes in the background: orbits the first time, and its map, which grows,
unless one ships with the package.
"""

import atexit
import dataclasses
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ngnmm_jax._core.status import SolverError
from ngnmm_jax.explorer.shipped import shipped
from ngnmm_jax.stability.delay_maps import RootsMap
from ngnmm_jax.stability.maps import DispersionMap, dispersion_map
from ngnmm_jax.systems.network import Network

Map = DispersionMap | RootsMap

# Lines of the map in the order in which they are computed: every fourth, those between, the rest.
_PASSES = (slice(0, None, 4), slice(2, None, 4), slice(1, None, 2))
# Before its first line, and before it looks for oscillations (s): sliders may still move.
_AT_ONCE, _AT_REST = 0.2, 1.0
# Those that compute.
_AT_WORK: "weakref.WeakSet[Later]" = weakref.WeakSet()


@atexit.register
def _end() -> None:
    """Before Python ends: a thread that computes then would bring it down."""
    for one in list(_AT_WORK):
        one.stop()
    for one in list(_AT_WORK):
        one.wait()


class Later:
    """Something that is computed in a thread of its own, once it has begun.

    - `done`: whether it has been.

    **Arguments:**

    - `work`, `then`: called in that thread, one after the other, the latter unless it was stopped.
    """

    def __init__(self, work: Callable[[], Any], then: Callable[[], Any]) -> None:
        self._calls, self.done = (work, then), False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        """Unless it has begun or was stopped."""
        if self._thread.ident is None and not self._stop.is_set():
            _AT_WORK.add(self)
            self._thread.start()

    def stop(self) -> None:
        """End after the part that is being computed."""
        self._stop.set()

    def wait(self) -> None:
        """Until it has ended."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        work, then = self._calls
        try:
            work()
        except Exception:
            if threading.main_thread().is_alive():
                raise  # else Python ends, and has closed what is computed with
        finally:
            self.done = True
            if not self._stop.is_set():
                then()


class Background(Later):
    """A map over two parameters, which becomes finer by itself while something else is done.

    Equilibria come first, then oscillating states, line by line. A map that ships is there at once.

    - `newest`: the map so far, or None.
    - `whole`: whether it is as fine as it will be.
    - `failed`: why there is none, or what stopped it; else empty.

    **Arguments:**

    - `network`, `axes`: of whom, and the two parameters' values, by name.
    - `news`: called, in the thread that computes, each time that the map has changed.
    """

    def __init__(
        self, network: Network, axes: Mapping[str, np.ndarray], news: Callable[[], Any]
    ) -> None:
        super().__init__(self._work, news)
        self._network, self._axes, self._news = network, dict(axes), news
        self.newest: Map | None = shipped(network, axes)
        self.whole, self.failed = self.newest is not None, ""

    def begin(self) -> None:
        """Unless it is whole as it is."""
        if not self.whole:
            super().begin()

    def _work(self) -> None:
        try:
            for found in self._steps():
                self.newest = found
                self._news()
            self.whole = not self._stop.is_set()
        except (SolverError, ValueError) as error:
            self.failed = str(error)

    def _steps(self) -> Iterator[Map]:
        """Finer and finer maps."""
        if self._stop.wait(_AT_ONCE):
            return
        delayed = self._network.delays is not None
        if not delayed:
            yield dispersion_map(self._network, self._axes, oscillations=False, progress=False)
        (first, along), (second, across) = self._axes.items()
        parts: list[Map] = []
        for lines in _PASSES:
            if self._stop.wait(_AT_REST):
                return
            if across[lines].size:
                axes = {first: along, second: across[lines]}
                parts.append(dispersion_map(self._network, axes, progress=False))
                yield joined(parts)


def joined(parts: list[Map]) -> Map:
    """Maps of the same first values and other second ones as one, the second ones rising."""
    head = parts[0]
    (first, along), (second, _) = head.parameters.items()
    across = np.concatenate([part.parameters[second] for part in parts])
    order = np.argsort(across)
    changed: dict[str, Any] = {"parameters": OrderedDict([(first, along), (second, across[order])])}
    for field in dataclasses.fields(head):
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], np.ndarray) and values[0].ndim >= 2:
            changed[field.name] = np.concatenate(_padded(values), axis=1)[:, order]
    return dataclasses.replace(head, **changed)


def _padded(values: list[np.ndarray]) -> list[np.ndarray]:
    """With as many places for states in each: what is added holds none."""
    most = np.max([value.shape[2:] for value in values], axis=0, initial=0)
    kind = values[0].dtype.kind
    nothing: Any = {"f": np.nan, "c": np.nan, "b": False}.get(kind, -1)
    room = [[(0, 0), (0, 0), *((0, int(m - n)) for m, n in zip(most, v.shape[2:], strict=True))]
            for v in values]  # fmt: skip
    return [np.pad(v, r, constant_values=nothing) for v, r in zip(values, room, strict=True)]
