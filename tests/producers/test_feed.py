"""`kwise votes feed`: what is in the fed log is what was in the other, at its pace."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import kwise
from pipeline.contracts.control import decode_control
from pipeline.contracts.envelope import encode_envelope
from pipeline.contracts.log import ARROW_STREAM, CONTENT_TYPE, CONTROL, VOTES, LogBatch, Record
from pipeline.contracts.vote import encode_vote
from pipeline.contracts.vote_batch import encode_rows, tabulate_votes
from pipeline.eventlog.sqlite_log import SqliteLog
from pipeline.eventlog.urls import open_log
from pipeline.operators.ingest import ingest_batch
from tests.conftest import wait_until
from tests.producers.archives import TIME, make_event, make_vote, write_store
from tests.producers.written import make_topics

HEADERS = {CONTENT_TYPE: ARROW_STREAM}


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(kwise, ["votes", "feed", *(str(each) for each in arguments)])


class Ticking:
    """A clock that moves on by `step` ms at each look."""

    def __init__(self, step: int) -> None:
        self.now = TIME
        self._step = step

    def __call__(self) -> int:
        self.now += self._step
        return self.now


def fill(path: Path, records: Sequence[Record], *, step: int = 1) -> str:
    """Make a log of `records`, appended one by one, `step` ms apart; the key ``control`` marks control events."""
    log = SqliteLog(path, clock=Ticking(step))
    log.create_topics({VOTES: 3, CONTROL: 1})
    writer = log.writer()
    for record in records:
        writer.append(CONTROL if record.key == "control" else VOTES, [record])
    writer.close()
    return log.url


def read_batches(url: str, topic: str = VOTES) -> list[LogBatch]:
    reader = open_log(url).reader({}, live=False)
    batches = [reader.poll(topic, 10_000, 0)]
    reader.close()
    return batches


def verdicts(url: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the votes of a log, and the reasons and texts of what is refused, whatever their places are."""
    votes: list[str] = []
    refused: list[tuple[str, str]] = []
    for batch in read_batches(url):
        decoded = ingest_batch(batch)
        table = pa.Table.from_batches([decoded.votes]).select(
            ["vote_id", "matchup_id", "arena", "time", "voter", "mode", "models", "ranks", "token", "fault"]
        )
        votes += [json.dumps({"vote_id": row["vote_id"], **row}) for row in table.to_pylist()]
        refused += [(row["reason"], repr(_plain(row["payload"]))) for row in decoded.rejects.to_pylist()]
    return sorted(votes), sorted(refused)


def _plain(payload: bytes) -> object:
    try:
        return msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return payload


def mixed_records() -> list[Record]:
    """Votes alone and in envelopes, faulty ones of all kinds, and control events between them."""
    votes = [make_vote(number, voter=f"v{number}") for number in range(30)]
    odd = tabulate_votes(votes[20:22]).set_column(4, "time", pa.array([2**63, 5], pa.uint64()))
    no_ids = tabulate_votes(votes[22:25]).set_column(2, "matchup_id", pa.array(["m-1", None, "m 3"]))
    return [
        Record(encode_vote(votes[0]), votes[0].matchup_id),
        Record(b'{"schema": 1', None),
        Record(b"", None),
        Record(encode_vote(votes[1])[:-1] + b',"matchup_id":5}', None),
        *(Record(encode_vote(vote), vote.matchup_id) for vote in votes[2:10]),
        Record(encode_envelope(votes[10:20]), "m-10", HEADERS),
        Record(encode_rows(odd), None, HEADERS),
        Record(encode_rows(no_ids), None, HEADERS),
        Record(encode_vote(votes[25]), votes[25].matchup_id),
        Record(b"no envelope", None, HEADERS),
        Record(encode_envelope([]), None, HEADERS),
    ]


@pytest.mark.parametrize("log", [pytest.param("kafka", marks=pytest.mark.kafka), "sqlite"])
def test_everything_is_fed_as_it_is(request: pytest.FixtureRequest, tmp_path: Path, log: str) -> None:
    source = fill(tmp_path / "source.db", mixed_records())
    url = request.getfixturevalue("kafka_url") if log == "kafka" else f"sqlite:{tmp_path / 'fed.db'}"
    result = invoke("--from", source, "--to", url, "--speed", "max", "--format", "json")
    assert result.exit_code == 0, result.output
    assert verdicts(url) == verdicts(source)
    (row,) = json.loads(result.stdout)
    assert row["votes"] == 4 + 8 + 10 + 2 + 3 + 2
    assert row["late_s"] is None
    if log == "kafka":
        back = f"sqlite:{tmp_path / 'back.db'}"
        assert invoke("--from", url, "--to", back, "--speed", "max").exit_code == 0
        assert verdicts(back) == verdicts(source)


