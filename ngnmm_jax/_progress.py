"""The one progress bar of all long work."""

from typing import Any

from tqdm.auto import tqdm


def progress_bar(total: int, what: str, unit: str, progress: bool | None, **options: Any) -> Any:
    """A bar over `total` units; `progress` None shows it on terminals, after two seconds."""
    return tqdm(
        total=total,
        desc=what,
        unit=unit,
        delay=0 if progress else 2,
        disable=None if progress is None else not progress,
        **options,
    )
