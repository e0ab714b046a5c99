"""The reference decoder of votes: one record at a time, and the authority on what is valid (section 3).

`decode_fast` must agree with it on every record, and hands it all records that are out of the ordinary. Where the
wire format leaves room, this module decides:

- Of a key that occurs twice, the last value counts.
- Nested deeper than `MAX_DEPTH` is `not_json`: a limit of our own, because Python's would move with the caller's
  stack. So is an integer of more than 4,300 digits.
- ``null`` for an optional field is the same as its absence; for a required one it is the same as its absence, too.
- `prompt` and `policy` are ids like `vote_id`, `matchup_id`, `arena` and the models. `voter` is a text of up to
  `MAX_VOTER_CHARS` characters, `token` any text.
- An integer is written without fraction and exponent and fits into 64 bits; ``true``, ``1.0``, ``1e3`` and ``"1"``
  are none. `time` is not negative. `propensity` is any finite number.
- `ranks` that is no list is a `schema` fault; a list with a wrong element is `bad_ranks`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pipeline.contracts.ballot import K_MAX, K_MIN, MODE_NAMES
from pipeline.contracts.ids import is_id
from pipeline.contracts.reasons import MAX_AHEAD_MS, MAX_VOTE_BYTES, Reason
from pipeline.contracts.vote import SCHEMA_VERSION, Vote

MAX_DEPTH: Final = 64
MAX_VOTER_CHARS: Final = 256

_INT64 = range(-(2**63), 2**63)
_INT32 = range(-(2**31), 2**31)
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")

# float() instead of msgspec's own reading: 1e999 becomes infinite, and is no fault in a field that we ignore.
_DECODER = msgspec.json.Decoder(float_hook=float)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be used. `arena` is the one it names, where that is a valid id."""

    reason: Reason
    detail: str
    arena: str | None = None


@dataclass(frozen=True, slots=True)
class DecodedVote:
    """A vote that passed all checks which need no state, but for `fault`.

    Ranks that are at fault are None in `vote`; the record has them. `fault` is None, BAD_RANKS or BAD_TIME, said in
    `detail`.
    """

    vote: Vote
    fault: Reason | None = None
    detail: str = ""


class _Refusal(Exception):  # noqa: N818 - a fault of the record, not of the program
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def decode_vote(payload: bytes, appended_at: int) -> DecodedVote | Rejected:
    """Decode one record that was appended at `appended_at` (ms)."""
    fields: dict[str, Any] = {}
    try:
        fields = _parse_object(payload)
        vote, ranks = _read_vote(fields)
    except _Refusal as refusal:
        arena = fields.get("arena")
        return Rejected(refusal.reason, refusal.detail, arena if isinstance(arena, str) and is_id(arena) else None)
    if fault := _fault_of_ranks(vote.models, ranks, vote.mode):
        return DecodedVote(vote, Reason.BAD_RANKS, fault)
    vote = msgspec.structs.replace(vote, ranks=None if ranks is None else tuple(ranks))
    if vote.time > appended_at + MAX_AHEAD_MS:
        ahead = f"time {vote.time} is {vote.time - appended_at} ms after the record was appended"
        return DecodedVote(vote, Reason.BAD_TIME, f"{ahead}; at most {MAX_AHEAD_MS} ms are allowed")
    return DecodedVote(vote)


def explain_fault(payload: bytes, appended_at: int) -> str:
    """Say for people why the vote in `payload` has its `fault`; empty if it has none."""
    return decode_vote(payload, appended_at).detail


