"""Broken records: each with the reason that it must be given. Whatever else is in the log must not be touched by it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.contracts.reasons import MAX_AHEAD_MS, Reason

APPENDED_AT = 1_764_000_000_500
"""Append time (ms) for which the reasons hold."""

ARENA = "text-to-image"
MODELS = ("sd-3.5", "flux-dev", "pixart", "kolors")
REGISTERED = (*MODELS, "sdxl", "dalle-3", "playground-2.5", "midjourney-6", "ideogram")
"""What has to be registered in `ARENA` for the reasons to hold once the registry is closed."""

Stage = Literal["reject", "fault", "rate"]


@dataclass(frozen=True, slots=True)
class BrokenRecord:
    """One broken record.

    `stage`: Ingest rejects it ("reject"), Ingest lets it go on with its fault ("fault"), or only Rate can tell
    ("rate"), given an `ARENA` with the models `REGISTERED` and a closed registry.
    """

    name: str
    payload: bytes
    reason: Reason
    stage: Stage


def good_fields(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Return the fields of a valid vote; a change to ``...`` leaves the field out."""
    fields: dict[str, Any] = {
        "schema": 1,
        "vote_id": f"{number:032x}",
        "matchup_id": f"m{number:031x}",
        "arena": ARENA,
        "time": 1_764_000_000_123,
        "voter": "v3.3f9a1c",
        "mode": "rank",
        "models": list(MODELS),
        "ranks": [1, 2, 2, 4],
        "prompt": "p-01733",
        "policy": "gibbs",
        "propensity": 0.00042,
        "duration_ms": 8400,
        "token": "k1.1764003600.mac",
    }
    fields.update(changes)
    return {name: value for name, value in fields.items() if value is not ...}


def good_record(number: int = 0, **changes: Any) -> bytes:
    """Return the record of a vote, by default a valid one."""
    return json.dumps(good_fields(number, **changes), separators=(",", ":")).encode()


def swapped(old: str, new: str) -> bytes:
    """Return a valid record in which one piece of text is another."""
    text = good_record(77).decode()
    assert text.count(old) == 1, old
    return text.replace(old, new).encode("utf-8", "surrogatepass")


_GOOD = good_record(77)

_TOO_LARGE = {
    "a vote of over 64 KiB": good_record(77, comment="x" * 70_000),
    "a token of over 64 KiB": good_record(77, token="x" * 70_000),
    "100,000 brackets": b"[" * 100_000,
    "2 MB of nothing": b" " * 2_000_000,
    "too large and not JSON": b"{" + b"x" * 70_000,
    "too large by one byte": _GOOD + b" " * (65_537 - len(_GOOD)),
}

_NOT_JSON = {
    "empty": b"",
    "white space": b" \n\t",
    "text": b"hello",
    "truncated in a key": _GOOD[:25],
    "truncated in a value": _GOOD[:60],
    "truncated before the end": _GOOD[:-1],
    "truncated after the first byte": b"{",
    "trailing comma": _GOOD[:-1] + b",}",
    "trailing brace": _GOOD + b"}",
    "trailing text": _GOOD + b" x",
    "trailing NUL": _GOOD + b"\x00",
    "two objects": _GOOD + _GOOD,
    "two objects on two lines": _GOOD + b"\n" + _GOOD,
    "NaN": swapped("0.00042", "NaN"),
    "Infinity": swapped("0.00042", "Infinity"),
    "-Infinity in a field to ignore": swapped('"schema":1', '"schema":1,"x":-Infinity'),
    "NaN among ranks": swapped("[1,2,2,4]", "[1,2,NaN,4]"),
    "single quotes": _GOOD.replace(b'"', b"'"),
    "bare keys": swapped('"schema"', "schema"),
    "comment": swapped('"schema":1,', '"schema":1,/* one */'),
    "leading zero": swapped("8400", "08400"),
    "plus sign": swapped("8400", "+8400"),
    "bare fraction": swapped("0.00042", ".00042"),
    "fraction without digits": swapped("0.00042", "1."),
    "exponent without digits": swapped("0.00042", "1e"),
    "exponent with two signs": swapped("0.00042", "1e+-5"),
    "True": swapped('"schema":1', '"schema":True'),
    "a byte that is not UTF-8": swapped("v3.3f9a1c", "v3.").replace(b"v3.", b"v3.\xff"),
    "UTF-8 cut short": swapped("v3.3f9a1c", "v3.").replace(b"v3.", b"v3.\xc3"),
    "UTF-8 too long": swapped("v3.3f9a1c", "v3.").replace(b"v3.", b"v3.\xc0\x80"),
    "UTF-8 of a surrogate": swapped("v3.3f9a1c", "v3.\ud800"),
    "bad UTF-8 in a field to ignore": swapped('"schema":1', '"schema":1,"x":"?"').replace(b"?", b"\xff"),
    "UTF-16": _GOOD.decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + _GOOD,
    "lone high surrogate": swapped("v3.3f9a1c", "v3.\\ud800"),
    "lone low surrogate": swapped("v3.3f9a1c", "v3.\\udc00"),
    "unknown escape": swapped("v3.3f9a1c", "v3.\\x41"),
    "escape cut short": swapped("v3.3f9a1c", "v3.\\u00"),
    "raw line break in a string": swapped("v3.3f9a1c", "v3.\n"),
    "raw NUL in a string": swapped("v3.3f9a1c", "v3.\x00"),
    "form feed between fields": swapped('"schema":1,', '"schema":1,\x0c'),
    "missing colon": swapped('"schema":1', '"schema" 1'),
    "missing comma": swapped('"schema":1,', '"schema":1 '),
    "double comma": swapped('"schema":1,', '"schema":1,,'),
    "leading comma": b"{," + _GOOD[1:],
    "trailing comma among models": swapped('"kolors"]', '"kolors",]'),
    "missing comma among ranks": swapped("[1,2,2,4]", "[1,2 2,4]"),
    "unclosed models": swapped('"kolors"]', '"kolors"'),
    "60,000 brackets": b"[" * 60_000,
    "30,000 nested lists": b"[" * 30_000 + b"]" * 30_000,
    "nested lists in a field to ignore": swapped('"schema":1', '"schema":1,"x":' + "[" * 70 + "]" * 70),
    "an integer of 5,000 digits": swapped("8400", "1" * 5_000),
    "not JSON and a missing field": b'{"schema":1,',
}

