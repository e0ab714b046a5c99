"""Dead letters as lines, masked, mended and judged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.arena import Arena, Model, RegisteredArena, Registry
from pipeline.contracts.control import ControlEvent, encode_control
from pipeline.contracts.log import CONTROL, VOTES
from pipeline.contracts.reasons import Reason
from producers.dead_letters import (
    Known,
    Letter,
    LetterError,
    Mending,
    encode_letter,
    judge_letter,
    make_letter,
    make_record,
    mask_record,
    parse_mending,
    read_letters,
    sort_letters,
)
from tests.broken_records import APPENDED_AT, ARENA, BROKEN_RECORDS, REGISTERED, good_record

SECRET = "v3.3f9a1c"


def letter_of(payload: bytes, *, topic: str = VOTES, reason: str = "schema", **fields: Any) -> Letter:
    place = {"topic": topic, "partition": 2, "offset": 7, "index": 0, "appended_at": APPENDED_AT, "arena": None}
    return make_letter({**place, "reason": reason, "detail": "so", "payload": payload, **fields})


def through_a_file(letter: Letter) -> Letter:
    line = encode_letter(letter)
    assert line.count(b"\n") == 1
    (found,) = read_letters(iter([line]), "dead.jsonl")
    return found


@pytest.mark.parametrize("broken", BROKEN_RECORDS, ids=[each.name for each in BROKEN_RECORDS])
def test_every_broken_record_comes_back_as_it_was(broken: Any) -> None:
    letter = letter_of(broken.payload)
    found = through_a_file(letter)
    if isinstance(letter.payload, msgspec.Raw) and bytes(letter.payload).startswith(b"{"):
        assert _parsed(found.record) == _parsed(broken.payload)  # blanks around an object are not kept
    else:
        assert found.record == broken.payload


def _parsed(record: bytes) -> Any:
    try:
        return json.loads(record)
    except ValueError:
        return record


@given(st.binary(max_size=60))
def test_any_bytes_come_back_as_they_were(payload: bytes) -> None:
    assert through_a_file(letter_of(payload)).record == payload


def test_an_object_stands_in_its_line_as_such_and_on_one_line() -> None:
    vote = json.dumps(json.loads(good_record(1)), indent=2).encode()
    line = encode_letter(letter_of(vote))
    assert json.loads(line)["payload"] == json.loads(vote)
    assert through_a_file(letter_of(vote)).record == vote.replace(b"\n", b"").replace(b" ", b"")
    assert json.loads(encode_letter(letter_of(b"oops")))["payload"] == "oops"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "line 2: Input data was truncated"),
        (b'{"topic":"votes"}', "line 2: Object missing required field"),
        (encode_letter(letter_of(b"x")).replace(b'"payload":"x"', b'"note":1'), "line 2: it has neither payload nor"),
        (encode_letter(letter_of(b"\xff")).replace(b'"/w=="', b'"?"'), "line 2: "),
    ],
)
def test_a_line_that_is_none_is_named(line: bytes, said: str) -> None:
    with pytest.raises(LetterError, match=f"dead.jsonl, {said}"):
        list(read_letters(iter([b"  \n", line]), "dead.jsonl"))


# ------------------------------------------------------------------------------------------------- masking


@pytest.mark.parametrize(
    "record",
    [
        good_record(1, voter=SECRET, token="k1." + SECRET),
        encode_control(ControlEvent(schema=1, event_id="e", type="voters.retract", time=1, voters=(SECRET, SECRET))),
        good_record(1, voter=SECRET, token=SECRET)[:-1],
        f'{{"voter": "{SECRET}", oops'.encode(),
        f'{{"voter": "{SECRET}'.encode(),
        f"{{'voter': '{SECRET}'}}".encode(),
        f"voter={SECRET}&models=a".encode(),
        f'{{"voters": ["a", "{SECRET}"], '.encode(),
        f'{{"VOTER" : {SECRET}, "token":{SECRET}}}'.encode(),
        f'{{"voter":"{SECRET}"}}\xff'.encode("latin-1"),
    ],
)
def test_voters_and_tokens_are_masked(record: bytes) -> None:
    text = mask_record(record)
    assert SECRET not in text
    assert "***" in text


def test_what_is_not_private_is_shown() -> None:
    vote = json.loads(good_record(1, voter=SECRET))
    shown = json.loads(mask_record(json.dumps(vote).encode()))
    assert shown == {**vote, "voter": "***", "token": "***"}
    assert mask_record(b"\xff\x00 no json") == "\\xff\x00 no json"


# ------------------------------------------------------------------------------------------------- mending


def test_fields_are_set_and_taken_away_and_models_renamed() -> None:
    vote = json.loads(good_record(1, models=["old", "sd-3.5"], ranks=[1, 2], prompt="p-1"))
    mending = parse_mending(("arena=pictures", "time=5", "ranks=[2, 1]", "prompt=", "voter=17"), ("old=new",))
    mended = json.loads(mending.apply(json.dumps(vote).encode()))
    wanted = {**vote, "arena": "pictures", "time": 5, "ranks": [2, 1], "voter": "17", "models": ["new", "sd-3.5"]}
    del wanted["prompt"]
    assert mended == wanted


@pytest.mark.parametrize("record", [b"{", b"[1]", b"\xff", b"", good_record(1)])
def test_a_record_that_nothing_applies_to_stays_byte_for_byte(record: bytes) -> None:
    assert Mending(renamed_models={"nobody": "sd-3.5"}).apply(record) == record


@pytest.mark.parametrize(
    ("sets", "renames", "said"),
    [
        (("vote_id=x",), (), "give FIELD=VALUE; fields are arena, "),
        (("matchup_id=x",), (), "give FIELD=VALUE"),
        (("arena",), (), "give FIELD=VALUE"),
        (("time=soon",), (), "'soon' is no JSON value"),
        ((), ("old",), "give OLD=NEW"),
        ((), ("old=",), "give OLD=NEW"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(sets: tuple[str, ...], renames: tuple[str, ...], said: str) -> None:
    with pytest.raises(LetterError, match=said):
        parse_mending(sets, renames)


# ------------------------------------------------------------------------------------------------- judging

KNOWN = Known(
    Registry(
        closed=True,
        arenas={ARENA: RegisteredArena(arena=Arena(id=ARENA), models=tuple(Model(id=each) for each in REGISTERED))},
    ),
    horizon=0,
)


@pytest.mark.parametrize("broken", BROKEN_RECORDS, ids=[each.name for each in BROKEN_RECORDS])
def test_what_the_job_refuses_is_refused_here_for_the_same_reason(broken: Any) -> None:
    why = judge_letter(letter_of(broken.payload), APPENDED_AT, KNOWN)
    assert why is not None
    # A vote is judged in its own form first, then by the registry: either reason keeps it from being sent.
    assert why.reason == broken.reason or broken.reason in {Reason.UNKNOWN_ARENA, Reason.UNKNOWN_MODEL}


def test_a_good_vote_is_good_and_goes_to_the_partition_of_its_matchup() -> None:
    letter = letter_of(good_record(3), reason="unknown_model")
    assert judge_letter(letter, APPENDED_AT, KNOWN) is None
    record = make_record(letter)
    assert (record.value, record.key) == (good_record(3), json.loads(good_record(3))["matchup_id"])


def test_registry_and_horizon_are_asked_only_where_a_store_is_given() -> None:
    stranger = letter_of(good_record(1, models=["nobody", "sd-3.5"], ranks=[1, 2]))
    elsewhere = letter_of(good_record(1, arena="nowhere"))
    assert judge_letter(stranger, APPENDED_AT, None) is None
    assert _reason(judge_letter(stranger, APPENDED_AT, KNOWN)) == "unknown_model"
    assert _reason(judge_letter(elsewhere, APPENDED_AT, KNOWN)) == "unknown_arena"
    assert judge_letter(elsewhere, APPENDED_AT, Known(Registry(), 0)) is None  # arenas register themselves
    assert _reason(judge_letter(letter_of(good_record(1)), APPENDED_AT, Known(Registry(), 2**60))) == "too_old"


def _reason(why: Any) -> str | None:
    return None if why is None else str(why.reason)


def test_a_second_vote_on_a_matchup_stays_where_it_is() -> None:
    assert (
        _reason(judge_letter(letter_of(good_record(1), reason="already_voted"), APPENDED_AT, None)) == "already_voted"
    )


def test_control_events_are_judged_as_such() -> None:
    added = encode_control(
        ControlEvent(schema=1, event_id="e", type="model.add", time=1, arena="a", model=Model(id="m"))
    )
    letter = letter_of(added, topic=CONTROL, reason="unknown_arena")
    assert judge_letter(letter, APPENDED_AT, None) is None
    assert _reason(judge_letter(letter, APPENDED_AT, KNOWN)) == "unknown_arena"
    assert _reason(judge_letter(letter_of(b"{}", topic=CONTROL), APPENDED_AT, None)) == "schema"
    assert make_record(letter).key is None


def test_letters_are_sorted_and_those_refused_keep_the_reason_of_today() -> None:
    letters: Iterator[Letter] = iter(
        [letter_of(good_record(1, ranks=[1])), letter_of(good_record(2)), letter_of(b"{", topic=CONTROL)]
    )
    good: list[Letter] = []
    refused: list[Letter] = []
    mending = parse_mending(("policy=x",), ())
    result = sort_letters(letters, mending, APPENDED_AT, None, on_good=good.append, on_refused=refused.append)
    assert (result.good, result.refused) == ({"votes": 1}, {"bad_ranks": 1, "not_json": 1})
    assert json.loads(good[0].record) == {**json.loads(good_record(2)), "policy": "x"}
    assert [(each.reason, bool(each.detail)) for each in refused] == [("bad_ranks", True), ("not_json", True)]
    assert refused[1].record == b"{"
