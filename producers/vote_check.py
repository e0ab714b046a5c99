"""Whether a vote will be taken by the pipeline, as far as that needs no state."""

from __future__ import annotations

from typing import Final

from pipeline.contracts.decode_reference import Rejected, decode_vote
from pipeline.contracts.vote import Vote
from producers.errors import VoteFault

# The log's time is not known yet, and imported votes are of the past: no time is too far ahead here.
END_OF_TIME: Final = 2**62


def check_vote(payload: bytes, place: int | None = None) -> Vote:
    """Decode a wire vote. Raises `VoteFault`, with `place` in it."""
    decoded = decode_vote(payload, END_OF_TIME)
    if isinstance(decoded, Rejected):
        raise VoteFault(decoded.reason, decoded.detail, place)
    if decoded.fault is not None:
        raise VoteFault(decoded.fault, decoded.detail, place)
    return decoded.vote
