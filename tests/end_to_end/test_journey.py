"""What a user does with `kwise`, from the first vote to an export."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts.log import VOTES, Record
from pipeline.eventlog import open_log
from pipeline.store.reader import StoreReader
from producers.simulate.world import SimulatedWorld
from tests.end_to_end.jobs import (
    Program,
    append,
    archived_votes,
    call,
    call_json,
    is_caught_up,
    make_log,
    published_counts,
    run_to_end,
    wait_while_running,
)

KEYS = ["arena", "method", "methodology", "as_of", "votes", "commit", "models"]
MODEL_KEYS = [
    *("rank", "rank_low", "rank_high", "model", "name", "organization", "license", "mean", "sd", "low", "high"),
    *("score", "rating", "rating_low", "rating_high", "votes", "comparisons", "group", "p_best"),
]


def show(store: Path, *more: str) -> dict[str, Any]:
    board: dict[str, Any] = call_json("board", "show", "--store", store, *more)
    return board


def without_commit(board: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in board.items() if name != "commit"}


@pytest.mark.timeout(120)
def test_from_simulated_votes_to_an_export(tmp_path: Path) -> None:
    url, store = f"sqlite:{tmp_path / 'events.db'}", tmp_path / "store"
    simulated = call_json(
        "votes", "simulate", "--to", url, "--votes", "2500", "--seed", "5", "--models", "6", "--bots", "2"
    )
    truth = [row["model"] for row in simulated]

    with Program("pipeline", "run", "--from", url, "--store", store) as job:
        wait_while_running(job, lambda: is_caught_up(open_log(url), store))
        assert job.end(signal.SIGTERM) == 0, job.stderr
    assert job.stderr.splitlines()[0] == f"rating {url} into {store}, from commit 0; Ctrl-C stops"
    assert job.stdout == ""

    board = show(store)
    assert list(board)[: len(KEYS)] == KEYS
    assert set(board) - set(KEYS) <= {"log_time", "rebuilding", "parameters"}
    assert {tuple(row) for row in board["models"]} == {tuple(MODEL_KEYS)}
    assert [row["model"] for row in board["models"]] == truth
    assert (board["arena"], board["method"], board["votes"]) == ("simulated", "posterior", 2500)
    assert isinstance(board["as_of"], int)
    for method in ("ksort", "win_rate"):
        assert {row["rating"] for row in show(store, "--method", method)["models"]} == {None}

    # Replays of the raw log and of the archive.
    raw, archived = tmp_path / "raw", tmp_path / "archived"
    assert call_json("replay", "--from", url, "--store", raw) == [
        {"arena": "simulated", "models": 6, "votes": 2500, "leader": truth[0]}
    ]
    call("replay", "--from", f"{store}/archive/", "--store", archived)
    assert without_commit(show(raw)) == without_commit(board)
    for method in ("posterior", "ksort", "elo", "win_rate"):
        assert without_commit(show(archived, "--method", method)) == without_commit(show(store, "--method", method))

    # An export, and a replay of it.
    file = tmp_path / "votes.parquet"
    assert call_json("votes", "export", "--store", store, "--to", file) == [{"file": str(file), "votes": 2500}]
    call("replay", "--from", file, "--store", tmp_path / "exported")
    assert published_counts(tmp_path / "exported", "simulated") == published_counts(store, "simulated")
    assert ratings(show(tmp_path / "exported")) == ratings(board)

    # Without a voter: as if retracted.
    suspect = SimulatedWorld(models=6, seed=5, bots=2).bot_ids[0]
    call("replay", "--from", url, "--store", tmp_path / "without", "--without-voter", suspect)
    call("voters", "quarantine", "--to", url, "--voter", suspect, "--reason", "votes at random")
    run_to_end(open_log(url), store)
    kept = show(store)
    assert kept["votes"] < 2500
    assert ratings(show(tmp_path / "without")) == ratings(kept)
    assert show(tmp_path / "without")["votes"] == kept["votes"]
    assert published_counts(tmp_path / "without", "simulated") == published_counts(store, "simulated")
    assert len(archived_votes(tmp_path / "without")) == 2500


def ratings(board: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(row["model"], row["mean"], row["sd"], row["votes"], row["comparisons"]) for row in board["models"]]


@pytest.mark.timeout(60)
def test_archive_is_for_replay_alone(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    append(log, VOTES, next(SimulatedWorld(models=5, seed=1).batches(50)).records())
    run_to_end(log, tmp_path / "store")
    archive = f"{tmp_path / 'store'}/archive/"
    refused = call("pipeline", "run", "--from", archive, "--store", tmp_path / "other", code=1)
    assert "is the archive of a store, not an event log" in refused.stderr
    assert not (tmp_path / "other").exists()
    refused = call("votes", "simulate", "--to", archive, "--votes", "5", code=1)
    assert "is the archive of a store" in refused.stderr
    nowhere = call("replay", "--from", f"{tmp_path / 'nowhere'}/archive/", "--store", tmp_path / "other", code=1)
    assert nowhere.stderr.startswith("Error: ")
    assert not (tmp_path / "other").exists()
    # Where it is allowed, with and without the last slash.
    call("replay", "--from", archive.rstrip("/"), "--store", tmp_path / "one")
    call("replay", "--from", archive, "--store", tmp_path / "two", "--event-from", "2026-01-01T00:00:02Z")
    assert StoreReader(tmp_path / "one").board("simulated").votes == 50
    assert StoreReader(tmp_path / "two").board("simulated").votes == 30
    assert len(archived_votes(tmp_path / "two")) == 50


@pytest.mark.timeout(60)
def test_replay_until_a_time_leaves_later_records_out(tmp_path: Path) -> None:
    moment = [1_764_000_000_000]
    log = make_log(tmp_path, clock=lambda: moment[0])
    world = SimulatedWorld(models=5, seed=1)
    for first in (0, 40, 80):
        append(log, VOTES, next(world.batches(40, first=first, start_time=moment[0])).records())
        moment[0] += 60_000
    run_to_end(log, tmp_path / "store")
    for name, url in (("raw", log.url), ("archived", tmp_path / "store" / "archive")):
        call("replay", "--from", url, "--store", tmp_path / name, "--until", "1764000060000")
        assert sorted(archived_votes(tmp_path / name)) == sorted(
            json.loads(value)["vote_id"] for value in next(world.batches(80)).values
        )
        call("replay", "--from", url, "--store", tmp_path / f"{name}-0", "--until", "1763999999999")
        assert archived_votes(tmp_path / f"{name}-0") == []


@pytest.mark.timeout(60)
def test_job_on_a_file_of_votes_needs_no_other_topic(tmp_path: Path) -> None:
    file = tmp_path / "votes.jsonl"
    call("votes", "simulate", "--to", file, "--votes", "300", "--models", "5", "--seed", "2")
    with Program("pipeline", "run", "--from", file, "--store", tmp_path / "store") as job:
        wait_while_running(job, lambda: is_caught_up(open_log(str(file)), tmp_path / "store"))
        append(open_log(str(file)), VOTES, [Record(value) for value in more_votes()])
        wait_while_running(job, lambda: len(archived_votes(tmp_path / "store")) == 310)
        assert job.end(signal.SIGTERM) == 0, job.stderr
    assert "has no topic matchups: proposals are on the published board only" in job.stderr
    assert StoreReader(tmp_path / "store").board("simulated").votes == 310


def more_votes() -> list[bytes]:
    world = SimulatedWorld(models=5, seed=2)
    return [value for batch in world.votes(10, first=300) for value in batch]
