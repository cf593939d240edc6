"""What a sweep found, in a table; and who computes it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.cli.reports.statuses import ended
from ngnmm_jax.sweeps.folding import folded
from ngnmm_jax.sweeps.storage import discrepancies


def sweep_facts(dataset: Any) -> dict[str, Any]:
    """How the runs ended."""
    status = dataset["status"].values.ravel()
    facts: dict[str, Any] = {"in all": int(status.size)}
    if "block_digest" in dataset:
        marks = dataset["block_digest"].values
        whole = (marks[:-1] != 0).sum()
        facts["finished blocks"] = f"{int(whole)} of {marks.size - 1}"
    near = {f"{name} near half the sampling rate": n for name, n in folded(dataset).items()}
    return facts | ended(status) | near


def against_half_the_step(dataset: Any) -> list[dict[str, Any]]:
    """A table's columns: the differences of summaries to half the step; none where unknown."""
    found = [
        row
        for row in (discrepancies(dataset) if _checked(dataset) else [])
        if dataset[row["summary"]].ndim <= dataset["status"].ndim + 1
    ]
    columns = ("median", "largest", "spread") if found else ()
    return [{"": column, **{_named(row): row[column] for row in found}} for column in columns]


def _named(row: dict[str, Any]) -> str:
    return row["summary"] + ("" if row["units"] in ("", "1") else f" ({row['units']})")


def _checked(dataset: Any) -> bool:
    return "block_digest" not in dataset or bool(np.asarray(dataset["block_digest"])[-1])


@contextlib.contextmanager
def executor_of(workers: int | None, dask: str | None) -> Iterator[Any]:
    """None, a pool of processes, or a Dask cluster's executor."""
    if workers is not None and dask is not None:
        _checks.fail("workers", "not be given with `dask`", "both are")
    if dask is not None:
        distributed = _checks.require_module("distributed", "dask")
        try:
            client = distributed.Client(dask, timeout="10s")
        except (OSError, ValueError, TimeoutError) as error:
            but = f"{dask!r} is none: {error}"
            _checks.fail("dask", "be the address of a scheduler that is there", but)
        with client:
            yield client.get_executor()
    elif workers is not None:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        _checks.positive_integer("workers", workers)
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield pool
    else:
        yield None
