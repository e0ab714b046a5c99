"""Whether a record of a file is a vote that the pipeline will take."""

from __future__ import annotations

from pathlib import Path

from pipeline.contracts.vote import Vote
from producers import vote_check
from producers.errors import VoteFault
from producers.importers.errors import ImportFault


def check_vote(path: Path, line: int, payload: bytes) -> Vote:
    """Decode a wire vote, or raise `ImportFault` with the line it stands in."""
    try:
        return vote_check.check_vote(payload)
    except VoteFault as fault:
        raise ImportFault(path, line, str(fault)) from None
