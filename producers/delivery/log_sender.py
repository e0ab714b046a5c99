"""Brings records into any event log, by its own writer: many in one append."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipeline.contracts.log import VOTES, Appended, EventLog, LogError, Record, TopicPartition
from producers.delivery.sender import Delivered, Loss, OnDone, OnLost, Parcel, SendSettings

_BATCH: Final = 8192
"""Records appended in one go: a log waits for its disk once a call."""

_BATCH_BYTES: Final = 16 << 20
_AGAIN_SECONDS: Final = 0.1


@dataclass(slots=True)
class _Batch:
    """Records that are appended together; `since` is when the first of them came, `size` is in bytes."""

    since: float = 0.0
    size: int = 0
    records: list[Record] = field(default_factory=list)
    on_done: list[OnDone | None] = field(default_factory=list)


class LogSender:
    """A `Sender` to the votes of an event log that appends at once, as the embedded ones do.

    Parameters
    ----------
    log : its topics must be there
    how : see `SendSettings`
    on_lost : told of losses of records without `on_done`
    clock : seconds, monotonic
    """

    def __init__(
        self, log: EventLog, how: SendSettings, on_lost: OnLost, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.takes_envelopes = not log.row_times  # files hold one vote a line
        self._partitions = 1
        if self.takes_envelopes:
            log.preflight([VOTES])
            self._partitions = len(log.ends(VOTES))
        self._log = log
        self._how = how
        self._on_lost = on_lost
        self._clock = clock
        self._limit = min(_BATCH, how.max_pending)
        self._writer = log.writer()
        self._changed = threading.Condition()
        self._pause = threading.Event()
        self._waiting = _Batch()
        self._held: _Batch | None = None  # taken out of `_waiting`, not appended yet
        self._appending = threading.Lock()

    def count_partitions(self) -> int:
        """Return the number of partitions, which an embedded log keeps for ever."""
        return self._partitions

    def send(self, parcel: Parcel) -> bool:
        """Take a record unless a batch is full."""
        record = Record(parcel.value, parcel.key, parcel.headers)
        with self._changed:
            return bool(self._take([record], [parcel.on_done]))

    def send_votes(self, values: Sequence[bytes], keys: Sequence[str | None]) -> int:
        """Take records until a batch is full."""
        with self._changed:
            room = max(self._limit - len(self._waiting.records), 0)
            records = [Record(value, key) for value, key in zip(values[:room], keys[:room], strict=True)]
            return self._take(records, [None] * len(records))

    def work(self, timeout: float) -> None:
        """Append what has waited long enough, or is a whole batch."""
        with self._changed:
            if not self._is_due():
                waiting = self._waiting
                left = waiting.since + self._how.linger - self._clock() if waiting.records else timeout
                self._changed.wait(max(min(left, timeout), 0.0))
            if not self._is_due():
                return
        self._append(self._clock() + timeout)

    def flush(self, timeout: float) -> int:
        """Append everything."""
        deadline = self._clock() + timeout
        while left := self._append(deadline):
            if self._clock() >= deadline:
                return left
        return 0

    def abandon(self) -> None:
        """Report as lost what is not appended."""
        with self._appending:
            for batch in self._take_all():
                self._report(batch, Loss(f"{self._log.url}: given up", retriable=True))
            self._held = None

    def close(self) -> None:
        """Close the log's writer."""
        self._writer.close()

    def _take(self, records: list[Record], on_done: list[OnDone | None]) -> int:
        waiting = self._waiting
        if self._is_full() or not records:
            return 0
        if not waiting.records:
            waiting.since = self._clock()
            self._changed.notify_all()  # not for each record: whoever waits would wake for nothing
        waiting.records += records
        waiting.size += sum(len(record.value) for record in records)
        waiting.on_done += on_done
        return len(records)

    def _is_full(self) -> bool:
        return len(self._waiting.records) >= self._limit or self._waiting.size >= _BATCH_BYTES

    def _is_due(self) -> bool:
        waiting = self._waiting
        if self._held is not None or self._is_full():
            return True
        return bool(waiting.records) and self._clock() - waiting.since >= self._how.linger

    def _take_all(self) -> list[_Batch]:
        """Take out what waits, the oldest first. The caller holds `_appending`."""
        batches = [] if self._held is None else [self._held]
        with self._changed:
            if self._waiting.records:
                batches.append(self._waiting)
                self._waiting = _Batch()
        return batches

    def _append(self, deadline: float) -> int:
        """Append one batch, trying until `deadline`; return how many records are left. One thread at a time."""
        with self._appending:
            if self._held is None:
                self._held = next(iter(self._take_all()), None)
            batch = self._held
            if batch is not None and self._try_append(batch, deadline):
                self._held = None
            with self._changed:
                return (0 if self._held is None else len(self._held.records)) + len(self._waiting.records)

    def _try_append(self, batch: _Batch, deadline: float) -> bool:
        """Append a batch, or report it as lost; False if it is to be tried again later."""
        while True:
            try:
                appended = self._writer.append(VOTES, batch.records)
            except LogError as error:
                now = self._clock()
                if not error.retriable or now - batch.since >= self._how.delivery_timeout:
                    self._report(batch, Loss(str(error), error.retriable))
                    return True
                if now >= deadline:
                    return False
                self._pause.wait(_AGAIN_SECONDS)
            else:
                self._report_delivered(batch, appended)
                return True

    def _report_delivered(self, batch: _Batch, appended: Appended | None) -> None:
        if not self._how.report_all:
            return
        places = [Delivered()] * len(batch.records)
        if appended is not None:
            rows = zip(appended.partitions.tolist(), appended.offsets.tolist(), strict=True)
            places = [Delivered(TopicPartition(VOTES, partition), offset) for partition, offset in rows]
        for on_done, place in zip(batch.on_done, places, strict=True):
            if on_done is not None:
                on_done(place)

    def _report(self, batch: _Batch, loss: Loss) -> None:
        for record, on_done in zip(batch.records, batch.on_done, strict=True):
            if on_done is not None:
                on_done(loss)
            else:
                self._on_lost(Parcel(record.value, record.key, record.headers), loss)
