"""kill -9 at any moment of a process that uses the dispatcher loses no matchup and shows none twice."""

from __future__ import annotations

import multiprocessing
import random
import threading
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pipeline.contracts.log import MATCHUPS, Position, Record, TopicPartition
from pipeline.contracts.matchup import encode_matchup
from pipeline.eventlog.blocks import wall_clock_ms
from pipeline.eventlog.sqlite_log import SqliteLog
from producers.dispatcher.intake import Intake
from producers.dispatcher.types import MatchupState
from tests.conftest import wait_until
from tests.producers.dispatcher import kill_child
from tests.producers.dispatcher.queues import ARENA, HOUR, make_matchup, must_show, work_off

FORKSERVER = multiprocessing.get_context("forkserver")
AT_ONCE = 12


class Proposer:
    """Appends matchups to the log, as the job does."""

    def __init__(self, path: Path) -> None:
        self.ids: list[str] = []
        self._log = SqliteLog(path)
        self._log.create_topics({MATCHUPS: 2})
        self._writer = self._log.writer()

    def propose(self, count: int) -> None:
        numbers = range(len(self.ids) + 1, len(self.ids) + count + 1)
        expires = wall_clock_ms() + HOUR
        # Every third prompt comes again, so that jobs are shared.
        matchups = [make_matchup(number, text=f"thing {number - number % 3}", expires=expires) for number in numbers]
        self._writer.append(MATCHUPS, [Record(encode_matchup(matchup), matchup.matchup_id) for matchup in matchups])
        self.ids += [matchup.matchup_id for matchup in matchups]

    def ends(self) -> dict[TopicPartition, Position]:
        return {source: Position(end) for source, end in self._log.ends(MATCHUPS).items()}


def read_reports(reports: Connection, count: int) -> list[str]:
    """Return the ids of up to `count` reports of showings; ends with the process."""
    found: list[str] = []
    try:
        while len(found) < count:
            reported = reports.recv()
            if reported is not None:
                found.append(reported)
    except EOFError:
        pass
    return found


def run_and_kill(folder: Path, rng: random.Random, showings: int) -> list[str]:
    """Let a process serve until it has shown that many, and a moment longer; return what it says it showed."""
    ours, theirs = FORKSERVER.Pipe(duplex=False)
    process = FORKSERVER.Process(target=kill_child.serve_until_killed, args=(folder, theirs))
    process.start()
    theirs.close()
    try:
        assert ours.recv() is None
        found = read_reports(ours, rng.choice((0, 0, 1, showings // 2, showings)))
        threading.Event().wait(rng.random() * 0.1)  # anywhere inside an intake, a lease, a showing
    finally:
        process.kill()
        process.join()
    return found + read_reports(ours, 1_000_000)


def kill_again_and_again(folder: Path, kills: int, seed: int) -> None:
    FORKSERVER.set_forkserver_preload(["tests.producers.dispatcher.kill_child"])
    rng = random.Random(seed)
    proposer = Proposer(folder / "log.db")
    reported: list[str] = []
    for _ in range(kills):
        proposer.propose(AT_ONCE)
        reported += run_and_kill(folder, rng, AT_ONCE // 2)
    twice = [matchup_id for matchup_id, times in Counter(reported).items() if times > 1]
    assert not twice
    check_the_rest(folder, proposer, reported)
    assert len(reported) > kills


def check_the_rest(folder: Path, proposer: Proposer, reported: list[str]) -> None:
    """Finish what is left: every proposal is shown exactly once in the end, those that were shown already not again."""
    queue = kill_child.open_queue(folder)
    intake = Intake(SqliteLog(folder / "log.db"), queue)
    wait_until(lambda: queue.position() == proposer.ends())
    intake.close()
    assert intake.problem is None
    shown_before = {each for each in proposer.ids if queue.showing(each) is not None}
    assert shown_before >= set(reported)
    now = wall_clock_ms() + 2_000  # all leases of the dead have run out
    rest: list[str] = []
    while len(rest) + len(shown_before) < len(proposer.ids):
        work_off(queue, now)
        rest.append(must_show(queue, "last", now).matchup.matchup_id)
    assert sorted([*shown_before, *rest]) == sorted(proposer.ids)
    states = Counter(showing.state for each in proposer.ids if (showing := queue.showing(each)))
    counts = queue.counts(now).arenas[ARENA]
    assert counts.taken == counts.made == counts.shown_ever == len(proposer.ids)
    assert (counts.voted, counts.shown) == (states[MatchupState.VOTED], states[MatchupState.SHOWN])
    assert counts.proposed == counts.leased == counts.ready == counts.expired == counts.cancelled == 0
    queue.close()


def test_kills_lose_no_matchup_and_show_none_twice(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 15, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_kills_lose_no_matchup_and_show_none_twice(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 150, seed=2)
