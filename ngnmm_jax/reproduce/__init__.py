"""The paper, reproduced: each figure made by the library's public functions alone.

Source: Delicado, Huguet and Clusella, arXiv 2512.03907. What it found is put in this project's own
words, from its abstract and the list of its computations.
"""

from ngnmm_jax.reproduce.run import FIGURES, reproduce
from ngnmm_jax.reproduce.task import Row, Task

__all__ = ["FIGURES", "Row", "Task", "reproduce"]
