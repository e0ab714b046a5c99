"""The owner: the one set of live objects that rates a store's arenas in this process.

DoFns are pickled, copied and thrown away by engines as they like; the things that must exist once (the store with its
lock, the operator's memory, the log's reader) live here and are looked up by the store's path. That look-up is the one
piece of mutable module state in the project, because a DoFn has no other way to find them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

from pipeline.contracts.log import (
    CONTROL,
    MATCHUPS,
    VOTES,
    EventLog,
    LogBatch,
    LogReader,
    LogUnavailable,
    LogWriter,
    Poll,
    Record,
)
from pipeline.contracts.matchup import encode_matchup
from pipeline.contracts.store import Store
from pipeline.operators.ingest import Decoded
from pipeline.operators.proposals import Proposer
from pipeline.operators.publish import Publisher
from pipeline.operators.rate import Rate, RateSettings
from pipeline.streaming.known_log import KnownLog
from pipeline.streaming.watch import Watch

POLL_RECORDS = 40_000
"""Votes taken from the log at a time: large enough to hide the cost of a call, small enough for the cache."""
_MUCH_BYTES = 4 << 20  # of envelopes: few records are many votes
_ALL = 1 << 30
_OUTBOX_PATIENCE_S = 5.0  # proposals stay in the outbox, and the job must be able to stop
_FIRST_BACKOFF_S = 0.25
_LONGEST_BACKOFF_S = 10.0


def wall_clock() -> int:
    """Return the time in ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Backoff:
    """Waiting times between tries at something that is out of reach: doubling, up to a longest."""

    until: float = 0.0
    wait_s: float = 0.0
    announced: bool = field(default=False)

    def failed(self) -> None:
        """Note a failure: the next try is due after the wait."""
        self.wait_s = min(max(_FIRST_BACKOFF_S, 2 * self.wait_s), _LONGEST_BACKOFF_S)
        self.until = time.monotonic() + self.wait_s

    def remaining(self) -> float:
        """Seconds until the next try is due."""
        return max(0.0, self.until - time.monotonic())


