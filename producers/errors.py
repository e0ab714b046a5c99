"""What can go wrong on the way of votes into a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.contracts.log import LogError
from pipeline.contracts.reasons import Reason

_NAMED: Final = 5


class VoteFault(ValueError):  # noqa: N818 - a fault of the vote, not of the program
    """A vote that the pipeline would refuse; it was not sent. Says what is wrong with it; no retry helps.

    Attributes
    ----------
    reason : Reason
        As a dead letter would have it.
    detail : str
    place : int or None
        Which one of the votes that were given together, from 0.
    """

    retriable = False

    def __init__(self, reason: Reason, detail: str, place: int | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if place is None else f"vote {place} of those given: {reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.place = place


class DeliveryError(LogError):
    """Votes that were taken, and of which the log did not say that it has them. Says how many, why, and which.

    Some may be in the log all the same. A vote_id counts once: sending them again is safe.

    Attributes
    ----------
    count : int
        Of envelopes that are still on their way, and may hold any number of votes, each counts as one.
    reason : str
        Of the first one.
    vote_ids : tuple of str
        Those that could be read from the votes.
    retriable : bool
        Whether sending them again may help.
    """

    def __init__(self, count: int, reason: str, vote_ids: Sequence[str], *, retriable: bool) -> None:
        named = ", ".join(vote_ids[:_NAMED]) + (", ..." if len(vote_ids) > _NAMED else "")
        which = f" ({named})" if named else ""
        what_to_do = "Send them again: a vote_id counts once." if retriable else "Mend this, then send them again."
        super().__init__(f"{count} votes were not delivered{which}: {reason.rstrip('.')}. {what_to_do}")
        self.count = count
        self.reason = reason
        self.vote_ids = tuple(vote_ids)
        self.retriable = retriable
