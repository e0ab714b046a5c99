"""What has to be done now and then: matchups expire, and what ended long ago is forgotten."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from producers.artifacts.errors import ArtifactError
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.errors import DispatcherError

_EXPIRE_SECONDS: Final = 1.0
_PURGE_SECONDS: Final = 600.0

_LOGGER = logging.getLogger("kwise.gateway")


class Upkeep:
    """Does it in a thread until it is closed.

    Parameters
    ----------
    dispatcher
    clock : wall clock in ms
    """

    def __init__(self, dispatcher: Dispatcher, clock: Callable[[], int]) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        since_purge = 0.0
        while not self._ended.wait(_EXPIRE_SECONDS):
            since_purge += _EXPIRE_SECONDS
            try:
                self._dispatcher.expire(self._clock())
                if since_purge >= _PURGE_SECONDS:
                    since_purge = 0.0
                    self._dispatcher.purge(self._clock())
                    self._dispatcher.remove_artifacts()
            except (DispatcherError, ArtifactError) as error:
                _LOGGER.warning("upkeep of the queue failed: %s", error)
