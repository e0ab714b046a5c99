from __future__ import annotations

import ctypes
import gc
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.contracts.arena import Registry
from pipeline.contracts.log import Position
from pipeline.contracts.store import ArchiveSource, StoreError
from pipeline.store.duck_store import DuckStore, open_store
from pipeline.store.errors import ReaderError
from pipeline.store.history import FAN_IN
from pipeline.store.reader import StoreReader
from tests.store.factory import (
    START,
    VOTES,
    FakeClock,
    make_batch,
    make_board,
    make_commit,
    make_dead,
    make_event_row,
    make_publication,
    make_row,
    make_rows,
    make_window,
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[DuckStore]:
    with open_store(tmp_path / "store", holder="test", clock=clock) as opened:
        yield opened


@pytest.fixture
def reader(store: DuckStore) -> StoreReader:
    return StoreReader(store.path)


def publish_seconds(store: DuckStore, last: int) -> None:
    """Publish commits 1 to `last`, one a second of log time."""
    for commit in range(1, last + 1):
        store.publish([make_publication(commit, log_time=START + commit * 1000)])


def test_no_store_is_told(tmp_path: Path) -> None:
    reader = StoreReader(tmp_path / "none")
    for ask in (reader.manifest, reader.heartbeat, reader.registry, reader.arenas, reader.count_archive):
        with pytest.raises(ReaderError, match="kwise pipeline run --from URL --store"):
            ask()
    with pytest.raises(ReaderError, match="no store at"):
        reader.board("text-to-image")
    with pytest.raises(ReaderError, match="no store at"):
        next(reader.read_archive())


def test_store_without_publications_is_told(reader: StoreReader) -> None:
    with pytest.raises(ReaderError, match=r"nothing is published .*kwise arena apply") as caught:
        reader.board("text-to-image")
    assert caught.value.retriable
    assert reader.heartbeat() is None
    assert reader.registry() == Registry()
    assert reader.arenas() == {}
    assert reader.positions() == {}
    assert reader.dead_letters().num_rows == reader.count_archive() == 0


def test_unknown_arena_and_method_are_told_with_the_known_ones(store: DuckStore, reader: StoreReader) -> None:
    store.publish([make_publication(1)])
    with pytest.raises(ReaderError, match="no arena 'x'; published are text-to-image"):
        reader.publication("x")
    with pytest.raises(ReaderError, match="no board by 'elo'; published are posterior"):
        reader.board("text-to-image", "elo")


def test_archive_folder_stands_for_its_store(store: DuckStore) -> None:
    assert StoreReader(store.path / "archive").path == store.path


def test_another_format_is_told(store: DuckStore, reader: StoreReader) -> None:
    path = store.path / "MANIFEST.json"
    path.write_text('{"format": 2, "what": "ever"}')
    with pytest.raises(StoreError, match="format 2"):
        reader.manifest()
    path.write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        reader.manifest()


def test_default_board_is_the_posterior(store: DuckStore, reader: StoreReader) -> None:
    store.publish([make_publication(1, boards=(make_board(1, method="ksort"), make_board(1)))])
    assert reader.board("text-to-image").method == "posterior"
    assert reader.board("text-to-image", "ksort").method == "ksort"


def test_board_of_the_past_is_as_it_was_published(store: DuckStore, reader: StoreReader) -> None:
    publish_seconds(store, 20)
    for at in (5000, 5999, 12_345, 20_000, 99_000):
        board = reader.board("text-to-image", at=START + at)
        wanted = min(at // 1000, 20)
        assert board == make_board(wanted, log_time=START + wanted * 1000)


def test_board_before_the_first_is_told(store: DuckStore, reader: StoreReader) -> None:
    publish_seconds(store, 2)
    with pytest.raises(ReaderError, match=f"history starts at {START + 1000}"):
        reader.board("text-to-image", at=START)


def test_history_is_chosen_by_method_models_and_time(store: DuckStore, reader: StoreReader) -> None:
    publish_seconds(store, 2 * FAN_IN)
    store.settle()
    publish_seconds(store, 2 * FAN_IN + 1)
    rows = reader.history("text-to-image", models=["beta", "none"], since=START + 3000, until=START + 5000)
    assert rows.select(["model", "commit"]).to_pylist() == [{"model": "beta", "commit": n} for n in (3, 4, 5)]
    everything = reader.history("text-to-image", "posterior")
    assert everything.select(["model", "commit"]).to_pylist() == [
        {"model": model, "commit": n} for model in ("alpha", "beta", "delta", "gamma") for n in range(1, 2 * FAN_IN + 2)
    ]
    assert reader.history("text-to-image", since=START + 10**9).num_rows == 0


@pytest.mark.parametrize(("boards", "commits"), [(2, [9, 10]), (4, [3, 6, 9, 10]), (99, list(range(1, 11)))])
def test_history_has_no_more_boards_than_asked_for(
    store: DuckStore, reader: StoreReader, boards: int, commits: list[int]
) -> None:
    publish_seconds(store, 10)
    rows = reader.history("text-to-image", models=["beta"], boards=boards)
    assert rows["commit"].to_pylist() == commits
    assert reader.history("text-to-image", models=["beta"], until=START + 1000, boards=boards).num_rows == 1


def test_counts_are_those_of_the_newest_publication(store: DuckStore, reader: StoreReader) -> None:
    publish_seconds(store, 3)
    assert reader.counts("text-to-image")["n"].to_pylist() == [3]


def test_counts_come_with_their_publication(store: DuckStore, reader: StoreReader) -> None:
    publish_seconds(store, 3)
    publication, counts = reader.publication_with_counts("text-to-image")
    assert publication.commit == 3
    assert counts.equals(reader.counts("text-to-image"))


def test_precision_has_a_row_a_board_of_models_that_were_compared(store: DuckStore, reader: StoreReader) -> None:
    publish_seconds(store, 3)
    history = reader.history("text-to-image").to_pylist()
    found = reader.precision("text-to-image", least=1)
    assert found["commit"].to_pylist() == [1, 2, 3]
    sds = [row["sd"] for row in history if row["commit"] == 2 and row["comparisons"] >= 1]
    row = found.to_pylist()[1]
    assert row["models"] == len(sds) > 0
    assert row["log_sd"] == pytest.approx(sum(map(math.log, sds)))
    assert reader.precision("text-to-image", least=10**6).num_rows == 0


def test_recent_votes_are_the_newest_rows(store: DuckStore, reader: StoreReader) -> None:
    store.load()
    store.stage_archive(make_rows(1, 10, 1))
    store.commit(make_commit(1, sequence=10))
    store.heartbeat(0)
    assert reader.recent_votes(3)["sequence"].to_pylist() == [8, 9, 10]
    assert reader.recent_votes(100).num_rows == 10


def test_retractions_are_those_of_all_events_in_their_order(store: DuckStore, reader: StoreReader) -> None:
    assert not reader.retractions()
    store.load()
    store.stage_archive(make_batch([make_row(1, 1), make_event_row(2, 1, "voters.retract", voters=["a", "b"])]))
    store.commit(make_commit(1, sequence=2))
    events = [make_event_row(3, 2, "model.retire", arena="text-to-image", model={"id": "m"})]
    events.append(make_event_row(4, 2, "voters.restore", voters=["a"]))
    events.append(make_event_row(5, 2, "matchups.retract", arena="text-to-image", matchups=["m1"]))
    store.stage_archive(make_batch(events))
    store.commit(replace(make_commit(2, sequence=5), state={"filter": b'{"voters":["c"]}'}))
    store.heartbeat(0)
    found = reader.retractions()
    assert (found.voters, found.matchups) == ({"*": {"b"}}, {"text-to-image": {"m1"}})
    assert found.left_out == {"c"}


def test_file_that_vanished_is_found_by_reading_the_manifest_again(
    store: DuckStore, reader: StoreReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_seconds(store, 1)
    old = reader._arena_manifest("text-to-image")
    publish_seconds(store, 2)
    (store.path / "board" / "text-to-image" / old.counts).unlink()
    manifests = iter([old])
    newest = reader._arena_manifest
    monkeypatch.setattr(reader, "_arena_manifest", lambda arena: next(manifests, None) or newest(arena))
    assert reader.counts("text-to-image")["n"].to_pylist() == [2]


@pytest.mark.parametrize("pattern", ["counts-*.arrow", "h*.parquet"])
def test_file_that_is_missing_is_told(store: DuckStore, reader: StoreReader, pattern: str) -> None:
    publish_seconds(store, 1)
    (path,) = (store.path / "board" / "text-to-image").glob(pattern)
    path.unlink()
    with pytest.raises(ReaderError, match=rf"(?s)is missing.*{path.name}"):
        reader.counts("text-to-image") if "counts" in pattern else reader.history("text-to-image")


@pytest.mark.parametrize(
    ("pattern", "read"),
    [
        ("board/*/h*.parquet", lambda reader: reader.history("text-to-image")),
        ("board/*/counts-*.arrow", lambda reader: reader.counts("text-to-image")),
        ("dead/*.parquet", lambda reader: reader.dead_letters()),
    ],
)
def test_file_that_is_damaged_is_told(
    store: DuckStore, reader: StoreReader, pattern: str, read: Callable[[StoreReader], Any]
) -> None:
    store.commit(make_commit(1, dead=make_dead(2, offset=10)))
    publish_seconds(store, 1)
    store.heartbeat(0)
    (path,) = store.path.glob(pattern)
    path.write_bytes(b"PAR1" + bytes(40))
    with pytest.raises(ReaderError, match=r"is damaged: .*; put it back from a copy"):
        read(reader)


def test_archive_is_read_up_to_the_manifest(store: DuckStore, reader: StoreReader) -> None:
    source: ArchiveSource = reader
    for number in (1, 2):
        store.stage_archive(make_rows(number * 5 - 4, number * 5, number))
        store.commit(make_commit(number, sequence=number * 5))
    store.heartbeat(0)
    batches = source.read_archive(after_sequence=2, batch_rows=2)
    first = next(batches)
    store.stage_archive(make_rows(11, 12, 3))
    store.commit(make_commit(3, sequence=12))
    store.heartbeat(0)
    sequences = [batch["sequence"].to_pylist() for batch in (first, *batches)]
    assert sequences == [[3, 4], [5], [6, 7], [8, 9], [10]]
    assert reader.count_archive() == 12
    assert reader.positions() == {VOTES: Position(13)}


def test_dead_letters_are_chosen_by_reason_and_number(store: DuckStore, reader: StoreReader) -> None:
    for number, reason in enumerate(("schema", "not_json", "schema"), 1):
        store.commit(make_commit(number, dead=make_dead(2, offset=number * 10, reason=reason)))
    store.heartbeat(0)
    assert reader.dead_letters()["offset"].to_pylist() == [10, 11, 20, 21, 30, 31]
    assert reader.dead_letters(limit=3)["offset"].to_pylist() == [21, 30, 31]
    assert reader.dead_letters(reason="schema", limit=3)["offset"].to_pylist() == [11, 30, 31]
    assert reader.dead_letters(reason="bad_time").num_rows == 0


def test_window_is_read_from_the_horizon_on(store: DuckStore, reader: StoreReader) -> None:
    store.commit(make_commit(1, window=make_window([1, 2, 3]), horizon=2))
    store.heartbeat(0)
    assert [time for entries in reader.load_window() for time in entries["time"].tolist()] == [2, 3]


def test_publication_is_the_one_that_was_published(store: DuckStore, reader: StoreReader) -> None:
    publication, counts = make_publication(4)
    store.publish([(publication, counts)])
    assert msgspec.json.encode(reader.publication("text-to-image")) == msgspec.json.encode(publication)
    assert reader.arenas()["text-to-image"].commit == 4


def test_asking_again_and_again_takes_no_memory(store: DuckStore, reader: StoreReader) -> None:
    publish_seconds(store, FAN_IN - 1)  # as many files

    def ask() -> None:
        reader.history("text-to-image", models=["alpha", "beta", "delta", "gamma", "none"], boards=FAN_IN - 1)
        reader.precision("text-to-image")

    def grow(times: int) -> int:
        before = allocated_bytes()
        for _ in range(times):
            ask()
        return allocated_bytes() - before

    grow(50)  # caches fill
    assert grow(200) < 200 * 500  # lists of values as joins took 1,300 bytes a call


class Allocations(ctypes.Structure):
    """What glibc's `mallinfo2` returns."""

    _fields_ = (
        ("arena", ctypes.c_size_t),
        ("ordblks", ctypes.c_size_t),
        ("smblks", ctypes.c_size_t),
        ("hblks", ctypes.c_size_t),
        ("hblkhd", ctypes.c_size_t),
        ("usmblks", ctypes.c_size_t),
        ("fsmblks", ctypes.c_size_t),
        ("uordblks", ctypes.c_size_t),
        ("fordblks", ctypes.c_size_t),
        ("keepcost", ctypes.c_size_t),
    )


def allocated_bytes() -> int:
    """Return how much is allocated in this process, other than for small Python objects; garbage left out."""
    gc.collect()
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = Allocations
    found = library.mallinfo2()
    return int(found.uordblks) + int(found.hblkhd)
