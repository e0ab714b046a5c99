from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.contracts.store import StoreError
from pipeline.store import archive_writer
from pipeline.store.archive_format import read_rows
from pipeline.store.archive_writer import ARCHIVE, ArchiveWriter
from tests.conftest import wait_until
from tests.store.factory import START, make_rows

HOUR = "20251124T16"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ARCHIVE).mkdir()
    return tmp_path


@pytest.fixture
def writer(root: Path) -> Iterator[ArchiveWriter]:
    made = ArchiveWriter(root)
    yield made
    made.close()


def test_staged_rows_become_one_file(writer: ArchiveWriter, root: Path) -> None:
    writer.stage(make_rows(3, 5, 1))
    writer.stage(make_rows(6, 6, 1))
    file = writer.finish(1, HOUR).result()
    assert file is not None
    assert file.path == f"archive/appended_hour={HOUR}/c0000000001-3-6.parquet"
    assert (file.rows, file.first_time, file.last_time) == (4, START + 3, START + 6)
    assert file.bytes == (root / file.path).stat().st_size
    rows = [
        row for batch in read_rows(root, lambda: [file], after=0, until=9, batch_rows=9) for row in batch.to_pylist()
    ]
    assert [row["sequence"] for row in rows] == [3, 4, 5, 6]


def test_no_rows_are_no_file(writer: ArchiveWriter) -> None:
    writer.stage(make_rows(1, 0, 1))
    assert writer.finish(1, HOUR).result() is None


def test_discarded_rows_are_gone(writer: ArchiveWriter, root: Path) -> None:
    writer.stage(make_rows(1, 5, 1))
    writer.discard()
    assert writer.finish(1, HOUR).result() is None
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_large_batches_are_written_before_the_end(
    writer: ArchiveWriter, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_writer, "_SLICE_ROWS", 100)
    monkeypatch.setattr("pipeline.store.archive_format.GROUP_ROWS", 200)
    writer.stage(make_rows(1, 1000, 1))
    wait_until(lambda: (root / ARCHIVE / "staged.tmp").exists() and (root / ARCHIVE / "staged.tmp").stat().st_size > 4)
    file = writer.finish(1, HOUR).result()
    assert file is not None
    assert file.rows == 1000


def test_failure_is_told_by_the_next_stage_and_forgotten_after_a_discard(
    writer: ArchiveWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive_writer, "pack_rows", refuse)
    writer.stage(make_rows(1, 2, 1))
    wait_until(lambda: writer._failed)
    with pytest.raises(StoreError, match="No space left"):
        writer.stage(make_rows(3, 4, 1))
    monkeypatch.undo()
    writer.discard()
    writer.stage(make_rows(1, 2, 1))
    assert writer.finish(1, HOUR).result() is not None
