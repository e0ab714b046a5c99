"""Publishing: how often, what, and that an arena which cannot be rated disturbs nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.contracts.snapshot import METHODS, Publication
from pipeline.contracts.store import Store, StoreError
from pipeline.operators import publish
from pipeline.operators.publish import Publisher, copy_page, make_publication
from pipeline.operators.rate import Rate
from pipeline.rating.board import MethodBoard, rate_models
from pipeline.rating.errors import FitError
from pipeline.store.duck_store import DuckStore
from pipeline.store.reader import StoreReader
from tests.conftest import wait_until
from tests.operators.feeding import (
    MODELS,
    NO_PROPOSALS,
    START,
    Feed,
    arena_events,
    make_vote,
    opened,
    process_events,
    process_votes,
)


class Recorder:
    """Passes publications on to a store, notes them, and waits for `gate` before each."""

    def __init__(self, store: DuckStore) -> None:
        self.store = store
        self.made: list[tuple[str, int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failure: StoreError | None = None

    def publish(self, publications: Sequence[tuple[Publication, pa.Table]]) -> None:
        assert self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        self.store.publish(publications)
        self.made += [(publication.arena, publication.commit) for publication, _ in publications]


class World:
    """A store with two arenas, an operator, a publisher and a clock."""

    def __init__(self, store: DuckStore) -> None:
        self.now = START
        self.store = store
        self.feed = Feed()
        self.recorder = Recorder(store)
        self.said: list[str] = []
        self.rate = Rate(store, NO_PROPOSALS)
        narrow: Any = self.recorder  # the publisher uses nothing else of a store
        typed: Store = narrow
        self.publisher = Publisher(typed, lambda: self.now, announce=self.said.append)
        self.votes = 0
        process_events(self.rate, self.feed.control(*arena_events(), *arena_events("films")))
        self.commit()

    def vote(self, arena: str = "pictures") -> int:
        """Rate a vote, commit, and return the commit."""
        self.votes += 1
        process_votes(self.rate, self.feed.votes([make_vote(self.votes, arena=arena)]))
        return self.commit()

    def commit(self) -> int:
        committed = self.rate.commit(self.now)
        assert committed is not None
        self.publisher.note_changes(committed.changed)
        return committed.number

    def offer(self, *, after: int = publish.MIN_INTERVAL_MS) -> None:
        """Let time pass, and offer."""
        self.now += after
        self.publisher.offer(self.rate)

    def settled(self) -> list[tuple[str, int]]:
        """Return what has been published, once the publisher is free."""
        wait_until(lambda: self.publisher._running is None or self.publisher._running.done())
        return self.recorder.made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world at its first commit, with nothing published."""
    with opened(tmp_path / "store") as store:
        made = World(store)
        yield made
        made.recorder.gate.set()
        made.publisher.close()


