"""Batches of records taken apart: against kafka-python's own records, one by one, and damaged ones."""

from __future__ import annotations

from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from pipeline.contracts.log import ARROW_STREAM, CONTENT_TYPE
from pipeline.eventlog.kafka.records import join_batches, read_batch

Headers = list[tuple[str, bytes | None]]
BASE = 1_000

header_lists = st.lists(
    st.tuples(st.sampled_from([CONTENT_TYPE, "Content-Type", "x", "é"]), st.none() | st.binary(max_size=70)), max_size=3
)
record_lists = st.lists(
    st.tuples(st.none() | st.binary(max_size=90), st.none() | st.binary(max_size=300), header_lists),
    min_size=1,
    max_size=20,
)


def build(records: list[tuple[bytes | None, bytes | None, Headers]], codec: int = 0, step: int = 1) -> bytearray:
    """Return a batch of records whose offsets are `step` apart, as a producer sends it; its offsets begin at 0."""
    builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 1 << 22)
    for number, (key, value, headers) in enumerate(records):
        assert builder.append(number * step, 1_764_000_000_000 + number, key, value, headers) is not None
    return bytearray(builder.build())


def as_appended(raw: bytearray, codec: int = 0) -> Any:
    """Return the batch as a broker hands it out: with its offset, and the time of the log."""
    batch = DefaultRecordBatch(memoryview(raw))
    base, *rest = batch._header_data
    rest[4] |= DefaultRecordBatch.TIMESTAMP_TYPE_MASK | codec
    batch._header_data = (base + BASE, *rest)
    return batch


def content_type(headers: Headers) -> str | None:
    for name, value in headers:
        if name.lower() == CONTENT_TYPE and value is not None:
            return value.decode("utf-8", "replace")
    return None


@given(record_lists, st.sampled_from([0, 1, 2, 3, 4]), st.sampled_from([1, 3]))
def test_batch_agrees_with_records_one_by_one(
    records: list[tuple[bytes | None, bytes | None, Headers]], codec: int, step: int
) -> None:
    raw = build(records, codec, step)
    plain = list(as_appended(raw))
    found = read_batch(as_appended(raw), BASE)
    assert found is not None
    assert found.offsets.tolist() == [record.offset for record in plain]
    assert found.values == [record.value or b"" for record in plain]
    assert (found.content_types or [None] * len(plain)) == [content_type(record.headers) for record in plain]
    assert {found.appended_at} == {record.timestamp for record in plain}
    assert found.offset == plain[-1].offset
    assert found.next_offset == found.offset + 1


@given(record_lists, st.integers(0, 25))
def test_fetch_in_the_middle_of_a_batch_gives_the_rest(
    records: list[tuple[bytes | None, bytes | None, Headers]], asked: int
) -> None:
    raw = build(records)
    rest = [record.value or b"" for record in as_appended(raw) if record.offset >= BASE + asked]
    found = read_batch(as_appended(raw), BASE + asked)
    assert ([] if found is None else found.values) == rest


def test_parts_join_to_the_whole() -> None:
    records: list[tuple[bytes | None, bytes | None, Headers]] = [
        (None, b"%d" % number, [(CONTENT_TYPE, ARROW_STREAM.encode())] if number == 3 else []) for number in range(5)
    ]
    whole = read_batch(as_appended(build(records)), BASE)
    assert whole is not None
    parts = [whole.part(0, 2), whole.part(2, 3), whole.part(3, 5)]
    assert [part.next_offset for part in parts] == [BASE + 2, BASE + 3, BASE + 5]
    joined, alone = join_batches(parts), join_batches([whole])
    assert joined.values == alone.values == whole.values
    assert joined.content_types == alone.content_types == [None, None, None, ARROW_STREAM, None]
    assert joined.offsets.tolist() == alone.offsets.tolist()
    assert joined.appended_at.tolist() == alone.appended_at.tolist()


def test_large_batch_of_a_streaming_compressor_is_read() -> None:
    values = [b"%d" % number + b"." * 200_000 for number in range(9)]
    raw = build([(None, value, []) for value in values])
    header = DefaultRecordBatch.HEADER_STRUCT.size
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    packed = raw[:header] + compressor.compress(bytes(raw[header:])) + compressor.flush()
    batch = as_appended(bytearray(packed), codec=4)
    found = read_batch(batch, BASE)
    assert found is not None
    assert found.values == values


def test_producers_time_is_no_append_time() -> None:
    batch = DefaultRecordBatch(memoryview(build([(None, b"a", [])])))
    found = read_batch(batch, 0)
    assert found is not None
    assert found.appended_at is None


@given(st.data())
def test_damaged_batches_are_refused_or_read_within_their_bounds(data: st.DataObject) -> None:
    raw = build([(b"k", b"value %d" % number, [("x", b"y")]) for number in range(8)])
    first = DefaultRecordBatch.HEADER_STRUCT.size
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(first, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_batch(as_appended(raw), BASE)
    except (CorruptRecordError, IndexError):
        return
    assert found is not None
    assert sum(map(len, found.values)) <= len(raw)


def test_records_that_do_not_fill_their_batch_are_refused() -> None:
    raw = build([(None, b"abc", []), (None, b"def", [])])
    with pytest.raises(CorruptRecordError, match="the batch at offset"):
        read_batch(as_appended(raw + b"more"), BASE)
