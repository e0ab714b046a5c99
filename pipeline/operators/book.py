"""The book: everything that is a function of the accepted votes and control events in their sequence.

Live and in a replay the same archive rows go through the same code here, and so the book is the same, bit for bit.
Nothing in it looks at a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.ballot import Ballots
from pipeline.contracts.control import ControlEvent, decode_control
from pipeline.contracts.retractions import Retractions
from pipeline.contracts.vote_filter import VoteFilter
from pipeline.operators.archive_rows import Repeated, cut_blocks, read_votes, split_events
from pipeline.operators.arena_state import ArenaState
from pipeline.operators.entrants import Entrants, find_entrants, rows_by_word, take_ballots
from pipeline.operators.registry import LiveRegistry


class Book:
    """Registry, retractions and the state of each arena.

    Attributes
    ----------
    sequence : int
        Sequence number of the last row applied, 0 = none.
    log_time : int
        Largest append time of the rows applied, ms.
    registry_changed, retractions_changed : bool
        Whether they changed since the last commit.
    rebuilt : set of str
        Arenas that were computed again since the last commit.
    """

    def __init__(
        self,
        registry: LiveRegistry,
        retractions: Retractions,
        arenas: dict[str, ArenaState],
        *,
        sequence: int,
        log_time: int,
        announce: Callable[[str], None],
    ) -> None:
        self.registry = registry
        self.retractions = retractions
        self.arenas = arenas
        self.sequence = sequence
        self.log_time = log_time
        self._announce = announce
        self._to_rebuild: set[str] = set()
        for arena_id in registry.arenas:
            self._open_page(arena_id, changed=False)
        self.mark_committed()

    def mark_committed(self) -> None:
        """Forget what changed."""
        self.registry_changed = False
        self.retractions_changed = False
        self.rebuilt: set[str] = set()
        for state in self.arenas.values():
            state.mark_committed()

    @property
    def changed_arenas(self) -> tuple[str, ...]:
        """Arenas that changed since the last commit."""
        return tuple(arena_id for arena_id, state in self.arenas.items() if state.changed)

    def apply_rows(self, rows: pa.RecordBatch) -> dict[str, int]:
        """Apply rows (`ARCHIVE_SCHEMA`) that go on in sequence; return the number of votes by arena.

        Raises
        ------
        ValueError
            The rows do not start at the next sequence number.
        """
        first = int(rows["sequence"][0].as_py())
        if first != self.sequence + 1:
            raise ValueError(f"archive rows go on at sequence {first}; expected {self.sequence + 1}")
        counted: dict[str, int] = {}
        for piece, ends_block in cut_blocks(rows, first):
            for kind, part in split_events(piece):
                if kind == "event":
                    self.apply_event(decode_control(part["event"][0].as_py()))
                else:
                    for arena_id, votes in self._apply_votes(part, self.arenas).items():
                        counted[arena_id] = counted.get(arena_id, 0) + votes
            if ends_block:
                _end_blocks(self.arenas)
        self.sequence += rows.num_rows
        self.log_time = max(self.log_time, int(pc.max(rows["appended_at"]).as_py()))
        return counted

    def apply_event(self, event: ControlEvent) -> None:
        """Put a control event in force. Raises `ControlFault`, before anything changed.

        After a retraction the affected arenas are stale until `settle`.
        """
        if event.type.startswith(("arena.", "model.")):
            self.registry.apply(event)
            self.registry_changed = True
            self._open_page(str(event.arena))
            return
        if event.arena is not None:
            self.registry.require_arena(event)
        if self.retractions.apply(event):
            self.retractions_changed = True
            self._to_rebuild |= {event.arena} if event.arena else set(self.arenas)

    def leave_out(self, chosen: VoteFilter) -> None:
        """Leave votes out of all boards from the start, whatever is restored: a replay that asks "what if"."""
        self.retractions.leave_out(chosen)
        self.retractions_changed = True

    def needs_settling(self) -> bool:
        """Whether a retraction waits for its rebuild."""
        return bool(self._to_rebuild)

    def settle(self, history: Iterable[pa.RecordBatch]) -> None:
        """Compute the arenas that a retraction touched again, from all rows so far (`history`, in sequence).

        Rows after `sequence` are left out.
        """
        fresh = {arena_id: ArenaState() for arena_id in self._to_rebuild if arena_id in self.arenas}
        for arena_id, state in fresh.items():
            state.grow(len(self.registry.arenas[arena_id].models))
        for rows in history:
            known = rows
            if int(rows["sequence"][rows.num_rows - 1].as_py()) > self.sequence:
                known = rows.filter(pc.less_equal(rows["sequence"], self.sequence))
            for piece, ends_block in cut_blocks(known, int(rows["sequence"][0].as_py())):
                for kind, part in split_events(piece):
                    if kind == "votes":
                        self._apply_votes(part, fresh)
                    else:
                        _follow_pool(fresh, decode_control(part["event"][0].as_py()))
                if ends_block:
                    _end_blocks(fresh)
            if known is not rows:
                break
        for arena_id, state in fresh.items():
            state.carry_on(self.arenas[arena_id])
        self.arenas |= fresh
        self.rebuilt |= set(fresh)
        self._to_rebuild = set()

    def _apply_votes(self, rows: pa.RecordBatch, states: dict[str, ArenaState]) -> dict[str, int]:
        columns = read_votes(rows)
        entrants = find_entrants(columns.arena, columns.offsets, columns.models)
        if not self.registry.closed:
            self._register_new(entrants)
        models = entrants.index_models(self.registry)[entrants.numbers]
        ballots = Ballots(columns.offsets, models, columns.groups, columns.modes)
        counts = ~self.retractions.affect(rows) if self.retractions else None
        counted: dict[str, int] = {}
        for arena_id, every in rows_by_word(columns.arena):
            state = states.get(arena_id)
            if state is None:
                continue
            counted[arena_id] = len(every)
            mine = every if counts is None else every[counts[every]]
            if len(mine) == rows.num_rows:
                state.apply_votes(ballots, int(columns.appended_at.max()), columns.prompt)
            elif len(mine):
                prompts = Repeated(columns.prompt.codes[mine], columns.prompt.words)
                state.apply_votes(take_ballots(ballots, mine), int(columns.appended_at[mine].max()), prompts)
        return counted

    def _register_new(self, entrants: Entrants) -> None:
        news: dict[str, list[str]] = {}
        for arena_id, model_id in entrants.pairs:
            if self.registry.admit(arena_id, model_id):
                news.setdefault(arena_id, []).append(model_id)
        for arena_id, models in news.items():
            self.registry_changed = True
            self._open_page(arena_id)
            self._announce(f"arena {arena_id}: registered from votes: {', '.join(models)}")

    def _open_page(self, arena_id: str, *, changed: bool = True) -> None:
        if arena_id not in self.arenas:
            self.arenas[arena_id] = ArenaState()
        state, live = self.arenas[arena_id], self.registry.arenas[arena_id]
        state.grow(len(live.models))
        state.pool = live.pool
        state.changed |= changed


def _end_blocks(states: dict[str, ArenaState]) -> None:
    """Let arenas that have grown enough end a block of `average` here."""
    for state in states.values():
        state.end_block()


def _follow_pool(states: dict[str, ArenaState], event: ControlEvent) -> None:
    """Let an arena that is computed again keep tallies of the prompts that were its pool at the time."""
    if event.type == "arena.upsert" and (state := states.get(str(event.arena))) is not None:
        state.pool = frozenset(prompt.id for prompt in event.prompts or ())
