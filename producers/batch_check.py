"""The check of `producers.vote_check` for many votes at once, ten times as quick a vote.

It is apart because it loads a compiler, which takes a second: a client that sends single votes needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.contracts.byte_strings import gather_strings
from pipeline.contracts.decode_fast import scan_records
from pipeline.contracts.string_book import make_book
from pipeline.contracts.vote_rows import MATCHUP_ID
from producers.errors import VoteFault
from producers.vote_check import END_OF_TIME, check_vote


@dataclass(frozen=True, slots=True)
class CheckedVotes:
    """What came out for many votes at once.

    Attributes
    ----------
    matchup_ids : list of str
        Of the votes before the first faulty one.
    fault : VoteFault or None
        Of the first faulty one.
    """

    matchup_ids: list[str]
    fault: VoteFault | None


def check_votes(payloads: Sequence[bytes]) -> CheckedVotes:
    """Check wire votes up to the first that is faulty."""
    part, _ = scan_records(payloads, np.full(len(payloads), END_OF_TIME), make_book())
    starts, lengths = part.rows.starts[MATCHUP_ID], part.rows.lengths[MATCHUP_ID]
    unsure = np.flatnonzero(part.rows.odd | (part.rows.fault != 0)).tolist()
    own: dict[int, str] = {}
    good, fault = len(payloads), None
    for place in unsure:
        lengths[place] = 0
        try:
            own[place] = check_vote(payloads[place], place).matchup_id
        except VoteFault as found:
            good, fault = place, found
            break
    offsets = np.empty(good + 1, np.int32)
    pool = gather_strings(part.pool, starts[:good], lengths[:good], offsets)
    joined = pool[: offsets[good]].tobytes().decode("ascii")
    bounds = offsets.tolist()
    ids = [joined[start:end] for start, end in pairwise(bounds)]
    for place, matchup_id in own.items():
        ids[place] = matchup_id
    return CheckedVotes(ids, fault)
