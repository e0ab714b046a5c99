"""Control events: what operators change, as records of the topic `control`."""

from __future__ import annotations

from typing import Literal

import msgspec

from pipeline.contracts.arena import Arena, ArenaError, ArenaSettings, Model, Prompt
from pipeline.contracts.ids import is_id
from pipeline.contracts.reasons import MAX_VOTE_BYTES, Reason

ControlType = Literal[
    "arena.upsert",
    "model.add",
    "model.retire",
    "voters.retract",
    "voters.restore",
    "matchups.retract",
    "matchups.restore",
]


class ControlEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One control event; which fields are set depends on `type` (section 3). `arena` None = all arenas."""

    schema: int
    event_id: str
    type: ControlType
    time: int
    arena: str | None = None
    by: str | None = None
    reason: str | None = None
    title: str | None = None
    k: int | None = None
    modes: tuple[str, ...] | None = None
    require_token: bool | None = None
    settings: ArenaSettings | None = None
    prompts: tuple[Prompt, ...] | None = None
    model: Model | str | None = None
    voters: tuple[str, ...] | None = None
    matchups: tuple[str, ...] | None = None

    def to_arena(self) -> Arena:
        """Return the arena that an `arena.upsert` describes; absent fields take their defaults."""
        given = {
            name: value
            for name in ("title", "k", "modes", "require_token", "settings", "prompts")
            if (value := getattr(self, name)) is not None
        }
        return Arena(id=self.arena or "", **given)


class ControlFault(Exception):  # noqa: N818 - a fault of the record, not of the program
    """A control record that cannot be used, with its reason and a detail for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


_NEEDS: dict[str, tuple[str, ...]] = {
    "arena.upsert": ("arena",),
    "model.add": ("arena", "model"),
    "model.retire": ("arena", "model"),
    "voters.retract": ("voters",),
    "voters.restore": ("voters",),
    "matchups.retract": ("matchups",),
    "matchups.restore": ("matchups",),
}


def encode_control(event: ControlEvent) -> bytes:
    """Encode as a wire record."""
    return msgspec.json.encode(event)


def decode_control(payload: bytes) -> ControlEvent:
    """Decode and check a control record. Raises `ControlFault`."""
    if len(payload) > MAX_VOTE_BYTES * 16:
        raise ControlFault(Reason.TOO_LARGE, f"a control event of {len(payload)} bytes; the limit is 1 MiB")
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ControlFault(Reason.NOT_JSON, str(error)) from None
    try:
        event = msgspec.json.decode(payload, type=ControlEvent)
        if missing := [name for name in _NEEDS[event.type] if getattr(event, name) is None]:
            raise ControlFault(Reason.SCHEMA, f"{event.type} needs {' and '.join(missing)}")
        _check_fields(event)
    except (msgspec.ValidationError, ArenaError) as error:
        raise ControlFault(Reason.SCHEMA, str(error)) from None
    return event


def _check_fields(event: ControlEvent) -> None:
    if event.schema != 1:
        raise ControlFault(Reason.SCHEMA, f"schema {event.schema} is unknown; this version reads 1")
    for name in ("event_id", "arena"):
        value = getattr(event, name)
        if value is not None and not is_id(value):
            raise ControlFault(Reason.SCHEMA, f"{name} {value!r} is not a valid id")
    if event.type == "model.add" and not isinstance(event.model, Model):
        raise ControlFault(Reason.SCHEMA, "model.add needs model as an object with its id")
    if event.type == "arena.upsert":
        event.to_arena()


def model_id_of(event: ControlEvent) -> str:
    """Return the id of the model that a `model.add` or `model.retire` names."""
    return event.model.id if isinstance(event.model, Model) else str(event.model)
