"""Archive rows as arrays: whole, sliced and filtered."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
from hypothesis import given

from pipeline.contracts.ballot import Mode, make_ballots
from pipeline.contracts.store import ARCHIVE_SCHEMA
from pipeline.contracts.vote import RANKS_TYPE, Vote
from pipeline.operators.archive_rows import (
    list_bounds,
    make_archive_rows,
    read_groups,
    read_votes,
    repeated_column,
    split_events,
)
from tests.contracts.test_decode_reference import BALLOTS
from tests.operators.feeding import Feed, make_vote

MIXED = [
    make_vote(1),
    make_vote(2, mode="skip", ranks=None),
    make_vote(3, mode="best", ranks=(None, 7, None, 7)),
    make_vote(4, models=("beta", "alpha"), ranks=(-5, 2**31 - 1), prompt=None),
    make_vote(5, mode="all_bad", ranks=None, arena="films"),
    make_vote(6, ranks=(9, 9, 9, 9)),
]


def archived(votes: list[Vote], sequence: int = 1) -> pa.RecordBatch:
    """Return votes as archive rows."""
    return make_archive_rows(Feed().votes(votes).votes, sequence, 7, ["votes"], np.zeros(1, np.int32))


def test_rows_hold_what_the_votes_said() -> None:
    rows = archived(MIXED, sequence=11)
    assert rows.schema == ARCHIVE_SCHEMA
    rows.validate(full=True)
    listed = rows.to_pylist()
    assert [row["sequence"] for row in listed] == list(range(11, 17))
    assert {(row["commit"], row["topic"], row["partition"], row["event"]) for row in listed} == {(7, "votes", 0, None)}
    for row, vote in zip(listed, MIXED, strict=True):
        for name in ("vote_id", "matchup_id", "arena", "time", "voter", "prompt", "propensity", "token"):
            assert row[name] == getattr(vote, name)
        assert tuple(row["models"]) == vote.models
        assert row["ranks"] == (None if vote.ranks is None else list(vote.ranks))


def test_topics_and_partitions_come_from_the_spans() -> None:
    votes = Feed().votes([make_vote(number) for number in range(3)]).votes
    place = votes.schema.get_field_index("span")
    votes = votes.set_column(place, votes.schema.field(place), pa.array([1, 0, 2], pa.int16()))
    rows = make_archive_rows(votes, 1, 1, ["b", "a", "b"], np.array([5, 6, 7], np.int32)).to_pylist()
    assert [(row["topic"], row["partition"]) for row in rows] == [("a", 6), ("b", 5), ("b", 7)]


@given(st.data())
def test_groups_agree_with_ballots_made_one_by_one(data: st.DataObject) -> None:
    rank = st.none() | st.integers(-3, 3) | st.sampled_from([-(2**31), 2**31 - 1])
    ballots = data.draw(st.lists(st.none() | st.lists(rank, min_size=2, max_size=8), max_size=8))
    sizes = [4 if ballot is None else len(ballot) for ballot in ballots]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    groups = read_groups(offsets, pa.array(ballots, RANKS_TYPE))
    expected = make_ballots([(list(range(n)), ballot, Mode.RANK) for n, ballot in zip(sizes, ballots, strict=True)])
    assert groups.tolist() == expected.groups.tolist()


def test_groups_follow_the_table_of_ballots() -> None:
    """The table of section 7, with ballots of every size in one batch."""
    sizes = [len(groups) for _, _, groups in BALLOTS]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    groups = read_groups(offsets, pa.array([ranks for _, ranks, _ in BALLOTS], RANKS_TYPE))
    assert groups.tolist() == [group for _, _, each in BALLOTS for group in each]


@given(st.integers(0, 6), st.integers(0, 6))
def test_a_slice_is_read_like_rows_of_its_own(first: int, size: int) -> None:
    votes = MIXED[first : first + size]
    part = archived(MIXED).slice(first, size)
    if not votes:
        assert read_votes(part).offsets.tolist() == [0]
        return
    whole, own = read_votes(part), read_votes(archived(votes))
    assert whole.offsets.tolist() == own.offsets.tolist()
    assert whole.groups.tolist() == own.groups.tolist()
    assert whole.modes.tolist() == own.modes.tolist()
    assert [whole.models.words[code] for code in whole.models.codes] == [
        own.models.words[code] for code in own.models.codes
    ]
    prompts = [None if code < 0 else whole.prompt.words[code] for code in whole.prompt.codes]
    assert prompts == [vote.prompt for vote in votes]


def test_a_filtered_column_is_read() -> None:
    rows = archived(MIXED).filter(pa.array([False, True, False, True, True, False]))
    offsets, models = list_bounds(rows["models"])
    assert offsets.tolist() == [0, 4, 6, 10]
    column = repeated_column(models)
    assert [column.words[code] for code in column.codes[4:6]] == ["beta", "alpha"]


def test_rows_are_cut_at_events() -> None:
    votes = archived(MIXED[:2]).to_pylist()
    event = dict.fromkeys(ARCHIVE_SCHEMA.names) | {"event": b"{}"}
    rows = pa.RecordBatch.from_pylist([event, *votes, event, event, votes[0]], schema=ARCHIVE_SCHEMA)
    assert [(kind, part.num_rows) for kind, part in split_events(rows)] == [
        ("event", 1),
        ("votes", 2),
        ("event", 1),
        ("event", 1),
        ("votes", 1),
    ]
    assert [kind for kind, _ in split_events(rows.slice(1, 2))] == ["votes"]
    assert list(split_events(rows.slice(0, 0))) == []
