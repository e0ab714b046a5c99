"""`kwise dead-letters`: what is printed, what is written, and what is left alone."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import kwise
from pipeline.contracts.log import VOTES
from pipeline.contracts.store import Commit
from pipeline.contracts.vote import REJECT_SCHEMA
from pipeline.eventlog import open_log
from pipeline.store.duck_store import open_store
from tests.broken_records import good_record
from tests.cli.stores import TIME

SECRET = "v3.3f9a1c"
LETTERS = [
    ("not_json", b'{"voter": "v3.3f9a1c", oops', TIME),
    ("unknown_model", good_record(1, voter=SECRET), TIME + 60_000),
    ("bad_ranks", good_record(2, voter=SECRET, ranks=[1]), TIME + 120_000),
    ("unknown_model", good_record(3, voter=SECRET), TIME + 180_000),
]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    rows = [
        {"topic": VOTES, "partition": 1, "offset": n, "index": n % 2, "appended_at": at, "reason": reason,
         "arena": "pictures", "detail": "said", "payload": payload}
        for n, (reason, payload, at) in enumerate(LETTERS)
    ]  # fmt: skip
    with open_store(tmp_path / "store", holder="a test") as opened:
        dead = pa.Table.from_pylist(rows, schema=REJECT_SCHEMA)
        opened.commit(Commit(number=1, log_time=TIME, sequence=0, positions={}, dead=dead))
    return tmp_path / "store"


def call(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(kwise, ["dead-letters", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def listed(*arguments: object) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(call("list", *arguments, "--format", "json").stdout)
    return rows


def test_list_shows_where_why_and_what_without_voters(store: Path) -> None:
    shown = call("list", "--store", store).stdout
    assert "votes/1:2 " in shown
    assert "votes/1:3.1" in shown
    assert "2025-11-24T16:01:00.000Z" in shown
    assert SECRET not in shown
    assert SECRET not in call("list", "--store", store, "--format", "csv").stdout
    rows = listed("--store", store)
    assert [row["reason"] for row in rows] == [reason for reason, _, _ in LETTERS]
    assert (rows[1]["topic"], rows[1]["partition"], rows[1]["offset"], rows[1]["index"]) == (VOTES, 1, 1, 1)
    assert all(len(str(row["payload"])) <= 80 for row in rows)


def test_full_shows_everything(store: Path) -> None:
    rows = listed("--store", store, "--full")
    assert [str(row["payload"]).encode() for row in rows] == [payload for _, payload, _ in LETTERS]


def test_list_is_narrowed_by_reason_time_and_number(store: Path) -> None:
    assert [row["offset"] for row in listed("--store", store, "--reason", "unknown_model")] == [1, 3]
    assert [row["offset"] for row in listed("--store", store, "--since", TIME + 120_000)] == [2, 3]
    assert [row["offset"] for row in listed("--store", store, "--limit", 1)] == [3]
    assert "--limit shows more" in call("list", "--store", store, "--limit", 1).stderr
    assert listed("--store", store, "--reason", "bad_token") == []


def test_export_is_a_new_file_for_its_owner_only(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "dead.jsonl"
    said = call("export", "--store", store, "--to", target, "--reason", "unknown_model").stderr
    assert said == f"2 dead letters written to {target}\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["payload"] for line in lines] == [json.loads(good_record(1, voter=SECRET)), json.loads(LETTERS[3][1])]
    assert "is there already" in call("export", "--store", store, "--to", target, code=1).stderr
    assert len(call("export", "--store", store, "--to", "-").stdout.splitlines()) == 4


def votes_in(log: Path) -> list[bytes]:
    reader = open_log(f"sqlite:{log}").reader({}, live=False)
    try:
        return reader.poll(VOTES, 100, 0.0).values
    finally:
        reader.close()


def test_resend_sends_what_is_good_and_keeps_the_rest(store: Path, tmp_path: Path) -> None:
    source, log = tmp_path / "dead.jsonl", tmp_path / "events.db"
    call("export", "--store", store, "--to", source)
    arguments = ("resend", "--from", source, "--to", f"sqlite:{log}", "--format", "json")
    wanted = [
        {"outcome": "would be sent", "topic": "votes", "reason": None, "records": 2},
        {"outcome": "kept", "topic": None, "reason": "not_json", "records": 1},
        {"outcome": "kept", "topic": None, "reason": "bad_ranks", "records": 1},
    ]
    assert json.loads(call(*arguments, "--dry-run").stdout) == wanted
    assert not log.exists()
    wanted[0]["outcome"] = "sent"
    assert json.loads(call(*arguments).stdout) == wanted
    assert sorted(votes_in(log)) == sorted([LETTERS[1][1], LETTERS[3][1]])
    kept = tmp_path / "dead.rejected.jsonl"
    assert [json.loads(line)["reason"] for line in kept.read_text().splitlines()] == ["not_json", "bad_ranks"]

    said = call(*arguments, code=1).stderr
    assert f"{kept} is there already" in said
    assert len(votes_in(log)) == 2
    again = ("resend", "--from", kept, "--to", f"sqlite:{log}", "--set", "ranks=[1,2,3,4]", "--rejected")
    call(*again, tmp_path / "rest.jsonl")
    assert len(votes_in(log)) == 3
    assert len((tmp_path / "rest.jsonl").read_text().splitlines()) == 1


def test_nothing_is_sent_from_a_file_with_a_line_that_is_none(store: Path, tmp_path: Path) -> None:
    source, log = tmp_path / "dead.jsonl", tmp_path / "events.db"
    call("export", "--store", store, "--to", source)
    source.write_text(source.read_text() + "{\n")
    said = call("resend", "--from", source, "--to", f"sqlite:{log}", code=1).stderr
    assert f"{source}, line 5: " in said
    assert not log.exists()


def test_changes_that_make_no_sense_are_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "dead.jsonl").touch()
    said = call("resend", "--from", tmp_path / "dead.jsonl", "--to", "sqlite:x.db", "--set", "vote_id=1", code=2).stderr
    assert "--set vote_id=1: give FIELD=VALUE" in said
