"""The models that go by a name: on the command line, in settings files, in the tests."""

from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.jansen_rit import JansenRit
from ngnmm_jax.models.montbrio import MontbrioPazoRoxin
from ngnmm_jax.models.nextgen_ei import NextGenEI

#: Each under its name; what else there is to know of one (`plane`, `symbols`, …), its class says.
#: One's own may be put in; the command line also takes them as `--model module:Class`.
MODELS: dict[str, type[AbstractNeuralMass]] = {
    "nextgen": NextGenEI,
    "mpr": MontbrioPazoRoxin,
    "jansen-rit": JansenRit,
}
