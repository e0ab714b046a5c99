"""Envelopes: all votes once, in order, of one partition each, no larger than asked and than a broker takes."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.vote import Vote
from pipeline.contracts.vote_batch import tabulate_votes
from pipeline.eventlog.partitioner import partitions_of_keys
from producers.delivery.envelope_packer import HEADERS, MAX_ENVELOPE_BYTES, EnvelopePacker
from producers.delivery.sender import Loss, Parcel
from tests.producers.archives import make_vote


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_packer(size: int, partitions: int = 4, **more: Any) -> EnvelopePacker:
    return EnvelopePacker(size, lambda: partitions, more.pop("on_lost", fail_on_loss), **more)


def fail_on_loss(parcel: Parcel, loss: Loss) -> None:
    raise AssertionError(loss.reason)


def unpack(parcel: Parcel) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.ipc.open_stream(parcel.value).read_all().to_pylist()
    return rows


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("vote"), st.integers(0, 9)),
        st.tuples(st.just("rows"), st.lists(st.integers(0, 9), max_size=20)),
        st.tuples(st.just("wait"), st.just(0)),
    ),
    max_size=40,
)


@given(steps=STEPS, size=st.integers(1, 9), partitions=st.integers(1, 5))
def test_every_vote_comes_out_once_with_its_partition_in_order(
    steps: list[tuple[str, Any]], size: int, partitions: int
) -> None:
    packer = make_packer(size, partitions)
    parcels: list[Parcel] = []
    came: list[Vote] = []

    def make(matchup: int) -> Vote:
        came.append(make_vote(len(came), matchup_id=f"m-{matchup}"))
        return came[-1]

    for what, given_ in steps:
        if what == "vote":
            parcels += packer.add_vote(make(given_))
        elif what == "rows":
            parcels += packer.add_rows(pa.Table.from_batches([tabulate_votes([make(each) for each in given_])]))
        else:
            parcels += packer.take_all()
    parcels += packer.take_all()
    assert packer.take_all() == []

    order = {vote.vote_id: number for number, vote in enumerate(came)}
    last: dict[int, int] = {}
    seen = []
    for parcel in parcels:
        rows = unpack(parcel)
        assert 1 <= len(rows) <= size
        assert parcel.headers == HEADERS
        (partition,) = set(partitions_of_keys([row["matchup_id"] for row in rows], partitions, 0).tolist())
        assert partitions_of_keys([parcel.key], partitions, 0).tolist() == [partition]
        for row in rows:
            number = order[row["vote_id"]]
            assert number > last.get(partition, -1)
            last[partition] = number
            seen.append(number)
    assert sorted(seen) == list(range(len(came)))


@given(lengths=st.lists(st.integers(0, 60_000), min_size=1, max_size=60))
def test_envelopes_fit_a_broker(lengths: list[int]) -> None:
    packer = make_packer(100, 1)
    votes = [make_vote(number, token="x" * length) for number, length in enumerate(lengths)]
    parcels = [parcel for vote in votes for parcel in packer.add_vote(vote)] + packer.take_all()
    assert max(len(parcel.value) for parcel in parcels) <= MAX_ENVELOPE_BYTES
    assert [row["vote_id"] for parcel in parcels for row in unpack(parcel)] == [vote.vote_id for vote in votes]


def test_votes_wait_for_others_only_so_long() -> None:
    clock = Clock()
    packer = make_packer(10, clock=clock)
    assert packer.add_vote(make_vote(1)) == []
    clock.now = 0.1
    packer.add_vote(make_vote(2))
    assert packer.take_all(older_than=0.2) == []
    clock.now = 0.2
    assert sum(len(unpack(parcel)) for parcel in packer.take_all(older_than=0.2)) == 2


def test_everybody_in_an_envelope_is_told() -> None:
    told: list[tuple[int, Loss | None]] = []

    def tell(number: int, loss: Loss | None) -> None:
        told.append((number, loss))

    packer = make_packer(3, 1)
    parcels = []
    for number in range(3):
        parcels += packer.add_vote(make_vote(number), partial(tell, number))
    (parcel,) = parcels
    assert parcel.on_done is not None
    loss = Loss("gone", retriable=True)
    parcel.on_done(loss)
    assert told == [(0, loss), (1, loss), (2, loss)]


def test_a_vote_that_fits_no_column_is_lost_alone() -> None:
    lost: list[tuple[Parcel, Loss]] = []
    packer = make_packer(3, 1, on_lost=lambda parcel, loss: lost.append((parcel, loss)))
    parcels = []
    for number in range(3):
        parcels += packer.add_vote(make_vote(number, duration_ms=2**70 if number == 1 else 5))
    assert sorted(row["vote_id"] for parcel in parcels for row in unpack(parcel)) == [
        make_vote(0).vote_id,
        make_vote(2).vote_id,
    ]
    assert [(parcel.key, loss.retriable) for parcel, loss in lost] == [("m-1", False)]
    assert "does not fit into the columns" in lost[0][1].reason


@pytest.mark.parametrize("count", [0, 1, 20])
def test_columns_are_filled_by_place(count: int) -> None:
    votes = [make_vote(number, voter=f"v-{number}", token=None, propensity=0.25) for number in range(count)]
    assert tabulate_votes(votes).to_pylist() == [
        {field: _plain(getattr(vote, field)) for field in Vote.__struct_fields__} for vote in votes
    ]


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
