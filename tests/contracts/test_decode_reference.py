"""The reference decoder: reasons, what it accepts although it looks odd, and ballots."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.contracts.ballot import K_MAX, K_MIN, UNRANKED, Mode, make_ballots
from pipeline.contracts.decode_reference import DecodedVote, Rejected, decode_vote, explain_fault
from pipeline.contracts.reasons import MAX_AHEAD_MS, MAX_VOTE_BYTES, Reason
from tests.broken_records import APPENDED_AT, BROKEN_RECORDS, BrokenRecord, good_fields, good_record, swapped

U = UNRANKED


def accept(payload: bytes) -> DecodedVote:
    verdict = decode_vote(payload, APPENDED_AT)
    assert isinstance(verdict, DecodedVote), verdict
    assert verdict.fault is None, verdict
    return verdict


@pytest.mark.parametrize("record", BROKEN_RECORDS, ids=lambda record: record.name)
def test_decode_vote_gives_the_reason(record: BrokenRecord) -> None:
    verdict = decode_vote(record.payload, APPENDED_AT)
    if record.stage == "rate":
        assert isinstance(verdict, DecodedVote)
    elif record.stage == "fault":
        assert isinstance(verdict, DecodedVote)
        assert verdict.fault is record.reason
        assert explain_fault(record.payload, APPENDED_AT)
    else:
        assert isinstance(verdict, Rejected)
        assert verdict.reason is record.reason
        assert verdict.detail


def test_decode_vote_reads_every_field() -> None:
    verdict = accept(good_record(3))
    fields = good_fields(3)
    assert {name: getattr(verdict.vote, name) for name in fields} == {
        **fields,
        "models": tuple(fields["models"]),
        "ranks": tuple(fields["ranks"]),
    }


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b" \r\n\t" + good_record() + b"\n \t", {}),
        (json.dumps(good_fields(), indent=3).encode(), {}),
        (json.dumps(dict(reversed(good_fields().items()))).encode(), {}),
        (good_record(comment={"nested": [1, {"deep": None}]}), {}),
        (good_record(comment="sch\u00f6n \u2603 \"quoted\" \\"), {}),
        (swapped('"schema":1', '"schema":1,"x":1e999'), {}),
        (swapped('"schema":1', '"schema":1,"x":' + "9" * 400), {}),
        (swapped('"schema":1', '"schema":1,"x":' + "[" * 63 + "]" * 63), {}),
        (swapped('"schema":1', '"schema":1,"x":"' + "[" * 99 + '"'), {}),
        (swapped('"schema"', '"\\u0073chema"'), {}),
        (swapped('"arena"', '"arena":"other","arena"'), {}),
        (swapped("v3.3f9a1c", "\\ud83d\\ude00"), {"voter": "\U0001f600"}),
        (good_record(voter="\u00fc" * 256), {"voter": "\u00fc" * 256}),
        (good_record(voter=""), {"voter": ""}),
        (good_record(voter=None, mode=None, prompt=None, policy=None, token=None), {"voter": None, "mode": "rank"}),
        (good_record(propensity=None, duration_ms=None), {"propensity": None, "duration_ms": None}),
        (good_record(propensity=1), {"propensity": 1.0}),
        (swapped("0.00042", "-0"), {"propensity": 0.0}),
        (swapped("0.00042", "4.2E-4"), {"propensity": 0.00042}),
        (swapped("0.00042", "0.041999999999999996"), {"propensity": 0.041999999999999996}),
        (swapped("0.00042", "1" + "0" * 30), {"propensity": 1e30}),
        (swapped("0.00042", "5e-324"), {"propensity": 5e-324}),
        (swapped("8400", "-0"), {"duration_ms": 0}),
        (good_record(duration_ms=-5), {"duration_ms": -5}),
        (good_record(duration_ms=2**63 - 1), {"duration_ms": 2**63 - 1}),
        (good_record(duration_ms=-(2**63)), {"duration_ms": -(2**63)}),
        (good_record(time=0), {"time": 0}),
        (good_record(time=APPENDED_AT + MAX_AHEAD_MS), {"time": APPENDED_AT + MAX_AHEAD_MS}),
        (good_record(vote_id="a" * 128), {"vote_id": "a" * 128}),
        (good_record(vote_id="A.b_c:d-9"), {"vote_id": "A.b_c:d-9"}),
        (good_record(ranks=[2**31 - 1, -(2**31), 0, -1]), {"ranks": (2**31 - 1, -(2**31), 0, -1)}),
        (good_record() + b" " * (MAX_VOTE_BYTES - len(good_record())), {}),
    ],
)  # fmt: skip
def test_decode_vote_accepts(payload: bytes, expected: dict[str, Any]) -> None:
    vote = accept(payload).vote
    assert {name: getattr(vote, name) for name in expected} == expected
    assert vote.arena == "text-to-image"


BALLOTS: list[tuple[str, list[int | None] | None, list[int]]] = [
    ("rank", [1, 2], [0, 1]),
    ("rank", [2, 1], [1, 0]),
    ("rank", [5, 5], [0, 0]),
    ("rank", [1, 2, 3], [0, 1, 2]),
    ("rank", [3, 3, 1], [1, 1, 0]),
    ("rank", [1, 2, 2, 4], [0, 1, 1, 2]),
    ("rank", [1, 1, 1, 1], [0, 0, 0, 0]),
    ("rank", [-7, 100, 0, -7], [0, 2, 1, 0]),
    ("rank", [2**31 - 1, -(2**31), 0, 0], [2, 0, 1, 1]),
    ("rank", [5, 4, 3, 2, 1], [4, 3, 2, 1, 0]),
    ("rank", [1, 1, 2, 2, 3, 3], [0, 0, 1, 1, 2, 2]),
    ("rank", [7, 6, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1, 0]),
    ("rank", [8, 1, 7, 2, 6, 3, 5, 4], [7, 0, 6, 1, 5, 2, 4, 3]),
    ("rank", [2, 1, 2, 1, 2, 1, 2, 1], [1, 0, 1, 0, 1, 0, 1, 0]),
    ("best", [None, None, 1, None], [U, U, 0, U]),
    ("best", [9, None], [0, U]),
    ("best", [1, 1, None, 1], [0, 0, U, 0]),
    ("best", [0, None, 0, None, None, None, None, 0], [0, U, 0, U, U, U, U, 0]),
    ("all_bad", None, [U, U, U, U]),
    ("skip", None, [U, U]),
]


@pytest.mark.parametrize(("mode", "ranks", "groups"), BALLOTS)
def test_groups_follow_ranks(mode: str, ranks: list[int | None] | None, groups: list[int]) -> None:
    models = [f"m{slot}" for slot in range(len(groups))]
    verdict = accept(good_record(models=models, ranks=ranks, mode=mode))
    assert verdict.fault is None
    built = make_ballots([(list(range(len(groups))), ranks, Mode[mode.upper()])])
    assert built.groups.tolist() == groups


@pytest.mark.parametrize("k", range(11))
def test_ballots_have_two_to_eight_models(k: int) -> None:
    verdict = decode_vote(good_record(models=[f"m{i}" for i in range(k)], ranks=list(range(k))), APPENDED_AT)
    assert isinstance(verdict, DecodedVote)
    assert (verdict.fault is None) == (K_MIN <= k <= K_MAX)


@pytest.mark.parametrize(
    ("payload", "arena"),
    [
        (good_record(time=None), "text-to-image"),
        (good_record(arena="no good"), None),
        (good_record(arena=["x"]), None),
        (b"[]", None),
        (b"", None),
    ],
)
def test_rejects_name_the_arena_where_they_can(payload: bytes, arena: str | None) -> None:
    verdict = decode_vote(payload, APPENDED_AT)
    assert isinstance(verdict, Rejected)
    assert verdict.arena == arena


def test_details_are_short_and_name_the_field() -> None:
    verdict = decode_vote(good_record(prompt="x" * 60_000), APPENDED_AT)
    assert isinstance(verdict, Rejected)
    assert verdict.detail.startswith("prompt ")
    assert len(verdict.detail) < 200


def test_ranks_at_fault_are_left_out_and_others_kept() -> None:
    bad_ranks = decode_vote(good_record(ranks=[1]), APPENDED_AT)
    bad_time = decode_vote(good_record(time=2**62), APPENDED_AT)
    assert isinstance(bad_ranks, DecodedVote)
    assert isinstance(bad_time, DecodedVote)
    assert bad_ranks.vote.ranks is None
    assert bad_time.vote.ranks == (1, 2, 2, 4)
    assert bad_time.fault is Reason.BAD_TIME
