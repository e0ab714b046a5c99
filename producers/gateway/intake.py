"""Proposals in: a thread that follows the topic `matchups` and hands what comes to the dispatcher.

How far it has read is kept by the dispatcher together with what came, so nothing is lost or taken twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec

from pipeline.contracts.log import MATCHUPS, EventLog, LogBatch, LogError, LogReader, Position, TopicPartition
from pipeline.contracts.matchup import Matchup, decode_matchup
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.errors import DispatcherError
from producers.gateway.errors import SettingsError

_RECORDS: Final = 1_000
_POLL_SECONDS: Final = 0.25
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 10.0

_LOGGER = logging.getLogger("kwise.gateway")


class Intake:
    """Follows the matchups of a log until it is closed.

    Parameters
    ----------
    log, dispatcher

    Raises
    ------
    SettingsError
        The dispatcher's queue was filled from another log.
    LogError
        The log cannot be used.
    """

    def __init__(self, log: EventLog, dispatcher: Dispatcher) -> None:
        self._log = log
        self._dispatcher = dispatcher
        self._ended = threading.Event()
        self.problem: str | None = None
        """Why nothing comes in at present; None if it does."""
        _require_same_log(log, dispatcher)
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._ended.is_set():
            try:
                self._follow()
            except (LogError, DispatcherError) as error:
                text = " ".join(str(error).split())
                if text != self.problem:
                    _LOGGER.warning("no proposals come in: %s", text)
                self.problem = text
                self._ended.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE

    def _follow(self) -> None:
        """Read until the log or the dispatcher fails, or the end."""
        reader = self._log.reader(self._dispatcher.position(), live=True)
        try:
            while not self._ended.is_set():
                self._take(reader, reader.poll(MATCHUPS, _RECORDS, _POLL_SECONDS))
                self.problem = None
        finally:
            reader.close()

    def _take(self, reader: LogReader, batch: LogBatch) -> None:
        if not batch.spans:
            return
        position = {span.source: span.end for span in batch.spans}
        self._dispatcher.take_proposals(_decode(batch.values), position, self._identify(position))
        reader.note_committed(position)

    def _identify(self, position: Mapping[TopicPartition, Position]) -> dict[TopicPartition, str]:
        return self._log.identities(sorted(position))


def _decode(values: list[bytes]) -> list[Matchup]:
    """Return the matchups among records; whoever may write there may write nonsense."""
    matchups = []
    for value in values:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            matchups.append(decode_matchup(value))
    return matchups


def _require_same_log(log: EventLog, dispatcher: Dispatcher) -> None:
    known = dispatcher.identities()
    found = log.identities(sorted(known)) if known else {}
    if any(found.get(source, identity) != identity for source, identity in known.items()):
        raise SettingsError(
            f"the queue was filled from another log than {log.url}: name that log, or another state folder"
        )
