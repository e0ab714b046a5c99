"""JSON lines: splitting, offsets and append times."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.log import MAX_APPEND_TIME
from pipeline.contracts.reasons import MAX_RECORD_BYTES
from pipeline.eventlog.jsonl import read_append_times, split_lines

from .conftest import VOTES_0


def split_plainly(data: bytes, last: bool) -> list[tuple[int, int, bytes]]:
    """The rules again, byte by byte: (offset, next, value) of each record."""
    found, start = [], 0
    for at, byte in enumerate(data):
        if byte == 10:
            found.append((start, at + 1, data[start:at]))
            start = at + 1
    if last and start < len(data):
        found.append((start, len(data), data[start:]))
    stripped = [(offset, after, line[:-1] if line.endswith(b"\r") else line) for offset, after, line in found]
    return [item for item in stripped if item[2]]


@given(st.lists(st.sampled_from([b"\n", b"\r", b"a", b"{}", b"\x00\xff", b" "])).map(b"".join), st.booleans())
def test_split_lines_agrees_with_the_plain_rules(data: bytes, last: bool) -> None:
    block = split_lines(VOTES_0, data, 100, 1000, last=last)
    records = zip(block.offsets.tolist(), block.nexts.tolist(), block.values, strict=True)
    assert list(records) == [(o + 100, n + 100, v) for o, n, v in split_plainly(data, last)]
    complete = data.rfind(b"\n") + 1
    assert block.end == 100 + (len(data) if last else complete)


@given(st.lists(st.sampled_from([b"\n", b"\r", b"a", b"bc"])).map(b"".join), st.integers(1, 4))
def test_split_lines_in_steps_gives_the_same(data: bytes, limit: int) -> None:
    at, values = 0, []
    while at < len(data):
        block = split_lines(VOTES_0, data[at:], at, limit, last=True)
        assert block.end > at
        values += block.values
        at = block.end
    assert values == [value for _, _, value in split_plainly(data, True)]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ('{"appended_at": 5, "time": 3}', 5),
        ('{"time":3}', 3),
        ('{"time": 3, "appended_at": null}', 3),
        ('{"time": 3, "appended_at": "7"}', 3),
        ('{"time": 3, "appended_at": 7.0}', 3),
        ('{"time": 3, "appended_at": true}', 3),
        ('{"time": 3, "appended_at": 99999999999999999999999}', 3),
        ('{"time": 18446744073709551615}', 0),
        ('{"appended\\u005fat": 5}', 5),
        ('{"inner": {"time": 9, "appended_at": 9}, "time": 3}', 3),
        ('{"text": "\\"appended_at\\": 9", "time": 3}', 3),
        ('{"text": "appended_at", "x": [{"appended_at": 9}], "time": -3}', 0),
        ('{"time": 3, "appended_at": -1}', 3),
        ('{"time": 3, "appended_at": 253402300799999}', 253_402_300_799_999),
        ('{"time": 3, "appended_at": 253402300800000}', 3),
        ('{"time": 9000000000000000000}', 0),
        ('{"appended_at": 5', 0),
        ('{"appended_at": 5} {"appended_at": 6}', 0),
        ("[1]", 0),
        ("", 0),
        ('{"a":' * 5000, 0),
        ('{"time": 1' + "0" * 5000 + "}", 0),
    ],
)
def test_append_time_is_the_records_own(record: str, expected: int) -> None:
    assert read_append_times([record.encode()]).tolist() == [expected]


@given(st.dictionaries(st.sampled_from(["time", "appended_at", "x"]), st.none() | st.integers() | st.text()))
def test_append_time_agrees_with_json(fields: dict[str, object]) -> None:
    usable = (fields.get(name) for name in ("appended_at", "time"))
    expected = next((x for x in usable if isinstance(x, int) and 0 <= x <= MAX_APPEND_TIME), 0)
    assert read_append_times([json.dumps(fields).encode()]).tolist() == [expected]


def test_a_record_over_the_limit_is_cut_to_one_byte_more() -> None:
    data = b"x" * (MAX_RECORD_BYTES + 1000) + b"\nshort\n"
    block = split_lines(VOTES_0, data, 0, 10, last=False)
    assert [len(value) for value in block.values] == [MAX_RECORD_BYTES + 1, 5]
    assert block.end == len(data)
