"""Many votes at once: the check of `producers.vote_check`, ten times as quick a vote, and the columns of envelopes.

It is apart because it loads a compiler, which takes a second: a client that sends single votes needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.byte_strings import gather_strings
from pipeline.contracts.decode_fast import decode_rows, scan_records
from pipeline.contracts.string_book import make_book
from pipeline.contracts.vote_batch import arrange_votes
from pipeline.contracts.vote_columns import Placed
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


@dataclass(frozen=True, slots=True)
class TabulatedVotes:
    """Votes as columns.

    Attributes
    ----------
    rows : pyarrow.Table
        With `VOTE_SCHEMA`: the votes before the first faulty one.
    fault : VoteFault or None
        Of the first faulty one.
    """

    rows: pa.Table
    fault: VoteFault | None


def tabulate_records(payloads: Sequence[bytes]) -> TabulatedVotes:
    """Check wire votes up to the first that is faulty, and turn them into the rows of an envelope."""
    count = len(payloads)
    at = np.full(count, END_OF_TIME)
    part, book = scan_records(payloads, at, make_book())
    place = np.arange(count)
    placed = Placed(np.zeros(count, np.int16), place, np.zeros(count, np.int32), at)
    votes, rejected = decode_rows([part], book, placed)
    unfit = [row.row for row in rejected] + votes["offset"].filter(pc.not_equal(votes["fault"], 0)).to_pylist()
    first = min(unfit, default=count)
    good = votes.slice(0, int(np.searchsorted(votes["offset"].to_numpy(), first)))
    return TabulatedVotes(arrange_votes(good), _find_fault(payloads, first))


def _find_fault(payloads: Sequence[bytes], place: int) -> VoteFault | None:
    if place == len(payloads):
        return None
    try:
        check_vote(payloads[place], place)
    except VoteFault as fault:
        return fault
    raise AssertionError(f"the decoders disagree about {payloads[place]!r}")
