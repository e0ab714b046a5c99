"""Whether a board includes a vote, and that requests read what is published from memory."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pipeline.contracts.gateway import VotePlace
from pipeline.contracts.snapshot import Board, Publication
from pipeline.store.manifest import Heartbeat
from pipeline.store.reader import StoreReader
from producers.gateway.published import Published, PublishedWatch
from tests.cli.stores import make_publication, make_store
from tests.dashboard.made_status import make_status

PLACE = VotePlace(topic="votes", partition=1, offset=41)


def published(board_commit: int, board_votes: int, beat_commit: int, offset: int, arena_votes: int) -> Published:
    publication, _ = make_publication("pictures", board_commit)
    boards = {
        name: msgspec.structs.replace(board, commit=board_commit, votes=board_votes)
        for name, board in publication.boards.items()
    }
    status = make_status()
    arena = msgspec.structs.replace(next(iter(status.arenas.values())), votes=arena_votes)
    beat = Heartbeat(
        time=0,
        commit=beat_commit,
        positions=(("votes", 0, 99, 0), ("votes", 1, offset, 0)),
        status=msgspec.structs.replace(status, arenas={"pictures": arena}),
    )
    return Published(
        arenas={"pictures": msgspec.structs.replace(publication, boards=boards)}, heartbeat=beat, problem=None
    )


@pytest.mark.parametrize(
    ("state", "includes"),
    [
        ((5, 10, 5, 42, 10), True),
        ((6, 10, 5, 42, 99), True),
        ((4, 10, 5, 42, 11), False),
        ((4, 10, 5, 42, 10), True),
        ((5, 10, 5, 41, 10), False),
    ],
    ids=["same commit", "newer board", "older board", "older board, nothing new since", "not read yet"],
)
def test_a_board_includes_what_was_read_before_it(state: tuple[int, int, int, int, int], includes: bool) -> None:
    assert published(*state).includes("pictures", PLACE) is includes


def test_without_a_board_or_a_job_nothing_is_included() -> None:
    assert not Published().includes("pictures", PLACE)
    bare = published(5, 10, 5, 42, 10)
    assert not Published(arenas=bare.arenas, heartbeat=None).includes("pictures", PLACE)
    assert not bare.includes("elsewhere", PLACE)


class CountingReader(StoreReader):
    """A reader that counts what it decodes."""

    read = 0

    def publication(self, arena: str) -> Publication:
        self.read += 1
        return super().publication(arena)


def test_nothing_is_read_again_unless_it_is_new(tmp_path: Path) -> None:
    reader = CountingReader(make_store(tmp_path / "store", "pictures"))
    watch = PublishedWatch(reader)
    try:
        board = watch.now.board("pictures")
        assert isinstance(board, Board)
        assert watch.now.encode_board("pictures", None) == msgspec.json.encode(board)
        assert watch.now.encode_board("pictures", "nonsense") is None
        for _ in range(5):
            watch.look()
        assert reader.read == 1
    finally:
        watch.close()


def test_a_store_may_come_later_and_go(tmp_path: Path) -> None:
    watch = PublishedWatch(StoreReader(tmp_path / "store"))
    try:
        assert watch.now.problem is not None
        assert "there is no store" in watch.now.problem
        make_store(tmp_path / "store", "pictures")
        watch.look()
        assert watch.now.problem is None
        assert watch.now.arena("pictures") is not None
        (tmp_path / "store").rename(tmp_path / "gone")
        watch.look()
        assert watch.now.problem is not None
        assert watch.now.arena("pictures") is not None
    finally:
        watch.close()
