"""Real Kafka for tests: one broker a test process, names of topics of a test's own, and brokers that may be killed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.kafka import KafkaBroker
from infra.kafka.node import SHORT_LIVED

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker that all tests of this process share: leave it running, and use topics of `kafka_prefix`."""
    with KafkaBroker(tmp_path_factory.mktemp("kafka"), java_options=SHORT_LIVED) as broker:
        yield broker


@pytest.fixture
def kafka_prefix() -> str:
    """What stands before the names of this test's topics; no other test of this process has it."""
    return f"t{next(_NUMBERS)}-"


@pytest.fixture
def kafka_url(kafka_broker: KafkaBroker, kafka_prefix: str) -> str:
    """URL of an event log on the shared broker; its topics are not there yet."""
    return f"kafka://{kafka_broker.bootstrap}/{kafka_prefix}votes"


@pytest.fixture
def fragile_broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    """A broker of this test's own, which it may kill and restart."""
    with KafkaBroker(tmp_path / "kafka", java_options=SHORT_LIVED) as broker:
        yield broker
