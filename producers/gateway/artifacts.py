"""Artifacts out, by the random address that each has in one showing; those that are asked for often stay in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from producers.artifacts.errors import ArtifactError, ArtifactMissing
from producers.artifacts.store import ArtifactStore
from producers.dispatcher.dispatcher import Dispatcher
from producers.gateway.batches import Batches
from producers.gateway.errors import GatewayError
from producers.gateway.threads import Threads

_CACHE_BYTES: Final = 64 << 20
_LARGEST_CACHED: Final = 2 << 20
"""Clips are not kept: a few would push out all pictures."""


class ShownArtifact(NamedTuple):
    """Bytes and media type."""

    data: bytes
    media_type: str


class ArtifactDesk:
    """Hands out artifacts. For one event loop.

    Parameters
    ----------
    dispatcher, store
    threads : where what waits for a disk is done
    """

    def __init__(self, dispatcher: Dispatcher, store: ArtifactStore, threads: Threads) -> None:
        self._dispatcher = dispatcher
        self._store = store
        self._cache = _Cache()
        self._asked = Batches(self._find_all, threads)

    async def find(self, address: str) -> ShownArtifact:
        """Return the artifact at an address. Raises `GatewayError` 404 or 503."""
        return await self._asked.ask(address)

    def _find_all(self, addresses: Sequence[str]) -> list[ShownArtifact | Exception]:
        return [self._read(found) for found in self._dispatcher.artifacts_at(addresses)]

    def _read(self, found: tuple[str, str] | None) -> ShownArtifact | Exception:
        if found is None:
            return _missing()
        sha256, media_type = found
        data = self._cache.get(sha256)
        if data is None:
            try:
                data = self._store.read(sha256, media_type)
            except ArtifactMissing:
                return _missing()
            except ArtifactError:
                return GatewayError(
                    503, "artifacts_unavailable", "the artifacts are out of reach", retry=True, retry_after=2.0
                )
            self._cache.put(sha256, data)
        return ShownArtifact(data, media_type)


class _Cache:
    """Bytes by hash, the latest used ones. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def get(self, sha256: str) -> bytes | None:
        with self._lock:
            data = self._held.get(sha256)
            if data is not None:
                self._held.move_to_end(sha256)
            return data

    def put(self, sha256: str, data: bytes) -> None:
        if len(data) > _LARGEST_CACHED:
            return
        with self._lock:
            if sha256 in self._held:
                return
            self._held[sha256] = data
            self._size += len(data)
            while self._size > _CACHE_BYTES:
                _, gone = self._held.popitem(last=False)
                self._size -= len(gone)


def _missing() -> GatewayError:
    return GatewayError(404, "unknown_artifact", "there is no artifact at this address")
