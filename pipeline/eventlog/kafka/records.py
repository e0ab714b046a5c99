"""Takes the records of a fetch apart: a batch at a time, as columns, without a Python object for each record.

kafka-python speaks the protocol: connections, logins, metadata, fetch sessions, leaders that change, transactions. Of
the records it makes an object each, 4 to 6 microseconds a record; here a compiled loop finds where each one's offset
and value lie, and a batch is one item in what ``KafkaConsumer.poll`` returns. It hooks in where kafka-python unpacks,
so its version is pinned, and the tests on a real broker hold it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import lz4.frame
import numpy as np
import zstandard
from kafka.consumer.fetcher import Fetcher
from kafka.consumer.fetcher import IsolationLevel as Isolation
from kafka.errors import CorruptRecordError
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.log import CONTENT_TYPE

_KNOWN_HEADERS: Final = 1024


class RecordBatch(NamedTuple):
    """Records of one partition that were appended together, n of them.

    Attributes
    ----------
    offset : int
        Of the last record; kafka-python compares it with what it asked for.
    next_offset : int
        Where to read on, behind the holes that compaction left.
    offsets : int64 (n,)
    appended_at : int or None
        When the log took them, ms; None if they carry their producers' times instead.
    values : list of bytes, length n
        A tombstone has an empty one.
    content_types : None, or a list of str or None, length n
    """

    offset: int
    next_offset: int
    offsets: NDArray[np.int64]
    appended_at: int | None
    values: list[bytes]
    content_types: list[str | None] | None

    def part(self, start: int, stop: int) -> RecordBatch:
        """Return the records from `start` up to `stop`, which must be some."""
        last = int(self.offsets[stop - 1])
        return RecordBatch(
            last,
            self.next_offset if stop == len(self.offsets) else last + 1,
            self.offsets[start:stop],
            self.appended_at,
            self.values[start:stop],
            None if self.content_types is None else self.content_types[start:stop],
        )


class Columns(NamedTuple):
    """Records of one partition or several, n of them; the fields are those of `LogBatch`."""

    offsets: NDArray[np.int64]
    appended_at: NDArray[np.int64]
    values: list[bytes]
    content_types: list[str | None] | None


def join_batches(batches: Sequence[RecordBatch]) -> Columns:
    """Return the records of `batches` (at least one), whose times are the log's, one after the other."""
    counts = [len(batch.values) for batch in batches]
    types: list[str | None] | None = None
    if any(batch.content_types for batch in batches):
        types = list(chain.from_iterable(batch.content_types or [None] * len(batch.values) for batch in batches))
    return Columns(
        np.concatenate([batch.offsets for batch in batches]),
        np.repeat(np.array([batch.appended_at for batch in batches], np.int64), counts),
        list(chain.from_iterable(batch.values for batch in batches)),
        types,
    )


class BatchRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # untyped
    """What one fetch gave for one partition, as `RecordBatch` items."""

    def _unpack_records(self, tp: Any, records: Any, _key: object, _value: object) -> Iterator[RecordBatch]:
        """Yield whole batches; skips what kafka-python skips: aborted transactions and their markers."""
        last = None
        while (batch := records.next_batch()) is not None:
            last = batch
            if self.check_crcs and not batch.validate_crc():
                raise CorruptRecordError(
                    f"{tp.topic}/{tp.partition}: the batch at offset {batch.base_offset} is damaged"
                )
            if batch.magic != 2:
                raise CorruptRecordError(f"{tp.topic}/{tp.partition}: a record format of Kafka before 0.11")
            self.leader_epoch = batch.leader_epoch
            if self._is_to_be_skipped(batch) or batch.is_control_batch or not batch.records_count:
                self.next_fetch_offset = batch.next_offset
                continue
            found = read_batch(batch, self.fetch_offset)
            self.next_fetch_offset = batch.next_offset
            if found is not None:
                self.records_read += len(found.values)
                yield found
        if last is not None:
            self.next_fetch_offset = last.next_offset
        self.drain()

    def _is_to_be_skipped(self, batch: Any) -> bool:
        if self.isolation_level != Isolation.READ_COMMITTED or not batch.has_producer_id():
            return False
        self._consume_aborted_transactions_up_to(batch.last_offset)
        if self._contains_abort_marker(batch):
            self.aborted_producer_ids.discard(batch.producer_id)
            return False
        return bool(self._is_batch_aborted(batch))


