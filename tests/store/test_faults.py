"""A commit that fails at any of its steps: nothing of it holds, readers see nothing of it, and the next one works."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.contracts.store import StoreError
from pipeline.store.duck_store import DuckStore, open_store
from pipeline.store.errors import ReaderError
from pipeline.store.ledger import Ledger
from pipeline.store.reader import StoreReader
from tests.store.factory import (
    START,
    FakeClock,
    make_commit,
    make_counts,
    make_dead,
    make_matchup,
    make_publication,
    make_rows,
    make_window,
)


class Breaker:
    """Lets a function fail at its n-th call from now on, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.original: Callable[..., Any] = getattr(owner, name)
        self.calls = 0
        self.fails_at = 0
        monkeypatch.setattr(owner, name, self.call)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == self.fails_at:
            raise OSError(28, "No space left on device")
        return self.original(*args, **kwargs)

    def fail_at(self, call: int) -> None:
        self.calls, self.fails_at = 0, call


def commit_second(store: DuckStore) -> None:
    store.stage_archive(make_rows(4, 6, 2))
    store.commit(
        make_commit(
            2,
            sequence=6,
            dead=make_dead(2, offset=10),
            window=make_window([2, 2, 2]),
            horizon=1,
            state={"a": b"2"},
            counts={"x": make_counts(1)},
            outbox=[make_matchup(2)],
            delivered=["m1"],
        )
    )


def open_first(path: Path) -> DuckStore:
    store = open_store(path, holder="test", clock=FakeClock())
    store.stage_archive(make_rows(1, 3, 1))
    store.commit(
        make_commit(
            1,
            sequence=3,
            dead=make_dead(1),
            window=make_window([0, 1, 1]),
            state={"a": b"1"},
            counts={"x": make_counts(1)},
            outbox=[make_matchup(1)],
        )
    )
    return store


def check_first(store: DuckStore) -> None:
    loaded = store.load()
    assert (loaded.commit, loaded.sequence, loaded.horizon, loaded.state) == (1, 3, 0, {"a": b"1"})
    assert loaded.counts["x"]["n"].to_pylist() == [1]
    assert loaded.outbox == (make_matchup(1),)
    assert sum(len(entries) for entries in store.load_window()) == 3
    assert sum(len(batch) for batch in store.read_archive()) == 3
    store.heartbeat(0)
    reader = StoreReader(store.path)
    assert reader.count_archive() == 3
    assert len(reader.dead_letters()) == 1


def check_second(store: DuckStore) -> None:
    loaded = store.load()
    assert (loaded.commit, loaded.sequence, loaded.horizon, loaded.state) == (2, 6, 1, {"a": b"2"})
    assert loaded.counts["x"]["n"].to_pylist() == [2]
    assert loaded.outbox == (make_matchup(2),)
    assert sum(len(entries) for entries in store.load_window()) == 5
    rows = [row["sequence"] for batch in store.read_archive() for row in batch.to_pylist()]
    assert rows == [1, 2, 3, 4, 5, 6]
    store.heartbeat(0)
    assert len(StoreReader(store.path).dead_letters()) == 3


STEPS = [
    *[(os, "fsync", call) for call in range(1, 7)],
    (os, "replace", 1),
    (pq.ParquetWriter, "write_table", 1),
    (pq.ParquetWriter, "close", 1),
    (pq, "write_table", 1),
    (Ledger, "_write", 1),
    (Ledger, "_write_files", 1),
]


@pytest.mark.parametrize(("owner", "name", "call"), STEPS)
def test_commit_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int
) -> None:
    store = open_first(tmp_path / "store")
    if isinstance(owner, type):
        broken = {"at": 0}
        original = getattr(owner, name)

        def fail_once(self: Any, *args: Any, **kwargs: Any) -> Any:
            broken["at"] += 1
            if broken["at"] == call:
                raise OSError(28, "No space left on device")
            return original(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, fail_once)
    else:
        breaker = Breaker(monkeypatch, owner, name)
        breaker.fail_at(call)
    with pytest.raises(StoreError, match="No space left"):
        commit_second(store)
    check_first(store)
    commit_second(store)
    check_second(store)
    store.close()
    with open_store(store.path, holder="again") as again:
        check_second(again)


def test_commit_holds_although_readers_cannot_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    store = open_store(tmp_path / "store", holder="test", clock=clock)
    clock.now += 1000
    breaker = Breaker(monkeypatch, os, "replace")
    breaker.fail_at(1)
    store.commit(make_commit(1))
    assert store.load().commit == 1
    assert StoreReader(store.path).manifest().commit == 0
    store.heartbeat(0)
    assert StoreReader(store.path).manifest().commit == 1
    store.close()


def test_commit_that_became_durable_before_its_error_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_first(tmp_path / "store")
    original = Ledger._write

    def write_and_break(self: Ledger, change: Any) -> None:
        original(self, change)
        self._connection.execute("commit")  # the transaction's own commit then fails

    monkeypatch.setattr(Ledger, "_write", write_and_break)
    commit_second(store)
    check_second(store)
    store.close()


@pytest.mark.parametrize(("name", "call"), [("fsync", 1), ("fsync", 2), ("fsync", 3), ("replace", 1)])
def test_publication_that_fails_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    clock = FakeClock()
    store = open_store(tmp_path / "store", holder="test", clock=clock)
    store.publish([make_publication(1)])
    breaker = Breaker(monkeypatch, os, name)
    breaker.fail_at(call)
    with pytest.raises(StoreError, match="No space left"):
        store.publish([make_publication(2, log_time=START + 5000)])
    reader = StoreReader(store.path)
    assert reader.publication("text-to-image").commit == 1
    assert reader.counts("text-to-image")["n"].to_pylist() == [1]
    store.publish([make_publication(2, log_time=START + 5000)])
    assert reader.counts("text-to-image")["n"].to_pylist() == [2]
    assert set(reader.history("text-to-image")["commit"].to_pylist()) == {1, 2}
    store.close()


def test_staging_that_fails_is_told_by_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_first(tmp_path / "store")

    def refuse(rows: pa.RecordBatch) -> pa.RecordBatch:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.store.archive_writer.pack_rows", refuse)
        with pytest.raises(StoreError, match="No space left"):
            commit_second(store)
    check_first(store)
    commit_second(store)
    check_second(store)
    store.close()


def test_failed_opening_releases_the_lock(tmp_path: Path) -> None:
    (tmp_path / "store" / "dead").mkdir(parents=True)
    (tmp_path / "store" / "dead" / "x").touch()
    for _ in range(2):
        with pytest.raises(StoreError, match="is missing"):
            open_store(tmp_path / "store", holder="test")


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot use"):
        open_store(tmp_path / "file" / "store", holder="test")
    with pytest.raises(ReaderError, match="no store at"):
        StoreReader(tmp_path / "file" / "store").manifest()
