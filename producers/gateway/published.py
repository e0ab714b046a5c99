"""What the job published, in memory: one thread looks for something new, requests never touch the disk.

Whether a board includes a vote is told from where the log has the vote. The job's sign of life says how far it had
read at which commit: a board of that commit or a later one includes all votes before it. A board may be older and
include the vote all the same, because an arena in which nothing changes is not published anew; then it has as many
votes as the job says that the arena has.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from pipeline.contracts.arena import RegisteredArena, Registry
from pipeline.contracts.gateway import VotePlace
from pipeline.contracts.snapshot import Board, ModelRating, Publication
from pipeline.contracts.store import StoreError
from pipeline.store.errors import ReaderError
from pipeline.store.manifest import Heartbeat
from pipeline.store.reader import StoreReader, pick_board

LOOK_SECONDS: Final = 0.2
"""The job publishes twice a second at most."""

_LOGGER = logging.getLogger("kwise.gateway")


@dataclass(frozen=True)
class Published:
    """One state of the store. `arenas` by id; `heartbeat` None before the first sign of life."""

    registry: Registry = field(default_factory=Registry)
    arenas: dict[str, Publication] = field(default_factory=dict)
    heartbeat: Heartbeat | None = None
    problem: str | None = "nothing was read of the store yet"
    stamps: dict[str | None, tuple[int, int] | None] = field(default_factory=dict, repr=False)
    _encoded: dict[tuple[str, str | None], bytes] = field(default_factory=dict, repr=False)
    _lines: dict[str, dict[str, ModelRating]] = field(default_factory=dict, repr=False)

    def arena(self, arena_id: str) -> RegisteredArena | None:
        """Return an arena that is known."""
        return self.registry.arenas.get(arena_id)

    def board(self, arena_id: str, method: str | None = None) -> Board | None:
        """Return the newest board of an arena; None if it has none by that method."""
        publication = self.arenas.get(arena_id)
        if publication is None:
            return None
        try:
            return pick_board(publication, method)
        except ReaderError:
            return None

    def lines(self, arena_id: str) -> dict[str, ModelRating]:
        """Return the lines of an arena's board by model; none without a board."""
        if arena_id not in self._lines:
            board = self.board(arena_id)
            self._lines[arena_id] = {} if board is None else {line.model: line for line in board.models}
        return self._lines[arena_id]

    def encode_board(self, arena_id: str, method: str | None) -> bytes | None:
        """Return a board as `kwise board show --format json` has it; made once for each that is published."""
        key = (arena_id, method)
        if key not in self._encoded and (board := self.board(arena_id, method)) is not None:
            self._encoded[key] = msgspec.json.encode(board)
        return self._encoded.get(key)

    def includes(self, arena_id: str, place: VotePlace) -> bool:
        """Whether the board of an arena includes the vote at `place`, or the job found it unfit for any."""
        publication, beat = self.arenas.get(arena_id), self.heartbeat
        if publication is None or beat is None:
            return False
        read = {(topic, partition): offset for topic, partition, offset, _ in beat.positions}
        if read.get((place.topic, place.partition), 0) <= place.offset:
            return False
        board = self.board(arena_id)
        if board is None:
            return False
        if board.commit >= beat.commit:
            return True
        arena = None if beat.status is None else beat.status.arenas.get(arena_id)
        return arena is not None and board.votes == arena.votes


class PublishedWatch:
    """Keeps `Published` up to date until it is closed.

    Parameters
    ----------
    reader : of the store, which need not exist yet
    """

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader
        self._ended = threading.Event()
        self.now = Published()
        """The newest state; a request takes it once."""
        self.look()
        self._thread = threading.Thread(target=self._run, name="published", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def look(self) -> None:
        """Read what is new."""
        before = self.now
        try:
            self.now = _read(self._reader, before)
        except (StoreError, OSError, msgspec.MsgspecError) as error:
            problem = " ".join(str(error).split())
            if problem != before.problem:
                _LOGGER.warning("the store cannot be read: %s", problem)
                self.now = replace(before, problem=problem)

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.look()


def _read(reader: StoreReader, before: Published) -> Published:
    """Return the state of the store: the sign of life first, so that boards are at least as new."""
    beat = reader.heartbeat()
    if (stamp := reader.stamp()) == before.stamps.get(None) and stamp is not None:
        registry, arena_ids = before.registry, [arena for arena in before.stamps if arena is not None]
    else:
        registry, arena_ids = reader.registry(), sorted(reader.arenas())
    stamps: dict[str | None, tuple[int, int] | None] = {arena: reader.stamp(arena) for arena in arena_ids}
    stamps[None] = stamp
    arenas = {
        arena: before.arenas[arena]
        if arena in before.arenas and stamps[arena] == before.stamps.get(arena)
        else reader.publication(arena)
        for arena in arena_ids
    }
    if stamps == before.stamps:
        return replace(before, heartbeat=beat, problem=None)
    return Published(registry, arenas, beat, None, stamps)