def read_batch(batch: Any, fetch_offset: int) -> RecordBatch | None:
    """Return the records of a kafka-python batch from `fetch_offset` on; None if there are none.

    Raises
    ------
    CorruptRecordError
        Its records do not fill it.
    """
    data, start = _unpack(batch)
    places = np.empty((5, batch.records_count), np.int64)
    end = _find_records(np.frombuffer(data, np.uint8), start, places)
    if end != len(data):
        raise CorruptRecordError(f"the batch at offset {batch.base_offset} has {len(data)} bytes, its records {end}")
    if fetch_offset > batch.base_offset:  # a fetch gives the whole batch that holds its offset
        places = places[:, batch.base_offset + places[0] >= fetch_offset]
        if not places.shape[1]:
            return None
    offsets = batch.base_offset + places[0]
    headers = None
    if (places[4] > places[3]).any():
        known: dict[bytes, str | None] = {}
        headers = [_content_type(data[a:b], known) if b > a else None for a, b in places[3:].T.tolist()]
    return RecordBatch(
        batch.last_offset,
        batch.next_offset,
        offsets,
        batch.max_timestamp if batch.timestamp_type == batch.LOG_APPEND_TIME else None,
        [data[start:stop] for start, stop in zip(places[1].tolist(), places[2].tolist(), strict=True)],
        headers,
    )


def _unpack(batch: Any) -> tuple[bytes, int]:
    """Return the bytes that hold the records, and where in them the first one begins.

    kafka-python copies what it unpacks three times, and stops at a megabyte of zstd where the producer did not state
    the size, as Java's do not.
    """
    if batch.compression_type == batch.CODEC_LZ4:
        return lz4.frame.decompress(batch._buffer[batch._pos :]), 0
    if batch.compression_type == batch.CODEC_ZSTD:
        return zstandard.ZstdDecompressor().decompressobj().decompress(batch._buffer[batch._pos :]), 0
    batch._maybe_uncompress()
    return bytes(batch._buffer), batch._pos


@njit(cache=True, nogil=True)
def _find_records(data: NDArray[np.uint8], start: int, places: NDArray[np.int64]) -> int:
    """Fill `places` (5, n): offset delta, start and end of the value, start and end of the headers of each record.

    Headers that are none have start = end. Returns the end of the last record, -1 if they are not within the data.
    """
    at = start
    for record in range(places.shape[1]):
        size, at = _read_number(data, at)
        end = at + size
        if size < 0 or end > len(data):
            return -1
        _time, at = _read_number(data, at + 1)  # behind the attributes
        places[0, record], at = _read_number(data, at)
        key, at = _read_number(data, at)
        value, at = _read_number(data, at + max(key, 0))
        places[1, record] = at
        places[2, record] = places[3, record] = places[4, record] = at = at + max(value, 0)
        headers, at = _read_number(data, at)
        if headers > 0:
            places[4, record] = end
        if at > end:
            return -1
        at = end
    return at


@njit(cache=True, nogil=True)
def _read_number(data: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """Return the number at `at`, at most the length of the data, and where to read on; beyond the data if it is cut."""
    number, shift = 0, 0
    while at < len(data) and shift < 64:
        byte = int(data[at])
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            number = (number >> 1) ^ -(number & 1)
            return min(max(number, -1), len(data)), at
        shift += 7
    return 0, len(data) + 1


def _content_type(headers: bytes, known: dict[bytes, str | None]) -> str | None:
    """Return the content type among the headers of one record; many records have the same ones."""
    if headers not in known:
        if len(known) >= _KNOWN_HEADERS:
            known.clear()
        known[headers] = _find_content_type(headers)
    return known[headers]


def _find_content_type(headers: bytes) -> str | None:
    count, at = _read_varint(headers, 0)
    for _ in range(count):
        size, at = _read_varint(headers, at)
        name = headers[at : at + size]
        size, at = _read_varint(headers, at + size)
        if name.lower() == CONTENT_TYPE.encode() and size >= 0:
            return headers[at : at + size].decode("utf-8", "replace")
        at += max(size, 0)
    return None


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
