"""Retracted voters and matchups: whose votes stay archived and sequenced but enter no counts, filter or evidence."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.contracts.control import ControlEvent
from pipeline.contracts.vote_filter import VoteFilter

EVERYWHERE = "*"
"""Scope of an event without an arena: no arena id looks like this."""


class Retractions(msgspec.Struct):
    """What is retracted, by scope: an arena id, or `EVERYWHERE`. Changed in place by events.

    A replay that asks "what if" leaves votes out in the same way: those of some voters (`left_out`), and those outside
    a stretch of the voters' time (`event_from` <= time <= `event_until`, ms). No event changes what it leaves out.
    """

    voters: dict[str, set[str]] = {}
    matchups: dict[str, set[str]] = {}
    left_out: set[str] = set()
    event_from: int | None = None
    event_until: int | None = None

    def __bool__(self) -> bool:
        return bool(self.voters or self.matchups or self.filter)

    @property
    def filter(self) -> VoteFilter:
        """What is left out though no event retracted it."""
        return VoteFilter(voters=tuple(sorted(self.left_out)), event_from=self.event_from, event_until=self.event_until)

    def leave_out(self, chosen: VoteFilter) -> None:
        """Leave votes out, whatever is restored."""
        self.left_out = set(chosen.voters)
        self.event_from = chosen.event_from
        self.event_until = chosen.event_until

    def apply(self, event: ControlEvent) -> bool:
        """Apply a `voters.*` or `matchups.*` event; return whether anything changed.

        A restore takes back retractions of the same scope; without an arena it takes back all of them.
        """
        kind, verb = event.type.split(".")
        scopes = self.voters if kind == "voters" else self.matchups
        names = set(event.voters or ()) if kind == "voters" else set(event.matchups or ())
        scope = event.arena or EVERYWHERE
        if verb == "retract":
            news = names - scopes.get(scope, set())
            if news:
                scopes.setdefault(scope, set()).update(news)
            return bool(news)
        changed = False
        for each in list(scopes) if event.arena is None else [scope]:
            known = scopes.get(each, set())
            changed |= bool(known & names)
            known -= names
            if not known:
                scopes.pop(each, None)
        return changed

    def affect(self, rows: pa.RecordBatch) -> NDArray[np.bool_]:
        """Return which of the votes in `rows` (archive rows) are retracted, bool (n,)."""
        hit = np.zeros(rows.num_rows, np.bool_)
        for column, scopes in (("voter", self.voters), ("matchup_id", self.matchups)):
            for scope, names in scopes.items():
                found = _among(rows[column], names)
                if scope != EVERYWHERE and found.any():
                    found &= _among(rows["arena"].cast(pa.string()), {scope})
                hit |= found
        if self.left_out:
            hit |= _among(rows["voter"], self.left_out)
        times = rows["time"].to_numpy()
        if self.event_from is not None:
            hit |= times < self.event_from
        if self.event_until is not None:
            hit |= times > self.event_until
        return hit


def _among(column: pa.Array, names: set[str]) -> NDArray[np.bool_]:
    found = pc.is_in(column, value_set=pa.array(list(names), pa.string()))
    result: NDArray[np.bool_] = found.to_numpy(zero_copy_only=False)
    return result