def _parse_object(payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_VOTE_BYTES:
        raise _Refusal(Reason.TOO_LARGE, f"{len(payload)} bytes; a vote has at most {MAX_VOTE_BYTES}")
    if not payload:
        raise _Refusal(Reason.NOT_JSON, "the record is empty")
    if _is_too_deep(payload):
        raise _Refusal(Reason.NOT_JSON, f"nested more than {MAX_DEPTH} deep")
    try:
        value = _DECODER.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _Refusal(Reason.NOT_JSON, str(error)) from None
    if not isinstance(value, dict):
        raise _Refusal(Reason.SCHEMA, f"a vote is an object, this is {_kind(value)}")
    return value


def _is_too_deep(payload: bytes) -> bool:
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_TEXT.sub(b"", payload)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _read_vote(fields: dict[str, Any]) -> tuple[Vote, list[Any] | None]:
    """Return the vote without its ranks, and the ranks as sent."""
    version = _read_integer(fields, "schema", required=True)
    if version != SCHEMA_VERSION:
        raise _Refusal(Reason.SCHEMA, f"schema {version} is unknown; this version reads {SCHEMA_VERSION}")
    mode = _read_text(fields, "mode")
    if mode is not None and mode not in MODE_NAMES:
        raise _Refusal(Reason.SCHEMA, f"mode {_show(mode)} is unknown; known are {', '.join(MODE_NAMES)}")
    voter = _read_text(fields, "voter")
    if voter is not None and len(voter) > MAX_VOTER_CHARS:
        raise _Refusal(Reason.SCHEMA, f"voter has {len(voter)} characters; at most {MAX_VOTER_CHARS} are allowed")
    time = _read_integer(fields, "time", required=True)
    if time is not None and time < 0:
        raise _Refusal(Reason.SCHEMA, f"time {time} is negative; it is in milliseconds since 1970")
    ranks = fields.get("ranks")
    if ranks is not None and not isinstance(ranks, list):
        raise _Refusal(Reason.SCHEMA, f"ranks must be a list or null, not {_kind(ranks)}")
    vote = Vote(
        schema=SCHEMA_VERSION,
        vote_id=_read_id(fields, "vote_id", required=True) or "",
        matchup_id=_read_id(fields, "matchup_id", required=True) or "",
        arena=_read_id(fields, "arena", required=True) or "",
        time=time or 0,
        voter=voter,
        mode=mode or "rank",
        models=_read_models(fields),
        prompt=_read_id(fields, "prompt"),
        policy=_read_id(fields, "policy"),
        propensity=_read_number(fields, "propensity"),
        duration_ms=_read_integer(fields, "duration_ms"),
        token=_read_text(fields, "token"),
    )
    return vote, ranks


def _read_field(fields: dict[str, Any], name: str, *, required: bool) -> Any:
    value = fields.get(name)
    if value is None and required:
        raise _Refusal(Reason.SCHEMA, f"{name} is missing")
    return value


def _read_integer(fields: dict[str, Any], name: str, *, required: bool = False) -> int | None:
    value = _read_field(fields, name, required=required)
    if value is None:
        return None
    if type(value) is not int:
        raise _Refusal(Reason.SCHEMA, f"{name} must be an integer, not {_kind(value)}")
    if value not in _INT64:
        raise _Refusal(Reason.SCHEMA, f"{name} {_show(value)} does not fit into 64 bits")
    return value


def _read_number(fields: dict[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) not in (int, float):
        raise _Refusal(Reason.SCHEMA, f"{name} must be a number, not {_kind(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Refusal(Reason.SCHEMA, f"{name} must be finite")
    return number


def _read_text(fields: dict[str, Any], name: str, *, required: bool = False) -> str | None:
    value = _read_field(fields, name, required=required)
    if value is not None and not isinstance(value, str):
        raise _Refusal(Reason.SCHEMA, f"{name} must be a string, not {_kind(value)}")
    return value


def _read_id(fields: dict[str, Any], name: str, *, required: bool = False) -> str | None:
    value = _read_text(fields, name, required=required)
    if value is not None and not is_id(value):
        raise _Refusal(Reason.SCHEMA, f"{name} {_show(value)} is not a valid id")
    return value


def _read_models(fields: dict[str, Any]) -> tuple[str, ...]:
    models = _read_field(fields, "models", required=True)
    if not isinstance(models, list):
        raise _Refusal(Reason.SCHEMA, f"models must be a list, not {_kind(models)}")
    for slot, model in enumerate(models):
        if not isinstance(model, str):
            raise _Refusal(Reason.SCHEMA, f"models[{slot}] must be a string, not {_kind(model)}")
        if not is_id(model):
            raise _Refusal(Reason.SCHEMA, f"models[{slot}] {_show(model)} is not a valid id")
    return tuple(models)


def _fault_of_ranks(models: tuple[str, ...], ranks: list[Any] | None, mode: str) -> str | None:
    """Say what is wrong with the ballot, None if nothing is."""
    if not K_MIN <= len(models) <= K_MAX:
        return f"{len(models)} models; a ballot has {K_MIN} to {K_MAX}"
    if len(set(models)) < len(models):
        repeated = sorted({model for model in models if models.count(model) > 1})
        return f"models listed more than once: {', '.join(repeated)}"
    if mode in ("all_bad", "skip"):
        return None if ranks is None else f"mode {mode} has no ranks"
    if ranks is None:
        return f"ranks are missing in mode {mode}"
    if len(ranks) != len(models):
        return f"{len(ranks)} ranks for {len(models)} models"
    for slot, rank in enumerate(ranks):
        if rank is not None and (type(rank) is not int or rank not in _INT32):
            return f"ranks[{slot}] {_show(rank)} is not a 32-bit integer"
    return _fault_of_order(ranks, mode)


def _fault_of_order(ranks: list[int | None], mode: str) -> str | None:
    unranked = ranks.count(None)
    if mode == "rank":
        return f"mode rank with {unranked} unranked" if unranked else None
    levels = {rank for rank in ranks if rank is not None}
    if len(levels) != 1:
        return f"mode best has one rank value, not {len(levels)}"
    return None if unranked else "mode best leaves at least one model unranked"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "an integer", float: "a fraction", str: "a string", list: "a list"}
    return names.get(type(value), "an object")


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