_SCHEMA = {
    "null": b"null",
    "a number": b"17",
    "a string": b'"vote"',
    "a list": b"[]",
    "a list of a vote": b"[" + _GOOD + b"]",
    "an empty object": b"{}",
    "version 2": good_record(77, schema=2),
    "version 0": good_record(77, schema=0),
    "version as text": good_record(77, schema="1"),
    "version true": good_record(77, schema=True),
    "version 1.0": swapped('"schema":1', '"schema":1.0'),
    "version null": good_record(77, schema=None),
    "no version": good_record(77, schema=...),
    "no vote_id": good_record(77, vote_id=...),
    "no matchup_id": good_record(77, matchup_id=...),
    "no arena": good_record(77, arena=...),
    "no time": good_record(77, time=...),
    "no models": good_record(77, models=...),
    "vote_id null": good_record(77, vote_id=None),
    "vote_id a number": good_record(77, vote_id=12),
    "vote_id empty": good_record(77, vote_id=""),
    "vote_id of 129 characters": good_record(77, vote_id="a" * 129),
    "vote_id with a space": good_record(77, vote_id="a b"),
    "vote_id with a slash": good_record(77, vote_id="../etc"),
    "vote_id that begins with a dot": good_record(77, vote_id=".a"),
    "vote_id with a line break": good_record(77, vote_id="a\n"),
    "vote_id with an umlaut": good_record(77, vote_id="ä"),
    "arena a list": good_record(77, arena=[ARENA]),
    "arena with an escaped quote": good_record(77, arena='a"b'),
    "time as text": good_record(77, time="1764000000123"),
    "time with a fraction": good_record(77, time=1764000000123.5),
    "time 1e3": swapped("1764000000123", "1e3"),
    "time true": good_record(77, time=True),
    "time negative": good_record(77, time=-1),
    "time 2^63": good_record(77, time=2**63),
    "time null": good_record(77, time=None),
    "voter a number": good_record(77, voter=3),
    "voter of 257 characters": good_record(77, voter="x" * 257),
    "mode unknown": good_record(77, mode="worst"),
    "mode in capitals": good_record(77, mode="RANK"),
    "mode a number": good_record(77, mode=0),
    "mode empty": good_record(77, mode=""),
    "models a string": good_record(77, models="sd-3.5"),
    "models an object": good_record(77, models={"a": 1}),
    "models null": good_record(77, models=None),
    "a model that is a number": good_record(77, models=["sd-3.5", 3, "pixart", "kolors"]),
    "a model that is null": good_record(77, models=["sd-3.5", None, "pixart", "kolors"]),
    "a model with a space": good_record(77, models=["sd 3.5", "flux-dev", "pixart", "kolors"]),
    "an empty model": good_record(77, models=["", "flux-dev", "pixart", "kolors"]),
    "ranks a number": good_record(77, ranks=1),
    "ranks a string": good_record(77, ranks="1,2,2,4"),
    "ranks an object": good_record(77, ranks={"sd-3.5": 1}),
    "ranks false": good_record(77, ranks=False),
    "prompt a number": good_record(77, prompt=17),
    "prompt no id": good_record(77, prompt="a cat, please"),
    "policy no id": good_record(77, policy=""),
    "propensity as text": good_record(77, propensity="0.1"),
    "propensity true": good_record(77, propensity=True),
    "propensity out of range": swapped("0.00042", "1e999"),
    "duration_ms with a fraction": good_record(77, duration_ms=8400.0),
    "duration_ms as text": good_record(77, duration_ms="8400"),
    "duration_ms 2^63": good_record(77, duration_ms=2**63),
    "duration_ms below -2^63": good_record(77, duration_ms=-(2**63) - 1),
    "duration_ms 1e3": swapped("8400", "1e3"),
    "token a number": good_record(77, token=1),
    "an arena twice, the last one bad": swapped('"schema":1', '"schema":1,"arena":"x"').replace(
        b'"text-to-image"', b"7"
    ),
    "schema and bad ranks": good_record(77, mode="worst", ranks=[1]),
    "schema and far future": good_record(77, time=2**62, policy=3),
}

