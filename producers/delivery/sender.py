"""What brings records into one log, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import msgspec

from pipeline.contracts.log import TopicPartition


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a record was not delivered, and whether sending it again may help."""

    reason: str
    retriable: bool


@dataclass(frozen=True, slots=True)
class Delivered:
    """The log has a record, and where, as far as it says so: partition and offset."""

    source: TopicPartition | None = None
    offset: int | None = None


OnDone: TypeAlias = Callable[[Delivered | Loss], None]
"""Called once for a record: the log has it; or why it was not delivered. Any thread may call it."""


class Parcel(msgspec.Struct, frozen=True):
    """One record on its way. `key` chooses the partition. Without `on_done`, a loss goes to the sender's `on_lost`."""

    value: bytes
    key: str | None
    headers: Mapping[str, str] | None = None
    on_done: OnDone | None = None


OnLost: TypeAlias = Callable[[Parcel, Loss], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSettings:
    """How records are sent.

    Attributes
    ----------
    linger : float
        Seconds that a record may wait for others to go with.
    delivery_timeout : float
        Seconds after which a record that could not be delivered is lost.
    max_pending : int
        Records on their way at most; more are not taken.
    report_all : bool
        Whether `Parcel.on_done` is called for what was delivered, too, and not for losses only.
    """

    linger: float
    delivery_timeout: float
    max_pending: int
    report_all: bool


class Sender(Protocol):
    """Takes records in order and delivers them. Threads may share it.

    It has no thread of its own: it gets on when `work` or `flush` is called, by whom does not matter.
    """

    takes_envelopes: bool
    """Whether the log can hold records of many votes."""

    def count_partitions(self) -> int:
        """Return the number of partitions of the votes: keys are spread over them by murmur2."""
        ...

    def send(self, parcel: Parcel) -> bool:
        """Take a record; False: there is no room, call `work` and try again."""
        ...

    def send_votes(self, values: Sequence[bytes], keys: Sequence[str | None]) -> int:
        """Take records without headers until there is no room, and return how many were taken."""
        ...

    def work(self, timeout: float) -> None:
        """Deliver and report; return when something was done, after about `timeout` seconds at the latest."""
        ...

    def flush(self, timeout: float) -> int:
        """Deliver everything, within `timeout` seconds; return how many records are still on their way."""
        ...

    def abandon(self) -> None:
        """Give up what is still on its way: it is reported as lost."""
        ...

    def close(self) -> None:
        """Release what is held. Raises `LogError` if the log cannot be completed."""
        ...
