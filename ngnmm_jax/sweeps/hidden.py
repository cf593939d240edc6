"""A Zarr store some of whose chunks are not to be seen: those that are damaged or unfinished."""

from typing import Any

from zarr.storage import WrapperStore


class Hidden(WrapperStore[Any]):
    """Another store, of which only the metadata and the chunks in `good` are there."""

    # So that every read comes through the two methods below.
    _supports_sync_io = False

    def __init__(self, store: Any, good: frozenset[str]) -> None:
        super().__init__(store)
        self.good = good

    def _with_store(self, store: Any) -> "Hidden":
        return type(self)(store, self.good)

    def _hides(self, key: str) -> bool:
        return not key.endswith("zarr.json") and key not in self.good

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        return None if self._hides(key) else await super().get(key, prototype, byte_range)

    async def exists(self, key: str) -> bool:
        return not self._hides(key) and await super().exists(key)
