"""Java's archive of Kafka's classes: loaded and checked once instead of at every start, which halves its cost."""

from __future__ import annotations

import os

from infra.kafka.jars import fetch_jars
from infra.kafka.java import find_java
from infra.kafka.node import KafkaBroker


def make_archive() -> None:
    """Run a broker once and keep what it loaded, beside the jars; nothing to do if it was kept before.

    Raises
    ------
    BrokerError
        The broker did not start.
    """
    archive = find_java().archive_in(fetch_jars()[0].parent)
    if archive.exists():
        return
    unfinished = archive.with_suffix(f".{os.getpid()}")
    with KafkaBroker(java_options=[f"-XX:ArchiveClassesAtExit={unfinished}"]) as broker:
        finished = broker.stop()
    # Some builds of Java write none; brokers start without it.
    if finished and unfinished.exists():
        unfinished.replace(archive)
    unfinished.unlink(missing_ok=True)
