"""The watch over a live job: what it notes of itself, through all its restarts in one process.

What it costs is a few additions a commit. The log's ends, which may be far away, are asked for in a thread of its
own, seldom, and less often where the answer takes long.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from pipeline.contracts.log import CONTROL, VOTES, EventLog, LogUnavailable, Position, TopicPartition
from pipeline.contracts.status import RECENT_MS, ArenaStatus, PartitionStatus, Status, WindowStatus
from pipeline.operators.freshness import FreshnessMeter
from pipeline.operators.rate import Committed, Rate

_ASK_S: Final = 2.0
_ASK_SHARE: Final = 20
"""Asking for the ends takes at most 1/20 of the time."""


class LogEnds:
    """Where the log ends, asked again and again in a thread until closed. Any thread may read.

    Attributes
    ----------
    ends : dict of TopicPartition to int
        The last answer; empty before the first, and where the log knows none.
    asked_at : int or None
        When that was, ms.
    error : str or None
        Why there is no newer one.
    """

    def __init__(self, log: EventLog, clock: Callable[[], int]) -> None:
        self._log = log
        self._clock = clock
        self._ended = threading.Event()
        self.ends: dict[TopicPartition, int] = {}
        self.asked_at: int | None = None
        self.error: str | None = None
        self._thread = threading.Thread(target=self._run, name="log-ends", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            began = time.monotonic()
            try:
                asked_at = self._clock()
                self.ends, self.asked_at, self.error = (
                    {**self._log.ends(VOTES), **self._log.ends(CONTROL)},
                    asked_at,
                    None,
                )
            except Exception as error:  # whatever it is, it must not end what watches
                self.error = " ".join(str(error).split()) or type(error).__name__
            pause = max(_ASK_S, _ASK_SHARE * (time.monotonic() - began))

    def close(self) -> None:
        """End the thread; a question that is out is not waited for long."""
        self._ended.set()
        self._thread.join(_ASK_S)


class Watch:
    """Notes what happens to a live job, and makes its `Status`. All in the owner's thread, but for `LogEnds`.

    Parameters
    ----------
    log
        Open.
    clock
        Wall clock in ms.
    """

    def __init__(self, log: EventLog, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._started = clock()
        self._ends = LogEnds(log, clock)
        # Append times in files were written by others, at some time.
        self._freshness = None if log.row_times else FreshnessMeter()
        self._commits = 0
        self._restarts = 0
        self._last_error: tuple[str, int] | None = None
        self._log_error: str | None = None
        self._accepted: deque[tuple[int, int]] = deque()
        self.status: Status | None = None
        """The last one that was made."""

    def note_load(self, rate: Rate) -> None:
        """Note that `rate` goes on from the store's last commit."""
        if not self._accepted:
            self._accepted.append((self._started, rate.tally.accepted))

    def note_commit(self, committed: Committed) -> None:
        """Note a commit that was made."""
        self._commits += 1
        if self._freshness is not None:
            self._freshness.note_commit(committed.number, committed.rows)

    def note_published(self, arena: str, commit: int, at: int) -> None:
        """Note that a board can be read since `at` (ms)."""
        if self._freshness is not None:
            self._freshness.note_published(arena, commit, at)

    def note_log(self, error: LogUnavailable | None) -> None:
        """Note that the log is out of reach, or back."""
        self._log_error = None if error is None else str(error)

    def note_failure(self, text: str, *, restarts: bool) -> Status | None:
        """Note what ended the job, or had it start again; return the status with it, None if there was none yet."""
        self._restarts += restarts
        self._last_error = (text, self._clock())
        if self.status is not None:
            self.status = msgspec.structs.replace(
                self.status, restarts=self._restarts, last_error=text, last_error_at=self._last_error[1]
            )
        return self.status

    def make_status(self, rate: Rate, now: int) -> Status:
        """Return the status at `now` (ms), right after a commit of `rate`."""
        tally, window = rate.tally, rate.window
        text, at = self._last_error or (None, None)
        self.status = Status(
            started=self._started,
            commits=self._commits,
            restarts=self._restarts,
            last_error=text,
            last_error_at=at,
            log_error=self._log_error or self._ends.error,
            accepted=tally.accepted,
            duplicates=tally.duplicates,
            dead=dict(tally.dead),
            votes_per_s=self._rate_of(tally.accepted, now),
            lag=self._lag(rate.fence.marks),
            lag_at=self._ends.asked_at,
            freshness=None if self._freshness is None else self._freshness.freeze(now),
            window=WindowStatus(votes=len(window), limit=window.limit, horizon=window.horizon, bytes=window.nbytes),
            arenas={
                arena_id: ArenaStatus(
                    accepted=tally.by_arena.get(arena_id, 0),
                    votes=state.votes,
                    models=state.counts.n_models,
                    open_matchups=len(state.open_matchups),
                )
                for arena_id, state in rate.book.arenas.items()
            },
            counts_bytes=sum(state.counts.n_bytes for state in rate.book.arenas.values()),
        )
        return self.status

    def _rate_of(self, accepted: int, now: int) -> float | None:
        """Return votes a second over the last minute, from what was accepted at the beginning of it."""
        samples = self._accepted
        samples.append((now, accepted))
        # One that is older stays, so that the span is a minute.
        while len(samples) > 2 and samples[1][0] <= now - RECENT_MS:
            samples.popleft()
        if samples[0][0] > now or samples[0][1] > accepted:  # the clock was put back, or the last bundle failed
            samples.clear()
            samples.append((now, accepted))
        since, before = samples[0]
        return 1000 * (accepted - before) / (now - since) if now > since else None

    def _lag(self, marks: dict[TopicPartition, Position]) -> tuple[PartitionStatus, ...]:
        return tuple(
            PartitionStatus(
                topic=source.topic,
                partition=source.partition,
                position=marks[source].offset if source in marks else 0,
                end=end,
            )
            for source, end in sorted(self._ends.ends.items())
        )

    def close(self) -> None:
        """End the thread."""
        self._ends.close()
