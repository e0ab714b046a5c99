from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.store.compaction import FileSet, Policy, plan_merge
from pipeline.store.manifest import StoreFile

POLICY = Policy(fan_in=4, most_rows=100)


def make_file(number: int, *, rows: int = 1, level: int = 0, hour: str = "20260101T00") -> StoreFile:
    return StoreFile(
        path=f"{number}",
        kind="archive",
        rows=rows,
        bytes=rows,
        level=level,
        hour=hour,
        first_sequence=number,
        last_sequence=number,
        first_commit=number,
        last_commit=number,
    )


@dataclass
class Case:
    files: list[StoreFile]
    closed: bool
    merged: list[int]


CASES = {
    "nothing": Case([], False, []),
    "few": Case([make_file(n) for n in range(3)], False, []),
    "enough": Case([make_file(n) for n in range(4)], False, [0, 1, 2, 3]),
    "oldest first": Case([make_file(n) for n in (5, 4, 3, 2, 1)], False, [1, 2, 3, 4]),
    "next level": Case([make_file(n, level=1) for n in range(4)], False, [0, 1, 2, 3]),
    "only neighbours": Case([make_file(n, level=int(n == 2)) for n in range(5)], False, []),
    "large ones stay": Case([make_file(n, rows=60) for n in range(9)], False, []),
    "not too large together": Case([make_file(n, rows=40) for n in range(4)], False, [0, 1]),
    "closed": Case([make_file(0, level=2), make_file(1)], True, [0, 1]),
    "closed and one": Case([make_file(0)], True, []),
    "closed and large": Case([make_file(0, rows=90), make_file(1, rows=30), make_file(2, rows=30)], True, [1, 2]),
    "closed and too large": Case([make_file(n, rows=60) for n in range(3)], True, []),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_plan(case: Case) -> None:
    merge = plan_merge(case.files, POLICY, closed=case.closed)
    assert ([file.first_commit for file in merge.sources] if merge else []) == case.merged


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60), st.booleans())
def test_plans_end_and_keep_order_and_rows(sizes: list[int], closed: bool) -> None:
    files = [make_file(number, rows=rows) for number, rows in enumerate(sizes)]
    while (merge := plan_merge(files, POLICY, closed=closed)) is not None:
        first, last = merge.sources[0], merge.sources[-1]
        between = [file for file in files if first.first_sequence <= file.first_sequence <= last.first_sequence]
        assert sorted(between, key=lambda file: file.first_sequence) == list(merge.sources)
        rows = sum(file.rows for file in merge.sources)
        assert rows <= POLICY.most_rows
        whole = make_file(first.first_sequence, rows=rows, level=1 + max(file.level for file in merge.sources))
        files = [*(file for file in files if file not in merge.sources), whole]
    assert sum(file.rows for file in files) == sum(sizes)
    if closed:
        ordered = sorted(files, key=lambda file: file.first_sequence)
        assert all(one.rows + two.rows > POLICY.most_rows for one, two in pairwise(ordered))


def test_hours_are_merged_apart_and_once_closed() -> None:
    files = FileSet([make_file(n, hour=f"20260101T{n // 2:02}") for n in range(6)])
    merge = files.next_merge("archive", "20260101T02")
    assert merge is not None
    assert {file.hour for file in merge.sources} == {"20260101T00"}
    for file in merge.sources:
        files.remove(file.path)
    files.add(make_file(100, hour="20260101T00", level=1))
    merge = files.next_merge("archive", "20260101T02")
    assert merge is not None
    assert {file.hour for file in merge.sources} == {"20260101T01"}
    files.postpone(merge)
    assert files.next_merge("archive", "20260101T02") is None
    files.close_hours("20260101T02", "20260101T03")
    merge = files.next_merge("archive", "20260101T03")
    assert merge is not None
    assert {file.hour for file in merge.sources} == {"20260101T02"}
    assert files.next_merge("dead", "20260101T03") is None
