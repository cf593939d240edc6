"""What every figure is given, and the rows of the table that it gives back."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ngnmm_jax.connectome import Connectome
from ngnmm_jax.models import NextGenEI
from ngnmm_jax.systems.network import Network

#: Agreement: as the paper says; in part; not; or not to be compared.
AGREES, PARTLY, DIFFERS, OTHER = "yes", "in part", "no", "–"


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: what was found before and is found here, whether they agree, why not.

    `agrees`: one of `AGREES`, `PARTLY`, `DIFFERS`, `OTHER`.
    """

    before: str
    here: str
    agrees: str
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Task:
    """What a figure is made from.

    - `connectome`: with rows normalised.
    - `quick`: small settings, for a first look.
    - `folder`: where its files go.
    - `progress`: as everywhere; `say`: tells the user.
    """

    connectome: Connectome
    quick: bool
    folder: Path
    progress: bool | None
    say: Callable[[str], None]

    def network(self, i_ext_e: float = 0.0, coupling: float = 0.0) -> Network:
        """The paper's model on the connectome."""
        return Network(NextGenEI(i_ext_e=i_ext_e), self.connectome, coupling)

    def choose(self, quick: Any, full: Any) -> Any:
        """One of two settings."""
        return quick if self.quick else full

    def save(self, figure: Figure, name: str) -> None:
        """A finished figure, as PNG at print size."""
        figure.savefig(self.folder / f"{name}.png", dpi=150)
        plt.close(figure)


def agree(holds: Any, partly: Any = False) -> str:
    """The word for a comparison."""
    return AGREES if holds else PARTLY if partly else DIFFERS
