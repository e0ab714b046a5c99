"""Promise 1: a replay of the archive equals live at every commit, and one of the raw log ends where live does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.contracts.envelope import encode_envelope
from pipeline.contracts.log import ARROW_STREAM, CONTENT_TYPE, VOTES, EventLog, Record
from pipeline.contracts.snapshot import Board
from pipeline.contracts.store import StoreError
from pipeline.contracts.vote import Vote
from pipeline.eventlog import open_log
from pipeline.operators.publish import copy_page, make_publication
from pipeline.operators.rate import Rate, RateSettings
from pipeline.rating.average import AverageState
from pipeline.store.duck_store import open_store
from pipeline.store.reader import StoreReader
from pipeline.streaming import graph, replay
from pipeline.streaming.owner import Owner
from pipeline.streaming.replay import Replayed, ReplayFilter, check_live, replay_archive, replay_log
from producers.simulate.faults import VoteBatch
from producers.simulate.world import SimulatedWorld
from tests.conftest import wait_until
from tests.end_to_end.jobs import (
    append,
    append_events,
    archived_votes,
    call,
    count_naively,
    dead_letters,
    is_caught_up,
    live_job,
    make_event,
    make_kafka_log,
    make_log,
    published_counts,
    run_to_end,
)

pytestmark = pytest.mark.timeout(120)

PICTURES = SimulatedWorld(models=9, k=4, seed=11, arena_id="pictures", voters=30, duplicates=0.08, broken=0.06)
CLIPS = SimulatedWorld(models=6, k=3, seed=12, arena_id="clips", voters=30, best_share=0.3, noise=0.2)
START = 1_764_000_000_000
ALL = ("posterior", "average", "ksort", "elo", "win_rate")

State = dict[str, Any]


def picture(rate: Rate) -> State:
    """Copy everything that a replay has to end with, bit for bit."""
    rate.settle()
    arenas = {}
    for arena_id, arena in rate.book.arenas.items():
        counts = arena.counts.freeze()
        publication, _ = make_publication(copy_page(rate, arena_id), 0)
        arenas[arena_id] = {
            "votes": arena.votes,
            "as_of": arena.as_of,
            "tallies": {prompt: list(tally) for prompt, tally in sorted(arena.tallies.items())},
            "counts": (counts.codes.tobytes(), counts.counts.tobytes()),
            "ksort": arena.ksort.to_bytes(),
            "elo": arena.elo.to_bytes(),
            "average": arena.average.to_bytes(),
            "boards": {method: _bare(board) for method, board in publication.boards.items()},
        }
    return {
        "sequence": rate.book.sequence,
        "log_time": rate.book.log_time,
        "registry": msgspec.json.encode(rate.book.registry.freeze()),
        "arenas": arenas,
    }


def _bare(board: Board) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(board, commit=0))


def boards_of(folder: Path, methods: tuple[str, ...]) -> dict[str, bytes]:
    reader = StoreReader(folder)
    return {
        f"{arena} {method}": _bare(reader.board(arena, method))
        for arena in sorted(reader.arenas())
        for method in methods
    }


def numbers_of(folder: Path) -> dict[str, Any]:
    """Return what does not depend on the order of votes: counts by name and votes."""
    reader = StoreReader(folder)
    return {arena: (published_counts(folder, arena), reader.board(arena).votes) for arena in reader.arenas()}


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[int, State]:
    """Collect what memory holds at each commit of a live job."""
    found: dict[int, State] = {}
    commit = Owner.commit

    def commit_and_note(self: Owner) -> None:
        before = self.rate.last_commit
        commit(self)
        if self.rate.last_commit != before:
            found[self.rate.last_commit] = picture(self.rate)

    monkeypatch.setattr(Owner, "commit", commit_and_note)
    return found


def make_steps(log: EventLog) -> Iterator[Callable[[], None]]:
    """Give appends; after each one whoever runs them waits until it is committed.

    Votes in two arenas, as JSON and in envelopes, with duplicates, broken ones and second votes on a matchup; voters
    and matchups are retracted and restored, a model retires, another one comes.
    """
    pictures = iter(_cut(PICTURES, 1800, 12))
    clips = iter(_cut(CLIPS, 480, 6))
    voters = PICTURES.voter_ids

    def votes(*batches: VoteBatch) -> Callable[[], None]:
        return lambda: append(log, VOTES, [record for batch in batches for record in batch.records()])

    def events(*made: Any) -> Callable[[], None]:
        return lambda: append_events(log, made)

    yield events(*PICTURES.arena_events(START), *CLIPS.arena_events(START)[:-1])
    first = next(pictures)
    yield votes(first, next(clips))
    yield votes(next(pictures), _second_votes(first))
    yield events(make_event("voters.retract", voters=voters[:3]))
    yield votes(next(pictures), next(pictures))
    yield events(make_event("voters.retract", arena="pictures", voters=voters[3:5]))
    yield lambda: append(log, VOTES, _envelopes(next(clips), bad_row=True))
    yield events(
        make_event("voters.restore", voters=voters[1:2]),
        make_event("matchups.retract", arena="pictures", matchups=_matchups(first)[:5]),
    )
    yield votes(next(pictures), first)
    yield events(CLIPS.arena_events(START)[-1], make_event("model.retire", arena="pictures", model="model-02"))
    yield votes(next(clips), next(pictures))
    yield events(
        make_event("voters.restore", arena="pictures", voters=voters[3:5]),
        make_event("model.retire", arena="pictures", model="nobody"),
        make_event("voters.retract", arena="nowhere", voters=voters[:1]),
    )
    yield votes(*pictures, *clips)


def _cut(world: SimulatedWorld, count: int, parts: int) -> list[VoteBatch]:
    size = count // parts
    return [
        next(world.batches(size, first=part * size, start_time=START, rate=1000.0, batch_size=1 << 20))
        for part in range(parts)
    ]


def _good(batch: VoteBatch) -> list[bytes]:
    expected = batch.expected or [None] * len(batch)
    return [value for value, reason in zip(batch.values, expected, strict=True) if reason is None]


def _matchups(batch: VoteBatch) -> list[str]:
    return [json.loads(value)["matchup_id"] for value in _good(batch)]


def _second_votes(batch: VoteBatch) -> VoteBatch:
    """Return other votes on the matchups of `batch`."""
    good = [json.loads(value) for value in _good(batch)[:40]]
    values = [json.dumps({**vote, "vote_id": f"again-{number}"}).encode() for number, vote in enumerate(good)]
    return VoteBatch(values, [vote["matchup_id"] for vote in good])


def _envelopes(batch: VoteBatch, *, bad_row: bool = False) -> list[Record]:
    """Return the votes of `batch` in two records, one of them with a row from the future; and one broken record."""
    votes = [msgspec.json.decode(value, type=Vote) for value in _good(batch)]
    if bad_row:
        votes[7] = msgspec.structs.replace(votes[7], time=START * 2)
    headers = {CONTENT_TYPE: ARROW_STREAM}
    halves = [votes[: len(votes) // 2], votes[len(votes) // 2 :]]
    values = [*map(encode_envelope, halves), b"no envelope"]
    return [Record(value, f"envelope-{number}", headers) for number, value in enumerate(values)]


@dataclass(frozen=True, slots=True)
class LiveRun:
    log: EventLog
    folder: Path
    states: dict[int, State]


def run_live(log: EventLog, folder: Path, states: dict[int, State]) -> LiveRun:
    """Run the job while another thread appends."""
    failed: list[BaseException] = []

    def write() -> None:
        try:
            for step in make_steps(log):
                step()
                wait_until(lambda: is_caught_up(log, folder), 30)
        except BaseException as error:
            failed.append(error)

    with live_job(log, folder):
        writer = threading.Thread(target=write)
        writer.start()
        writer.join()
    assert not failed, failed
    return LiveRun(log, folder, dict(states))


@pytest.fixture(params=["4 partitions", "1 partition", pytest.param("Kafka", marks=pytest.mark.kafka)])
def live(
    tmp_path: Path, states: dict[int, State], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> LiveRun:
    monkeypatch.setattr(graph, "BUNDLE_S", 0.1)
    if request.param == "Kafka":
        log = make_kafka_log(request.getfixturevalue("kafka_url"))
    else:
        log = make_log(tmp_path, partitions=int(request.param[0]))
    return run_live(log, tmp_path / "live", states)


def replay_into(source: Path, folder: Path, chosen: ReplayFilter | None = None, **settings: Any) -> Replayed:
    with open_store(folder, holder="a test") as store:
        return replay_archive(
            StoreReader(source), store, chosen or ReplayFilter(), announce=print, progress=lambda _: None, **settings
        )


def replay_raw(log: EventLog, folder: Path) -> Replayed:
    with open_store(folder, holder="a test") as store:
        settings = RateSettings(propose=False)
        return replay_log(log, store, settings, ReplayFilter(), announce=print, progress=lambda _: None)


def test_replays_equal_live_and_go_on_from_it(
    live: LiveRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    # Small batches and many durable commits: cuts come in the middle of commits and of retractions.
    monkeypatch.setattr(replay, "_ROWS", 37)
    monkeypatch.setattr(replay, "_COMMIT_RECORDS", 100)
    one_partition = "1 partition" in request.node.name

    # The archive, at every commit.
    rebuilt = tmp_path / "rebuilt"
    seen: dict[int, State] = {}
    done = replay_into(live.folder, rebuilt, on_commit=lambda number, rate: seen.update({number: picture(rate)}))
    assert len(seen) >= 10
    assert seen.keys() <= live.states.keys()
    for number, state in seen.items():
        assert state == live.states[number], f"commit {number}"
    assert done.sequence == live.states[max(live.states)]["sequence"]
    averages = {state["arenas"]["pictures"]["average"] for state in seen.values() if "pictures" in state["arenas"]}
    assert max(AverageState.from_bytes(average).blocks for average in averages) >= 2
    assert boards_of(rebuilt, ALL) == boards_of(live.folder, ALL)
    assert archived_votes(rebuilt) == archived_votes(live.folder)
    assert dead_letters(rebuilt) == dead_letters(live.folder)
    assert StoreReader(rebuilt).positions() == StoreReader(live.folder).positions()

    # The raw log.
    raw = tmp_path / "raw"
    replay_raw(live.log, raw)
    assert sorted(archived_votes(raw)) == sorted(archived_votes(live.folder))
    assert numbers_of(raw) == numbers_of(live.folder)
    assert boards_of(raw, ("posterior", "win_rate")) == boards_of(live.folder, ("posterior", "win_rate"))
    assert dead_letters(raw) == dead_letters(live.folder)
    if one_partition:
        assert archived_votes(raw) == archived_votes(live.folder)
        assert boards_of(raw, ALL) == boards_of(live.folder, ALL)

    # More votes, old ones among them, on the live store and on those made from it.
    more = SimulatedWorld(**{**settings_of(PICTURES), "seed": 99})
    old = _cut(PICTURES, 1800, 12)[3]
    append(live.log, VOTES, old.records())
    append(live.log, VOTES, _second_votes(old).records())
    append(live.log, VOTES, _cut(more, 300, 1)[0].records())
    before = len(archived_votes(live.folder))
    for folder in (live.folder, rebuilt, raw):
        run_to_end(live.log, folder)
        assert len(archived_votes(folder)) == before + 300
        assert numbers_of(folder) == numbers_of(live.folder)
        assert dead_letters(folder) == dead_letters(live.folder)
    assert archived_votes(rebuilt) == archived_votes(live.folder)
    assert boards_of(rebuilt, ALL) == boards_of(live.folder, ALL)
    assert boards_of(raw, ("posterior",)) == boards_of(live.folder, ("posterior",))


def settings_of(world: SimulatedWorld) -> dict[str, Any]:
    return {name: getattr(world, name) for name in world.__dataclass_fields__}


def test_board_is_what_the_accepted_votes_say(tmp_path: Path) -> None:
    """Counts, duplicates and second votes against a count by hand."""
    log = make_log(tmp_path)
    batch = _cut(PICTURES, 400, 1)[0]
    append_events(log, PICTURES.arena_events(START))
    append(log, VOTES, batch.records())
    append(log, VOTES, [*_second_votes(batch).records(), *batch.records()])
    run_to_end(log, tmp_path / "store")
    assert published_counts(tmp_path / "store", "pictures") == count_naively(_good(batch))
    assert StoreReader(tmp_path / "store").board("pictures").votes == 400
    letters = dead_letters(tmp_path / "store")
    assert sum(count for (reason, _), count in letters.items() if reason == "already_voted") == 40


def test_replay_without_a_voter_equals_a_retraction(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    suspect = PICTURES.voter_ids[4]
    append_events(log, PICTURES.arena_events(START))
    append(log, VOTES, _cut(PICTURES, 600, 1)[0].records())
    run_to_end(log, tmp_path / "kept")
    replay_into(tmp_path / "kept", tmp_path / "without", ReplayFilter(without_voters=(suspect,)))
    append_events(log, [make_event("voters.retract", voters=(suspect,))])
    run_to_end(log, tmp_path / "kept")
    replay_into(tmp_path / "kept", tmp_path / "replayed")
    for folder in (tmp_path / "without", tmp_path / "replayed"):
        without, kept = numbers_of(folder), numbers_of(tmp_path / "kept")
        assert without == kept
        assert {name: drop_times(board) for name, board in boards_of(folder, ALL).items()} == {
            name: drop_times(board) for name, board in boards_of(tmp_path / "kept", ALL).items()
        }
    assert StoreReader(tmp_path / "kept").board("pictures").votes < 600


def drop_times(board: bytes) -> dict[str, Any]:
    fields = json.loads(board)
    del fields["log_time"]
    return dict(fields)


def test_replay_until_a_time_is_the_board_of_that_time_and_cannot_go_on_live(tmp_path: Path) -> None:
    moment = [START]
    log = make_log(tmp_path, clock=lambda: moment[0])
    append_events(log, PICTURES.arena_events(START))
    for part in _cut(PICTURES, 600, 3):
        moment[0] += 1000
        append(log, VOTES, part.records())
        run_to_end(log, tmp_path / "live", clock=lambda: moment[0])
    until = START + 2000
    replay_into(tmp_path / "live", tmp_path / "archived", ReplayFilter(until=until))
    assert len(archived_votes(tmp_path / "archived")) == 400
    for method in ALL:
        past = StoreReader(tmp_path / "live").board("pictures", method, at=until)
        now = StoreReader(tmp_path / "archived").board("pictures", method)
        assert [(model.model, model.mean, model.sd) for model in now.models] == [
            (model.model, model.mean, model.sd) for model in past.models
        ]
    call("replay", "--from", log.url, "--store", tmp_path / "raw", "--until", str(until))
    assert numbers_of(tmp_path / "raw") == numbers_of(tmp_path / "archived")
    for name in ("archived", "raw"):
        with open_store(tmp_path / name, holder="a test") as store, pytest.raises(StoreError, match="--until"):
            check_live(store)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_replay_of_a_file_whose_append_times_go_back_equals_live(tmp_path: Path, kind: str) -> None:
    """The second vote comes from the future of its append time; its neighbour's late one must not make it good."""
    file = tmp_path / f"votes.{kind}"
    votes = [json.loads(value) for value in next(PICTURES.batches(6)).values]
    for vote, (later, late) in zip(
        votes, [(0, 0), (0, 3_600_000), (600_000, 10), (0, 20), (0, 7_200_000)], strict=False
    ):
        vote |= {"time": START + later, "appended_at": START + late}
    append(open_log(str(file)), VOTES, [Record(json.dumps(vote).encode()) for vote in votes[:5]])
    log = open_log(str(file))
    run_to_end(log, tmp_path / "live")
    call("replay", "--from", file, "--store", tmp_path / "raw")
    assert list(archive_times(tmp_path / "raw")) == list(archive_times(tmp_path / "live")) != []
    assert dead_letters(tmp_path / "raw") == dead_letters(tmp_path / "live")
    assert [reason for reason, _ in dead_letters(tmp_path / "raw")] == ["bad_time"]
    for name, url in (("r", file), ("a", tmp_path / "live" / "archive")):
        call("replay", "--from", url, "--store", tmp_path / name, "--until", str(START + 3_600_000))
    assert list(archive_times(tmp_path / "r")) == list(archive_times(tmp_path / "a"))
    assert len(archived_votes(tmp_path / "r")) == len(archived_votes(tmp_path / "raw")) - 1


