"""Hashing: MurmurHash3 x64 128, against an implementation of its own and published values."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from pipeline.operators.hashing import hash_strings, seed_strings

MASK = 2**64 - 1


def murmur3(data: bytes, seed: int = 0) -> tuple[int, int]:
    """Return the two halves, in plain Python after Appleby's MurmurHash3.cpp."""

    def rotate(value: int, bits: int) -> int:
        return (value << bits | value >> (64 - bits)) & MASK

    def mix(value: int) -> int:
        for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            value = (value ^ value >> 33) * multiplier & MASK
        return value ^ value >> 33

    def scramble(word: int, first: int, bits: int, second: int) -> int:
        return rotate(word * first & MASK, bits) * second & MASK

    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    h1 = h2 = seed
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        k1, k2 = (int.from_bytes(data[at + half : at + half + 8], "little") for half in (0, 8))
        h1 = ((rotate(h1 ^ scramble(k1, c1, 31, c2), 27) + h2) * 5 + 0x52DCE729) & MASK
        h2 = ((rotate(h2 ^ scramble(k2, c2, 33, c1), 31) + h1) * 5 + 0x38495AB5) & MASK
    h2 ^= scramble(int.from_bytes(data[whole + 8 :], "little"), c2, 33, c1)
    h1 ^= scramble(int.from_bytes(data[whole : whole + 8], "little"), c1, 31, c2)
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & MASK
    h2 = (h2 + h1) & MASK
    h1, h2 = mix(h1), mix(h2)
    h1 = (h1 + h2) & MASK
    return h1, (h2 + h1) & MASK


def hashes(column: pa.Array, seeds: list[int] | None = None) -> list[tuple[int, int]]:
    """Return what the operator makes of a column."""
    high, low = hash_strings(column, np.array(seeds or [0] * len(column), np.uint64))
    return list(zip(high.tolist(), low.tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 0)),
        ("hello", (0xCBD8A7B341BD9B02, 0x5B1E906A48AE1D19)),
        ("hello, world", (0x342FAC623A5EBC8E, 0x4CDCBC079642414D)),
        ("The quick brown fox jumps over the lazy dog.", (0xCD99481F9EE902C9, 0x695DA1A38987B6E7)),
    ],
)
def test_known_vectors_hold(text: str, expected: tuple[int, int]) -> None:
    assert hashes(pa.array([text])) == [expected]
    assert murmur3(text.encode()) == expected


@given(st.lists(st.tuples(st.text(max_size=70), st.integers(0, MASK)), max_size=8))
def test_hashes_agree_with_the_plain_implementation(rows: list[tuple[str, int]]) -> None:
    column = pa.array([text for text, _ in rows], pa.string())
    assert hashes(column, [seed for _, seed in rows]) == [murmur3(text.encode(), seed) for text, seed in rows]


def test_every_length_up_to_three_blocks_is_hashed() -> None:
    texts = ["abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL"[:size] for size in range(49)]
    assert hashes(pa.array(texts)) == [murmur3(text.encode()) for text in texts]


def test_a_long_string_is_hashed() -> None:
    text = "ab" * 50_001
    assert hashes(pa.array([text])) == [murmur3(text.encode())]


def test_a_sliced_column_hashes_its_own_rows() -> None:
    column = pa.array([f"row-{number}-{'x' * number}" for number in range(40)])
    assert hashes(column.slice(7, 20)) == hashes(column)[7:27]
    assert hashes(column.slice(40)) == []


def test_seeds_make_unrelated_hashes() -> None:
    seeds = seed_strings(["pictures", "films"])
    assert seeds.tolist() == [murmur3(b"pictures")[1], murmur3(b"films")[1]]
    one, other = hashes(pa.array(["m1", "m1"]), seeds.tolist())
    assert one != other
    assert not len(seed_strings([]))
