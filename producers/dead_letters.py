"""Dead letters outside the store: as lines of a file, masked for people, mended, and judged before they are sent again.

A dead letter has not used up its vote_id, so a mended vote is sent under the one that it had: however often that is
done, it counts once. What is sent again is judged here by everything that can be known without the job's window;
what is refused is not sent, and stays in the sender's hands with the reason.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from pipeline.contracts.arena import Registry
from pipeline.contracts.control import ControlEvent, ControlFault, decode_control
from pipeline.contracts.decode_reference import Rejected, decode_vote
from pipeline.contracts.log import CONTROL, Record
from pipeline.contracts.reasons import Reason
from pipeline.contracts.vote import Vote

_TEXTS: Final = ("arena", "voter", "mode", "prompt", "policy", "token")
SETTABLE: Final = (*_TEXTS, "schema", "time", "models", "ranks", "propensity", "duration_ms")
"""Fields that may be set in many votes at once: all but the ids by which a vote is known."""

_SECRET: Final = ("voter", "voters", "token")
_MASK: Final = "***"
# In what is no JSON: a key that looks like one of these, and what follows it up to the next separator.
_LOOSE = re.compile(
    r"""(\b(?:voters?|token)\b["']?\s*[:=]\s*)("[^"]*"?|'[^']*'?|\[[^\]]*\]?|[^\s,;&}\]]+)""", re.IGNORECASE
)


class LetterError(Exception):
    """A line or a change that cannot be used. Says which, what was wrong and what to do."""


class Letter(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One dead letter as a line of a file.

    Where it lay, when it was appended (ms), why it was refused, and what it was: `payload` is the record itself if
    that is a JSON object, else its text; `payload_base64` stands for it where it is no UTF-8.
    """

    topic: str
    partition: int
    offset: int
    index: int
    appended_at: int
    reason: str
    arena: str | None = None
    detail: str = ""
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    payload_base64: str | None = None

    @property
    def record(self) -> bytes:
        """The record as it is to be sent."""
        if self.payload_base64 is not None:
            return base64.b64decode(self.payload_base64, validate=True)
        if isinstance(self.payload, msgspec.UnsetType):
            raise LetterError("it has neither payload nor payload_base64")
        raw = bytes(self.payload)
        return msgspec.json.decode(raw, type=str).encode() if raw.startswith(b'"') else raw

    def with_record(self, record: bytes) -> Letter:
        """Return the letter with another record."""
        return msgspec.structs.replace(self, **_wrap_record(record))

    def refused(self, why: Rejected) -> Letter:
        """Return the letter with the reason for which it was refused now."""
        return msgspec.structs.replace(self, reason=why.reason.value, detail=why.detail)


def make_letter(row: Mapping[str, Any]) -> Letter:
    """Make a letter of a row of `DEAD_SCHEMA`."""
    places = {name: row[name] for name in ("topic", "partition", "offset", "index", "appended_at", "reason", "arena")}
    return Letter(**places, detail=row["detail"] or "", **_wrap_record(row["payload"]))


def encode_letter(letter: Letter) -> bytes:
    """Write a letter as a line."""
    return msgspec.json.encode(letter) + b"\n"


def read_letters(lines: Iterator[bytes], name: str) -> Iterator[Letter]:
    """Read letters from the lines of the file `name`; empty lines are passed over. Raises `LetterError`."""
    decoder = msgspec.json.Decoder(Letter)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            letter = decoder.decode(line)
            letter.record  # noqa: B018 - whether there is one
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, binascii.Error, LetterError) as error:
            raise LetterError(
                f"{name}, line {number}: {error}; a line is one object as `kwise dead-letters export` writes it"
            ) from None
        yield letter


def _wrap_record(record: bytes) -> dict[str, Any]:
    """Return the fields of a letter that hold `record`: a JSON object as it is, so that it can be edited as such."""
    if record.lstrip()[:1] == b"{":
        try:
            if isinstance(msgspec.json.decode(record), dict):
                compact = msgspec.json.format(record, indent=-1) if b"\n" in record or b"\r" in record else record
                return {"payload": msgspec.Raw(compact), "payload_base64": None}
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
    try:
        return {"payload": msgspec.Raw(msgspec.json.encode(record.decode())), "payload_base64": None}
    except UnicodeDecodeError:
        return {"payload": msgspec.UNSET, "payload_base64": base64.b64encode(record).decode()}


# ------------------------------------------------------------------------------------------------- masking


def mask_record(record: bytes) -> str:
    """Return the record as text for people, voters and tokens masked.

    In a record that is no JSON object they are masked as far as they can be recognised.
    """
    try:
        fields = msgspec.json.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        return _LOOSE.sub(lambda found: found[1] + _MASK, record.decode(errors="backslashreplace"))
    hidden = {name: _MASK for name in _SECRET if fields.get(name) is not None}
    return msgspec.json.encode(fields | hidden).decode()


# ------------------------------------------------------------------------------------------------- mending


@dataclass(frozen=True, slots=True)
class Mending:
    """Changes to be made in every vote: fields to set (None takes one away), models to rename."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    renamed_models: Mapping[str, str] = field(default_factory=dict)

    def apply(self, record: bytes) -> bytes:
        """Return the mended record; one that is no JSON object, or that nothing applies to, as it is."""
        try:
            before = msgspec.json.decode(record)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return record
        if not isinstance(before, dict):
            return record
        models = before.get("models")
        is_renamed = isinstance(models, list) and any(
            isinstance(each, str) and each in self.renamed_models for each in models
        )
        if not self.fields and not is_renamed:
            return record
        after: dict[str, Any] = {**before, **self.fields}
        if isinstance(models := after.get("models"), list):
            after["models"] = [
                self.renamed_models.get(each, each) if isinstance(each, str) else each for each in models
            ]
        absent = {name for name, value in self.fields.items() if value is None}
        return msgspec.json.encode({name: value for name, value in after.items() if name not in absent})


def parse_mending(sets: tuple[str, ...], renames: tuple[str, ...]) -> Mending:
    """Read ``field=value`` and ``old=new`` as they are typed. Raises `LetterError`.

    The value of a text field is taken as it stands, that of another field as JSON; an empty one takes the field away.
    """
    fields: dict[str, Any] = {}
    for text in sets:
        name, equals, value = text.partition("=")
        if not equals or name not in SETTABLE:
            raise LetterError(f"--set {text}: give FIELD=VALUE; fields are {', '.join(SETTABLE)}")
        try:
            fields[name] = (value if name in _TEXTS else msgspec.json.decode(value)) if value else None
        except msgspec.MsgspecError as error:
            raise LetterError(f"--set {text}: {value!r} is no JSON value ({error})") from None
    renamed: dict[str, str] = {}
    for text in renames:
        old, equals, new = text.partition("=")
        if not (old and equals and new):
            raise LetterError(f"--rename-model {text}: give OLD=NEW")
        renamed[old] = new
    return Mending(fields, renamed)


# ------------------------------------------------------------------------------------------------- judging


@dataclass(frozen=True, slots=True)
class Known:
    """What a store says of arenas, models, and how far its window looks back (ms)."""

    registry: Registry
    horizon: int

    def find_event_fault(self, event: ControlEvent) -> Rejected | None:
        """Return why the store's job would refuse a control event that is well formed; None if it would not."""
        if event.arena is None or event.type == "arena.upsert" or event.arena in self.registry.arenas:
            return None
        return Rejected(Reason.UNKNOWN_ARENA, f"no arena {event.arena}; apply its arena file first")

    def find_fault(self, vote: Vote) -> Rejected | None:
        """Return why the store's job would refuse a vote that is well formed; None if it would not."""
        arena = self.registry.arenas.get(vote.arena)
        if self.registry.closed and arena is None:
            return Rejected(Reason.UNKNOWN_ARENA, f"no arena {vote.arena}; apply its arena file first")
        if self.registry.closed and arena is not None:
            missing = sorted(set(vote.models) - {model.id for model in arena.models})
            if missing:
                return Rejected(Reason.UNKNOWN_MODEL, f"arena {vote.arena} has no model {', '.join(missing)}")
        if vote.time < self.horizon:
            return Rejected(Reason.TOO_OLD, f"time {vote.time} lies before what the de-duplication window remembers")
        return None


def judge_letter(letter: Letter, now: int, known: Known | None) -> Rejected | None:
    """Return why the letter's record would be refused if it were appended at `now` (ms); None if it seems good."""
    record = letter.record
    if letter.topic == CONTROL:
        try:
            event = decode_control(record)
        except ControlFault as fault:
            return Rejected(fault.reason, fault.detail)
        return None if known is None else known.find_event_fault(event)
    decoded = decode_vote(record, now)
    if isinstance(decoded, Rejected):
        return decoded
    if decoded.fault is not None:
        return Rejected(decoded.fault, decoded.detail)
    if letter.reason == Reason.ALREADY_VOTED:
        return Rejected(Reason.ALREADY_VOTED, "another vote on its matchup counts; there is nothing to mend")
    return None if known is None else known.find_fault(decoded.vote)


def make_record(letter: Letter) -> Record:
    """Return the record to append of a letter that was judged good: votes by matchup, as all producers send them."""
    record = letter.record
    if letter.topic == CONTROL:
        return Record(record)
    return Record(record, key=msgspec.json.decode(record)["matchup_id"])


@dataclass(slots=True)
class Sorted:
    """What became of letters: how many are good by topic, and refused by reason."""

    good: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)


def sort_letters(
    letters: Iterator[Letter],
    mending: Mending,
    now: int,
    known: Known | None,
    *,
    on_good: Callable[[Letter], None],
    on_refused: Callable[[Letter], None],
) -> Sorted:
    """Mend each letter, judge it, and hand it on."""
    result = Sorted()
    for letter in letters:
        mended = letter if letter.topic == CONTROL else letter.with_record(mending.apply(letter.record))
        why = judge_letter(mended, now, known)
        if why is None:
            result.good[mended.topic] = result.good.get(mended.topic, 0) + 1
            on_good(mended)
        else:
            result.refused[why.reason.value] = result.refused.get(why.reason.value, 0) + 1
            on_refused(mended.refused(why))
    return result
