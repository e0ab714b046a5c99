"""Takes votes from a writer to the log: the queue between them, the thread that keeps things going, the account."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import pyarrow as pa

from pipeline.contracts.vote import Vote
from producers.delivery.envelope_packer import EnvelopePacker
from producers.delivery.losses import Losses
from producers.delivery.sender import Loss, OnDone, Parcel, Sender
from producers.errors import DeliveryError

_WORK_SECONDS: Final = 0.1
_ROOM_SECONDS: Final = 0.05
_JOIN_SECONDS: Final = 15.0


class Courier:
    """Delivers what it takes, in order, and knows what was lost. Threads may share it.

    Parameters
    ----------
    url : for messages
    sender : closed by `close`
    packer : where votes go in envelopes; None: one record a vote
    losses : where the sender reports what is lost
    linger : seconds that a vote may wait for its envelope to fill
    clock : seconds, monotonic
    """

    def __init__(
        self,
        url: str,
        sender: Sender,
        packer: EnvelopePacker | None,
        losses: Losses,
        *,
        linger: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._sender = sender
        self._packer = packer
        self._losses = losses
        self._linger = linger
        self._clock = clock
        self._lock = threading.Lock()  # of packer and ready
        self._ready: deque[Parcel] = deque()  # envelopes that the sender had no room for
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kwise-votes", daemon=True)
        self._thread.start()

    @property
    def packs(self) -> bool:
        """Whether votes go in envelopes."""
        return self._packer is not None

    def take(self, parcel: Parcel) -> bool:
        """Take a record; False: there is no room, call `make_room` and try again."""
        if self._packer is None:
            return self._sender.send(parcel)
        with self._lock:
            # What waits to be packed came before it.
            self._ready.extend(self._packer.take_all())
            return self._hand_over() and self._sender.send(parcel)

    def take_votes(self, values: Sequence[bytes], keys: Sequence[str | None]) -> int:
        """Take encoded votes, one record each, until there is no room; return how many were taken."""
        if self._packer is None:
            return self._sender.send_votes(values, keys)
        with self._lock:
            # What waits to be packed came before them.
            self._ready.extend(self._packer.take_all())
            return self._sender.send_votes(values, keys) if self._hand_over() else 0

    def pack_vote(self, vote: Vote, on_done: OnDone | None = None) -> bool:
        """Take a vote for an envelope; False: there is no room."""
        assert self._packer is not None
        with self._lock:
            if not self._hand_over():
                return False
            self._ready.extend(self._packer.add_vote(vote, on_done))
            self._hand_over()
        return True

    def pack_rows(self, rows: pa.Table) -> bool:
        """Take rows of `VOTE_SCHEMA` for envelopes; False: there is no room."""
        assert self._packer is not None
        with self._lock:
            if not self._hand_over():
                return False
            self._ready.extend(self._packer.add_rows(rows))
            self._hand_over()
        return True

    def make_room(self) -> None:
        """Let the sender get on, for a moment."""
        self._sender.work(_ROOM_SECONDS)
        with self._lock:
            self._hand_over()

    def note_loss(self, parcel: Parcel, loss: Loss, *, heard: bool) -> None:
        """Note a loss that was reported to `Parcel.on_done`; `heard`: whoever wrote it knows."""
        self._losses.add(parcel, loss, heard=heard)

    def raise_losses(self) -> None:
        """Raise `DeliveryError` for what was lost since the last time."""
        self._losses.raise_any()

    def flush(self, timeout: float) -> None:
        """Deliver everything; raise `DeliveryError` for what was lost, or is not delivered after `timeout` seconds."""
        left = self._deliver(timeout)
        self._losses.raise_any()
        if left:
            reason = f"{self._url}: {left} records are still on their way after {timeout:g} s, and may yet arrive"
            raise DeliveryError(left, reason, (), retriable=True)

    def close(self, timeout: float) -> None:
        """Deliver everything and release what is held. Idempotent.

        Raises `DeliveryError` for what was lost; what is not delivered after `timeout` seconds is given up and lost.
        """
        if self._stopped.is_set():
            return
        try:
            if self._deliver(timeout):
                self._abandon(timeout)
        finally:
            self._stopped.set()
            if threading.current_thread() is not self._thread:  # where a forgotten writer may be collected
                self._thread.join(_JOIN_SECONDS)
            self._sender.close()
        self._losses.raise_any()

    def _deliver(self, timeout: float) -> int:
        """Deliver everything; return how many records are left after `timeout` seconds."""
        deadline = self._clock() + timeout
        while True:
            with self._lock:
                if self._packer is not None:
                    self._ready.extend(self._packer.take_all())
                waiting = 0 if self._hand_over() else len(self._ready)
            if not waiting:
                return self._sender.flush(deadline - self._clock())
            if self._clock() >= deadline:
                return waiting + self._sender.flush(0)
            self._sender.work(_ROOM_SECONDS)

    def _abandon(self, timeout: float) -> None:
        self._sender.abandon()
        loss = Loss(f"{self._url}: given up after {timeout:g} s", retriable=True)
        for parcel in self._ready:
            if parcel.on_done is not None:
                parcel.on_done(loss)
            else:
                self._losses.add(parcel, loss)
        self._ready.clear()

    def _hand_over(self) -> bool:
        """Give ready envelopes to the sender; whether all were taken. The caller holds the lock."""
        while self._ready:
            if not self._sender.send(self._ready[0]):
                return False
            self._ready.popleft()
        return True

    def _run(self) -> None:
        """Keep things going while nobody calls: what lingers goes, and losses are noticed."""
        pause = _WORK_SECONDS if self._packer is None else min(_WORK_SECONDS, self._linger)
        while not self._stopped.is_set():
            self._sender.work(pause)
            if self._packer is None:
                continue
            with self._lock:
                self._ready.extend(self._packer.take_all(older_than=self._linger))
                self._hand_over()
