"""Peaks near half the sampling rate, where what is faster may be folded."""

import warnings
from typing import Any

import numpy as np

#: The attribute of frequencies that says up to which samples know them.
LIMIT = "half_sampling_rate"
# Peaks above this part of it may be those of faster activity, or lose their harmonics to others.
_NEAR = 0.75


class FoldedWarning(UserWarning):
    """Activity may be faster than its samples can tell."""


def folded(dataset: Any) -> dict[str, int]:
    """How many peaks lie near half the sampling rate, by the variables that have such."""
    counts = {
        name: int((np.asarray(variable) > _NEAR * variable.attrs[LIMIT]).sum())
        for name, variable in dataset.data_vars.items()
        if LIMIT in variable.attrs
    }
    return {name: count for name, count in counts.items() if count}


def told(dataset: Any) -> Any:
    """The dataset; warns where peaks may be folded."""
    for name, count in folded(dataset).items():
        limit, unit = dataset[name].attrs[LIMIT], dataset[name].attrs["units"]
        text = (
            f"{count} of {dataset[name].size} values of `{name}` lie above {_NEAR:.0%} of half the "
            f"sampling rate ({limit:g} {unit}): faster activity is folded to there, and all that "
            "is made of spectra may be wrong. Sample more finely (`sample` of `Activity`, by half)."
        )
        warnings.warn(text, FoldedWarning, stacklevel=3)
    return dataset