def test_files_get_one_vote_a_line_and_say_what_they_cannot_hold(tmp_path: Path) -> None:
    good = [record for record in mixed_records() if record.value and b"no envelope" not in record.value]
    source = fill(tmp_path / "source.db", [Record(b"{}", "control"), *good, Record(b"no envelope", None, HEADERS)])
    result = invoke("--from", source, "--to", tmp_path / "fed.jsonl", "--speed", "max")
    assert result.exit_code == 0, result.output
    assert verdicts(str(tmp_path / "fed.jsonl")) == verdicts(fill(tmp_path / "good.db", good))
    assert "left out 2 records" in result.stderr


def test_control_events_keep_their_place(tmp_path: Path) -> None:
    records = [Record(b'{"first":1}', "control"), *mixed_records()[:1], Record(b'{"second":2}', "control")]
    source = fill(tmp_path / "source.db", records)
    assert invoke("--from", source, "--to", f"{tmp_path}/fed/", "--speed", "max").exit_code == 0
    polls = list(open_log(source).merged_reader({}).polls(100))
    assert [batch.values for batch in read_batches(f"{tmp_path}/fed/", CONTROL)] == [[b'{"first":1}', b'{"second":2}']]
    assert len(polls) == 2


def test_an_archive_gives_the_votes_that_were_accepted(tmp_path: Path) -> None:
    votes = [make_vote(number, voter="a") for number in range(5)]
    retract, restore = (make_event(f"voters.{what}", voters=("a",)) for what in ("retract", "restore"))
    store = write_store(tmp_path / "store", [retract, *votes[:3], restore, *votes[3:]])
    url = f"sqlite:{tmp_path / 'fed.db'}"
    assert invoke("--from", f"{store}/archive/", "--to", url, "--speed", "max").exit_code == 0
    assert [msgspec.json.decode(text)["vote_id"] for text in verdicts(url)[0]] == [vote.vote_id for vote in votes]
    (batch,) = read_batches(url, CONTROL)
    assert [decode_control(value).type for value in batch.values] == ["voters.retract", "voters.restore"]


def test_votes_come_at_the_distances_that_they_had_divided_by_the_speed(tmp_path: Path) -> None:
    records = [Record(encode_vote(make_vote(number))) for number in range(40)]
    source = fill(tmp_path / "source.db", records, step=1_000)
    url = make_topics(f"sqlite:{tmp_path / 'fed.db'}")
    begun = time.monotonic()
    result = invoke("--from", source, "--to", url, "--speed", 50, "--format", "json")
    assert result.exit_code == 0, result.output
    assert time.monotonic() - begun > 39 / 50
    (batch,) = read_batches(url)
    assert len(set(batch.appended_at.tolist())) > 10
    (row,) = json.loads(result.stdout)
    assert row["late_s"] >= 0


def test_rows_of_a_parquet_file_come_at_their_own_times(tmp_path: Path) -> None:
    table = pa.Table.from_batches([tabulate_votes([make_vote(number) for number in range(30)])])
    times = pa.array([TIME + 1_000 * number for number in range(30)])
    pq.write_table(table.append_column("appended_at", times), tmp_path / "votes.parquet")
    url = make_topics(f"sqlite:{tmp_path / 'fed.db'}")
    assert invoke("--from", tmp_path / "votes.parquet", "--to", url, "--speed", 30).exit_code == 0
    (batch,) = read_batches(url)
    assert len(verdicts(url)[0]) == 30
    assert len(set(batch.appended_at.tolist())) > 2


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(tmp_path: Path, stop: signal.Signals) -> None:
    records = [Record(encode_vote(make_vote(number))) for number in range(3)]
    source = fill(tmp_path / "source.db", records, step=3_600_000)
    url = f"{tmp_path}/fed.jsonl"
    command = [sys.executable, "-m", "pipeline.cli.main", "votes", "feed", "--from", source, "--to", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: Path(url).exists() and Path(url).stat().st_size > 0, timeout=60)
        process.send_signal(stop)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert b"stopped" in err
    assert b"votes per s" in out
    assert len(Path(url).read_bytes().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--speed", "0"], "'0' is no speed"),
        (["--speed", "fast"], "'fast' is no speed"),
        (["--to", "sqlite:a.db"], "name the same log"),
    ],
)
def test_wrong_use_is_told(options: list[str], message: str) -> None:
    result = invoke("--from", "sqlite:a.db", *(options if "--to" in options else [*options, "--to", "sqlite:b.db"]))
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_source_that_is_not_there_is_told_before_anything_is_made(tmp_path: Path) -> None:
    result = invoke("--from", f"sqlite:{tmp_path / 'none.db'}", "--to", f"sqlite:{tmp_path / 'fed.db'}")
    assert result.exit_code == 1
    assert "does not exist" in result.stderr
    assert not (tmp_path / "fed.db").exists()
