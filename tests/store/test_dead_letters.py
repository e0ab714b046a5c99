from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.contracts.store import StoreError
from pipeline.store.dead_letters import DEAD, DEAD_SCHEMA, merge_dead, read_dead, write_dead
from tests.store.factory import START, make_dead


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / DEAD).mkdir()
    return tmp_path


def test_dead_letters_come_back_with_their_commit(root: Path) -> None:
    rows = make_dead(2, offset=5)
    file = write_dead(root, 7, rows)
    table = read_dead(root / file.path)
    assert table.schema.equals(DEAD_SCHEMA)
    assert table.drop_columns(["commit"]).equals(rows)
    assert table["commit"].to_pylist() == [7, 7]
    assert (file.rows, file.first_time, file.last_time) == (2, START, START + 1)


def test_merged_dead_letters_keep_their_order(root: Path) -> None:
    files = [write_dead(root, number, make_dead(2, offset=number * 10)) for number in (1, 2, 3)]
    merged = merge_dead(root, files, "m.parquet")
    table = read_dead(root / merged.path)
    assert table["offset"].to_pylist() == [10, 11, 20, 21, 30, 31]
    assert (merged.rows, merged.level, merged.first_commit, merged.last_commit) == (6, 1, 1, 3)


def test_rows_of_another_schema_are_refused(root: Path) -> None:
    with pytest.raises(StoreError, match="REJECT_SCHEMA"):
        write_dead(root, 1, make_dead(1).drop_columns(["detail"]))
