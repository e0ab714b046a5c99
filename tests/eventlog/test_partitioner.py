"""Keys go where Kafka's Java client would put them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.eventlog.partitioner import hash_keys, murmur2, partitions_of_column, partitions_of_keys

# From Kafka's UtilsTest.testMurmur2.
KNOWN = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "expected"), KNOWN.items())
def test_murmur2_gives_kafkas_values(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected


def test_hash_keys_gives_kafkas_values() -> None:
    keys = list(KNOWN) * 5
    assert hash_keys(keys).tolist() == list(KNOWN.values()) * 5


@given(st.lists(st.binary(max_size=40), min_size=16, max_size=60))
def test_hash_keys_agrees_with_the_plain_version(keys: list[bytes]) -> None:
    assert hash_keys(keys).tolist() == [murmur2(key) for key in keys]


@given(st.lists(st.none() | st.text(max_size=20), max_size=40), st.integers(1, 70))
def test_partitions_follow_keys_and_the_spare_takes_the_rest(keys: list[str | None], partitions: int) -> None:
    expected = [partitions - 1 if key is None else (murmur2(key.encode()) & 0x7FFFFFFF) % partitions for key in keys]
    assert partitions_of_keys(keys, partitions, partitions - 1).tolist() == expected


@given(
    st.lists(st.none() | st.text(max_size=20), max_size=40)
    | st.lists(st.text(alphabet="0123456789abcdef", min_size=7, max_size=7), max_size=40),
    st.integers(1, 70),
    st.integers(0, 5),
)
def test_partitions_of_a_column_are_those_of_its_keys(keys: list[str | None], partitions: int, skip: int) -> None:
    column = pa.array(keys, pa.string()).slice(skip)
    assert partitions_of_column(column, partitions).tolist() == partitions_of_keys(keys[skip:], partitions, 0).tolist()
