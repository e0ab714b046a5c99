from __future__ import annotations

import pytest

from dashboard.freshness import judge_freshness

NOW = 1_764_072_159_000


@pytest.mark.parametrize(
    ("heartbeat", "vote", "state", "reason"),
    [
        (NOW - 500, NOW - 2_000, "live", "job seen just now"),
        (NOW - 9_000, NOW - 30_000, "live", "job seen 9 s ago"),
        (NOW - 500, NOW - 31_000, "quiet", "job runs, no new votes"),
        (NOW - 500, None, "quiet", "job runs, no votes yet"),
        (NOW - 10_001, NOW - 2_000, "stalled", "job last seen 10 s ago"),
        (None, NOW - 2_000, "stalled", "no job has reported"),
        (NOW + 60_000, NOW + 60_000, "live", "job seen just now"),
    ],
)
def test_state_follows_from_heartbeat_and_newest_vote(
    heartbeat: int | None, vote: int | None, state: str, reason: str
) -> None:
    freshness = judge_freshness(NOW, heartbeat, vote)
    assert (freshness.state, freshness.reason) == (state, reason)


def test_a_vote_is_never_younger_than_now() -> None:
    assert judge_freshness(NOW, NOW + 5, NOW + 5).vote_age == 0
