"""Group commit: pieces of work share transactions, and each fails alone."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from producers.dispatcher.connections import GroupWriter, ReaderPool
from producers.dispatcher.errors import DispatcherError, DispatcherUnavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def writer(path: Path) -> Iterator[GroupWriter]:
    opened = GroupWriter(path, durable=True)
    yield opened
    opened.close()


def add_fence(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute("UPDATE fences SET last = last + 1 RETURNING last").fetchone()
    return int(last)


def last_fence(path: Path) -> int:
    with ReaderPool(path).reading() as connection:
        return int(connection.execute("SELECT last FROM fences").fetchone()[0])


def test_many_threads_share_transactions_and_lose_nothing(path: Path, writer: GroupWriter) -> None:
    commits: list[str] = []
    assert writer._connection is not None
    writer._connection.set_trace_callback(commits.append)
    answers: list[int] = []
    start = threading.Barrier(24)
    first = threading.Event()

    def work() -> None:
        start.wait()
        for _ in range(10):
            answers.append(writer.run(add_fence))

    def hold(connection: sqlite3.Connection) -> int:
        first.set()
        return add_fence(connection)

    threads = [threading.Thread(target=work) for _ in range(24)]
    for thread in threads:
        thread.start()
    answers.append(writer.run(hold))
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(1, 242))
    assert last_fence(path) == 241
    assert commits.count("COMMIT") < 241


def test_a_piece_that_fails_takes_no_other_with_it(path: Path, writer: GroupWriter) -> None:
    """Three pieces wait for one that holds the turn: they are done in one transaction, of which one fails."""
    entered, go_on = threading.Event(), threading.Event()
    outcomes: list[object] = []

    def hold(connection: sqlite3.Connection) -> int:
        entered.set()
        assert go_on.wait(10)
        return add_fence(connection)

    def fail(connection: sqlite3.Connection) -> int:
        add_fence(connection)
        raise ValueError("no")

    def run(work: object) -> None:
        try:
            outcomes.append(writer.run(work))  # type: ignore[arg-type]
        except ValueError as error:
            outcomes.append(str(error))

    holder = threading.Thread(target=run, args=(hold,))
    holder.start()
    assert entered.wait(10)
    others = [threading.Thread(target=run, args=(work,)) for work in (add_fence, fail, add_fence)]
    for thread in others:
        thread.start()
    go_on.set()
    for thread in (holder, *others):
        thread.join()
    assert sorted(map(str, outcomes)) == ["1", "2", "3", "no"]
    assert last_fence(path) == 3


def test_a_failed_transaction_fails_all_of_its_pieces(
    path: Path, writer: GroupWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.dispatcher.schema.BUSY_SECONDS", 0.05)
    impatient = GroupWriter(path, durable=True)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DispatcherUnavailable, match="nothing was changed") as caught:
        impatient.run(add_fence)
    assert caught.value.retriable
    other.execute("ROLLBACK")
    assert impatient.run(add_fence) == 1
    other.close()
    impatient.close()


def test_an_interrupt_in_a_piece_is_raised_and_undone(path: Path, writer: GroupWriter) -> None:
    def interrupt(connection: sqlite3.Connection) -> int:
        add_fence(connection)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer.run(interrupt)
    assert last_fence(path) == 0
    assert writer.run(add_fence) == 1


def test_what_was_promised_is_flushed_and_the_rest_is_not(path: Path, writer: GroupWriter) -> None:
    statements: list[str] = []
    assert writer._connection is not None
    writer._connection.set_trace_callback(statements.append)
    for durable in (True, True, False, False, True):
        writer.run(add_fence, durable=durable)
    levels = [statement for statement in statements if "synchronous" in statement]
    assert levels == ["PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL", "PRAGMA synchronous = FULL"]


def test_readers_see_what_is_committed_and_are_used_again(path: Path, writer: GroupWriter) -> None:
    pool = ReaderPool(path)
    with pool.reading() as one, pool.reading() as two:
        assert one is not two
        writer.run(add_fence)
        assert one.execute("SELECT last FROM fences").fetchone() == (1,)
    with pool.reading() as three:
        assert three in {one, two}
    pool.close()
    with pytest.raises(DispatcherError, match="closed"), pool.reading():
        pass
