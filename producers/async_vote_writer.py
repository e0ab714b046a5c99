"""The side of `VoteWriter` that programs with an event loop see: what ``async with VoteWriter(...)`` gives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

from pipeline.contracts.log import LogError
from pipeline.contracts.vote import Vote, encode_vote
from producers.delivery.courier import Courier
from producers.delivery.opening import WriterSettings, open_courier
from producers.delivery.sender import Delivered, Loss, Parcel
from producers.errors import DeliveryError
from producers.outgoing_vote import OutgoingVote, VoteLike, prepare_vote, read_ids, to_vote

_ROOM_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Way:
    """A vote on its way, and how that ends."""

    vote: Vote | OutgoingVote
    end: asyncio.Future[Delivered | Loss]


class AsyncVoteWriter:
    """Writes votes from one event loop; tasks may share it. Made by ``async with VoteWriter(...)``.

    Parameters
    ----------
    url, settings : as for `VoteWriter`
    """

    def __init__(self, url: str, settings: WriterSettings) -> None:
        self.url = url
        self.settings = settings
        self._courier: Courier
        self._loop: asyncio.AbstractEventLoop
        self._closed = False
        self._settled = asyncio.Event()
        self._lock = threading.Lock()
        self._done: list[tuple[_Way, Delivered | Loss]] = []

    async def open(self) -> Self:
        """Connect, without holding up the loop. Raises `LogError` if the log cannot be used."""
        self._loop = asyncio.get_running_loop()
        self._courier = await asyncio.to_thread(open_courier, self.url, self.settings, report_all=True)
        return self

    async def write(self, vote: VoteLike) -> Delivered:
        """Return when the vote is in the log, and where. Many writes may wait at once: they go together.

        Raises
        ------
        VoteFault
            The vote is faulty and was not sent.
        DeliveryError
            The log did not confirm that it has the vote.
        """
        self._require_open()
        if self._courier.packs:
            row = to_vote(vote, check=self.settings.check)
            way = self._start(row)
            while not self._courier.pack_vote(row, partial(self._note_done, way)):
                await self._wait_for_room()
        else:
            way = await self._send(prepare_vote(vote, check=self.settings.check))
        outcome = await way.end
        if isinstance(outcome, Loss):
            ids = () if way.vote.vote_id is None else (way.vote.vote_id,)
            raise DeliveryError(1, outcome.reason, ids, retriable=outcome.retriable)
        return outcome

    async def write_encoded(self, values: Sequence[bytes], keys: Sequence[str]) -> None:
        """Return when all of these wire votes are in the log, one record each, unchecked; `keys`: their matchup_ids.

        Raises `DeliveryError` for those that the log did not confirm.
        """
        self._require_open()
        ways = [await self._send(OutgoingVote(value, None, key)) for value, key in zip(values, keys, strict=True)]
        outcomes = [await way.end for way in ways]
        losses = [(value, found) for value, found in zip(values, outcomes, strict=True) if isinstance(found, Loss)]
        if losses:
            ids = [vote_id for value, _ in losses if (vote_id := read_ids(value)[0]) is not None]
            first = losses[0][1]
            raise DeliveryError(len(losses), first.reason, ids, retriable=first.retriable)

    async def flush(self, timeout: float | None = None) -> None:
        """Return when everything taken so far is in the log, or is lost.

        Each `write` tells of the loss of its vote. `DeliveryError` is raised here for writes that were cancelled, and
        if something is still on its way after `timeout` seconds (None: `delivery_timeout`).
        """
        await asyncio.to_thread(self._courier.flush, self.settings.limit(timeout))
        self._courier.raise_losses()

    async def close(self, timeout: float | None = None) -> None:
        """Flush and release what is held; what is not delivered after `timeout` seconds is lost. Idempotent."""
        self._closed = True
        await asyncio.to_thread(self._courier.close, self.settings.limit(timeout))
        self._courier.raise_losses()

    def _require_open(self) -> None:
        if self._closed:
            raise LogError(f"{self.url}: this writer is closed: open a new one.")

    async def _send(self, outgoing: OutgoingVote) -> _Way:
        way = self._start(outgoing)
        parcel = Parcel(outgoing.value, outgoing.key, None, partial(self._note_done, way))
        while not self._courier.take(parcel):
            await self._wait_for_room()
        return way

    def _start(self, vote: Vote | OutgoingVote) -> _Way:
        return _Way(vote, self._loop.create_future())

    async def _wait_for_room(self) -> None:
        self._settled.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), _ROOM_SECONDS)

    def _note_done(self, way: _Way, outcome: Delivered | Loss) -> None:
        """Note, in the thread of whoever noticed, that a vote arrived or was lost."""
        with self._lock:
            self._done.append((way, outcome))
            wake = len(self._done) == 1  # one call wakes the loop for all that come until it runs
        if wake:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        with self._lock:
            done, self._done = self._done, []
        for way, outcome in done:
            if isinstance(outcome, Loss):
                value = way.vote.value if isinstance(way.vote, OutgoingVote) else encode_vote(way.vote)
                self._courier.note_loss(Parcel(value, None), outcome, heard=not way.end.done())
            if not way.end.done():
                way.end.set_result(outcome)
        self._settled.set()
