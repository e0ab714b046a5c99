"""Rate: the only stateful operator. One owner, one store: fence, de-duplicate, sequence, count, propose, commit.

Engine-free: an engine calls `process` with what Ingest made of each poll, and `commit` at the end of each bundle. The
operator's memory is a function of the store's last commit and of what was processed since; when an engine repeats a
bundle or starts again, a new `Rate` loads the store and the fence drops what was taken before. So does it after any
error: a poll or a commit that failed halfway leaves memory that is worth nothing, and `Rate` refuses to go on with it.

An accepted vote becomes an archive row with its sequence number first, and is rated from that row. A replay of the
archive feeds the same rows to the same code (`Book`), which is why it ends in the same state, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.arena import Registry
from pipeline.contracts.control import ControlFault
from pipeline.contracts.log import LogBatch, TopicPartition
from pipeline.contracts.matchup import Matchup
from pipeline.contracts.reasons import MAX_RECORD_BYTES, Reason
from pipeline.contracts.retractions import Retractions
from pipeline.contracts.store import ARCHIVE_SCHEMA, WINDOW_DTYPE, ArchiveSource, Commit, Store, StoreState
from pipeline.contracts.vote import REJECT_SCHEMA
from pipeline.matchmaking.policies import POLICIES
from pipeline.operators.archive_rows import make_archive_rows
from pipeline.operators.arena_state import ArenaState, StoredArena
from pipeline.operators.book import Book
from pipeline.operators.events import read_event
from pipeline.operators.fence import Fence, decode_identities, encode_identities
from pipeline.operators.ingest import Decoded
from pipeline.operators.judge import ACCEPTED, judge_votes, make_dead_letters
from pipeline.operators.open_matchups import OpenMatchups
from pipeline.operators.proposals import (
    Proposer,
    expire_matchups,
    make_proposals,
    open_proposals,
    request_proposals,
)
from pipeline.operators.registry import LiveRegistry
from pipeline.operators.window import DEFAULT_CAPACITY, DedupWindow
from pipeline.rating.pair_counts import PairCounts

T = TypeVar("T")

_ARENA_KEY = "arena/"
_AVERAGE_KEY = "average/"


@dataclass(frozen=True, slots=True)
class RateSettings:
    """How votes are judged and whether matchups are proposed.

    Attributes
    ----------
    window_capacity : int
        Votes that the de-duplication window holds.
    accept_old : bool
        Do not refuse votes for their age.
    propose : bool
        Keep matchups open.
    seed : int or None
        Makes proposals a function of seed and commit; None draws from the system's entropy.
    """

    window_capacity: int = DEFAULT_CAPACITY
    accept_old: bool = False
    propose: bool = True
    seed: int | None = None


class Tally(msgspec.Struct):
    """What happened to records, over the whole life of the store."""

    accepted: int = 0
    duplicates: int = 0
    dead: dict[str, int] = {}
    by_arena: dict[str, int] = {}

    def count_accepted(self, votes: dict[str, int]) -> None:
        """Count accepted votes by arena."""
        for arena, count in votes.items():
            self.accepted += count
            self.by_arena[arena] = self.by_arena.get(arena, 0) + count

    def count_dead(self, reasons: list[str]) -> None:
        """Count dead letters by reason."""
        for reason in reasons:
            self.dead[reason] = self.dead.get(reason, 0) + 1


@dataclass(frozen=True, slots=True)
class Committed:
    """One commit that was made: its number, the arenas that changed, and proposals to be written to `matchups`.

    `rows` are what it archived (`ARCHIVE_SCHEMA`).
    """

    number: int
    log_time: int
    changed: tuple[str, ...]
    outbox: tuple[Matchup, ...]
    rows: tuple[pa.RecordBatch, ...] = ()


class Rate:
    """The operator of one owner over one store. Not thread-safe.

    Parameters
    ----------
    store
        Its store; loaded here.
    settings
    announce
        Takes one line for people, such as the name of a model that registered itself.
    archive
        Where earlier votes are read for a rebuild after a retraction; None = `store`.
    proposer
        Makes proposals beside ingestion, for one of the next commits; None = each commit makes its own, so that they
        are a function of its state.

    Attributes
    ----------
    keeps_positions : bool
        Whether commits say where the log was read to. A replay that passes records over must not.
    identities : dict
        Which partitions were read (`EventLog.identities`), as committed with the positions.
    """

    def __init__(
        self,
        store: Store,
        settings: RateSettings | None = None,
        *,
        announce: Callable[[str], None] = lambda _: None,
        archive: ArchiveSource | None = None,
        proposer: Proposer | None = None,
    ) -> None:
        self.store = store
        self.settings = settings or RateSettings()
        self._announce = announce
        self._archive = archive or store
        self._proposer = proposer
        loaded = store.load()
        state = loaded.state
        self.last_commit = loaded.commit
        self.fence = Fence(loaded.positions)
        self.tally = _decode(state, "tally", Tally)
        registry = LiveRegistry(_decode(state, "registry", Registry))
        self.book = Book(
            registry,
            _decode(state, "retractions", Retractions),
            {arena_id: _load_arena(loaded, arena_id) for arena_id in registry.arenas},
            sequence=loaded.sequence,
            log_time=loaded.log_time,
            announce=announce,
        )
        limit = _decode(state, "window", dict[str, int]).get("limit")
        self.window = DedupWindow(self.settings.window_capacity, horizon=loaded.horizon, limit=limit)
        self.window.load(store.load_window())
        self._stored_limit = self.window.limit
        self.undelivered: dict[str, Matchup] = {matchup.matchup_id: matchup for matchup in loaded.outbox}
        self._delivered: list[str] = []
        self._open = OpenMatchups()
        for arena_id, arena in self.book.arenas.items():
            self._open.add(arena_id, arena.open_matchups)
            policy = registry.arenas[arena_id].arena.settings.policy
            if self.settings.propose and policy not in POLICIES:
                announce(f"arena {arena_id} has no proposals: its matchmaking policy {policy} is unknown here")
        self.keeps_positions = True
        self.identities = decode_identities(state.get("log", b"[]"))
        self._torn = False
        self._begin()

    def _begin(self) -> None:
        """Start collecting the next commit."""
        self._rows: list[pa.RecordBatch] = []
        self._dead: list[pa.Table] = []
        self._entries: list[NDArray[np.void]] = []
        self._moved = False
        self._identified = False

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Mark memory as torn if an error leaves the block."""
        if self._torn:
            raise RuntimeError("an earlier poll or commit failed halfway; make a new Rate, which loads the store")
        self._torn = True
        yield
        self._torn = False

    # ------------------------------------------------------------------------------------------ live

    def process(self, now: int, control: LogBatch, decoded: Decoded) -> None:
        """Take one poll: control events first, then votes.

        Parameters
        ----------
        now
            Wall clock in ms; it decides expiry and rates, no verdict.
        control
            Raw control records.
        decoded
            What Ingest made of the vote records.

        Raises
        ------
        GapError
            Records are missing between what was rated and what came.
        RuntimeError
            An earlier poll or commit failed.
        """
        with self._whole():
            if control.spans:
                self._take_control(control)
            if decoded.spans:
                self._take_votes(now, decoded)

    def _take_control(self, batch: LogBatch) -> None:
        indices = np.zeros(len(batch), np.int32)
        fresh = self.fence.pass_spans(batch.spans, batch.span_of, batch.offsets, indices)
        for row, payload in enumerate(batch.values):
            if fresh is not None and not fresh[row]:
                continue
            source = batch.spans[batch.span_of[row]].source
            place = {
                "topic": source.topic,
                "partition": source.partition,
                "offset": int(batch.offsets[row]),
                "index": 0,
                "appended_at": int(batch.appended_at[row]),
            }
            arena = None
            try:
                arena = read_event(payload).arena
                numbers = {"sequence": self.book.sequence + 1, "commit": self.last_commit + 1}
                self._apply(pa.RecordBatch.from_pylist([{**place, **numbers, "event": payload}], schema=ARCHIVE_SCHEMA))
            except ControlFault as fault:
                why = {"reason": fault.reason.value, "arena": arena, "detail": fault.detail}
                letter = {**place, **why, "payload": payload[:MAX_RECORD_BYTES]}
                self._refuse(pa.Table.from_pylist([letter], schema=REJECT_SCHEMA))
        self._moved |= self.fence.advance(batch.spans)

    def _take_votes(self, now: int, decoded: Decoded) -> None:
        votes, rejects = decoded.votes, decoded.rejects
        spans = decoded.spans
        fresh = self.fence.pass_spans(
            spans, votes["span"].to_numpy(), votes["offset"].to_numpy(), votes["index"].to_numpy()
        )
        if fresh is not None:
            votes = votes.filter(pa.array(fresh))
            rejects = self._fresh_rejects(decoded)
        topics = [span.source.topic for span in spans]
        partitions = np.array([span.source.partition for span in spans], np.int32)
        if rejects.num_rows:
            self._refuse(pa.Table.from_batches([rejects]))
        if votes.num_rows:
            judged = judge_votes(votes, self.book.registry, self.window, accept_old=self.settings.accept_old)
            dead = make_dead_letters(votes, judged.verdicts, self.book.registry, topics, partitions)
            if dead is not None:
                self._refuse(dead)
            self.tally.duplicates += int((judged.verdicts == Reason.DUPLICATE.code).sum())
            accepted = judged.verdicts == ACCEPTED
            if accepted.any():
                kept = votes if accepted.all() else votes.filter(pa.array(accepted))
                rows = make_archive_rows(kept, self.book.sequence + 1, self.last_commit + 1, topics, partitions)
                counted = self._apply(rows)
                self.tally.count_accepted(counted)
                for arena_id, count in counted.items():
                    self.book.arenas[arena_id].recent_votes.note(now, count)
                self._entries.append(judged.window)
                for arena_id, matchup_id in self._open.take_answered(judged.matchup_keys):
                    self.book.arenas[arena_id].close_matchup(matchup_id, now)
        self._moved |= self.fence.advance(spans)

    def _fresh_rejects(self, decoded: Decoded) -> pa.RecordBatch:
        rejects = decoded.rejects
        numbers = {span.source: number for number, span in enumerate(decoded.spans)}
        sources = map(TopicPartition, rejects["topic"].to_pylist(), rejects["partition"].to_pylist())
        span_of = np.array([numbers[source] for source in sources], np.int16)
        fresh = self.fence.pass_spans(decoded.spans, span_of, rejects["offset"].to_numpy(), rejects["index"].to_numpy())
        return rejects.filter(pa.array(fresh))

    def _apply(self, rows: pa.RecordBatch) -> dict[str, int]:
        counted = self.book.apply_rows(rows)
        self._rows.append(rows)
        self.store.stage_archive(rows)
        return counted

    def _refuse(self, letters: pa.Table) -> None:
        self._dead.append(letters)
        self.tally.count_dead(letters["reason"].to_pylist())

    def replay_rows(self, rows: pa.RecordBatch, *, stage: bool) -> None:
        """Apply archive rows without judging them; `stage` them unless the store took the files over."""
        with self._whole():
            self._moved = True
            self.tally.count_accepted(self._apply(rows) if stage else self.book.apply_rows(rows))

    def note_identities(self, found: Mapping[TopicPartition, str]) -> None:
        """Note which partitions the positions belong to; the next commit says so."""
        self.identities |= found
        self._identified |= bool(found)

    def has_uncommitted(self) -> bool:
        """Whether anything happened since the last commit."""
        book = self.book
        return bool(self._moved or self._rows or self._dead or book.registry_changed or book.changed_arenas)

    # ---------------------------------------------------------------------------------------- commit

    def commit(self, now: int, number: int | None = None) -> Committed | None:
        """Make everything since the last commit durable; None if there is nothing.

        Parameters
        ----------
        now
            Wall clock in ms.
        number
            Of the commit to make: a replay keeps those of the archive. None = the next one.
        """
        with self._whole():
            return self._commit(now, number or self.last_commit + 1, always=number is not None)

    def _commit(self, now: int, number: int, *, always: bool) -> Committed | None:
        self.settle()
        proposals = self._propose(now, number) if self.settings.propose else ()
        if not always and not self.has_uncommitted():
            return None
        changed = self.book.changed_arenas
        self.store.commit(self._make_commit(number, changed, proposals))
        self.last_commit = number
        self._stored_limit = self.window.limit
        self._delivered = []
        self.undelivered |= {matchup.matchup_id: matchup for matchup in proposals}
        self.book.mark_committed()
        rows = tuple(self._rows)
        self._begin()
        return Committed(number, self.book.log_time, changed, proposals, rows)

    def settle(self) -> None:
        """Rebuild what a retraction left stale, from the archive and what is not committed yet."""
        if self.book.needs_settling():
            self.book.settle(chain(self._archive.read_archive(), self._rows))

    def mark_delivered(self, matchup_ids: list[str]) -> None:
        """Note that proposals were written to `matchups`; the next commit forgets them."""
        for matchup_id in matchup_ids:
            self.undelivered.pop(matchup_id, None)
        self._delivered.extend(matchup_ids)

    def _propose(self, now: int, number: int) -> tuple[Matchup, ...]:
        proposals: list[Matchup] = []
        for arena_id, state in self.book.arenas.items():
            live = self.book.registry.arenas[arena_id]
            self._open.remove(arena_id, [matchup.matchup_id for matchup in expire_matchups(live, state, now)])
            made = [] if self._proposer is None else self._proposer.take(arena_id)
            new = open_proposals(live, state, made)
            if self._proposer is None or self._proposer.is_free(arena_id):
                request = request_proposals(live, state, now=now, commit=number, seed=self.settings.seed)
                if request is not None and self._proposer is not None:
                    self._proposer.ask(request)
                elif request is not None:
                    new += open_proposals(live, state, make_proposals(request))
            self._open.add(arena_id, [matchup.matchup_id for matchup in new])
            proposals.extend(new)
        return tuple(proposals)

    def _make_commit(self, number: int, changed: tuple[str, ...], proposals: tuple[Matchup, ...]) -> Commit:
        book = self.book
        state = {_ARENA_KEY + name: msgspec.msgpack.encode(book.arenas[name].freeze()) for name in changed}
        state |= {
            _AVERAGE_KEY + name: book.arenas[name].average.to_bytes()
            for name in changed
            if book.arenas[name].average_changed
        }
        if book.registry_changed:
            state["registry"] = msgspec.json.encode(book.registry.freeze())
        if book.retractions_changed:
            state["retractions"] = msgspec.msgpack.encode(book.retractions)
            state["filter"] = msgspec.json.encode(book.retractions.filter)
        if self._moved:
            state["tally"] = msgspec.msgpack.encode(self.tally)
        if self._identified:
            state["log"] = encode_identities(self.identities)
        if self.window.limit != self._stored_limit:
            state["window"] = msgspec.msgpack.encode({"limit": self.window.limit})
        deltas, replaced = {}, {}
        for arena_id in changed:
            counts = book.arenas[arena_id].counts
            delta = counts.take_delta()
            if arena_id in book.rebuilt:
                replaced[arena_id] = pa.table(counts.freeze().to_columns())
            elif len(delta):
                deltas[arena_id] = pa.table(delta.to_columns())
        return Commit(
            number=number,
            log_time=book.log_time,
            sequence=book.sequence,
            positions=dict(self.fence.marks) if self.keeps_positions else {},
            dead=pa.concat_tables(self._dead) if self._dead else None,
            window=np.concatenate([np.zeros(0, WINDOW_DTYPE), *self._entries]),
            horizon=self.window.horizon,
            state=state,
            counts=deltas,
            replaced_counts=replaced,
            outbox=proposals,
            delivered=tuple(self._delivered),
        )


def _load_arena(loaded: StoreState, arena_id: str) -> ArenaState:
    counts = loaded.counts.get(arena_id)
    stored = _decode(loaded.state, _ARENA_KEY + arena_id, StoredArena)
    averaged = loaded.state.get(_AVERAGE_KEY + arena_id, b"")
    return ArenaState(stored, None if counts is None else PairCounts.from_columns(counts), averaged)


def _decode(state: dict[str, bytes], key: str, kind: type[T]) -> T:
    if key not in state:
        return kind()
    decode = msgspec.json.decode if key == "registry" else msgspec.msgpack.decode
    return decode(state[key], type=kind)