def test_a_store_that_leaves_votes_out_says_so_wherever_it_is_taken_from(tmp_path: Path) -> None:
    file, filtered = tmp_path / "votes.jsonl", tmp_path / "filtered"
    votes = [json.loads(value) for value in next(PICTURES.batches(60)).values[:40]]
    votes = [vote | {"time": START + number} for number, vote in enumerate(votes) if "time" in vote]
    append(open_log(str(file)), VOTES, [Record(json.dumps(vote).encode()) for vote in votes])
    stretch = ("--event-from", str(START + 10), "--event-until", str(START + 19))
    call("replay", "--from", file, "--store", filtered, *stretch)
    counted = StoreReader(filtered).board("pictures").votes
    assert 0 < counted <= 10 < len(archived_votes(filtered))
    said = call("replay", "--from", filtered / "archive", "--store", tmp_path / "again").stderr
    assert "leaves votes out" in said
    assert numbers_of(tmp_path / "again") == numbers_of(filtered)
    call("replay", "--from", filtered / "archive", "--store", tmp_path / "less", "--event-from", str(START + 15))
    assert StoreReader(tmp_path / "less").board("pictures").votes < counted
    call("votes", "export", "--store", tmp_path / "again", "--to", tmp_path / "votes.parquet")
    assert pq.read_metadata(tmp_path / "votes.parquet").num_rows == counted
    for name in ("filtered", "again"):
        refused = call("pipeline", "run", "--from", file, "--store", tmp_path / name, code=1)
        assert "made by a replay that left votes out" in refused.output


