"""Pair counts as values: what is counted, and the algebra of integers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given

from pipeline.contracts.ballot import Ballots, Mode, make_ballots
from pipeline.rating.pair_counts import Kind, PairCounts, count_ballots_naive, pack_code
from tests.rating.arenas import ballot_batches, renumber_ballots, weigh_equally


def as_dict(counts: PairCounts) -> dict[int, int]:
    return dict(zip(counts.codes.tolist(), counts.counts.tolist(), strict=True))


def test_count_ballots_worked_example() -> None:
    counts = count_ballots_naive(
        make_ballots(
            [
                ([3, 1, 2], [1, 2, 2], Mode.RANK),
                ([0, 1, 2, 3], [None, None, 1, None], Mode.BEST),
                ([0, 3], None, Mode.ALL_BAD),
                ([1, 2], None, Mode.SKIP),
            ]
        )
    )
    expected = {
        pack_code(Kind.WIN, 3, False, 3, 1): 1,
        pack_code(Kind.WIN, 3, False, 3, 2): 1,
        pack_code(Kind.TIE, 3, False, 1, 2): 1,
        **{pack_code(Kind.SHOWN, 3, False, m, 0): 1 for m in (1, 2, 3)},
        **{pack_code(Kind.WIN, 4, True, 2, m): 1 for m in (0, 1, 3)},
        **{pack_code(Kind.SHOWN, 4, True, m, 0): 1 for m in range(4)},
        **{pack_code(Kind.ALL_BAD, 0, False, m, 0): 1 for m in (0, 3)},
        **{pack_code(Kind.SKIP, 0, False, m, 0): 1 for m in (1, 2)},
    }
    assert as_dict(counts) == expected
    assert counts.model_votes(4).tolist() == [1, 2, 2, 2]
    assert counts.comparisons(4).tolist() == [1, 3, 5, 3]
    assert counts.pairs_won(4).tolist() == [0, 0, 3, 2]
    assert counts.pairs_tied(4).tolist() == [0, 1, 1, 0]
    assert counts.all_bad(4).tolist() == [1, 0, 0, 1]
    assert counts.skips(4).tolist() == [0, 1, 1, 0]
    assert counts.n_models == 4


@given(ballot_batches(), ballot_batches())
def test_pair_counts_merge_adds_and_subtract_undoes_it(first: Ballots, second: Ballots) -> None:
    a, b = count_ballots_naive(first), count_ballots_naive(second)
    assert a.merge(b) == b.merge(a)
    assert a.merge(b).subtract(b) == a
    assert len(a.subtract(a)) == 0
    assert a.subtract(b).merge(b) == a
    assert np.all(a.merge(b).counts != 0)
    assert np.all(np.diff(a.merge(b).codes) > 0)


@given(ballot_batches())
def test_pair_counts_columns_come_back_from_arrow(ballots: Ballots) -> None:
    counts = count_ballots_naive(ballots)
    table = pa.table(counts.to_columns())
    assert [str(field.type) for field in table.schema] == ["int8", "int8", "bool", "int32", "int32", "int64"]
    shuffled = table.take(np.random.default_rng(1).permutation(len(table)))
    assert PairCounts.from_columns(shuffled) == counts
    assert PairCounts.from_columns(pa.concat_tables([table, table])) == counts.merge(counts)


def test_pair_counts_differ_when_a_count_differs() -> None:
    counts = count_ballots_naive(make_ballots([([0, 1], [1, 2], Mode.RANK)]))
    other = count_ballots_naive(make_ballots([([0, 1], [2, 1], Mode.RANK)]))
    assert counts != other
    assert counts != counts.merge(counts)
    assert counts != "counts"


def test_pairs_weighs_each_ballot_size_and_mode() -> None:
    counts = count_ballots_naive(
        make_ballots(
            [
                ([1, 0], [1, 2], Mode.RANK),
                ([0, 1, 2], [1, 2, 2], Mode.RANK),
                ([0, 1, 2], [1, None, None], Mode.BEST),
            ]
        )
    )
    pairs = counts.pairs(lambda k, best: 100.0 * best + k)
    assert pairs.first.tolist() == [0, 0, 1]
    assert pairs.second.tolist() == [1, 2, 2]
    assert pairs.wins.tolist() == [106.0, 106.0, 0.0]
    assert pairs.losses.tolist() == [2.0, 0.0, 0.0]
    assert pairs.ties.tolist() == [0.0, 0.0, 3.0]


@given(ballot_batches())
def test_pairs_do_not_depend_on_numbering(ballots: Ballots) -> None:
    position = np.random.default_rng(2).permutation(9)

    def weigh(k: int, best: bool) -> float:
        return 1 / (1 + (k - 2) / 3) / (1 + best)

    def outcomes(counts: PairCounts, name: list[int]) -> dict[tuple[int, int], tuple[float, float]]:
        pairs = counts.pairs(weigh)
        found = {}
        for i, j, win, loss, tie in zip(pairs.first, pairs.second, pairs.wins, pairs.losses, pairs.ties, strict=True):
            found[name[i], name[j]] = (float(win), float(tie))
            found[name[j], name[i]] = (float(loss), float(tie))
        return found

    straight = outcomes(count_ballots_naive(ballots), list(range(9)))
    renumbered = count_ballots_naive(renumber_ballots(ballots, position))
    assert outcomes(renumbered, np.argsort(position).tolist()) == straight


def test_pair_counts_of_nothing_are_empty() -> None:
    empty = PairCounts.empty()
    assert empty == count_ballots_naive(make_ballots([]))
    assert empty.n_models == 0
    assert empty.comparisons(3).tolist() == [0, 0, 0]
    assert len(empty.pairs(weigh_equally).first) == 0
    assert PairCounts.from_columns(empty.to_columns()) == empty
