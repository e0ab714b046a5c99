"""An arena without votes, or whose votes have stopped: everything that control events and time change goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.contracts.log import MATCHUPS, VOTES
from pipeline.contracts.matchup import Matchup, decode_matchup
from pipeline.contracts.snapshot import Board
from pipeline.store.errors import ReaderError
from pipeline.store.reader import StoreReader
from producers.simulate.world import SimulatedWorld
from tests.conftest import wait_until
from tests.end_to_end.jobs import append, call, call_json, live_job, make_log

pytestmark = pytest.mark.timeout(90)

ARENA = """
[arena]
id = "pictures"
title = "Pictures"
k = 3
settings = { open_min = 5, matchup_ttl_seconds = 1.5 }

[[model]]
id = "model-02"
name = "Second"

[[model]]
id = "model-01"

[[model]]
id = "model-03"

[[model]]
id = "model-04"

[[prompt]]
id = "p-1"
text = "A cat"
"""


def find_board(folder: Path, arena: str) -> Board | None:
    try:
        return StoreReader(folder).board(arena)
    except ReaderError:
        return None


def test_arena_lives_without_a_vote(tmp_path: Path) -> None:
    log, folder = make_log(tmp_path), tmp_path / "store"
    file = tmp_path / "arena.toml"
    file.write_text(ARENA)
    reader = log.reader({}, live=True)

    def read_proposals() -> list[Matchup]:
        return [decode_matchup(value) for value in reader.poll(MATCHUPS, 1000, 0.0).values]

    try:
        with live_job(log, folder, propose=True) as said:
            call("arena", "apply", file, "--to", log.url)
            board = wait_until(lambda: (found := find_board(folder, "pictures")) and found.models and found, 30)
            assert isinstance(board, Board)
            wait_until(lambda: len(StoreReader(folder).board("pictures").models) == 4, 10)
            wait_until(lambda: "pictures" in StoreReader(folder).arenas(), 10)  # the store's list comes after its board

            # Shown with its prior.
            board = StoreReader(folder).board("pictures")
            assert (board.votes, board.as_of) == (0, None)
            assert [row.model for row in board.models] == ["model-01", "model-02", "model-03", "model-04"]
            assert {(row.mean, row.votes, row.comparisons) for row in board.models} == {(0.0, 0, 0)}
            assert {(row.rank_low, row.rank_high) for row in board.models} == {(1, 4)}
            shown = call_json("board", "show", "--store", folder, "--arena", "pictures")
            assert [row["name"] for row in shown["models"]] == [None, "Second", None, None]

            # Proposals, and new ones when they expire.
            first = wait_until(read_proposals, 10)
            assert len(first) == 5
            assert {len(set(matchup.models)) for matchup in first} == {3}
            assert {matchup.prompt.id for matchup in first if matchup.prompt} == {"p-1"}
            renewed = wait_until(read_proposals, 20)
            assert len(renewed) == 5
            assert not {matchup.matchup_id for matchup in first} & {matchup.matchup_id for matchup in renewed}
            assert min(matchup.created for matchup in renewed) >= min(matchup.expires for matchup in first)
            wait_until(
                lambda: (
                    not {matchup.matchup_id for matchup in StoreReader(folder).publication("pictures").open_matchups}
                    & {matchup.matchup_id for matchup in first}
                ),
                10,
            )

            # A change of settings, and a model that retires, are seen as well.
            changed = ARENA.replace("open_min = 5", "open_min = 0").replace('"Second"', '"Second"\nretired = true')
            file.write_text(changed)
            call("arena", "apply", file, "--to", log.url)
            wait_until(
                lambda: any(model.retired for model in StoreReader(folder).publication("pictures").registered.models),
                10,
            )
            wait_until(lambda: not StoreReader(folder).publication("pictures").open_matchups, 20)
            beats = StoreReader(folder).heartbeat()
            assert beats is not None
            wait_until(lambda: (beat := StoreReader(folder).heartbeat()) and beat.time > beats.time, 10)
    finally:
        reader.close()
    assert said == []


def test_retraction_is_published_without_a_vote_after_it(tmp_path: Path) -> None:
    log, folder = make_log(tmp_path), tmp_path / "store"
    world = SimulatedWorld(models=5, k=3, seed=4, voters=10, arena_id="pictures")
    batch = next(world.batches(200, batch_size=1000))
    suspect = world.voter_ids[0]
    mine = sum(suspect.encode() in value for value in batch.values)
    with live_job(log, folder):
        append(log, VOTES, batch.records())
        wait_until(lambda: (found := find_board(folder, "pictures")) and found.votes == 200, 30)
        before = {method: StoreReader(folder).board("pictures", method) for method in ("posterior", "ksort", "elo")}
        call("voters", "quarantine", "--to", log.url, "--voter", suspect, "--reason", "a test")
        wait_until(lambda: StoreReader(folder).board("pictures").votes == 200 - mine, 20)
        during = {method: StoreReader(folder).board("pictures", method) for method in before}
        assert all(
            [row.mean for row in during[method].models] != [row.mean for row in before[method].models]
            for method in before
        )
        call("voters", "restore", "--to", log.url, "--voter", suspect, "--reason", "a mistake")
        wait_until(lambda: StoreReader(folder).board("pictures").votes == 200, 20)
        after = {method: StoreReader(folder).board("pictures", method) for method in before}
    assert {method: board.models for method, board in after.items()} == {
        method: board.models for method, board in before.items()
    }
