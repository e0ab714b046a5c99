"""Duplicates and broken records: each is refused for the reason that was promised."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline.contracts.decode_reference import DecodedVote, decode_vote
from pipeline.contracts.reasons import Reason
from producers.simulate.faults import BREAKABLE, break_vote
from producers.simulate.world import START_TIME, SimulatedWorld

LATER = START_TIME + 10**9
STATELESS = {Reason.NOT_JSON, Reason.SCHEMA, Reason.TOO_LARGE, Reason.BAD_RANKS}


def reason_of(value: bytes) -> Reason | None:
    decoded = decode_vote(value, LATER)
    return decoded.fault if isinstance(decoded, DecodedVote) else decoded.reason


@pytest.mark.parametrize("reason", [*BREAKABLE, Reason.BAD_TIME])
def test_break_vote_spoils_a_vote_for_the_reason(reason: Reason) -> None:
    world = SimulatedWorld(seed=1)
    (batch,) = world.votes(20)
    for vote in batch:
        broken = break_vote(vote, reason)
        if reason in {Reason.UNKNOWN_ARENA, Reason.UNKNOWN_MODEL}:
            decoded = decode_vote(broken, LATER)
            assert isinstance(decoded, DecodedVote)
            assert decoded.fault is None
            known = decoded.vote.arena == "simulated" and set(decoded.vote.models) <= set(world.model_ids)
            assert not known
        else:
            assert reason_of(broken) is reason


def test_break_vote_refuses_reasons_that_hang_on_state() -> None:
    (batch,) = SimulatedWorld().votes(1)
    with pytest.raises(ValueError, match="cannot be spoilt"):
        break_vote(batch[0], Reason.ALREADY_VOTED)


def test_batches_add_duplicates_and_broken_records_and_keep_all_votes() -> None:
    good = [value for batch in SimulatedWorld(seed=1).votes(1000) for value in batch]
    (batch,) = SimulatedWorld(seed=1, duplicates=0.1, broken=0.06).batches(1000)
    assert batch.expected is not None
    accepted = [value for value, reason in zip(batch.values, batch.expected, strict=True) if reason is None]
    assert accepted == good
    counts = Counter(reason for reason in batch.expected if reason is not None)
    assert counts == {Reason.DUPLICATE: 100} | dict.fromkeys(BREAKABLE, 10)

    seen: set[bytes] = set()
    for value, reason in zip(batch.values, batch.expected, strict=True):
        assert (value in seen) is (reason is Reason.DUPLICATE)
        seen.add(value)
        if reason in STATELESS:
            assert reason_of(value) is reason
    assert len(set(batch.values)) == 1060
