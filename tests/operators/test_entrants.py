"""Entrants: distinct (arena, model) pairs, and rows by arena, against plain Python."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from pipeline.contracts.ballot import Mode, make_ballots
from pipeline.operators.archive_rows import Repeated
from pipeline.operators.entrants import find_entrants, rows_by_word, take_ballots
from pipeline.operators.registry import LiveRegistry

rows_of_codes = st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 9), max_size=8)), max_size=40)


def make_columns(
    rows: list[tuple[int, list[int]]],
) -> tuple[Repeated, np.ndarray[tuple[int], np.dtype[np.int64]], Repeated]:
    """Return arenas, offsets and models of rows of codes."""
    offsets = np.concatenate([[0], np.cumsum([len(models) for _, models in rows], dtype=np.int64)]).astype(np.int64)
    arenas = Repeated(np.array([arena for arena, _ in rows], np.int32), [f"arena{code}" for code in range(4)])
    models = np.array([model for _, models in rows for model in models], np.int32)
    return arenas, offsets, Repeated(models, [f"model{code}" for code in range(10)])


@given(rows_of_codes)
def test_entrants_are_found_in_the_order_of_first_occurrence(rows: list[tuple[int, list[int]]]) -> None:
    entrants = find_entrants(*make_columns(rows))
    elements = [(f"arena{arena}", f"model{model}") for arena, models in rows for model in models]
    assert entrants.pairs == list(dict.fromkeys(elements))
    assert [entrants.pairs[number] for number in entrants.numbers] == elements


def test_many_entrants_are_found() -> None:
    codes = np.random.default_rng(3).integers(0, 3000, 20_000).astype(np.int32)
    arenas = Repeated((np.arange(5000) % 7).astype(np.int32), [f"a{code}" for code in range(7)])
    offsets = np.arange(0, 20_001, 4).astype(np.int64)
    entrants = find_entrants(arenas, offsets, Repeated(codes, [str(code) for code in range(3000)]))
    elements = [(f"a{row % 7}", str(codes[4 * row + slot])) for row in range(5000) for slot in range(4)]
    assert entrants.pairs == list(dict.fromkeys(elements))
    assert [entrants.pairs[number] for number in entrants.numbers] == elements


def test_entrants_that_the_registry_does_not_know_have_no_index() -> None:
    registry = LiveRegistry()
    for model in ("model2", "model1"):
        registry.admit("arena1", model)
    entrants = find_entrants(*make_columns([(1, [1, 2, 3]), (0, [1])]))
    assert entrants.index_models(registry).tolist() == [1, 0, -1, -1]


@given(st.lists(st.integers(0, 4), max_size=30))
def test_rows_are_grouped_by_word_and_stay_in_order(codes: list[int]) -> None:
    column = Repeated(np.array(codes, np.int32), list("abcdef"))
    found = {word: rows.tolist() for word, rows in rows_by_word(column)}
    expected: dict[str, list[int]] = {}
    for row, code in enumerate(codes):
        expected.setdefault("abcdef"[code], []).append(row)
    assert found == dict(sorted(expected.items()))


def test_ballots_are_taken_in_the_order_asked_for() -> None:
    ballots = make_ballots(
        [([1, 0], [1, 2], Mode.RANK), ([3, 2, 1], None, Mode.SKIP), ([0, 3, 2], [None, 1, None], Mode.BEST)]
    )
    taken = take_ballots(ballots, np.array([2, 0]))
    assert taken.offsets.tolist() == [0, 3, 5]
    assert taken.models.tolist() == [0, 3, 2, 1, 0]
    assert taken.groups.tolist() == [127, 0, 127, 0, 1]
    assert taken.modes.tolist() == [Mode.BEST, Mode.RANK]
    assert len(take_ballots(ballots, np.zeros(0, np.int64))) == 0