def test_replay_refuses_a_method_that_it_does_not_know_before_it_reads(tmp_path: Path) -> None:
    append(open_log(str(tmp_path / "votes.jsonl")), VOTES, next(PICTURES.batches(5)).records())
    refused = call(
        "replay", "--from", tmp_path / "votes.jsonl", "--store", tmp_path / "store", "--method", "zz", code=2
    )
    assert "no method 'zz'; there are posterior, average" in refused.output
    assert not (tmp_path / "store").exists()


def archive_times(folder: Path) -> Iterator[tuple[str, int]]:
    for batch in StoreReader(folder).read_archive():
        yield from zip(batch["vote_id"].to_pylist(), batch["appended_at"].to_pylist(), strict=True)


def test_replay_of_a_store_that_goes_on_meanwhile_takes_over_all_of_it(tmp_path: Path) -> None:
    """Its positions must not lead past votes that were archived after the replay had read."""
    log = make_log(tmp_path)
    parts = iter(_cut(PICTURES, 900, 3))
    append_events(log, PICTURES.arena_events(START))
    append(log, VOTES, next(parts).records())
    live = tmp_path / "live"
    run_to_end(log, live)

    def vote_meanwhile(_number: int, _rate: Rate) -> None:
        if (part := next(parts, None)) is not None:
            append(log, VOTES, part.records())
            run_to_end(log, live)

    replay_into(live, tmp_path / "rebuilt", on_commit=vote_meanwhile)
    assert archived_votes(tmp_path / "rebuilt") == archived_votes(live)
    assert len(archived_votes(live)) == 900
    assert boards_of(tmp_path / "rebuilt", ALL) == boards_of(live, ALL)
    append(log, VOTES, _cut(SimulatedWorld(**{**settings_of(PICTURES), "seed": 99}), 100, 1)[0].records())
    for folder in (live, tmp_path / "rebuilt"):
        run_to_end(log, folder)
    assert archived_votes(tmp_path / "rebuilt") == archived_votes(live)


