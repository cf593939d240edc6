"""The settings of a network on a cortical surface."""

import functools
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ngnmm_jax._core.messages import fail
from ngnmm_jax.cli.checked import Positive, called
from ngnmm_jax.cli.cortex import Cortex
from ngnmm_jax.cli.settings.network import DELAYS, NetworkSettings, Option

_Share = Annotated[float, Field(ge=0, le=1)]
# The parcels of conte69 that are regions of an embedded connectome.
_KNOWN = {"hcp-schaefer100": "schaefer100"}
_CONTE69 = "conte69"


class SurfaceSettings(NetworkSettings):
    """A network, of a connectome's regions or of a surface's vertices."""

    surface: Annotated[
        list[str],
        Option(
            "Put a node at each vertex of a cortex: 'conte69' (59,234 vertices), or a file of "
            "GIFTI or FreeSurfer; twice for the left and the right hemisphere. See "
            "docs/surfaces.md.",
            metavar="NAME|FILE",
        ),
    ] = Field(default_factory=list)
    parcels: Annotated[
        list[str],
        Option(
            "The region of each vertex: a parcellation of conte69 by name, or a file (.annot, "
            ".label.gii, .csv), twice for both hemispheres. Vertices in none are cut out. "
            "Default: those of the embedded connectome on conte69.",
            metavar="NAME|FILE",
        ),
    ] = Field(default_factory=list)
    kernel: Annotated[
        Literal["gaussian", "exponential"],
        Option("How connections along the surface fall off with distance."),
    ] = "gaussian"
    width: Annotated[
        Positive,
        Option(
            "Of that kernel, mm: standard deviation, or decay length. It reaches 3 times, or 6.6 "
            "times as far."
        ),
    ] = 3.0
    tracts: Annotated[
        _Share | None,
        Option(
            "Share of the coupling that comes over the connectome's tracts, 0 to 1; the rest comes "
            "along the surface. Default: 0.5 where vertices have regions, else 0."
        ),
    ] = None
    callosal: Annotated[
        _Share, Option("Share of the coupling that comes from the other hemisphere's counterpart.")
    ] = 0.0

    match: Annotated[
        Literal["names", "order"],
        Option("Whether parcels are the connectome's regions by name or in their order."),
    ] = "names"
    normalisation: Annotated[
        Literal["rows", "undirected"],
        Option(
            "How rows come to sum to one: 'rows' divides each kind of connection by its sums; "
            "'undirected' keeps them symmetric, so that eigenvalues are real and bounds on them "
            "are found fast."
        ),
    ] = "rows"

    @functools.cached_property
    def cortex(self) -> Cortex:
        """The surface and its parcels, read once."""
        from ngnmm_jax import surfaces

        if len(self.surface) > 2:
            but = f"it is {len(self.surface)} times"
            fail("surface", "be given once or twice, left first", but)
        with called("surface", "left"), called("surface", "path"):
            surface = (
                surfaces.conte69()
                if self.surface == [_CONTE69]
                else surfaces.Surface.load(*map(_file, self.surface))
            )
        parcels = self._parcellation()
        if parcels is None:
            return Cortex(surface, np.arange(surface.n_vertices), surface, None)
        parcels.check(surface)
        if self.match == "order":
            with called("parcels", "names"):
                parcels = parcels.renamed(self.loaded_connectome.labels)
        kept = surface.kept(parcels.outside)
        return Cortex(surface, kept, surface.take(kept), parcels.take(kept))

    def _parcellation(self) -> Any:
        """What `parcels` names, or what is known of the surface; None where there is none."""
        from ngnmm_jax import surfaces

        names = self.parcels
        if not names:
            if self.surface != [_CONTE69] or self.connectome not in _KNOWN:
                return None
            names = [_KNOWN[self.connectome]]
        if len(names) > 2:
            fail("parcels", "be given once or twice, left first", f"it is {len(names)} times")
        with called("parcels", "name"):
            if len(names) == 1 and not Path(names[0]).suffix:
                return surfaces.conte69_parcels(names[0])
        return surfaces.Parcellation.load(*map(_file, names))

    def where(self) -> str:
        """The surface and its connections, or the connectome."""
        if not self.surface:
            return super().where()
        shares = {"tracts": self.share_of_tracts, "callosal": self.callosal}
        given = "".join(f", {name} {share:g}" for name, share in shares.items() if share)
        return f"{Path(self.surface[0]).name} ({self.kernel}, {self.width:g} mm{given})"

    @property
    def share_of_tracts(self) -> float:
        """That of the coupling which comes over tracts."""
        if self.tracts is not None:
            return self.tracts
        return 0.0 if self.cortex.parcels is None else min(0.5, 1.0 - self.callosal)

    def local_kernel(self) -> Any:
        """The kernel of connections along the surface."""
        from ngnmm_jax.surfaces import Exponential, Gaussian

        return (Gaussian if self.kernel == "gaussian" else Exponential)(self.width)

    def check_surface(self) -> None:
        """Refuse what does not go together; called before anything is made."""
        if not self.surface:
            defaults = type(self)()
            for name in SurfaceSettings.model_fields.keys() - NetworkSettings.model_fields.keys():
                if getattr(self, name) != getattr(defaults, name):
                    fail(name, "go with `surface`", "that is not given")
            return
        for name in DELAYS:
            if getattr(self, name) is not None:
                must = "be left out on a surface, whose connections have no delays"
                fail(name, must, f"it is {getattr(self, name):g}")
        if self.share_of_tracts + self.callosal > 1:
            must = f"leave at most {1 - self.callosal:g}, beside `callosal`"
            fail("tracts", must, f"it is {self.share_of_tracts:g}")
        if self.normalisation == "undirected" and self.cortex.parcels is None:
            fail("normalisation", "be 'rows' where there are no parcels", "it is 'undirected'")
        if self.callosal and not self.cortex.surface.is_two_sided:
            must = "be 0 on a surface without a left and a right hemisphere"
            fail("callosal", must, f"it is {self.callosal:g}")
        if self.share_of_tracts and self.cortex.parcels is None:
            must = "be 0 where it is not known which region a vertex belongs to"
            fail("tracts", must, f"it is {self.share_of_tracts:g}: give `parcels` as well")

    def placed(self, name: str, value: Any) -> np.ndarray:
        """What is set: one number for each region is one for each of its vertices."""
        array = super().placed(name, value)
        if not self.surface or not array.ndim:
            return array
        if self.cortex.parcels is None:
            but = "it has one for each region, and vertices have none: give `parcels` as well"
            fail(f"set.{name}", "be one number", but)
        return array[self.cortex.parcels.regions(self.loaded_connectome)]

    def connections(self) -> Any:
        """The cortex' graph, or the connectome."""
        if not self.surface:
            return super().connections()
        cortex, kernel = self.cortex, self.local_kernel()
        with called("width", "cutoff"):
            if cortex.parcels is None:
                return _without_tracts(cortex.surface, kernel, self.callosal)
            from ngnmm_jax.surfaces import ByRows, Undirected, cortical_graph

            undirected = self.normalisation == "undirected"
            return cortical_graph(
                cortex.surface,
                self.loaded_connectome,
                cortex.parcels,
                kernel,
                tracts=self.share_of_tracts,
                callosal=self.callosal,
                normalisation=Undirected() if undirected else ByRows(),
            )


def _without_tracts(surface: Any, kernel: Any, callosal: float) -> Any:
    """Connections along a surface, and callosal ones."""
    from ngnmm_jax.graphs import SparseGraph, SumGraph
    from ngnmm_jax.surfaces import callosal_weights

    local = kernel.graph(surface)
    if not callosal:
        return local
    return SumGraph((local, SparseGraph(callosal_weights(surface))), (1 - callosal, callosal))


def _file(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        fail("surface", f"be {_CONTE69!r} or name a file", f"there is no file {name!r}")
    return path
