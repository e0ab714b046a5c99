"""Pair rows and what open matchups add."""

from __future__ import annotations

import numpy as np

from pipeline.matchmaking.view import count_open_comparisons, dense_pair_rows, sparse_pair_rows
from tests.matchmaking.test_policies import make_view


def test_sparse_pair_rows_agrees_with_dense_pair_rows() -> None:
    rng = np.random.default_rng(3)
    first, second = np.triu_indices(30, 1)
    counts = rng.integers(0, 3, len(first))
    table = np.zeros((30, 30), np.int64)
    table[first, second] = table[second, first] = counts
    flipped = rng.random(len(first)) < 0.5
    ends = np.where(flipped, second, first), np.where(flipped, first, second)
    sparse = sparse_pair_rows(30, ends[0], ends[1], counts)
    dense = dense_pair_rows(table)
    assert all(np.array_equal(sparse(model), dense(model)) for model in range(30))


def test_sparse_pair_rows_sums_repeated_pairs() -> None:
    row = sparse_pair_rows(3, np.array([0, 1]), np.array([1, 0]), np.array([2, 5]))
    assert row(0).tolist() == [0, 7, 0]
    assert row(2).tolist() == [0, 0, 0]


def test_count_open_comparisons_adds_each_open_set() -> None:
    view = make_view(5, pairs=[(0, 1, 2)], open_sets=((0, 1, 2), (2, 3)))
    assert count_open_comparisons(view).tolist() == [4, 4, 3, 1, 0]
