"""The account of votes that were lost, until their writer has heard of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from producers.delivery.sender import Loss, Parcel
from producers.errors import DeliveryError
from producers.outgoing_vote import read_ids


@dataclass(frozen=True, slots=True)
class LostVote:
    """A vote that was not delivered.

    Attributes
    ----------
    vote_id : str or None
        None where the record has none that can be read.
    value : bytes
        Wire JSON, to be kept or sent again.
    reason : str
    retriable : bool
        Whether sending it again may help.
    """

    vote_id: str | None
    value: bytes
    reason: str
    retriable: bool


class Losses:
    """Collects losses from any thread; `raise_any` makes one error of them.

    Parameters
    ----------
    on_lost : called for each lost vote, in the thread that noticed it; must not raise
    """

    def __init__(self, on_lost: Callable[[LostVote], None] | None) -> None:
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._vote_ids: list[str] = []
        self._count = 0
        self._first: Loss | None = None

    def add(self, parcel: Parcel, loss: Loss, *, heard: bool = False) -> None:
        """Note that `parcel` was lost; `heard`: whoever wrote it knows, there is nothing to raise."""
        votes = list(_list_votes(parcel))
        if not heard:
            with self._lock:
                self._count += len(votes)
                self._vote_ids += [vote_id for vote_id, _ in votes if vote_id is not None]
                self._first = self._first or loss
        if self._on_lost is not None:
            for vote_id, value in votes:
                self._on_lost(LostVote(vote_id, value, loss.reason, loss.retriable))

    def raise_any(self) -> None:
        """Raise `DeliveryError` for what was lost since the last time."""
        if self._first is None:  # without the lock: what comes now is raised the next time
            return
        with self._lock:
            count, first, vote_ids = self._count, self._first, self._vote_ids
            self._count, self._first, self._vote_ids = 0, None, []
        raise DeliveryError(count, first.reason, vote_ids, retriable=first.retriable)


def _list_votes(parcel: Parcel) -> Iterable[tuple[str | None, bytes]]:
    """Give (vote_id, JSON) of each vote in a record."""
    if not parcel.headers:
        return [(read_ids(parcel.value)[0], parcel.value)]
    try:
        rows = pa.ipc.open_stream(parcel.value).read_all().to_pylist()
    except (pa.ArrowException, OSError):
        return [(None, parcel.value)]
    plain = ({name: value for name, value in row.items() if value is not None} for row in rows)
    return [(row.get("vote_id"), msgspec.json.encode(row)) for row in plain]
