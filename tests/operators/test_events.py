"""Control events as they come: what is refused before it could stop the job."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.contracts.arena import ArenaSettings
from pipeline.contracts.control import ControlFault
from pipeline.contracts.reasons import Reason
from pipeline.operators.events import read_event

BASE = {"schema": 1, "event_id": "e1", "time": 1, "type": "arena.upsert", "arena": "pictures"}


def reason_of(payload: bytes) -> Reason | None:
    """Return why a record is refused, None if it is not."""
    try:
        read_event(payload)
    except ControlFault as fault:
        return fault.reason if fault.detail else None
    return None


def with_settings(text: str) -> bytes:
    """Return an upsert with these settings, as written."""
    return msgspec.json.encode(BASE)[:-1] + b',"settings":' + text.encode() + b"}"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"{", Reason.NOT_JSON),
        (b'{"a": "\xff"}', Reason.NOT_JSON),
        (b"[" * 200_000, Reason.NOT_JSON),
        (b'{"a":' * 100_000, Reason.NOT_JSON),
        (b'{"a": NaN}', Reason.NOT_JSON),
        (b" " * (2**20 + 1), Reason.TOO_LARGE),
        (b"null", Reason.SCHEMA),
        (b"{}", Reason.SCHEMA),
    ],
    ids=lambda value: str(value[:10]),
)
def test_what_is_no_event_is_refused(payload: bytes, reason: Reason) -> None:
    assert reason_of(payload) is reason


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"event_id": "not an id"},
        {"arena": "*"},
        {"arena": None},
        {"type": "arena.delete"},
        {"time": 2**63},
        {"time": "now"},
        {"k": 9},
        {"k": 1},
        {"k": 4.0},
        {"modes": ["rank", "guess"]},
        {"require_token": 1},
        {"prompts": [{"id": "p1"}]},
        {"prompts": [{"id": "p 1", "text": "x"}]},
        {"prompts": [{"id": "p1", "text": "x", "seed": 2**64}]},
        {"settings": {"colour": "red"}},
        {"type": "model.add"},
        {"type": "model.add", "model": "alpha"},
        {"type": "model.add", "model": {"id": ""}},
        {"type": "model.retire"},
        {"type": "voters.retract"},
        {"type": "voters.retract", "voters": "v1"},
        {"type": "matchups.retract", "voters": ["v1"]},
    ],
    ids=str,
)
def test_wrong_fields_are_schema_faults(changes: dict[str, Any]) -> None:
    fields = {name: value for name, value in (BASE | changes).items() if value is not None}
    payload = msgspec.json.encode({name: value for name, value in fields.items() if not _is_long(value)})
    if long := [name for name, value in fields.items() if _is_long(value)]:
        payload = payload[:-1] + f',"{long[0]}":{fields[long[0]]}}}'.encode()
    assert reason_of(payload) is Reason.SCHEMA


def _is_long(value: object) -> bool:
    return isinstance(value, int) and value >= 2**63


@pytest.mark.parametrize(
    "text",
    [
        '{"policy": "nope"}',
        '{"policy": ""}',
        '{"open_min": -1}',
        '{"open_min": 20, "open_max": 10}',
        '{"open_max": 4097}',
        '{"open_min": 1000000000000000000000, "open_max": 2000000000000000000000}',
        '{"lead_seconds": -0.1}',
        '{"lead_seconds": 1e308}',
        '{"lead_seconds": 3601}',
        '{"matchup_ttl_seconds": 0}',
        '{"matchup_ttl_seconds": 1e-9}',
        '{"matchup_ttl_seconds": 1e300}',
        '{"matchup_ttl_seconds": null}',
    ],
)
def test_settings_that_no_job_could_live_with_are_refused(text: str) -> None:
    assert reason_of(with_settings(text)) is Reason.SCHEMA


@pytest.mark.parametrize("text", ['{"lead_seconds": NaN}', '{"lead_seconds": 1e999}', '{"open_min": Infinity}'])
def test_numbers_that_json_does_not_know_are_not_json(text: str) -> None:
    assert reason_of(with_settings(text)) is Reason.NOT_JSON


@pytest.mark.parametrize(
    "text", ["{}", '{"policy": "random"}', '{"open_min": 0, "open_max": 0}', '{"open_max": 4096, "lead_seconds": 0}']
)
def test_settings_within_the_limits_are_taken(text: str) -> None:
    settings = read_event(with_settings(text)).settings
    assert settings == msgspec.json.decode(text, type=ArenaSettings)


def test_the_default_settings_are_within_the_limits() -> None:
    assert reason_of(msgspec.json.encode(BASE)) is None
