"""Whether a record is a vote that the pipeline will take, as far as that needs no state."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pipeline.contracts.decode_reference import Rejected, decode_vote
from pipeline.contracts.vote import Vote
from producers.importers.errors import ImportFault

# Imported votes are of the past, and the log's time is not known yet: no time is too far ahead here.
_END_OF_TIME: Final = 2**62


def check_vote(path: Path, line: int, payload: bytes) -> Vote:
    """Decode a wire vote, or raise `ImportFault` with the line it stands in."""
    decoded = decode_vote(payload, _END_OF_TIME)
    if isinstance(decoded, Rejected):
        raise ImportFault(path, line, f"{decoded.reason}: {decoded.detail}")
    if decoded.fault is not None:
        raise ImportFault(path, line, f"{decoded.fault}: {decoded.detail}")
    return decoded.vote
