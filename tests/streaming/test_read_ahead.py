"""Reading ahead: all items in their order, one ahead, and what is raised comes in its place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from pipeline.streaming.read_ahead import read_ahead
from tests.conftest import wait_until


def test_items_come_in_order_and_none_is_lost() -> None:
    assert list(read_ahead(iter([]))) == []
    assert list(read_ahead(iter([None, 1, None]))) == [None, 1, None]
    assert list(read_ahead(iter(range(1000)))) == list(range(1000))


def test_next_item_is_made_while_one_is_used() -> None:
    made: list[int] = []

    def make() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            yield number

    with closing(read_ahead(make())) as ahead:
        assert next(ahead) == 0
        wait_until(lambda: made == [0, 1], 5)
    assert made == [0, 1]  # not further than one ahead


def test_failure_comes_in_its_place() -> None:
    def fail() -> Iterator[int]:
        yield 1
        raise OSError("disk")

    ahead = read_ahead(fail())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="disk"):
        next(ahead)


def test_closing_leaves_no_thread() -> None:
    ahead = read_ahead(iter(range(10)))
    next(ahead)
    ahead.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]