def test_replay_of_the_raw_log_is_repeatable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down to the numbers of its commits: what `kwise replay` prints is a function of the log."""
    monkeypatch.setattr(replay, "_COMMIT_RECORDS", 100)
    monkeypatch.setattr(replay, "_POLL_RECORDS", 50)
    log = make_log(tmp_path)
    append_events(log, PICTURES.arena_events(START))
    append(log, VOTES, _cut(PICTURES, 500, 1)[0].records())
    printed = [
        call("replay", "--from", log.url, "--store", tmp_path / name, "--method", "ksort", "--format", "json").stdout
        for name in ("one", "two")
    ]
    assert printed[0] == printed[1]
    assert json.loads(printed[0])["commit"] > 3


def test_replay_refuses_a_store_that_is_not_new(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    append(log, VOTES, _cut(CLIPS, 20, 1)[0].records())
    run_to_end(log, tmp_path / "store")
    failed = call("replay", "--from", log.url, "--store", tmp_path / "store", code=1)
    assert "the store already has 1 commits; replay into a new folder" in failed.stderr
    missing = call("replay", "--from", f"sqlite:{tmp_path / 'none.db'}", "--store", tmp_path / "new", code=1)
    assert "none.db does not exist" in missing.stderr
    assert not (tmp_path / "new").exists()


def test_commits_are_cut_where_they_change() -> None:
    commits = [1, 1, 2, 2, 2, 4, 4, 4, 4, 9]
    rows = pa.record_batch(
        {
            "sequence": np.arange(1, 11),
            "commit": pa.array(commits, pa.int64()),
            "appended_at": pa.array(range(10, 20), pa.int64()),
        }
    )
    batches = [rows.slice(0, 1), rows.slice(1, 3), rows.slice(4, 3), rows.slice(7, 3)]
    pieces = list(replay._cut_at_commits(iter(batches), None, renumber=False))
    assert [(piece["commit"].to_pylist(), last) for piece, last in pieces] == [
        ([1], False), ([1], True), ([2, 2], False), ([2], True), ([4, 4], False), ([4, 4], True), ([9], True),
    ]  # fmt: skip
    pieces = list(replay._cut_at_commits(iter(batches), 14, renumber=True))
    assert [piece["sequence"].to_pylist() for piece, _ in pieces] == [[1], [2], [3, 4], [5]]
    assert pieces[-1][1]
