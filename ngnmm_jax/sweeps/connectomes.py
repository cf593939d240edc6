"""Connectomes as an axis of a design: of subjects, of lesions."""

from collections.abc import Mapping, Sequence
from typing import Any

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown
from ngnmm_jax._core.pictured import Listed
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.systems.delayed import spanning
from ngnmm_jax.systems.driven import Driven, undriven
from ngnmm_jax.systems.network import Network


class Connectomes(Shown):
    """Connectomes of the same regions along an axis of a design, in place of the network's own.

        subjects = Connectomes({"sub-01": one.normalised(), "sub-02": other.normalised()})
        Design.grid({"subject": subjects, "coupling": np.linspace(0, 30, 31)})

    Each is taken as it is (see `Network.with_connectome`): its weights, and its tract lengths where
    the network has a `speed`. Points of one connectome are computed together, and programs are
    compiled once for all of them.

    **Arguments:**

    - `connectomes`: by label, which is the coordinate; or a list of `Connectome`s, whose names are
      the labels, which must differ. Weights (region, region) do for connectomes without lengths.

    - `labels` (connectome,); `connectomes`.
    """

    def __init__(self, connectomes: Mapping[str, Any] | Sequence[Any]) -> None:
        if isinstance(connectomes, Mapping):
            pairs = [(str(name), value) for name, value in connectomes.items()]
        elif isinstance(connectomes, list | tuple):
            for value in connectomes:
                if not isinstance(value, Connectome):
                    must = 'be named where they are bare weights, as in {"sub-01": weights}'
                    _checks.fail("connectomes", must, f"one is {_checks.kind_of(value)}")
            pairs = [(value.name, value) for value in connectomes]
        else:
            must = "be connectomes by label, or a list of them"
            _checks.fail("connectomes", must, f"it is {_checks.kind_of(connectomes)}")
        if not pairs:
            _checks.fail("connectomes", "hold at least one", "it is empty")
        self.labels = tuple(name for name, _ in pairs)
        for name in self.labels:
            if self.labels.count(name) > 1:
                must = 'have labels that differ: give them as {"sub-01": …, "sub-02": …}'
                _checks.fail("connectomes", must, f"{name!r} stands more than once")
        self.connectomes = tuple(
            value if isinstance(value, Connectome) else Connectome(value, name=name)
            for name, value in pairs
        )

    def __repr__(self) -> str:
        shown = ", ".join(self.labels[:5]) + (", …" if len(self.labels) > 5 else "")
        return f"Connectomes of {self.connectomes[0].n_regions} regions: {shown}"

    def __len__(self) -> int:
        return len(self.labels)

    def definition(self) -> list[list[str]]:
        """All that decides numbers: labels, and digests of what each holds."""
        return [[k, one.digest] for k, one in zip(self.labels, self.connectomes, strict=True)]

    def networks(self, system: Any) -> tuple[Network | Driven, ...]:
        """The system over each of them, whose programs allow for the delays of all.

        `ValueError` where one does not suit it, by its label.
        """
        if not isinstance(undriven(system), Network):
            but = f"it is {_checks.kind_of(undriven(system))}"
            _checks.fail("system", "be a network for `Connectomes`", but)
        found: list[Any] = []
        for label, connectome in zip(self.labels, self.connectomes, strict=True):
            try:
                found.append(system.with_connectome(connectome))
            except ValueError as error:
                raise ValueError(f"Of {label!r}: {error}") from error
        if found[0].delays is None:
            return Listed(found)
        delayed: list[Any] = [undriven(one).interaction.delayed() for one in found]
        spans = [{name: part.graph.span for name, part in parts.items()} for parts in delayed]
        return Listed(spanning(one, joined(spans)) for one in found)


def joined(spans: Sequence[Mapping[str, tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    """From the shortest to the longest delay of several spans, for each coupling."""
    return {
        name: (min(some[name][0] for some in spans), max(some[name][1] for some in spans))
        for name in spans[0]
    }
