from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pytest

from pipeline.contracts.arena import Arena, RegisteredArena, Registry
from pipeline.contracts.log import Position, TopicPartition
from pipeline.contracts.store import Store, StoreError
from pipeline.store import compaction
from pipeline.store.compaction import Policy
from pipeline.store.duck_store import DuckStore, open_store
from pipeline.store.layout import hour_of
from pipeline.store.reader import StoreReader
from tests.store.factory import (
    HOUR,
    START,
    VOTES,
    FakeClock,
    make_commit,
    make_counts,
    make_dead,
    make_matchup,
    make_publication,
    make_rows,
    make_window,
)

GRACE = 600_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[DuckStore]:
    with open_store(tmp_path / "store", holder="test", clock=clock) as opened:
        yield opened


def reopen(store: DuckStore, clock: FakeClock) -> DuckStore:
    store.close()
    return open_store(store.path, holder="test again", clock=clock)


def commit_rows(store: DuckStore, number: int, first: int, last: int, **fields: object) -> None:
    store.stage_archive(make_rows(first, last, number))
    store.commit(make_commit(number, sequence=last, **fields))  # type: ignore[arg-type]


def files_on_disk(store: DuckStore, folder: str) -> set[str]:
    return {path.relative_to(store.path).as_posix() for path in (store.path / folder).rglob("*") if path.is_file()}


def sequences_of(source: DuckStore | StoreReader, after: int = 0) -> list[int]:
    return [s for batch in source.read_archive(after_sequence=after) for s in batch["sequence"].to_pylist()]


def test_store_follows_the_protocol(store: DuckStore) -> None:
    follows: Store = store
    assert follows.load().commit == 0


def test_new_store_is_empty(store: DuckStore) -> None:
    loaded = store.load()
    assert (loaded.commit, loaded.sequence, loaded.positions, loaded.state, loaded.counts) == (0, 0, {}, {}, {})
    assert list(store.load_window()) == []
    assert list(store.read_archive()) == []


def test_everything_of_a_commit_is_there_after_reopening(store: DuckStore, clock: FakeClock) -> None:
    control = TopicPartition("control", 0)
    store.stage_archive(make_rows(1, 2, 1))
    store.stage_archive(make_rows(3, 5, 1))
    store.commit(
        make_commit(
            1,
            sequence=5,
            positions={VOTES: Position(9, 2), control: Position(1)},
            dead=make_dead(2),
            window=make_window([10, 20, 30]),
            horizon=20,
            state={"a": b"1", "b": b"2"},
            counts={"x": make_counts(4)},
            outbox=[make_matchup(1), make_matchup(2)],
        )
    )
    store.commit(
        make_commit(
            2,
            sequence=5,
            positions={VOTES: Position(12)},
            horizon=20,
            state={"a": b"", "b": b"3", "c": b"4"},
            counts={"x": make_counts(1), "y": make_counts(2)},
            outbox=[make_matchup(3)],
            delivered=["m1"],
        )
    )
    with reopen(store, clock) as again:
        loaded = again.load()
        assert (loaded.commit, loaded.log_time, loaded.sequence, loaded.horizon) == (2, START + 2, 5, 20)
        assert loaded.positions == {VOTES: Position(12), control: Position(1)}
        assert loaded.state == {"b": b"3", "c": b"4"}
        assert {arena: table["n"].to_pylist() for arena, table in loaded.counts.items()} == {"x": [5], "y": [2]}
        assert loaded.outbox == (make_matchup(2), make_matchup(3))
        assert np.concatenate(list(again.load_window()))["time"].tolist() == [20, 30]
        assert sequences_of(again) == [1, 2, 3, 4, 5]
        assert sequences_of(again, after=3) == [4, 5]
        assert StoreReader(again.path).dead_letters()["commit"].to_pylist() == [1, 1]


def test_replaced_counts_stand_for_what_was_there(store: DuckStore, clock: FakeClock) -> None:
    store.commit(make_commit(1, counts={"x": make_counts(4)}))
    store.commit(make_commit(2, replaced_counts={"x": make_counts(10)}))
    store.commit(make_commit(3, counts={"x": make_counts(1)}))
    with reopen(store, clock) as again:
        assert again.load().counts["x"]["n"].to_pylist() == [11]


def test_load_drops_what_was_staged(store: DuckStore) -> None:
    store.stage_archive(make_rows(1, 5, 1))
    assert store.load().sequence == 0
    commit_rows(store, 1, 1, 2)
    assert sequences_of(store) == [1, 2]


def test_closing_drops_what_was_staged(store: DuckStore, clock: FakeClock) -> None:
    store.stage_archive(make_rows(1, 5, 1))
    with reopen(store, clock) as again:
        assert again.load().sequence == 0
        assert files_on_disk(again, "archive") == set()


@pytest.mark.parametrize(
    ("commit", "what"),
    [
        (make_commit(1, sequence=3), "came after commit 1"),
        (make_commit(2, sequence=2), "must not go back"),
        (make_commit(2, sequence=3, log_time=START), "must not go back"),
    ],
)
def test_commit_that_goes_back_is_refused(store: DuckStore, commit: object, what: str) -> None:
    commit_rows(store, 1, 1, 3)
    with pytest.raises(StoreError, match=what):
        store.commit(commit)  # type: ignore[arg-type]
    assert store.load().commit == 1


