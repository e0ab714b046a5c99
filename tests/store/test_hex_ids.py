from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.store.hex_ids import RAW_TYPE, join_ids, split_ids

HEX = "0190f3c2a7b94a7e8d1e3f1b2c4d5e6f"
ODD = ["", "a", HEX.upper(), HEX[:31], HEX + "0", HEX[:31] + "g", "ä" * 16, HEX[:15] + "-" + HEX[16:]]

hexes = st.text("0123456789abcdef", min_size=32, max_size=32)
ids = st.lists(st.none() | hexes | st.sampled_from([HEX, *ODD]) | st.text(max_size=40))


@given(ids, st.integers(0, 3))
def test_ids_come_back_as_they_were(values: list[str | None], cut: int) -> None:
    array = pa.array([*[HEX[:cut]] * cut, *values], pa.string()).slice(cut)
    text, raw = split_ids(array)
    assert text.type == pa.string()
    assert raw.type == RAW_TYPE
    assert join_ids(text, raw).to_pylist() == values


@given(ids)
def test_ids_join_when_sliced(values: list[str | None]) -> None:
    text, raw = split_ids(pa.array(values, pa.string()))
    assert join_ids(text[1:], raw[1:]).to_pylist() == values[1:]


def test_ids_of_hex_are_kept_as_bytes() -> None:
    text, raw = split_ids(pa.array([HEX, HEX]))
    assert text.null_count == 2
    assert raw.to_pylist() == [bytes.fromhex(HEX)] * 2


@pytest.mark.parametrize("odd", ODD)
def test_ids_that_are_no_hex_stay_text(odd: str) -> None:
    text, raw = split_ids(pa.array([odd, HEX]))
    assert text.to_pylist() == [odd, None]
    assert raw.to_pylist() == [None, bytes.fromhex(HEX)]
