"""What has to be done now and then: matchups expire, what ended long ago is forgotten, shortages are filled."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Final

from pipeline.contracts.log import MATCHUPS, LogError, LogWriter, Record
from pipeline.contracts.matchup import encode_matchup
from producers.artifacts.errors import ArtifactError
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.errors import DispatcherError
from producers.gateway.drawing import MatchupDrawer
from producers.gateway.errors import GatewayError

_EVERY_SECONDS: Final = 1.0
_PURGE_TURNS: Final = 600
_SHORT_TURNS: Final = 3
"""The job has so many seconds to propose what is missing: it knows the newest votes."""
_AT_ONCE: Final = 64

_SLOW: Final = ("pipeline.matchmaking.propose", "producers.gateway.bulk")
"""Modules that load a compiler: read in now, so that no voter waits for them."""

_LOGGER = logging.getLogger("kwise.gateway")


class Upkeep:
    """Does it in a thread until it is closed.

    Parameters
    ----------
    dispatcher, drawer
    writer : of the log
    clock : wall clock in ms
    list_arenas : those that are published
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        drawer: MatchupDrawer,
        writer: LogWriter,
        clock: Callable[[], int],
        list_arenas: Callable[[], Iterable[str]],
    ) -> None:
        self._dispatcher = dispatcher
        self._drawer = drawer
        self._writer = writer
        self._clock = clock
        self._list_arenas = list_arenas
        self._short: Counter[str] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for name in _SLOW:
            import_module(name)
        turn = 0
        while not self._ended.wait(_EVERY_SECONDS):
            turn += 1
            try:
                self._dispatcher.expire(self._clock())
                self._fill()
                if turn % _PURGE_TURNS == 0:
                    self._dispatcher.purge(self._clock())
                    self._dispatcher.remove_artifacts()
            except (DispatcherError, ArtifactError, LogError) as error:
                _LOGGER.warning("upkeep of the queue failed: %s", error)

    def _fill(self) -> None:
        """Draw matchups for arenas that have been short of proposals for a while."""
        known = self._dispatcher.counts(self._clock()).arenas
        for arena in self._list_arenas():
            missing = known[arena].shortage if arena in known else self._dispatcher.settings.ready_min
            self._short[arena] = self._short[arena] + 1 if missing else 0
            if self._short[arena] < _SHORT_TURNS:
                continue
            self._short[arena] = 0
            try:
                drawn = self._drawer.draw(arena, min(missing, _AT_ONCE))
            except GatewayError:  # an arena that has too few models by now, or is not published
                continue
            self._writer.append(MATCHUPS, [Record(encode_matchup(each), each.matchup_id) for each in drawn])