def test_commit_whose_rows_do_not_fit_is_refused(store: DuckStore) -> None:
    commit_rows(store, 1, 1, 3)
    store.stage_archive(make_rows(3, 4, 2))
    with pytest.raises(StoreError, match="already goes to 3"):
        store.commit(make_commit(2, sequence=4))
    store.stage_archive(make_rows(4, 5, 2))
    with pytest.raises(StoreError, match="last row has 5"):
        store.commit(make_commit(2, sequence=9))
    commit_rows(store, 2, 4, 5)
    assert sequences_of(store) == [1, 2, 3, 4, 5]


def test_staging_out_of_order_is_refused(store: DuckStore) -> None:
    store.stage_archive(make_rows(1, 5, 1))
    with pytest.raises(StoreError, match="must ascend"):
        store.stage_archive(make_rows(5, 6, 1))


@pytest.mark.parametrize(
    ("time", "hour"),
    [(-1, "19700101T00"), (253_402_300_799_999, "99991231T23"), (2**63 - 1, "99991231T23"), (-(2**63), "19700101T00")],
)
def test_every_time_has_an_hour(time: int, hour: str) -> None:
    assert hour_of(time) == hour


def test_archive_lies_by_hour_of_the_log_time(store: DuckStore) -> None:
    commit_rows(store, 1, 1, 3, log_time=START)
    commit_rows(store, 2, 4, 5, log_time=START + HOUR)
    names = sorted(files_on_disk(store, "archive"))
    assert names == [
        "archive/appended_hour=20251124T16/c0000000001-1-3.parquet",
        "archive/appended_hour=20251124T17/c0000000002-4-5.parquet",
    ]


def test_closed_hour_becomes_one_file(store: DuckStore, clock: FakeClock) -> None:
    for number in range(1, 6):
        commit_rows(store, number, number * 10, number * 10 + 9)
    commit_rows(store, 6, 60, 69, log_time=START + HOUR)
    store.settle()
    commit_rows(store, 7, 70, 79, log_time=START + HOUR)
    store.heartbeat(0)
    archive = StoreReader(store.path).manifest().archive
    assert [(file.rows, file.first_sequence) for file in archive] == [(50, 10), (10, 60), (10, 70)]
    assert sequences_of(store) == sequences_of(StoreReader(store.path)) == list(range(10, 80))
    assert len(files_on_disk(store, "archive")) == 8
    clock.now += GRACE
    store.heartbeat(0)
    assert files_on_disk(store, "archive") == {file.path for file in archive}