def fail_for(arenas: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fit of the posterior fail in arenas whose first model is named in `arenas`."""

    def rate(method: str, model_ids: Sequence[str], *rest: Any) -> MethodBoard:
        if method == "posterior" and arenas & set(model_ids):
            raise FitError("no ascent along the Newton step")
        return rate_models(method, model_ids, *rest)

    monkeypatch.setattr(publish, "rate_models", rate)


def test_an_arena_without_votes_is_published_with_the_prior(world: World) -> None:
    world.offer()
    assert world.settled() == [("films", 1), ("pictures", 1)]
    reader = StoreReader(world.store.path)
    board = reader.board("pictures")
    assert (board.method, board.votes, board.as_of, board.commit) == ("posterior", 0, None, 1)
    assert [row.model for row in board.models] == sorted(MODELS)
    assert {row.mean for row in board.models} == {0.0}
    publication = reader.publication("pictures")
    assert tuple(publication.boards) == METHODS
    assert publication.filters["ksort"]["mu"] == [25.0] * len(MODELS)
    assert publication.filters["elo"]["ratings"] == [1000.0] * len(MODELS)
    assert reader.counts("pictures").num_rows == 0


def test_an_arena_without_models_is_published(world: World) -> None:
    process_events(world.rate, world.feed.control({"type": "arena.upsert", "arena": "empty", "title": "Empty"}))
    number = world.commit()
    world.offer()
    assert ("empty", number) in world.settled()
    assert StoreReader(world.store.path).board("empty").models == ()


def test_nothing_is_published_more_than_twice_a_second(world: World) -> None:
    world.offer()
    assert len(world.settled()) == 2
    last = 0
    for _ in range(4):
        last = world.vote()
        world.offer(after=124)
        assert len(world.settled()) == 2
    world.offer(after=4)
    assert world.settled()[2:] == [("pictures", last)]
    world.offer()
    assert len(world.settled()) == 3  # nothing is pending


def test_the_newest_state_wins_while_a_fit_runs(world: World) -> None:
    world.recorder.gate.clear()
    world.offer()
    for _ in range(3):
        world.vote()
        world.offer()
    last = world.vote("films")
    assert world.recorder.made == []
    world.recorder.gate.set()
    assert world.settled() == [("films", 1), ("pictures", 1)]
    world.offer()
    assert world.settled()[2:] == [("films", last), ("pictures", last)]
    board = StoreReader(world.store.path).board("pictures")
    assert (board.votes, board.commit, board.as_of) == (3, last, START + 3)


def test_the_page_is_a_copy(world: World) -> None:
    world.vote()
    page = copy_page(world.rate, "pictures")
    world.vote()
    publication, counts = make_publication(page, START)
    assert publication.boards["elo"].votes == 1
    assert sum(counts["n"].to_pylist()) < sum(
        make_publication(copy_page(world.rate, "pictures"), 0)[1]["n"].to_pylist()
    )


def test_finish_publishes_the_last_commit(world: World) -> None:
    world.offer()
    last = world.vote()
    world.publisher.offer(world.rate)  # too soon
    world.publisher.finish(world.rate)
    assert world.recorder.made[2:] == [("pictures", last)]
    world.publisher.finish(world.rate)
    assert len(world.recorder.made) == 3


def test_finish_waits_for_a_publication_in_progress(world: World) -> None:
    world.recorder.gate.clear()
    world.offer()
    last = world.vote()
    threading.Timer(0.05, world.recorder.gate.set).start()
    world.publisher.finish(world.rate)
    assert world.recorder.made == [("films", 1), ("pictures", 1), ("pictures", last)]


def test_a_clock_that_is_put_back_stops_nothing(world: World) -> None:
    world.offer()
    world.settled()
    last = world.vote()
    world.offer(after=-3_600_000)
    assert world.settled()[2:] == [("pictures", last)]


def test_an_arena_that_cannot_be_rated_keeps_its_board_and_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process_events(world.rate, world.feed.control(*arena_events("odd", models=("odd-1", "odd-2"))))
    good = world.commit()
    world.offer()
    assert ("odd", good) in world.settled()
    fail_for({"odd-1"}, monkeypatch)
    odd = {"arena": "odd", "models": ("odd-1", "odd-2"), "ranks": (1, 2)}
    for number in range(3):
        process_votes(world.rate, world.feed.votes([make_vote(900 + number, **odd)]))
        last = world.vote()
        world.offer()
        assert world.settled()[-1] == ("pictures", last)
    world.offer()
    assert world.said == ["arena odd cannot be rated, and its board stays as it is: no ascent along the Newton step"]
    assert StoreReader(world.store.path).board("odd").commit == good
    monkeypatch.undo()
    process_votes(world.rate, world.feed.votes([make_vote(990, **odd)]))
    mended = world.commit()
    world.offer()
    assert world.settled()[-1] == ("odd", mended)
    fail_for({"odd-1"}, monkeypatch)
    process_votes(world.rate, world.feed.votes([make_vote(991, **odd)]))
    world.commit()
    world.publisher.finish(world.rate)
    assert len(world.said) == 2  # it is news again


def test_the_same_counts_are_not_fitted_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.offer()
    world.settled()
    fail_for(set(MODELS), monkeypatch)
    world.vote()
    world.offer()
    world.settled()
    tries: list[str] = []
    monkeypatch.setattr(publish, "rate_models", lambda method, *_: tries.append(method))
    world.offer()
    world.settled()
    world.publisher.finish(world.rate)
    assert tries == []


def test_a_store_that_cannot_be_written_is_told_to_the_owner(world: World) -> None:
    world.recorder.failure = StoreError("cannot publish: disk full")
    world.offer()
    world.settled()
    with pytest.raises(StoreError, match="disk full"):
        world.offer()


def test_an_arena_whose_files_cannot_be_written_disturbs_no_other_and_is_said_once(world: World) -> None:
    obstacle = world.store.path / "board" / "films"
    obstacle.write_text("in the way of a folder")
    for _ in range(2):
        world.vote("films")
        commit = world.vote()
        world.offer()
        assert world.settled()[-1] == ("pictures", commit)
    obstacle.unlink()
    commit = world.vote("films")
    world.publisher.finish(world.rate)
    assert StoreReader(world.store.path).publication("films").commit == commit
    (said,) = world.said
    assert said.startswith("arena films cannot be published, and its board stays as it is: cannot publish films in ")
