from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.store.history import (
    HISTORY_SCHEMA,
    complete_rows,
    make_rows,
    merge_segments,
    read_segment,
    thin_rows,
    write_segment,
)
from tests.store.factory import HOUR, MODELS, START, make_board, make_publication

SECOND, MINUTE, DAY = 1000, 60_000, 24 * HOUR


def make_history(times: list[tuple[int, int]], method: str = "posterior") -> pa.Table:
    """Return rows of boards with commits 1, 2, ... at these (log time, publication time), after `START`."""
    tables = [HISTORY_SCHEMA.empty_table()]
    for commit, (log_time, published_at) in enumerate(times, 1):
        board = make_board(commit, method=method, log_time=START + log_time)
        publication, _ = make_publication(
            commit, log_time=START + log_time, published_at=START + published_at, boards=(board,)
        )
        tables.append(make_rows(publication, {}))
    return pa.concat_tables(tables)


def kept(rows: pa.Table, method: str = "posterior") -> list[int]:
    return sorted({row["commit"] for row in thin_rows(rows).to_pylist() if row["method"] == method})


def live(*times: int) -> pa.Table:
    return make_history([(time, time) for time in times])


def test_rows_hold_every_field_of_a_board() -> None:
    publication, _ = make_publication(7)
    rows = make_rows(publication, {}).to_pylist()
    assert [row["model"] for row in rows] == sorted(MODELS)
    wanted = {"commit": 7, "arena_votes": 7, "log_time": START + 7, "rank": 1, "rating": 1007.0, "sd": 1.0, "low": None}
    assert {name: rows[0][name] for name in wanted} == wanted


def test_segments_from_before_a_column_are_read_and_merged(tmp_path: Path) -> None:
    publications = (make_publication(commit, log_time=START + commit * HOUR)[0] for commit in (7, 8))
    old, new = (make_rows(publication, {}) for publication in publications)
    files = [
        write_segment(tmp_path, "old.parquet", old.drop_columns(["group", "p_best"]), 0),
        write_segment(tmp_path, "new.parquet", new, 0),
    ]
    assert complete_rows(old.drop_columns(["group", "p_best"])).schema == HISTORY_SCHEMA
    merged = merge_segments(tmp_path, files, "merged.parquet")
    rows = read_segment(tmp_path / merged.file).to_pylist()
    assert {(row["commit"], row["group"], row["p_best"]) for row in rows} == {(7, None, None), (8, 1, 0.5)}


def test_rows_of_a_recorded_commit_are_left_out() -> None:
    boards = (make_board(7), make_board(5, method="ksort"))
    publication, _ = make_publication(7, boards=boards)
    rows = make_rows(publication, {"posterior": 6, "ksort": 5})
    assert set(rows["method"].to_pylist()) == {"posterior"}


@pytest.mark.parametrize(("step", "age"), [(SECOND, 0), (MINUTE, 2 * HOUR), (HOUR, 2 * DAY), (HOUR, 400 * DAY)])
def test_one_board_of_each_span_is_kept(step: int, age: int) -> None:
    times = [0, step // 2, step - 1, step, step + 1, 3 * step]
    newest = 3 * step + age
    rows = live(*times, newest) if age else live(*times)
    assert kept(rows)[:3] == [3, 5, 6]


def test_newest_board_is_always_kept() -> None:
    assert kept(live(0, 0, 0)) == [3]


def test_all_models_of_a_board_are_kept_or_none() -> None:
    rows = thin_rows(live(0, 1, 5000))
    assert sorted(rows["model"].to_pylist()) == sorted([*MODELS] * 2)


def test_import_that_passes_years_within_seconds_keeps_what_was_published() -> None:
    rows = make_history([(number * 100 * DAY // 7, number * SECOND) for number in range(20)])
    assert kept(rows) == list(range(1, 21))


def test_import_of_an_hour_ago_keeps_a_board_an_hour_of_log_time() -> None:
    times = [(number * 10 * MINUTE, number) for number in range(60)] + [(60 * HOUR, 3 * DAY)]
    assert kept(make_history(times)) == [*range(6, 61, 6), 61]


def test_log_time_that_stands_still_keeps_boards_by_publication_time() -> None:
    rows = make_history([(0, 0), (10 * DAY, 1 * SECOND), *[(10 * DAY, number * SECOND) for number in range(2, 9)]])
    assert kept(rows) == list(range(1, 10))


def test_methods_are_thinned_apart() -> None:
    rows = pa.concat_tables([live(0, 1), make_history([(0, 0)], "ksort")])
    assert (kept(rows), kept(rows, "ksort")) == ([2], [1])


@settings(max_examples=25)
@given(st.lists(st.integers(0, 3 * DAY), min_size=1, max_size=20))
def test_thinning_again_changes_nothing(times: list[int]) -> None:
    once = thin_rows(live(*sorted(times)))
    assert thin_rows(once).equals(once)
