from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.contracts.snapshot import Board
from pipeline.contracts.store import StoreError
from pipeline.store.history import FAN_IN
from pipeline.store.manifest import ArenaManifest, decode_manifest
from pipeline.store.publisher import BOARD, Publisher
from pipeline.store.reader import StoreReader
from tests.store.factory import START, make_board, make_publication

GRACE = 1000


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / BOARD).mkdir()
    return tmp_path


@pytest.fixture
def publisher(root: Path, executor: ThreadPoolExecutor) -> Publisher:
    return Publisher(root, executor, GRACE)


def read_manifest(root: Path, folder: str = "text-to-image") -> ArenaManifest:
    path = root / BOARD / folder / "MANIFEST.json"
    return decode_manifest(path.read_bytes(), ArenaManifest, path)


def publish(publisher: Publisher, commit: int, now: int = 0, **fields: object) -> None:
    fields = {"log_time": START + commit * 1000} | fields
    publisher.publish([make_publication(commit, **fields)], now)  # type: ignore[arg-type]


def settle(executor: ThreadPoolExecutor) -> None:
    executor.submit(int).result()


def test_older_publication_is_left_out(publisher: Publisher, root: Path) -> None:
    publish(publisher, 5)
    publish(publisher, 4)
    manifest = read_manifest(root)
    assert (manifest.publication.commit, manifest.version) == (5, 1)


def test_same_publication_again_is_left_out(publisher: Publisher, root: Path) -> None:
    publish(publisher, 5)
    publish(publisher, 5)
    assert read_manifest(root).version == 1


def test_same_publication_again_after_its_merge_and_a_restart_is_left_out(
    root: Path, executor: ThreadPoolExecutor
) -> None:
    # A prototype had the rows of such a one twice: once in the merged segment, once in a new one.
    publisher = Publisher(root, executor, GRACE)
    for commit in range(1, FAN_IN + 1):
        publish(publisher, commit)
    settle(executor)
    publish(publisher, FAN_IN + 1)  # swaps the merged segment in
    assert read_manifest(root).history[0].level == 1
    for restarted in (publisher, Publisher(root, executor, GRACE)):
        for commit in (FAN_IN, FAN_IN + 1):
            publish(restarted, commit)
    manifest = read_manifest(root)
    assert sum(file.rows for file in manifest.history) == 4 * (FAN_IN + 1)
    assert manifest.version == FAN_IN + 1


def test_fit_that_ends_later_at_the_same_commit_is_published(publisher: Publisher, root: Path) -> None:
    publish(publisher, 9, boards=(make_board(7), make_board(9, method="ksort")))
    publish(publisher, 9, boards=(make_board(9), make_board(9, method="ksort")))
    manifest = read_manifest(root)
    assert {method: board.commit for method, board in manifest.publication.boards.items()} == {
        "posterior": 9,
        "ksort": 9,
    }
    assert [(file.first_commit, file.rows) for file in manifest.history] == [(7, 8), (9, 4)]


def test_rebuild_that_ends_at_the_same_commit_is_published(publisher: Publisher, root: Path) -> None:
    publish(publisher, 9, boards=(make_board(9, rebuilding=True),))
    publish(publisher, 9, boards=(make_board(9),))
    publish(publisher, 9, boards=(make_board(9, rebuilding=True),))
    assert not read_manifest(root).publication.boards["posterior"].rebuilding
    assert sum(file.rows for file in read_manifest(root).history) == 4


@pytest.mark.parametrize("later", [make_board(6), make_board(7)])
def test_board_never_goes_backwards(publisher: Publisher, root: Path, later: Board) -> None:
    publish(publisher, 8, boards=(make_board(7),))
    publish(publisher, 9, boards=(later,))
    manifest = read_manifest(root)
    assert manifest.publication.commit == 9
    assert manifest.publication.boards["posterior"].commit == 7
    assert sum(file.rows for file in manifest.history) == 4


def test_folders_are_named_after_arenas(publisher: Publisher, root: Path) -> None:
    publish(publisher, 1, arena="T2I:v1")
    assert publisher.arenas()["T2I:v1"].folder == "%54%32%49%3Av1".replace("%32", "2")
    assert read_manifest(root, publisher.arenas()["T2I:v1"].folder).publication.arena == "T2I:v1"


def test_arena_with_the_longest_id_is_published_and_read(publisher: Publisher, root: Path) -> None:
    publish(publisher, 1, arena="A" * 128)
    assert StoreReader(root).publication("A" * 128).commit == 1


def test_damaged_manifest_is_dropped_and_its_arena_published_anew(
    publisher: Publisher, root: Path, executor: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    publish(publisher, 1)
    publish(publisher, 1, arena="films")
    (root / BOARD / "films" / "MANIFEST.json").write_bytes(b'{"format": 1, "vers')
    with pytest.raises(StoreError, match="is rewritten by its next opening"):
        StoreReader(root).publication("films")
    again = Publisher(root, executor, GRACE)
    again.remove_leftovers()
    assert list(again.arenas()) == ["text-to-image"]
    assert "films/MANIFEST.json is damaged" in caplog.text
    publish(again, 1, arena="films")
    assert StoreReader(root).publication("films").commit == 1
    assert len(list((root / BOARD / "films").glob("h*.parquet"))) == 1


def test_history_is_merged_and_old_files_are_deleted_after_the_grace(
    publisher: Publisher, root: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.store.history.FAN_IN", 3)
    for commit in range(1, 31):
        publish(publisher, commit, now=commit)
        settle(executor)
    manifest = read_manifest(root)
    assert [file.level for file in manifest.history] == sorted((file.level for file in manifest.history), reverse=True)
    assert len(manifest.history) < 9
    assert sum(file.rows for file in manifest.history) == 4 * 30
    publish(publisher, 31, now=31 + GRACE)
    manifest = read_manifest(root)
    settle(executor)
    named = {"MANIFEST.json", manifest.counts, *(file.file for file in manifest.history)}
    named |= {file.file for file in manifest.superseded}
    unnamed = {path.name for path in (root / BOARD / "text-to-image").iterdir()} - named
    assert unnamed <= {"m0000000031.parquet"}  # of the merge that the next publication swaps in


def test_history_is_thinned_while_it_is_merged(publisher: Publisher, root: Path, executor: ThreadPoolExecutor) -> None:
    for commit in range(1, FAN_IN + 2):
        publish(publisher, commit, log_time=START + commit)
        settle(executor)
    merged, newest = read_manifest(root).history
    assert (merged.rows, merged.last_commit, newest.last_commit) == (4, FAN_IN, FAN_IN + 1)


def test_merge_that_fails_does_not_stop_publishing(
    publisher: Publisher, root: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.store.publisher.merge_segments", refuse)
    for commit in range(1, FAN_IN + 5):
        publish(publisher, commit)
        settle(executor)
    monkeypatch.undo()
    publish(publisher, FAN_IN + 5)
    settle(executor)
    publish(publisher, FAN_IN + 6)
    assert sum(file.rows for file in read_manifest(root).history) == 4 * (FAN_IN + 6)
    assert read_manifest(root).history[0].level == 1
