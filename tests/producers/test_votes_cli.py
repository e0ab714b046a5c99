"""`kwise votes`: what the verbs append, print, and say when they cannot."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import kwise
from pipeline.contracts.control import decode_control
from pipeline.contracts.log import CONTROL, VOTES
from pipeline.contracts.vote import Vote
from pipeline.eventlog.urls import open_log
from producers.simulate.world import START_TIME, SimulatedWorld
from tests.conftest import wait_until
from tests.producers.archives import make_event, make_vote, write_store
from tests.producers.test_importers import BATTLES, SOC, write
from tests.producers.written import read_log


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(kwise, ["votes", *(str(each) for each in arguments)])


def read_values(url: str, topic: str) -> list[bytes]:
    reader = open_log(url).reader({}, live=False)
    try:
        values: list[bytes] = []
        while not reader.at_end():
            values += reader.poll(topic, 100_000, 0).values
            if topic == CONTROL:
                break
        return values
    finally:
        reader.close()


def read_votes(url: str) -> list[Vote]:
    votes = [msgspec.json.decode(value, type=Vote) for value in read_values(url, VOTES)]
    return sorted(votes, key=lambda vote: (vote.time, vote.vote_id))


def test_simulate_appends_arena_and_votes_and_prints_the_truth(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'events.db'}"
    result = invoke("simulate", "--to", url, "--votes", 300, "--seed", 4, "--models", 7, "--k", 3, "--format", "json")
    assert result.exit_code == 0, result.output
    world = SimulatedWorld(seed=4, models=7, k=3)
    assert [row["model"] for row in json.loads(result.stdout)] == world.truth
    assert f"300 records appended to {url}" in result.stderr
    values = read_values(url, VOTES)
    assert set(values) == {value for batch in world.votes(300) for value in batch}
    assert len(values) == 300
    assert [decode_control(value) for value in read_values(url, CONTROL)] == world.arena_events(START_TIME)


LOGS = ["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)]


@pytest.fixture
def log_url(request: pytest.FixtureRequest, tmp_path: Path, log: str) -> str:
    return str(request.getfixturevalue("kafka_url")) if log == "kafka" else f"sqlite:{tmp_path / 'events.db'}"


@pytest.mark.parametrize("log", LOGS)
def test_simulate_gives_the_same_votes_alone_and_in_envelopes(log_url: str) -> None:
    options = ["simulate", "--to", log_url, "--seed", 4, "--all-bad-share", 0.1, "--best-share", 0.2]
    assert invoke(*options, "--votes", 9_000).exit_code == 0
    alone = {written.vote.vote_id: (written.partition, written.vote) for written in read_log(log_url).votes}
    result = invoke(*options, "--votes", 9_000, "--envelope", 100)
    assert result.exit_code == 0, result.output
    assert f"9000 records appended to {log_url} in " in result.stderr
    held = read_log(log_url)
    assert len(alone) == 9_000
    assert len(held.votes) == 18_000
    assert 9_090 <= len(held.values) < 9_100
    assert {written.vote.vote_id: (written.partition, written.vote) for written in held.votes} == alone


@pytest.mark.parametrize("log", LOGS)
def test_simulate_at_a_rate_fills_envelopes_too(log_url: str) -> None:
    result = invoke("simulate", "--to", log_url, "--votes", 300, "--rate", 600, "--envelope", 20)
    assert result.exit_code == 0, result.output
    held = read_log(log_url)
    assert len(held.votes) == 300
    assert len(held.values) < 100


def test_simulate_puts_no_faults_into_envelopes(tmp_path: Path) -> None:
    result = invoke("simulate", "--to", f"sqlite:{tmp_path / 'e.db'}", "--envelope", 20, "--broken", 0.1)
    assert result.exit_code == 2
    assert "envelopes hold good votes only" in result.stderr
    files = invoke("simulate", "--to", f"{tmp_path}/log/", "--envelope", 20)
    assert files.exit_code == 1
    assert "envelopes go to kafka:// and sqlite: only" in files.stderr


@pytest.mark.kafka
def test_import_appends_to_kafka_what_it_appends_to_the_embedded_log(tmp_path: Path, kafka_url: str) -> None:
    url = f"sqlite:{tmp_path / 'events.db'}"
    file = write(tmp_path / "battles.json", BATTLES)
    for log in (url, kafka_url):
        assert invoke("import", "genai-arena", file, "--to", log).exit_code == 0
    assert sorted(read_values(kafka_url, VOTES)) == sorted(read_values(url, VOTES))
    assert read_values(kafka_url, CONTROL) == read_values(url, CONTROL)


def test_simulate_writes_votes_to_stdout_and_nothing_else(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "pipeline.cli.main", "votes", "simulate", "--to", "-", "--votes", "5"],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert process.stdout.splitlines() == [value for batch in SimulatedWorld().votes(5) for value in batch]
    assert b"holds votes only" in process.stderr


def test_simulate_goes_on_where_it_ended(tmp_path: Path) -> None:
    parts, whole = f"{tmp_path}/parts.jsonl", f"{tmp_path}/whole.jsonl"
    for first in (0, 60):
        assert invoke("simulate", "--to", parts, "--votes", 60, "--first", first).exit_code == 0
    assert invoke("simulate", "--to", whole, "--votes", 120).exit_code == 0
    assert Path(parts).read_bytes() == Path(whole).read_bytes()


def test_simulate_at_a_rate_takes_its_time_and_dates_votes_now(tmp_path: Path) -> None:
    url = f"{tmp_path}/log/"
    begun = time.time()
    result = invoke("simulate", "--to", url, "--votes", 20, "--rate", 40, "--bots", 1)
    assert result.exit_code == 0, result.output
    assert 0.45 < time.time() - begun < 20
    times = [vote.time for vote in read_votes(url)]
    assert len(times) == 20
    assert begun * 1000 - 1 <= times[0] <= time.time() * 1000
    assert times[-1] - times[0] == 475
    assert "bots: v0." in result.stderr


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_simulate_at_a_rate_stops_cleanly(tmp_path: Path, stop: signal.Signals) -> None:
    url = f"{tmp_path}/votes.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli.main", "votes", "simulate", "--to", url, "--rate", "200"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_until(lambda: Path(url).exists() and Path(url).stat().st_size > 0, timeout=60)
        process.send_signal(stop)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert b"model-01" in out
    assert b"stopped" in err
    assert read_votes(url)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", 3], "3 models are too few for matchups of 4"),
        (["--bot-favourite", "flux"], "favourite 'flux' is none of the models"),
        (["--noise", 2], "2.0 is not in the range 0<=x<=1"),
        (["--rate", 0], "0.0 is not in the range x>0"),
    ],
)
def test_simulate_tells_wrong_use(tmp_path: Path, options: list[object], message: str) -> None:
    result = invoke("simulate", "--to", tmp_path / "v.jsonl", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "v.jsonl").exists()


def test_simulate_fails_with_one_line_where_it_cannot_write(tmp_path: Path) -> None:
    result = invoke("simulate", "--to", "nonsense")
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "names no event log" in result.stderr


def test_import_appends_arenas_and_votes_and_says_what_it_left_out(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'events.db'}"
    file = write(tmp_path / "battles.json", BATTLES)
    result = invoke("import", "genai-arena", file, "--to", url, "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == [
        {"arena": "image-editing", "votes": 1},
        {"arena": "text-to-image", "votes": 4},
    ]
    assert "read 9 votes, imported 5, left out 4" in result.stderr
    assert "left out 1: of a model with itself" in result.stderr
    assert len(read_votes(url)) == 5
    assert [decode_control(value).type for value in read_values(url, CONTROL)] == [
        "arena.upsert", "model.add", "model.add", "arena.upsert", "model.add", "model.add",
    ]  # fmt: skip


def test_import_into_files_dates_definitions_before_the_votes(tmp_path: Path) -> None:
    url = f"{tmp_path}/log/"
    file = write(tmp_path / "x.soc", SOC)
    assert invoke("import", "preflib", file, "--to", url, "--arena-id", "dots").exit_code == 0
    events = [decode_control(value) for value in read_values(url, CONTROL)]
    votes = read_votes(url)
    assert {event.arena for event in events} == {vote.arena for vote in votes} == {"dots"}
    assert max(event.time for event in events) <= votes[0].time


def test_import_can_leave_arenas_as_they_are(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'events.db'}"
    file = write(tmp_path / "x.soc", SOC)
    assert invoke("import", "preflib", file, "--to", url, "--votes-only").exit_code == 0
    assert len(read_votes(url)) == 5
    assert read_values(url, CONTROL) == []


def test_import_of_a_bad_file_writes_nothing(tmp_path: Path) -> None:
    url = f"{tmp_path}/votes.jsonl"
    file = write(tmp_path / "battles.json", [*BATTLES, {**BATTLES[0], "winner": "me"}])
    result = invoke("import", "genai-arena", file, "--to", url)
    assert result.exit_code == 1
    assert f"{file}:10: unknown winner 'me'" in result.stderr
    assert not Path(url).exists()
    unknown = invoke("import", "csv", file, "--to", url)
    assert unknown.exit_code == 2
    assert "'csv' is not one of 'genai-arena'" in unknown.stderr


def test_import_of_a_file_without_votes_fails(tmp_path: Path) -> None:
    file = write(tmp_path / "battles.json", "[]")
    result = invoke("import", "lmarena", file, "--to", tmp_path / "votes.jsonl")
    assert result.exit_code == 1
    assert "no votes to import" in result.stderr


def test_export_leaves_retracted_votes_out_unless_asked(tmp_path: Path) -> None:
    store = write_store(
        tmp_path / "store",
        [
            make_vote(1, voter="bot"),
            make_event("voters.retract", voters=("bot", "good")),
            make_vote(2, voter="good"),
            make_event("voters.restore", voters=("good",)),
            make_vote(3, voter="bot", arena="clips"),
        ],
    )
    result = invoke("export", "--store", store, "--to", tmp_path / "some.parquet", "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == [{"file": str(tmp_path / "some.parquet"), "votes": 1}]
    assert "left out 2 retracted votes" in result.stderr
    table = pq.read_table(tmp_path / "some.parquet")
    assert table["matchup_id"].to_pylist() == ["m-2"]
    assert table["voter"][0].as_py().startswith("v0.")

    everything = tmp_path / "all.parquet"
    options = ["--store", store, "--to", everything, "--include-retracted", "--drop-voters"]
    assert invoke("export", *options).exit_code == 0
    assert pq.read_table(everything)["matchup_id"].to_pylist() == ["m-1", "m-2", "m-3"]
    assert pq.read_table(everything)["voter"].null_count == 3
    again = invoke("export", *options)
    assert again.exit_code == 2
    assert "exists: name a new file" in again.stderr


def test_export_names_voters_anew_each_time(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [make_vote(1, voter="alice")])
    names = set()
    for name in ("a.parquet", "b.parquet"):
        assert invoke("export", "--store", store, "--to", tmp_path / name).exit_code == 0
        names.add(pq.read_table(tmp_path / name)["voter"][0].as_py())
    assert len(names) == 2


def test_export_can_be_read_as_an_event_log_and_imported(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [make_vote(number) for number in range(10)])
    file = tmp_path / "votes.parquet"
    assert invoke("export", "--store", store, "--to", file).exit_code == 0
    batch = open_log(str(file)).reader({}, live=False).poll(VOTES, 1000, 0)
    assert len(batch) == 1
    log = f"{tmp_path}/again.jsonl"
    assert invoke("import", "kwise", file, "--to", log).exit_code == 0
    assert read_votes(log) == [make_vote(number) for number in range(10)]


def test_export_tells_what_is_missing(tmp_path: Path) -> None:
    missing = invoke("export", "--store", tmp_path / "none", "--to", tmp_path / "v.parquet")
    assert missing.exit_code == 1
    assert "there is no store" in missing.stderr
    wrong = invoke("export", "--store", tmp_path / "none", "--to", tmp_path / "v.csv")
    assert wrong.exit_code == 2
    assert "must end in .parquet" in wrong.stderr


@pytest.mark.parametrize("verb", ["import", "simulate", "feed", "export"])
def test_help_has_an_example(verb: str) -> None:
    result = invoke(verb, "--help")
    assert result.exit_code == 0
    assert f"kwise votes {verb} " in result.stdout