def test_superseded_files_are_deleted_after_the_grace_by_a_later_opening_too(
    store: DuckStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(compaction.POLICIES, "archive", Policy(3, 1000))
    for number in range(1, 5):
        commit_rows(store, number, number, number)
        store.settle()
    clock.now += GRACE - 1
    with reopen(store, clock) as again:
        assert len(files_on_disk(again, "archive")) == 5
        clock.now += 1
    with reopen(again, clock) as third:
        assert len(files_on_disk(third, "archive")) == 2
        third.commit(make_commit(5, sequence=4))
    with reopen(third, clock) as fourth:
        assert sequences_of(fourth) == [1, 2, 3, 4]


def test_small_files_of_all_kinds_are_merged(
    store: DuckStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("archive", "dead", "window"):
        monkeypatch.setitem(compaction.POLICIES, kind, Policy(3, 100_000))
    for number in range(1, 26):
        commit_rows(
            store,
            number,
            number * 2 - 1,
            number * 2,
            dead=make_dead(1, offset=number),
            window=make_window([number, number]),
            horizon=number - 20,
        )
        store.settle()
    store.heartbeat(0)
    manifest = StoreReader(store.path).manifest()
    assert max(len(files) for files in (manifest.archive, manifest.dead, manifest.window)) < 12
    assert sequences_of(store) == list(range(1, 51))
    assert StoreReader(store.path).dead_letters()["offset"].to_pylist() == list(range(1, 26))
    times = [time for entries in store.load_window() for time in entries["time"].tolist()]
    assert sorted(times) == sorted([*range(5, 26)] * 2)
    clock.now += GRACE
    store.heartbeat(0)
    on_disk = files_on_disk(store, "archive") | files_on_disk(store, "dead") | files_on_disk(store, "dedup")
    assert on_disk == {file.path for file in (*manifest.archive, *manifest.dead, *manifest.window)}


def test_leftovers_of_a_crash_are_deleted_at_once(store: DuckStore, clock: FakeClock) -> None:
    commit_rows(store, 1, 1, 3, window=make_window([1]))
    store.publish([make_publication(1)])
    leftovers = ["archive/staged.tmp", "archive/appended_hour=20251124T16/c2.parquet", "dead/x", "dedup/c2.bin"]
    leftovers += ["board/text-to-image/h0000000009.parquet", "board/text-to-image/MANIFEST.json.tmp"]
    for name in leftovers:
        (store.path / name).write_bytes(b"?")
    with reopen(store, clock) as again:
        assert not any((again.path / name).exists() for name in leftovers)
        assert sequences_of(again) == [1, 2, 3]
        assert StoreReader(again.path).board("text-to-image").commit == 1


def test_files_outside_the_store_s_folders_are_left_alone(store: DuckStore, clock: FakeClock) -> None:
    (store.path / "notes.txt").write_text("mine")
    with reopen(store, clock) as again:
        assert (again.path / "notes.txt").read_text() == "mine"


def test_manifest_is_rewritten_from_the_ledger(store: DuckStore, clock: FakeClock) -> None:
    commit_rows(store, 1, 1, 3)
    store.close()
    (store.path / "MANIFEST.json").write_text('{"format": 1, "version": ')
    with reopen(store, clock) as again:
        assert StoreReader(again.path).manifest().commit == 1


def test_manifest_is_written_twice_a_second_and_never_forgotten(store: DuckStore, clock: FakeClock) -> None:
    reader = StoreReader(store.path)
    clock.now += 500
    store.commit(make_commit(1))
    assert reader.manifest().commit == 1
    clock.now += 499
    store.commit(make_commit(2))
    assert reader.manifest().commit == 1
    store.heartbeat(7)
    assert reader.manifest().commit == 2
    store.commit(make_commit(3))
    assert reader.manifest().commit == 2
    store.close()
    assert reader.manifest().commit == 3
    assert reader.manifest().version == 4  # opening and three commits


def test_heartbeat_tells_time_commit_positions_and_files(store: DuckStore) -> None:
    store.commit(make_commit(1, sequence=0, positions={VOTES: Position(5, 6)}, dead=make_dead(3)))
    store.heartbeat(77)
    said = json.loads((store.path / "HEARTBEAT.json").read_bytes())
    dead = StoreReader(store.path).manifest().dead[0]
    nothing = {"files": 0, "rows": 0, "bytes": 0}
    assert said == {
        "time": 77,
        "commit": 1,
        "positions": [["votes", 0, 5, 6]],
        "files": {"archive": nothing, "dead": {"files": 1, "rows": 3, "bytes": dead.bytes}, "window": nothing},
        "status": None,
        "stopped": False,
    }


def test_manifest_has_the_registry_of_the_state(store: DuckStore) -> None:
    registry = Registry(closed=True, arenas={"a": RegisteredArena(arena=Arena(id="a"))})
    store.commit(make_commit(1, state={"registry": msgspec.json.encode(registry)}))
    store.heartbeat(0)
    assert StoreReader(store.path).registry() == registry


def test_second_opener_is_refused(store: DuckStore) -> None:
    with pytest.raises(StoreError, match="held by test"):
        open_store(store.path, holder="another")


def test_unknown_format_is_refused(store: DuckStore) -> None:
    store.close()
    with duckdb.connect(str(store.path / "ledger.duckdb")) as ledger:
        ledger.execute("update meta set value = '9'")
    with pytest.raises(StoreError, match=r"format 9.*knows format 1"):
        open_store(store.path, holder="test")


def test_store_without_its_ledger_is_refused_and_not_emptied(store: DuckStore) -> None:
    commit_rows(store, 1, 1, 3)
    store.close()
    (store.path / "ledger.duckdb").unlink()
    with pytest.raises(StoreError, match=r"ledger\.duckdb is missing"):
        open_store(store.path, holder="test")
    assert len(files_on_disk(store, "archive")) == 1


def test_store_that_has_lost_a_file_is_refused(store: DuckStore) -> None:
    commit_rows(store, 1, 1, 3)
    store.close()
    name = files_on_disk(store, "archive").pop()
    (store.path / name).unlink()
    with pytest.raises(StoreError, match=name):
        open_store(store.path, holder="test")


def test_closed_store_refuses_and_closes_again(store: DuckStore) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="has been closed"):
        store.load()


def test_rows_can_be_read_while_the_store_goes_on(
    store: DuckStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(compaction.POLICIES, "archive", Policy(3, 1000))
    for number in range(1, 4):
        commit_rows(store, number, number, number)
    batches = store.read_archive()
    first = next(batches)
    store.settle()
    commit_rows(store, 4, 4, 4)
    clock.now += GRACE
    store.heartbeat(0)
    assert first["sequence"].to_pylist() == [1]
    assert [batch["sequence"].to_pylist() for batch in batches] == [[2, 3]]


def test_publishing_beside_commits_from_another_thread(store: DuckStore) -> None:
    errors: list[BaseException] = []

    def publish() -> None:
        try:
            for number in range(1, 30):
                store.publish([make_publication(number)])
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=publish)
    thread.start()
    for number in range(1, 30):
        commit_rows(store, number, number, number)
    thread.join()
    assert errors == []
    store.heartbeat(0)
    manifest = StoreReader(store.path).manifest()
    assert (manifest.commit, manifest.arenas["text-to-image"].commit) == (29, 29)