class Owner:
    """Log, store, operator and publisher of one job.

    Parameters
    ----------
    log, store
        Open; the caller closes the store.
    settings
    watch
        Notes what happens, for the status; the caller closes it.
    announce
        Takes one line for people.
    stop
        Set when the job is to end.
    live : bool
        Whether to wait for new records at the end of the log.
    bundle_polls : int or None
        End a bundle after so many polls, whatever the time: makes commits a function of a finite log.
    clock
        Wall clock in ms.
    """

    def __init__(
        self,
        log: EventLog,
        store: Store,
        settings: RateSettings,
        *,
        watch: Watch,
        stop: threading.Event,
        announce: Callable[[str], None],
        live: bool = True,
        bundle_polls: int | None = None,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        self.stop = stop
        self.bundle_polls = bundle_polls
        self.clock = clock
        self.failure: BaseException | None = None
        self._log = log
        self._store = store
        self._settings = settings
        self._watch = watch
        self._announce = announce
        self._live = live
        self._reader: LogReader | None = None
        self._ahead: Future[LogBatch] | None = None
        self._ahead_thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._writer: LogWriter | None = None
        self._keeps_matchups = True
        self._backoff = Backoff()
        self.publisher = Publisher(store, clock, announce=announce, on_published=watch.note_published)
        # With a seed, and over a finite log, proposals are made at each commit: a function of its state, not of time.
        self._proposer = Proposer() if live and settings.propose and settings.seed is None else None
        try:
            self.load()
        except BaseException:
            self._close_threads()
            raise

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Keep what is raised in the block: the runner passes on a text only."""
        try:
            yield
        except Exception as error:
            self.failure = error
            raise

    def load(self) -> None:
        """Take the operator's memory from the store's last commit, and read the log from there."""
        self.rate = Rate(self._store, self._settings, announce=self._announce, proposer=self._proposer)
        self._watch.note_load(self.rate)
        self._known = KnownLog(self._log, self.rate)
        self.publisher.note_changes(tuple(self.rate.book.arenas))
        self._dirty = False
        self._drop_reader()

    def _drop_reader(self) -> None:
        if self._ahead is not None:
            wait((self._ahead,))
            self._ahead = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    # ----------------------------------------------------------------------------------------- source

    def begin_reading(self) -> None:
        """Go back to the last commit if the bundle before made none: what it polled is polled again."""
        if self._dirty:
            self.load()

    def poll(self, timeout: float) -> Poll:
        """Return what came: votes, and the control events appended before them. Empty after `timeout` seconds.

        While the log is out of reach it is tried again with back-off, which is said once, and polls are empty.
        """
        if (pause := self._backoff.remaining()) > 0:
            self.stop.wait(min(pause, timeout))
            return Poll(self.clock())
        try:
            if self._reader is None:
                self._known.check()
                self._reader = self._log.reader(self.rate.fence.marks, live=self._live)
            votes = self._take_ahead() or self._reader.poll(VOTES, POLL_RECORDS, timeout)
            # Read after the votes and put before them: an event appended before a vote is in force for it.
            control = self._reader.read_to_end(CONTROL) if len(votes) else self._reader.poll(CONTROL, _ALL, 0.0)
            if is_much(votes):  # there is more where this came from: read it while this is rated
                self._ahead = self._ahead_thread.submit(self._reader.poll, VOTES, POLL_RECORDS, 0.0)
        except LogUnavailable as error:
            self._drop_reader()  # it may be past records that were not handed on
            if not self._backoff.announced:
                self._announce(f"the log is out of reach: {error}; trying again until it is back")
                self._backoff.announced = True
            self._backoff.failed()
            self._watch.note_log(error)
            return Poll(self.clock())
        if self._backoff.announced:
            self._announce("the log is back")
            self._watch.note_log(None)
        self._backoff = Backoff()
        return Poll(self.clock(), control, votes)

    def _take_ahead(self) -> LogBatch | None:
        """Return what was read ahead, if that was anything. From here on the reader is ours alone again."""
        if self._ahead is None:
            return None
        ahead, self._ahead = self._ahead, None
        batch = ahead.result()
        return batch if batch.spans else None

    def at_end(self) -> bool:
        """Whether the log is finite and everything in it has been polled."""
        return self._ahead is None and self._reader is not None and self._reader.at_end()

    # ------------------------------------------------------------------------------------------- rate

    def begin_bundle(self, expected_commit: int | None) -> None:
        """Make sure that memory is what the store's last commit says, before a bundle's first element.

        `expected_commit` is the commit that the engine's last bundle was to make (it makes none when nothing
        happened), None for the first bundle.
        """
        known = expected_commit is None or self.rate.last_commit in {expected_commit, expected_commit - 1}
        if self._dirty or not known:
            self.load()
        self._dirty = True

    def process(self, now: int, control: LogBatch, decoded: Decoded) -> None:
        """Rate one poll."""
        self.rate.process(now, control, decoded)

    def commit(self) -> None:
        """Commit the bundle, write its proposals to the log, and have the boards published."""
        self._known.note()
        now = self.clock()
        committed = self.rate.commit(now)
        self._dirty = False
        if committed is not None:
            self.publisher.note_changes(committed.changed)
            if self._reader is not None:
                self._reader.note_committed(self.rate.fence.marks)
            self._watch.note_commit(committed)
        self._deliver()
        self.publisher.offer(self.rate)
        self._beat()

    def _beat(self) -> None:
        now = self.clock()
        self._store.heartbeat(now, self._watch.make_status(self.rate, now))

    def _deliver(self) -> None:
        if not self.rate.undelivered:
            return
        proposals = list(self.rate.undelivered.values())
        if self._settings.propose and self._keeps_matchups:
            records = [Record(encode_matchup(matchup), key=matchup.matchup_id) for matchup in proposals]
            try:
                if self._writer is None:
                    self._writer = self._open_writer()
                if self._writer is not None:
                    self._writer.append(MATCHUPS, records)
            except LogUnavailable:
                return  # they stay in the outbox, and the poll says that the log is out of reach
        self.rate.mark_delivered([matchup.matchup_id for matchup in proposals])

    def _open_writer(self) -> LogWriter | None:
        """Open the log for proposals; None for one that has no place for them (a file of votes, standard input)."""
        self._keeps_matchups = bool(self._log.ends(MATCHUPS))
        if not self._keeps_matchups:
            self._announce(f"{self._log.url} has no topic {MATCHUPS}: proposals are on the published board only")
            return None
        return self._log.writer(patience_s=_OUTBOX_PATIENCE_S)

    def finish(self) -> None:
        """Publish the last commit."""
        if not self._dirty:
            self.publisher.finish(self.rate)
            self._beat()

    def close(self) -> None:
        """Release reader, writer, publisher and proposer."""
        self._close_threads()
        self._drop_reader()
        self._ahead_thread.shutdown()
        if self._writer is not None:
            self._writer.close()

    def _close_threads(self) -> None:
        self.publisher.close()
        if self._proposer is not None:
            self._proposer.close()


def is_much(votes: LogBatch) -> bool:
    """Whether a poll took so much that the log seems to have more."""
    if votes.content_types is None:
        return len(votes) >= POLL_RECORDS // 2
    return sum(map(len, votes.values)) >= _MUCH_BYTES


_OWNERS: dict[str, Owner] = {}


def register_owner(key: str, owner: Owner) -> None:
    """Make `owner` known to this process's DoFns under `key`."""
    if key in _OWNERS:
        raise RuntimeError(f"this process already has an owner for {key}")
    _OWNERS[key] = owner


def find_owner(key: str) -> Owner:
    """Return the owner registered under `key`."""
    return _OWNERS[key]


def forget_owner(key: str) -> None:
    """Forget the owner under `key`, if there is one."""
    _OWNERS.pop(key, None)
