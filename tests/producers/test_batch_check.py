"""The check of many votes at once says what the check of one says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.vote import encode_vote
from producers.batch_check import check_votes
from producers.errors import VoteFault
from producers.vote_check import check_vote
from tests.broken_records import BROKEN_RECORDS
from tests.producers.archives import make_vote

GOOD = st.builds(
    lambda number, matchup, voter: encode_vote(make_vote(number, matchup_id=matchup, voter=voter)),
    st.integers(0, 99),
    st.sampled_from(["m-1", "a:b", "x" * 128]),
    st.sampled_from([None, "v", "ü", 'q"uote']),
)


# Broken ones by number: some are too large to be printed.
@given(st.lists(st.one_of(GOOD, GOOD, st.integers(0, len(BROKEN_RECORDS) - 1)), max_size=12))
def test_ids_and_the_first_fault_are_those_of_single_votes(items: list[bytes | int]) -> None:
    payloads = [BROKEN_RECORDS[item].payload if isinstance(item, int) else item for item in items]
    ids: list[str] = []
    fault: VoteFault | None = None
    for place, payload in enumerate(payloads):
        try:
            ids.append(check_vote(payload, place).matchup_id)
        except VoteFault as found:
            fault = found
            break
    checked = check_votes(payloads)
    assert checked.matchup_ids == ids
    assert str(checked.fault) == str(fault)
