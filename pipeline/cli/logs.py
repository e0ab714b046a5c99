"""Opening event logs for the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipeline.contracts.log import EventLog

PARTITIONS: Final = {"votes": 4, "control": 1, "matchups": 1}
"""More partitions of votes let more readers share a Kafka topic; the order of control events matters."""


def open_live_log(url: str) -> EventLog:
    """Open the log at `url`; of an embedded one, create what is missing. Raises `LogError`."""
    from pipeline.eventlog import open_log

    log = open_log(url)
    if url.startswith("sqlite:") or url.endswith(".db"):
        log.create_topics(PARTITIONS)
    return log
