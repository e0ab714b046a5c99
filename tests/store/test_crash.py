"""kill -9 of the writer at random moments: nothing is lost, nothing counts twice, readers notice nothing."""

from __future__ import annotations

import multiprocessing
import random
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from pipeline.store.duck_store import open_store
from pipeline.store.reader import StoreReader
from tests.store import crash_child
from tests.store.factory import make_publication, make_row

KILLS = 15


class Watcher(threading.Thread):
    """Polls a store like a dashboard does, and keeps the first thing that should not have happened."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.reader = StoreReader(path)
        self.ended = threading.Event()
        self.wrong: BaseException | None = None
        self.polls = 0
        self.seen = (0, 0, 0, 0)

    def run(self) -> None:
        try:
            while not self.ended.wait(0.02):
                self.poll()
                self.polls += 1
        except BaseException as error:
            self.wrong = error

    def poll(self) -> None:
        manifest = self.reader.manifest()
        publication = self.reader.publication("text-to-image")
        seen = (manifest.version, manifest.commit, publication.commit, publication.boards["posterior"].commit)
        assert all(new >= old for new, old in zip(seen, self.seen, strict=True)), (self.seen, seen)
        self.seen = seen
        board = publication.boards["posterior"]
        assert {model.mean for model in board.models} == {float(board.commit)}
        assert self.reader.counts("text-to-image")["n"][0].as_py() >= publication.commit
        commits = self.reader.history("text-to-image", models=["alpha"])["commit"].to_pylist()
        assert commits == sorted(set(commits))
        assert commits[-1] >= publication.commit
        count = self.reader.count_archive()
        sequences = [batch.column("sequence").to_numpy() for batch in self.reader.read_archive()]
        read = np.concatenate([np.zeros(0, np.int64), *sequences])
        assert len(read) >= count
        assert np.array_equal(read, np.arange(1, len(read) + 1))
        assert self.reader.dead_letters().num_rows >= 0
        assert sum(len(entries) for entries in self.reader.load_window()) >= 0

    def stop(self) -> None:
        self.ended.set()
        self.join()
        if self.wrong is not None:
            raise self.wrong


@pytest.fixture
def merging_often() -> Iterator[None]:
    undo = crash_child.merge_often()
    yield
    undo()


def check_store(path: Path, reported: int) -> int:
    """Check everything that the store holds against its last commit, and return that commit."""
    with open_store(path, holder="check", grace_ms=crash_child.GRACE_MS) as store:
        loaded = store.load()
        number = loaded.commit
        assert reported <= number <= reported + 1
        sizes = [crash_child.sizes_of(each) for each in range(1, number + 1)]
        commits = [each for each, (votes, _) in enumerate(sizes, 1) for _ in range(votes)]
        rows = [row for batch in store.read_archive() for row in batch.to_pylist()]
        assert loaded.sequence == len(commits) == len(rows)
        for sequence, (row, commit) in enumerate(zip(rows, commits, strict=True), 1):
            assert row == make_row(sequence, commit)
        kept = sizes[-crash_child.WINDOW_COMMITS - 1 :] if number else []
        assert sum(len(entries) for entries in store.load_window()) == sum(votes for votes, _ in kept)
        assert loaded.state == ({"number": str(number).encode()} if number else {})
        if number:
            assert loaded.counts["text-to-image"]["n"].to_pylist() == [number]
        assert [matchup.matchup_id for matchup in loaded.outbox] == ([f"m{number}"] if number else [])
        reader = StoreReader(path)
        assert reader.manifest().commit == number
        assert reader.count_archive() == len(rows)
        offsets = [each * 10 + place for each, (_, dead) in enumerate(sizes, 1) for place in range(dead)]
        assert reader.dead_letters()["offset"].to_pylist() == offsets
    return number


def run_and_kill(path: Path, rng: random.Random) -> int:
    """Start a writer, kill it at a random moment, and return the last commit that it reported (0 = none)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.store.crash_child"])
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=crash_child.write_until_killed, args=(path, there))
    child.start()
    there.close()
    try:
        last = read_reports(here, rng.choice((0, 1, 2, 4, 8, 12)))
        threading.Event().wait(rng.random() * 0.05)  # anywhere inside a commit, a merge or a publication
    finally:
        child.kill()
        child.join()
    assert child.exitcode == -signal.SIGKILL  # it did not end by itself
    return max(last, read_reports(here, 1_000_000))


def read_reports(reports: Connection, count: int) -> int:
    """Read up to `count` reports, and return the last commit among them; ends with the writer."""
    last = 0
    try:
        for _ in range(count):
            last = max(last, int(reports.recv()))
    except EOFError:
        pass
    return last


def kill_again_and_again(path: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    with open_store(path, holder="first") as store:
        store.commit(crash_child.make_child_commit(1, 0))
        store.publish([make_publication(1)])
    number = 1
    watcher = Watcher(path)
    watcher.start()
    for _ in range(kills):
        number = check_store(path, max(number, run_and_kill(path, rng)))
    watcher.stop()
    assert number > kills
    assert watcher.polls > kills


def test_store_survives_kills(tmp_path: Path, merging_often: None) -> None:
    kill_again_and_again(tmp_path / "store", KILLS, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_store_survives_many_kills(tmp_path: Path, merging_often: None) -> None:
    kill_again_and_again(tmp_path / "store", 100, seed=2)
