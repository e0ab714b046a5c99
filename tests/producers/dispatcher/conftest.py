"""A queue with its own clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.settings import DispatcherSettings
from tests.producers.dispatcher.queues import Clock, open_dispatcher


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings() -> DispatcherSettings:
    """Overridden where a test needs others; everything that is proposed is made."""
    return DispatcherSettings(durable=False, ready_min=500, lead_s=30)


@pytest.fixture
def dispatcher(tmp_path: Path, clock: Clock, settings: DispatcherSettings) -> Iterator[Dispatcher]:
    with open_dispatcher(tmp_path, clock, settings) as opened:
        yield opened
