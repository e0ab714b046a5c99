"""Records that a pipeline must refuse or count once, mixed into good votes: for tests and trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.contracts.log import Record
from pipeline.contracts.reasons import MAX_AHEAD_MS, MAX_VOTE_BYTES, Reason

if TYPE_CHECKING:
    from numpy.random import Generator

BREAKABLE: Final = (
    Reason.NOT_JSON,
    Reason.SCHEMA,
    Reason.UNKNOWN_ARENA,
    Reason.UNKNOWN_MODEL,
    Reason.BAD_RANKS,
    Reason.TOO_LARGE,
)
"""Faults that do not depend on the time of the log, nor on tokens. Unknown ones need a closed registry."""


@dataclass(frozen=True, slots=True)
class VoteBatch:
    """Records in the order in which they are to be appended.

    Attributes
    ----------
    values : list of bytes
    keys : list of str
        Key of each record: its matchup_id, so that votes on one matchup share a partition.
    expected : list of (Reason or None), or None
        Why each record will be refused, None = accepted. None as a whole: all are good.
    """

    values: list[bytes]
    keys: list[str]
    expected: list[Reason | None] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def records(self) -> list[Record]:
        """Return the records as a log takes them."""
        return [Record(value, key) for value, key in zip(self.values, self.keys, strict=True)]

    def part(self, start: int, stop: int) -> VoteBatch:
        """Return the records from `start` up to `stop`."""
        expected = None if self.expected is None else self.expected[start:stop]
        return VoteBatch(self.values[start:stop], self.keys[start:stop], expected)


def mix_faults(
    batch: VoteBatch, duplicates: float, broken: float, rng: Generator, *, doubles: float = 0.0
) -> VoteBatch:
    """Add records to a batch of good votes: shares of its size, all its votes are kept, in order.

    A duplicate repeats a vote some time after it; a broken record is a vote under its own id, spoilt in one
    of the ways of `BREAKABLE` in turn; a double is a second vote on a matchup, under its own id, some time later.
    """
    count = len(batch)
    after: dict[int, list[tuple[bytes, str, Reason]]] = {}
    for original in rng.integers(0, count, round(count * duplicates)).tolist():
        place = int(rng.integers(original, count))
        after.setdefault(place, []).append((batch.values[original], batch.keys[original], Reason.DUPLICATE))
    for number, original in enumerate(rng.integers(0, count, round(count * broken)).tolist()):
        reason = BREAKABLE[number % len(BREAKABLE)]
        spoilt = break_vote(_rename_vote(batch.values[original], rng.bytes(16).hex()), reason)
        after.setdefault(original, []).append((spoilt, batch.keys[original], reason))
    for original in rng.integers(0, count, round(count * doubles)).tolist():
        place = int(rng.integers(original, count))
        second = _rename_vote(batch.values[original], rng.bytes(16).hex())
        after.setdefault(place, []).append((second, batch.keys[original], Reason.ALREADY_VOTED))

    values: list[bytes] = []
    keys: list[str] = []
    expected: list[Reason | None] = []
    for place in range(count):
        values.append(batch.values[place])
        keys.append(batch.keys[place])
        expected.append(None)
        for value, key, reason in after.get(place, ()):
            values.append(value)
            keys.append(key)
            expected.append(reason)
    return VoteBatch(values, keys, expected)


def break_vote(vote: bytes, reason: Reason) -> bytes:
    """Spoil a good wire vote so that `reason` is why it is refused."""
    fields = msgspec.json.decode(vote)
    if reason is Reason.NOT_JSON:
        return vote[: len(vote) // 2]
    if reason is Reason.TOO_LARGE:
        fields["note"] = "x" * MAX_VOTE_BYTES
    elif reason is Reason.SCHEMA:
        del fields["models"]
    elif reason is Reason.UNKNOWN_ARENA:
        fields["arena"] = "no-such-arena"
    elif reason is Reason.UNKNOWN_MODEL:
        fields["models"][0] = "no-such-model"
    elif reason is Reason.BAD_RANKS:
        fields["models"][0] = fields["models"][1]
    elif reason is Reason.BAD_TIME:
        fields["time"] += 100 * 365 * 24 * 3_600_000 + MAX_AHEAD_MS
    else:
        raise ValueError(f"a vote cannot be spoilt for the reason {reason}")
    return msgspec.json.encode(fields)


def _rename_vote(vote: bytes, vote_id: str) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(vote), "vote_id": vote_id})
