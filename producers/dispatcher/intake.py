"""Proposals come in from the topic `matchups` of the event log, in a thread, from where the last run ended."""

from __future__ import annotations

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

_AT_ONCE: Final = 200  # matchups a transaction: voters wait for no longer one
_POLL_S: Final = 0.5
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0


class Intake:
    """Feeds a dispatcher from a log, until it is stopped. Trouble with the log is told and tried again, for ever.

    Parameters
    ----------
    log : the event log
    dispatcher : keeps matchups and position in one transaction, so that a restart neither repeats nor loses any
    report : told each new trouble, once, as a sentence for people
    """

    def __init__(
        self, log: EventLog, dispatcher: Dispatcher, *, report: Callable[[str], None] = lambda _: None
    ) -> None:
        self._log = log
        self._dispatcher = dispatcher
        self._report = report
        self._stopping = threading.Event()
        self._trouble: str | None = None
        self._unusable = 0
        self._identified: set[TopicPartition] = set()
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    @property
    def trouble(self) -> str | None:
        """Why nothing comes in now; None while all is well."""
        return self._trouble

    @property
    def unusable(self) -> int:
        """How many records of the topic were no matchups."""
        return self._unusable

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading, and wait until what was read is taken in. Idempotent."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                self._read()
            except (LogError, DispatcherError) as error:
                pause = _FIRST_PAUSE_S if self._trouble is None else min(2 * pause, _LONGEST_PAUSE_S)
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    self._report(self._trouble)
                self._stopping.wait(pause)

    def _read(self) -> None:
        """Read from the position that the dispatcher has, until stopped or something raises."""
        self._check_identities()
        reader: LogReader = self._log.reader(self._dispatcher.position(), live=True)
        try:
            while not self._stopping.is_set():
                batch = reader.poll(MATCHUPS, _AT_ONCE, _POLL_S)
                if batch.spans:
                    self._take(batch)
                self._trouble = None
        finally:
            reader.close()

    def _take(self, batch: LogBatch) -> None:
        matchups = []
        for value in batch.values:
            matchup = parse_matchup(value)
            if matchup is None:
                self._unusable += 1
            else:
                matchups.append(matchup)
        positions = {span.source: span.end for span in batch.spans}
        self._dispatcher.take_proposals(matchups, positions, self._identify(positions))

    def _identify(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, str]:
        """Return which ones those partitions are that were not asked for yet."""
        news = [source for source in sources if source not in self._identified]
        found = self._log.identities(news) if news else {}
        self._identified.update(news)
        return found

    def _check_identities(self) -> None:
        """Raise `LogError` if this is another log than the one that was read before."""
        known = self._dispatcher.identities()
        for source, identity in sorted(self._log.identities(list(known)).items()):
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
    except msgspec.MsgspecError:
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
