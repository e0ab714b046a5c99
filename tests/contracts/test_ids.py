"""Identifiers and the folders named after them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.byte_strings import is_id_at, make_pool, point_at
from pipeline.contracts.ids import folder_name, is_id, random_id


@njit(cache=True)
def _is_id_in(pool: NDArray[np.uint8], length: int) -> bool:
    return is_id_at(point_at(pool), 0, length)


def is_compiled_id(text: str) -> bool:
    return bool(_is_id_in(make_pool([text.encode()]), len(text.encode())))


@pytest.mark.parametrize("text", ["a", "0", "A-b_c.d:e", "sd-3.5", "x" * 128, "p-01733"])
def test_valid_ids(text: str) -> None:
    assert is_id(text)
    assert is_compiled_id(text)


@pytest.mark.parametrize(
    "text", ["", " ", ".a", "-a", "_a", ":a", "a b", "a/b", "a\n", "a\x00", "ä", "a" * 129, "٣", "a%", "a\\", "../a"]
)
def test_invalid_ids(text: str) -> None:
    assert not is_id(text)
    assert not is_compiled_id(text)


@given(st.text(alphabet=st.characters(max_codepoint=300), max_size=6))
def test_compiled_check_agrees(text: str) -> None:
    assert is_compiled_id(text) == is_id(text)


def test_folder_names_differ_without_regard_to_case() -> None:
    assert folder_name("text-to-image") == "text-to-image"
    assert folder_name("Text.v:2") == "%54ext%2Ev%3A2"
    assert folder_name("A").lower() != folder_name("a").lower()


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,20}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,20}", fullmatch=True),
)
def test_folder_names_are_safe_and_distinct(one: str, other: str) -> None:
    assert set(folder_name(one)) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-%ABCDEF")
    if one != other:
        assert folder_name(one).lower() != folder_name(other).lower()


@pytest.mark.parametrize("identifier", ["A" * 86, "A" * 128, "a" + "." * 127])
def test_folder_names_of_long_ids_fit_and_are_distinct(identifier: str, tmp_path: Path) -> None:
    (tmp_path / folder_name(identifier)).mkdir()  # the file system's word, not ours
    others = {folder_name(identifier[:-1] + last).lower() for last in "abAB.:"}
    assert len(others - {folder_name(identifier).lower()}) >= 5
    assert all("%-" in name for name in others)


def test_folder_names_that_fit_stay_what_they_were() -> None:
    assert folder_name("A" * 85) == "%41" * 85


def test_random_ids_are_ids_and_repeat_with_their_seed() -> None:
    first, again = (random_id(np.random.default_rng(4)) for _ in range(2))
    assert first == again
    assert len(first) == 32
    assert is_id(first)
