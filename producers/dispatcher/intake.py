"""Proposals come in from the topic `matchups` of the event log, in a thread, from where the last run ended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from pipeline.contracts.ballot import K_MAX, K_MIN
from pipeline.contracts.ids import is_id
from pipeline.contracts.log import MATCHUPS, EventLog, LogBatch, LogError, LogReader, TopicPartition
from pipeline.contracts.matchup import Matchup, decode_matchup
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.errors import DispatcherError

_LOGGER = logging.getLogger("kwise.dispatcher")

_AT_ONCE: Final = 50  # matchups a transaction: voters wait for no longer one
_POLL_S: Final = 0.5
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_KNOWN_PAUSE_S: Final = 0.1
_KNOWN_LOOKS: Final = 50


class Intake:
    """Feeds a dispatcher from a log, until it is closed. Trouble with the log is told and tried again, for ever.

    Parameters
    ----------
    log : the event log
    dispatcher : keeps matchups and position in one transaction, so that a restart neither repeats nor loses any
    is_known : whether the registry has the models of a matchup, or it needs none; `LogUnavailable`: nobody can say yet

    Raises
    ------
    LogError
        The log cannot be used, or is not the one that the dispatcher has read.
    """

    def __init__(
        self, log: EventLog, dispatcher: Dispatcher, *, is_known: Callable[[Matchup], bool] = lambda _: True
    ) -> None:
        self.problem: str | None = None
        """Why nothing comes in at present; None if all is well."""
        self.unusable = 0
        """Records of the topic that were no matchups."""
        self._log = log
        self._dispatcher = dispatcher
        self._is_known = is_known
        self._ended = threading.Event()
        self._identified: set[TopicPartition] = set()
        self._check_identities()
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading, and wait until what was read is taken in. Idempotent."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._ended.is_set():
            try:
                self._check_identities()
                self._read()
            except (LogError, DispatcherError) as error:
                pause = _FIRST_PAUSE_S if self.problem is None else min(2 * pause, _LONGEST_PAUSE_S)
                if str(error) != self.problem:
                    _LOGGER.warning("no proposals come in: %s", error)
                self.problem = str(error)
                self._ended.wait(pause)

    def _read(self) -> None:
        """Read from the position that the dispatcher has, until closed or something raises."""
        reader: LogReader = self._log.reader(self._dispatcher.position(), live=True)
        try:
            while not self._ended.is_set():
                batch = reader.poll(MATCHUPS, _AT_ONCE, _POLL_S)
                if batch.spans:
                    self._take(reader, batch)
                self.problem = None
        finally:
            reader.close()

    def _take(self, reader: LogReader, batch: LogBatch) -> None:
        matchups = []
        for value in batch.values:
            matchup = parse_matchup(value)
            if matchup is None:
                self.unusable += 1
            else:
                matchups.append(matchup)
        known = self._await_known(matchups)
        if self._ended.is_set():
            return  # they are read again at the next start
        self.unusable += len(matchups) - len(known)
        positions = {span.source: span.end for span in batch.spans}
        self._dispatcher.take_proposals(known, positions, self._identify(positions))
        reader.note_committed(positions)

    def _await_known(self, matchups: list[Matchup]) -> list[Matchup]:
        """Return the matchups whose models are known.

        Those of a new model may come before the registry that has it is published; what is still unknown after some
        seconds was not proposed by the job.
        """
        for _ in range(_KNOWN_LOOKS):
            if all(map(self._is_known, matchups)) or self._ended.wait(_KNOWN_PAUSE_S):
                break
        return [matchup for matchup in matchups if self._is_known(matchup)]

    def _identify(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, str]:
        """Return which ones those partitions are that were not asked for yet."""
        news = [source for source in sources if source not in self._identified]
        found = self._log.identities(news) if news else {}
        self._identified.update(news)
        return found

    def _check_identities(self) -> None:
        """Raise `LogError` if this is another log than the one that was read before."""
        known = self._dispatcher.identities()
        found = self._log.identities(list(known)) if known else {}
        for source, identity in sorted(found.items()):
            if identity != known[source]:
                raise LogError(
                    f"{self._log.url}, {source.topic}/{source.partition}: this is not the log that the queue of "
                    f"matchups was read from: it was {known[source]} and is {identity}. Put the right log back, or "
                    "start with a new queue."
                )


def parse_matchup(value: bytes) -> Matchup | None:
    """Return the matchup in a record of the topic, or None if it is none that could be shown and voted on."""
    try:
        matchup = decode_matchup(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    models = matchup.models
    sound = (
        matchup.schema == 1
        and all(is_id(each) for each in (matchup.matchup_id, matchup.arena, *models))
        and K_MIN <= len(models) <= K_MAX
        and len(set(models)) == len(models)
        and matchup.expires.bit_length() < 63
        and matchup.priority.bit_length() < 63
    )
    return matchup if sound else None
