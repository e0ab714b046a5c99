"""Writes votes into an event log: the client library for Python programs.

::

    with VoteWriter("kafka://localhost:9092/votes") as writer:
        writer.write(vote)

    async with VoteWriter("kafka://localhost:9092/votes") as writer:
        await writer.write(vote)

The same code writes to Kafka, to the embedded log (``sqlite:events.db``) and to files. A vote is a
`pipeline.contracts.vote.Vote`, a mapping of its fields, or its JSON. It is checked before it is sent, as the
pipeline would, so that a client hears of a fault at once and not from a dead letter.

What is promised:

- All votes of one matchup go to one partition, in the order in which they were written.
- Nothing is lost silently: `write`, `flush` and `close` raise `DeliveryError` for votes that the log did not confirm,
  each once. Sending a vote again is safe: a vote_id counts once.
- Memory is bounded: `write` waits while too many votes are on their way.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import Final, Self, TypeVar

import pyarrow as pa

from pipeline.contracts.log import LogError
from pipeline.contracts.vote import VOTE_SCHEMA
from producers.async_vote_writer import AsyncVoteWriter
from producers.delivery.courier import Courier
from producers.delivery.losses import LostVote
from producers.delivery.opening import WriterSettings, open_courier
from producers.delivery.sender import Parcel
from producers.errors import VoteFault
from producers.outgoing_vote import VoteLike, encode_vote_like, prepare_vote, read_ids, to_vote

_CHUNK: Final = 4096
_T = TypeVar("_T")


class VoteWriter:
    """Writes votes to the event log at `url`; threads may share it.

    It connects when it is entered or first used, and needs its topic to be there. Close it, or use it in a ``with``
    block; one that is forgotten is closed when it is collected, or when the program ends.

    Parameters
    ----------
    url : an event log: ``kafka://...``, ``sqlite:...``, or files
    options : the fields of `WriterSettings`

    Raises
    ------
    LogError
        The log cannot be used: said when it is opened.
    """

    def __init__(
        self,
        url: str,
        *,
        envelope: int | None = None,
        check: bool = True,
        linger: float | None = None,
        delivery_timeout: float = 120.0,
        max_pending: int = 100_000,
        on_lost: Callable[[LostVote], None] | None = None,
    ) -> None:
        self.url = url
        self.settings = WriterSettings(
            envelope=envelope,
            check=check,
            linger=linger,
            delivery_timeout=delivery_timeout,
            max_pending=max_pending,
            on_lost=on_lost,
        )
        self._opening = threading.Lock()
        self._courier: Courier | None = None
        self._async: AsyncVoteWriter | None = None
        self._closed = False

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> AsyncVoteWriter:
        self._async = AsyncVoteWriter(self.url, self.settings)
        return await self._async.open()

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        assert self._async is not None
        await self._async.close()

    @property
    def makes_envelopes(self) -> bool:
        """Whether votes go in envelopes."""
        return self.settings.envelope is not None

    def open(self) -> None:
        """Connect; raises `LogError` if the log cannot be used. Idempotent."""
        self._opened()

    def write(self, vote: VoteLike) -> None:
        """Take one vote; it is sent soon.

        Raises
        ------
        VoteFault
            The vote is faulty and was not taken.
        DeliveryError
            Votes written before were lost. The vote of this call was not taken.
        """
        courier = self._opened()
        if courier.packs:
            _insist(courier, courier.pack_vote, to_vote(vote, check=self.settings.check))
        else:
            outgoing = prepare_vote(vote, check=self.settings.check)
            self.write_encoded((outgoing.value,), (outgoing.key,))

    def write_all(self, votes: Iterable[VoteLike]) -> int:
        """Take many votes, checked together; return how many. Raises like `write`; those before the fault are taken."""
        courier = self._opened()
        count = 0
        rest = iter(votes)
        while chunk := list(islice(rest, _CHUNK)):
            values = [encode_vote_like(vote) for vote in chunk]
            if courier.packs:
                taken, fault = self._pack(courier, values)
            else:
                keys, fault = self._find_keys(values)
                taken = len(keys)
                self.write_encoded(values[:taken], keys)
            count += taken
            if fault is not None:
                raise VoteFault(fault.reason, fault.detail, count)
        return count

    def write_encoded(self, values: Sequence[bytes], keys: Sequence[str | None]) -> None:
        """Take wire JSON of one vote each; `keys` are their matchup_ids.

        Each is passed on as it is, unchecked, whatever it is; but for envelopes it has to be a good vote, else
        `VoteFault`.
        """
        courier = self._opened()
        if courier.packs:
            for start in range(0, len(values), _CHUNK):
                taken, fault = self._pack(courier, values[start : start + _CHUNK])
                if fault is not None:
                    raise VoteFault(fault.reason, fault.detail, start + taken)
            return
        self.write_records(values, keys)

    def write_records(self, values: Sequence[bytes], keys: Sequence[str | None]) -> None:
        """Take records as they are, one each, whatever they hold; without a key, a record may go anywhere."""
        courier = self._opened()
        done = 0
        while done < len(values):
            courier.raise_losses()
            done += courier.take_votes(values[done:], keys[done:])
            if done < len(values):
                courier.make_room()

    def write_rows(self, rows: pa.Table) -> None:
        """Take votes as an Arrow table of `VOTE_SCHEMA`, unchecked; the writer must make envelopes."""
        courier = self._opened()
        if not courier.packs:
            raise ValueError("rows go in envelopes: open the writer with envelope=N")
        if not rows.schema.equals(VOTE_SCHEMA):
            raise ValueError(f"the columns must be those of VOTE_SCHEMA, not {', '.join(rows.schema.names)}")
        _insist(courier, courier.pack_rows, rows)

    def write_record(self, value: bytes, key: str | None, headers: Mapping[str, str] | None = None) -> None:
        """Take one record as it is, with headers."""
        courier = self._opened()
        _insist(courier, courier.take, Parcel(value, key, headers))

    def flush(self, timeout: float | None = None) -> None:
        """Return when everything taken so far is in the log.

        Raises `DeliveryError` for what was lost, or is still on its way after `timeout` seconds (None: after
        `delivery_timeout`, when it has arrived or is lost).
        """
        if self._courier is not None:
            self._courier.flush(self.settings.limit(timeout))

    def close(self, timeout: float | None = None) -> None:
        """Flush and release what is held; what is not delivered after `timeout` seconds is lost. Idempotent."""
        self._closed = True
        if self._courier is not None:
            self._courier.close(self.settings.limit(timeout))

    def _find_keys(self, values: Sequence[bytes]) -> tuple[Sequence[str | None], VoteFault | None]:
        """Return the keys of the votes before the first faulty one, and its fault."""
        if not self.settings.check:
            return [read_ids(value)[1] for value in values], None
        from producers.batch_check import check_votes  # noqa: PLC0415 - loads a compiler

        checked = check_votes(values)
        return checked.matchup_ids, checked.fault

    @staticmethod
    def _pack(courier: Courier, values: Sequence[bytes]) -> tuple[int, VoteFault | None]:
        """Pack the votes before the first faulty one; return how many, and its fault. Checking comes with it."""
        from producers.batch_check import tabulate_records  # noqa: PLC0415 - loads a compiler

        tabulated = tabulate_records(values)
        _insist(courier, courier.pack_rows, tabulated.rows)
        return tabulated.rows.num_rows, tabulated.fault

    def _opened(self) -> Courier:
        if self._closed:
            raise LogError(f"{self.url}: this writer is closed: open a new one.")
        if self._courier is None:
            with self._opening:
                if self._courier is None:
                    self._courier = open_courier(self.url, self.settings, report_all=False)
                    weakref.finalize(self, self._courier.close, self.settings.limit(None))
        return self._courier


def _insist(courier: Courier, take: Callable[[_T], bool], item: _T) -> None:
    """Hand `item` over, waiting for room. Raises `DeliveryError` for earlier losses; `item` is then not taken."""
    courier.raise_losses()
    while not take(item):
        courier.make_room()
        courier.raise_losses()
