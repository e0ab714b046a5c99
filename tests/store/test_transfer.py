from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts.log import Position
from pipeline.contracts.store import StoreError
from pipeline.store import compaction
from pipeline.store.compaction import Policy
from pipeline.store.duck_store import DuckStore, open_store
from pipeline.store.ledger import Ledger
from pipeline.store.reader import StoreReader
from tests.store.factory import HOUR, START, VOTES, FakeClock, make_commit, make_dead, make_rows, make_window


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> StoreReader:
    """Return the reader of a store of 60 rows in two hours, the first merged into one file, at commit 8."""
    with open_store(tmp_path_factory.mktemp("source"), holder="source", clock=FakeClock()) as store:
        for number in range(1, 7):
            store.stage_archive(make_rows(number * 10 - 9, number * 10, number))
            store.commit(
                make_commit(
                    number,
                    sequence=number * 10,
                    log_time=START + number // 4 * HOUR,
                    dead=make_dead(1, offset=number),
                    window=make_window([number] * 10),
                    horizon=number - 2,
                )
            )
        store.settle()
        end = make_commit(8, sequence=60, log_time=START + HOUR, horizon=4, positions={VOTES: Position(99, 3)})
        store.commit(end)
    return StoreReader(store.path)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[DuckStore]:
    with open_store(tmp_path / "target", holder="target", clock=FakeClock()) as store:
        yield store


def rows_of(source: DuckStore | StoreReader) -> list[dict[str, Any]]:
    return [row for batch in source.read_archive() for row in batch.to_pylist()]


