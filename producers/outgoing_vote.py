"""A vote on its way out: what users hand over, turned into what a log takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from pipeline.contracts.reasons import Reason
from pipeline.contracts.vote import Vote, encode_vote
from producers.errors import VoteFault
from producers.vote_check import check_vote

VoteLike: TypeAlias = Vote | Mapping[str, Any] | bytes | str
"""A vote, its fields, or its JSON."""


class _Ids(msgspec.Struct):
    vote_id: str | None = None
    matchup_id: str | None = None


_decode_ids = msgspec.json.Decoder(_Ids).decode
_decode_vote = msgspec.json.Decoder(Vote).decode


class OutgoingVote(msgspec.Struct, frozen=True):
    """One vote as it is sent.

    Attributes
    ----------
    value : bytes
        Wire JSON.
    vote_id, key : str or None
        Its ids; the key is its matchup_id. None only where an unchecked vote has none that can be read.
    """

    value: bytes
    vote_id: str | None
    key: str | None


def encode_vote_like(given: VoteLike) -> bytes:
    """Return the wire JSON of what a user gave. Raises `VoteFault` for what JSON cannot hold."""
    if isinstance(given, bytes):
        return given
    try:
        if isinstance(given, Vote):
            return encode_vote(given)
        return given.encode() if isinstance(given, str) else msgspec.json.encode(given)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise VoteFault(Reason.NOT_JSON, str(error)) from None


def prepare_vote(given: VoteLike, *, check: bool) -> OutgoingVote:
    """Encode a vote for the log; `check` it first. Raises `VoteFault`."""
    value = encode_vote_like(given)
    if check:
        vote = check_vote(value)
        return OutgoingVote(value, vote.vote_id, vote.matchup_id)
    if isinstance(given, Vote):
        return OutgoingVote(value, given.vote_id, given.matchup_id)
    return OutgoingVote(value, *read_ids(value))


def to_vote(given: VoteLike, *, check: bool) -> Vote:
    """Return what a user gave as a vote, for the columns of an envelope; `check` it first. Raises `VoteFault`."""
    if check:
        return check_vote(encode_vote_like(given))
    return given if isinstance(given, Vote) else parse_vote(encode_vote_like(given))


def read_ids(value: bytes) -> tuple[str | None, str | None]:
    """Return vote_id and matchup_id of a record, None for what cannot be read."""
    try:
        ids = _decode_ids(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None, None
    return ids.vote_id, ids.matchup_id


def parse_vote(value: bytes) -> Vote:
    """Return the vote in wire JSON, for the columns of an envelope. Raises `VoteFault`."""
    try:
        return _decode_vote(value)
    except msgspec.ValidationError as error:
        raise VoteFault(Reason.SCHEMA, str(error)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise VoteFault(Reason.NOT_JSON, str(error)) from None
