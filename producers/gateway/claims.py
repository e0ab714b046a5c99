"""What a showing's token vouches for, and how long."""

from __future__ import annotations

from typing import Final

from pipeline.contracts.matchup import Matchup
from pipeline.contracts.token import Claims

GRACE_SECONDS: Final = 60
"""A token outlives its matchup by this much: a vote that was taken in time must reach the log before the token expires,
or it would be acknowledged and not counted."""


def claim_of(matchup: Matchup, voter: str) -> Claims:
    """Return what is signed when `matchup` is shown to `voter`."""
    return claim_with_expiry(matchup, voter, matchup.expires // 1000 + GRACE_SECONDS)


def claim_with_expiry(matchup: Matchup, voter: str, expiry: int) -> Claims:
    """Return what a token of this showing that expires at `expiry` (s since 1970) was signed over."""
    return Claims(matchup.arena, matchup.matchup_id, matchup.models, voter, matchup.policy, matchup.propensity, expiry)
