"""How a writer works, and the opening of the log that it writes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline.contracts.log import LogError
from pipeline.eventlog.kafka.settings import parse_kafka_url
from pipeline.eventlog.urls import open_log
from producers.delivery.courier import Courier
from producers.delivery.envelope_packer import EnvelopePacker
from producers.delivery.log_sender import LogSender
from producers.delivery.losses import Losses, LostVote
from producers.delivery.sender import Sender, SendSettings

LINGER: Final = 0.02
ENVELOPE_LINGER: Final = 0.2
"""Envelopes fill up more slowly. Both are small beside the second in which a board follows."""

_GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterSettings:
    """How a writer works.

    Attributes
    ----------
    envelope : int or None
        Votes in one record (an Arrow IPC stream), at most; None: one record a vote.
    check : bool
        Whether votes are checked before they are sent.
    linger : float or None
        Seconds that a vote may wait for others to go with; None: 0.02, in envelopes 0.2.
    delivery_timeout : float
        Seconds after which a vote that could not be delivered is lost. It should outlast the restart of a broker.
    max_pending : int
        Records on their way at most.
    on_lost : callable or None
        Told of each lost vote as soon as it is known, in a thread of the writer's; must neither raise nor write.
    """

    envelope: int | None = None
    check: bool = True
    linger: float | None = None
    delivery_timeout: float = 120.0
    max_pending: int = 100_000
    on_lost: Callable[[LostVote], None] | None = None

    def __post_init__(self) -> None:
        for name in ("envelope", "max_pending"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} = {value} must be at least 1")
        if self.delivery_timeout <= 0 or (self.linger is not None and self.linger < 0):
            raise ValueError("delivery_timeout must be positive and linger not negative")

    @property
    def linger_seconds(self) -> float:
        """`linger` with its default."""
        if self.linger is not None:
            return self.linger
        return LINGER if self.envelope is None else ENVELOPE_LINGER

    def limit(self, timeout: float | None) -> float:
        """Return `timeout`, or the seconds after which everything has arrived or is lost."""
        return self.delivery_timeout + _GRACE_SECONDS if timeout is None else timeout


def open_courier(url: str, settings: WriterSettings, *, report_all: bool) -> Courier:
    """Connect to the log at `url`. Raises `LogError` if it cannot be used."""
    losses = Losses(settings.on_lost)
    how = SendSettings(
        linger=settings.linger_seconds if settings.envelope is None else 0.0,
        delivery_timeout=settings.delivery_timeout,
        max_pending=settings.max_pending,
        report_all=report_all,
    )
    sender: Sender
    if url.lower().startswith("kafka:"):
        from producers.delivery.kafka_sender import KafkaSender  # noqa: PLC0415 - Kafka is an extra

        sender = KafkaSender(parse_kafka_url(url), how, losses.add)
    else:
        sender = LogSender(open_log(url), how, losses.add)
    packer = None
    if settings.envelope is not None:
        if not sender.takes_envelopes:
            sender.close()
            raise LogError(f"{url}: files hold one vote a line; envelopes go to kafka:// and sqlite: only.")
        packer = EnvelopePacker(settings.envelope, sender.count_partitions, losses.add)
    return Courier(url, sender, packer, losses, linger=settings.linger_seconds)
