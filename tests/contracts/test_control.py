"""Control records: what decodes, and the reason for what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.contracts.arena import Model
from pipeline.contracts.control import ControlFault, decode_control, encode_control, model_id_of
from pipeline.contracts.reasons import Reason

BASE: dict[str, Any] = {"schema": 1, "event_id": "e1", "time": 1_764_000_000_000, "by": "ops", "reason": "because"}


def control(**fields: Any) -> bytes:
    merged = BASE | fields
    return json.dumps({name: value for name, value in merged.items() if value is not ...}).encode()


GOOD: list[dict[str, Any]] = [
    {"type": "arena.upsert", "arena": "a", "title": "A", "k": 6, "modes": ["rank"], "require_token": True},
    {"type": "arena.upsert", "arena": "a", "settings": {"open_min": 1}, "prompts": [{"id": "p", "text": "a cat"}]},
    {"type": "arena.upsert", "arena": "a"},
    {"type": "model.add", "arena": "a", "model": {"id": "m", "name": "M", "access": "open"}},
    {"type": "model.retire", "arena": "a", "model": "m"},
    {"type": "model.retire", "arena": "a", "model": {"id": "m"}},
    {"type": "voters.retract", "voters": ["v1", "v2"]},
    {"type": "voters.restore", "arena": "a", "voters": []},
    {"type": "matchups.retract", "matchups": ["m1"], "unknown_field": [1]},
]


@pytest.mark.parametrize("fields", GOOD, ids=lambda fields: fields["type"])
def test_control_events_round_trip(fields: dict[str, Any]) -> None:
    event = decode_control(control(**fields))
    assert event.type == fields["type"]
    assert decode_control(encode_control(event)) == event


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"{", Reason.NOT_JSON),
        (b"\xff", Reason.NOT_JSON),
        (b"[]", Reason.SCHEMA),
        (b"{}", Reason.SCHEMA),
        (control(type="arena.delete", arena="a"), Reason.SCHEMA),
        (control(type="arena.upsert"), Reason.SCHEMA),
        (control(type="arena.upsert", arena="a b"), Reason.SCHEMA),
        (control(type="arena.upsert", arena="a", k=9), Reason.SCHEMA),
        (control(type="arena.upsert", arena="a", k="4"), Reason.SCHEMA),
        (control(type="arena.upsert", arena="a", modes=["worst"]), Reason.SCHEMA),
        (control(type="arena.upsert", arena="a", settings={"open": 3}), Reason.SCHEMA),
        (control(type="arena.upsert", arena="a", settings={"open_min": 9, "open_max": 3}), Reason.SCHEMA),
        (control(type="arena.upsert", arena="a", prompts=[{"id": "no good", "text": "x"}]), Reason.SCHEMA),
        (control(type="model.add", arena="a", model="m"), Reason.SCHEMA),
        (control(type="model.add", arena="a", model={"id": "?"}), Reason.SCHEMA),
        (control(type="model.add", arena="a"), Reason.SCHEMA),
        (control(type="model.retire", model="m"), Reason.SCHEMA),
        (control(type="voters.retract"), Reason.SCHEMA),
        (control(type="voters.retract", voters="v1"), Reason.SCHEMA),
        (control(type="voters.retract", voters=["v1"], schema=2), Reason.SCHEMA),
        (control(type="voters.retract", voters=["v1"], event_id="?"), Reason.SCHEMA),
        (control(type="voters.retract", voters=["v1"], time="now"), Reason.SCHEMA),
        (control(type="voters.retract", voters=["v1"], event_id=...), Reason.SCHEMA),
        (control(type="voters.retract", voters=["x" * 2_000_000]), Reason.TOO_LARGE),
    ],
)
def test_faulty_control_events_have_their_reason(payload: bytes, reason: Reason) -> None:
    with pytest.raises(ControlFault) as caught:
        decode_control(payload)
    assert caught.value.reason is reason
    assert caught.value.detail


def test_an_upsert_becomes_an_arena_with_defaults() -> None:
    arena = decode_control(control(type="arena.upsert", arena="a", k=3)).to_arena()
    assert (arena.id, arena.k, arena.modes, arena.require_token) == ("a", 3, ("rank", "best"), False)


def test_model_ids_are_found_in_both_forms() -> None:
    plain = decode_control(control(type="model.retire", arena="a", model="m"))
    full = decode_control(control(type="model.add", arena="a", model={"id": "m"}))
    assert model_id_of(plain) == model_id_of(full) == "m"
    assert full.model == Model(id="m")