_BAD_RANKS = {
    "no models": good_record(77, models=[], ranks=[]),
    "K = 1": good_record(77, models=["sd-3.5"], ranks=[1]),
    "K = 9": good_record(77, models=REGISTERED, ranks=list(range(9))),
    "K = 1 and skip": good_record(77, models=["sd-3.5"], ranks=None, mode="skip"),
    "repeated model": good_record(77, models=["sd-3.5", "flux-dev", "sd-3.5", "kolors"]),
    "repeated model, once escaped": swapped('"flux-dev"', '"sd-3\\u002e5"'),
    "ranks too short": good_record(77, ranks=[1, 2, 3]),
    "ranks too long": good_record(77, ranks=[1, 2, 3, 4, 5]),
    "ranks empty": good_record(77, ranks=[]),
    "ranks missing": good_record(77, ranks=...),
    "ranks null": good_record(77, ranks=None),
    "ranks missing in mode best": good_record(77, ranks=..., mode="best"),
    "a rank 1.0": good_record(77, ranks=[1.0, 2, 3, 4]),
    "a rank 1e0": swapped("[1,2,2,4]", "[1e0,2,2,4]"),
    "a rank true": good_record(77, ranks=[True, 2, 3, 4]),
    "a rank as text": good_record(77, ranks=["1", 2, 3, 4]),
    "a rank that is a list": good_record(77, ranks=[[1], 2, 3, 4]),
    "a rank 2^31": good_record(77, ranks=[2**31, 2, 3, 4]),
    "a rank below -2^31": good_record(77, ranks=[-(2**31) - 1, 2, 3, 4]),
    "a rank 2^63": good_record(77, ranks=[2**63, 2, 3, 4]),
    "a rank of 30 digits": good_record(77, ranks=[10**30, 2, 3, 4]),
    "null in mode rank": good_record(77, ranks=[1, 2, None, 4]),
    "all null in mode rank": good_record(77, ranks=[None] * 4),
    "null without a mode": good_record(77, mode=..., ranks=[1, None, None, None]),
    "best without null": good_record(77, mode="best", ranks=[1, 1, 1, 1]),
    "best without best": good_record(77, mode="best", ranks=[None] * 4),
    "best with two values": good_record(77, mode="best", ranks=[1, 2, None, None]),
    "all_bad with ranks": good_record(77, mode="all_bad"),
    "skip with ranks": good_record(77, mode="skip", ranks=[None] * 4),
    "bad ranks and far future": good_record(77, ranks=[1], time=2**62),
}

_BAD_TIME = {
    "far future": good_record(77, time=2**63 - 1),
    "five minutes and a millisecond ahead": good_record(77, time=APPENDED_AT + MAX_AHEAD_MS + 1),
    "in seconds times a million": good_record(77, time=APPENDED_AT * 1000),
    "skip from the future": good_record(77, mode="skip", ranks=None, time=2 * APPENDED_AT),
}

_UNKNOWN_ARENA = {
    "unknown arena": good_record(77, arena="text-to-music"),
    "unknown arena and bad ranks": good_record(77, arena="text-to-music", ranks=[1]),
    "unknown arena and unknown model": good_record(77, arena="text-to-music", models=["a", "b", "c", "d"]),
    "arena in capitals": good_record(77, arena="Text-To-Image"),
}
_UNKNOWN_MODEL = {
    "unknown model": good_record(77, models=["sd-3.5", "flux-dev", "pixart", "nobody"]),
    "unknown model and bad ranks": good_record(77, models=["sd-3.5", "nobody"], ranks=[1]),
    "unknown model and far future": good_record(77, models=["sd-3.5", "nobody"], ranks=[1, 2], time=2**62),
}


def _list_records(records: dict[str, bytes], reason: Reason, stage: Stage) -> list[BrokenRecord]:
    return [BrokenRecord(f"{reason}: {name}", payload, reason, stage) for name, payload in records.items()]


BROKEN_RECORDS: list[BrokenRecord] = [
    *_list_records(_TOO_LARGE, Reason.TOO_LARGE, "reject"),
    *_list_records(_NOT_JSON, Reason.NOT_JSON, "reject"),
    *_list_records(_SCHEMA, Reason.SCHEMA, "reject"),
    *_list_records(_UNKNOWN_ARENA, Reason.UNKNOWN_ARENA, "rate"),
    *_list_records(_UNKNOWN_MODEL, Reason.UNKNOWN_MODEL, "rate"),
    *_list_records(_BAD_RANKS, Reason.BAD_RANKS, "fault"),
    *_list_records(_BAD_TIME, Reason.BAD_TIME, "fault"),
]
