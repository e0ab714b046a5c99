from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest

from pipeline.contracts.store import StoreError
from pipeline.store.count_tables import FOLD_BLOBS, FOLD_ROWS, decode_counts, encode_counts, fold_counts, sum_counts
from tests.store.factory import make_counts


def stored(*tables: pa.Table) -> Callable[..., Sequence[pa.Table]]:
    return lambda *_, **__: list(tables)


def test_counts_come_back() -> None:
    table = make_counts(5)
    assert decode_counts(encode_counts(table)).equals(table)


def test_counts_without_a_column_are_refused() -> None:
    with pytest.raises(StoreError, match="best"):
        encode_counts(make_counts(5).drop_columns(["best"]))


def test_sums_are_by_key_in_order_and_without_zeros() -> None:
    summed = sum_counts(
        [make_counts(5, i=2), make_counts(2), make_counts(4, i=2), make_counts(-2), make_counts(1, i=1)]
    )
    assert summed.select(["i", "n"]).to_pylist() == [{"i": 1, "n": 1}, {"i": 2, "n": 9}]
    assert summed.schema.equals(make_counts(0).schema)


def test_sum_does_not_depend_on_the_order_of_columns() -> None:
    turned = make_counts(5).select(["n", "j", "i", "best", "k", "kind"])
    assert sum_counts([make_counts(1), turned])["n"].to_pylist() == [6]


def test_small_deltas_are_added() -> None:
    blob = fold_counts("a", added=make_counts(5), whole=None, sizes=[], stored=stored())
    assert (blob.whole, blob.folded, blob.rows) == (False, False, 1)


def test_deltas_that_have_outgrown_the_whole_are_folded_into_it() -> None:
    sizes = [(10, True), (FOLD_ROWS, False)]
    tables = stored(make_counts(7), make_counts(1))
    blob = fold_counts("a", added=make_counts(5), whole=None, sizes=sizes, stored=tables)
    assert blob.whole
    assert decode_counts(blob.value)["n"].to_pylist() == [13]


def test_many_deltas_are_folded_into_one() -> None:
    sizes = [(10_000, True), *[(1, False)] * FOLD_BLOBS]
    blob = fold_counts("a", added=make_counts(5), whole=None, sizes=sizes, stored=stored(make_counts(1)))
    assert (blob.whole, blob.folded) == (False, True)
    assert decode_counts(blob.value)["n"].to_pylist() == [6]


def test_whole_table_may_be_empty() -> None:
    blob = fold_counts("a", added=None, whole=make_counts(1).slice(1), sizes=[(5, True)], stored=stored())
    assert blob.whole
    assert len(decode_counts(blob.value)) == 0