def replay(target: DuckStore, up_to: int = 6) -> None:
    for number in range(1, up_to + 1):
        target.commit(make_commit(number, sequence=number * 10, log_time=START + number // 4 * HOUR))


def test_linked_archive_becomes_visible_commit_by_commit(source: StoreReader, target: DuckStore) -> None:
    assert target.link_archive(source) == 60
    reader = StoreReader(target.path)
    assert rows_of(target) == rows_of(reader) == []
    for number in range(1, 7):
        target.commit(make_commit(number, sequence=number * 10, log_time=START + number // 4 * HOUR))
        target.heartbeat(0)
        assert rows_of(target) == rows_of(reader) == rows_of(source)[: number * 10]
        assert reader.count_archive() == number * 10


def test_linked_files_are_the_same_on_disk(source: StoreReader, target: DuckStore) -> None:
    target.link_archive(source)
    for file in StoreReader(target.path).manifest().archive:
        assert (target.path / file.path).stat().st_ino == (source.path / file.path).stat().st_ino


def test_archive_is_copied_across_file_systems(
    source: StoreReader, target: DuckStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    target.link_archive(source)
    replay(target)
    assert rows_of(target) == rows_of(source)


@pytest.mark.parametrize("last", [1, 2, 3, 5])
def test_archive_is_linked_up_to_a_commit(source: StoreReader, target: DuckStore, last: int) -> None:
    assert target.link_archive(source, last) == last * 10
    replay(target, last)
    assert rows_of(target) == rows_of(source)[: last * 10]
    target.stage_archive(make_rows(last * 10 + 1, last * 10 + 5, 9))
    target.commit(make_commit(9, sequence=last * 10 + 5, log_time=START + HOUR))
    assert [row["sequence"] for row in rows_of(target)] == list(range(1, last * 10 + 6))


def test_linking_goes_on_where_it_ended(source: StoreReader, target: DuckStore) -> None:
    for last in (2, 2, 3, 6):
        assert target.link_archive(source, last) == last * 10
    replay(target)
    assert rows_of(target) == rows_of(source)


def test_replay_that_was_killed_leaves_a_sound_store(source: StoreReader, target: DuckStore) -> None:
    target.link_archive(source)
    replay(target, 2)
    target.close()
    with open_store(target.path, holder="again", clock=FakeClock()) as again:
        assert again.load().sequence == 20
        assert rows_of(again) == rows_of(source)[:20]
        again.stage_archive(make_rows(21, 22, 3))
        with pytest.raises(StoreError, match="already goes to 60"):
            again.commit(make_commit(3, sequence=22, log_time=START + HOUR))


def test_linking_that_fails_leaves_nothing(
    source: StoreReader, target: DuckStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The head stays as it is, by a clock that stands still, so only the files tell whether the change is there.
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_write_files", lambda *_: 1 / 0)
        with pytest.raises(StoreError, match="cannot write"):
            target.link_archive(source)
    assert [path for path in (target.path / "archive").rglob("*") if path.is_file()] == []
    assert target.link_archive(source) == 60
    replay(target)
    assert rows_of(target) == rows_of(source)


def test_linked_hours_are_compacted_without_harm(source: StoreReader, target: DuckStore) -> None:
    target.link_archive(source)
    for number in range(1, 7):
        target.commit(make_commit(number, sequence=number * 10, log_time=START + 5 * HOUR))
        target.settle()
    assert rows_of(target) == rows_of(source)
    assert len({file.hour for file in source.manifest().archive}) == 2


def test_adopting_goes_on_where_the_source_stands(source: StoreReader, target: DuckStore) -> None:
    target.link_archive(source)
    replay(target)
    target.adopt(source, sequence=60)
    check_adopted(target)
    target.close()
    with open_store(target.path, holder="again", clock=FakeClock()) as again:
        check_adopted(again)
        again.commit(make_commit(9, sequence=60, log_time=START + HOUR, horizon=4, window=make_window([7])))
        assert sum(len(entries) for entries in again.load_window()) == 31


def check_adopted(store: DuckStore) -> None:
    loaded = store.load()
    assert (loaded.commit, loaded.log_time, loaded.horizon) == (8, START + HOUR, 4)
    assert loaded.positions == {VOTES: Position(99, 3)}
    times = [time for entries in store.load_window() for time in entries["time"].tolist()]
    assert sorted(times) == [4] * 10 + [5] * 10 + [6] * 10
    assert StoreReader(store.path).dead_letters()["offset"].to_pylist() == [1, 2, 3, 4, 5, 6]


def test_adopting_outlives_the_source(source: StoreReader, target: DuckStore, tmp_path: Path) -> None:
    copy = shutil.copytree(source.path, tmp_path / "copy")
    target.adopt(StoreReader(copy))
    shutil.rmtree(copy)
    assert sum(len(entries) for entries in target.load_window()) == 30


def test_adopting_replaces_window_and_dead_letters(source: StoreReader, target: DuckStore) -> None:
    target.commit(make_commit(1, window=make_window([1000]), dead=make_dead(1, offset=77)))
    target.adopt(source)
    assert sum(len(entries) for entries in target.load_window()) == 30
    assert 77 not in StoreReader(target.path).dead_letters()["offset"].to_pylist()


def test_merge_under_way_does_not_bring_back_what_was_replaced(
    source: StoreReader, target: DuckStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted = threading.Event()

    def merge_late(*arguments: Any) -> compaction.Merged:
        assert adopted.wait(30)
        return compaction.merge_files(*arguments)

    monkeypatch.setattr("pipeline.store.live_files.merge_files", merge_late)
    monkeypatch.setitem(compaction.POLICIES, "window", Policy(2, 1000))
    target.commit(make_commit(1, window=make_window([1000])))
    target.commit(make_commit(2, window=make_window([1001])))
    target.adopt(source)
    adopted.set()
    target.settle()
    assert not list((target.path / "dedup").glob("m*"))
    monkeypatch.undo()
    target.commit(make_commit(9, log_time=START + HOUR, horizon=4))
    times = {time for entries in target.load_window() for time in entries["time"].tolist()}
    assert times == {4, 5, 6}


def test_source_that_has_gone_on_is_refused(source: StoreReader, target: DuckStore) -> None:
    with pytest.raises(StoreError, match=r"gone on to sequence 60 .* up to 50"):
        target.adopt(source, sequence=50)
    assert target.load().positions == {}
