"""`kwise doctor`: sick things are found, and exit 1."""

from __future__ import annotations

import json
import os
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from pipeline.cli.logs import PARTITIONS
from pipeline.cli.main import kwise
from pipeline.cli.times import now_ms
from pipeline.contracts.log import VOTES, Record
from pipeline.contracts.status import FreshnessStatus, PartitionStatus, WindowStatus
from pipeline.eventlog import open_log
from pipeline.store.duck_store import open_store
from pipeline.store.lock import LOCK_NAME, LockHolder
from tests.cli.stores import make_store
from tests.dashboard.made_status import make_status

NO_PROCESS = 2**22 + 1  # above the largest process id of Linux


def examine(*arguments: object) -> tuple[int, dict[str, dict[str, str]]]:
    result = CliRunner().invoke(kwise, ["doctor", *(str(each) for each in arguments), "--format", "json"])
    assert result.stdout, result.output
    return result.exit_code, {row["check"]: row for row in json.loads(result.stdout)}


def hold(store: Path, pid: int) -> None:
    (store / LOCK_NAME).write_bytes(msgspec.json.encode(LockHolder(holder="kwise pipeline run", pid=pid, since=1)))


def make_log(folder: Path, records: int) -> str:
    log = open_log(f"sqlite:{folder / 'events.db'}")
    log.create_topics({**PARTITIONS, VOTES: 1})
    writer = log.writer()
    writer.append(VOTES, [Record(b"{}")] * records)
    writer.close()
    return log.url


def test_this_installation_is_healthy() -> None:
    code, found = examine()
    assert code == 0
    assert found["duckdb"]["detail"] == metadata.version("duckdb")
    assert found["streamlit [dashboard]"]["status"] in {"ok", "absent"}
    assert not any("pytest" in check for check in found)


def test_absent_packages_say_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(package: str) -> str:
        if package in {"streamlit", "duckdb"}:
            raise metadata.PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr("importlib.metadata.version", version)
    code, found = examine()
    assert code == 1
    assert found["duckdb"]["status"] == "bad"
    assert found["streamlit [dashboard]"]["status"] == "absent"
    assert found["streamlit [dashboard]"]["advice"] == "pip install 'kwise-arena[dashboard]'"


def test_a_store_at_rest_is_healthy(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", "pictures", dead=("not_json", "schema", "not_json"))
    code, found = examine("--store", store)
    assert code == 0, found
    assert found["store"]["detail"].startswith("commit 2, arenas: 1, newest record 2025-11-24T16:02:00")
    assert found["job"]["detail"] == "no job runs; the last one stopped cleanly"
    assert found["dead letters: not_json"]["detail"] == "2"
    assert re.fullmatch(r"[\d.]+ GiB free", found["disk"]["detail"])


def test_a_running_job_is_seen(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", "pictures")
    store = open_store(folder, holder="a test")
    try:
        store.heartbeat(now_ms())
        code, found = examine("--store", folder)
    finally:
        store.close()
    assert code == 0, found
    assert found["job"]["status"] == "ok"
    assert f"runs: a test, process {os.getpid()}" in found["job"]["detail"]


def test_a_killed_job_and_a_silent_one_are_bad(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", "pictures")
    hold(folder, NO_PROCESS)
    code, found = examine("--store", folder)
    assert (code, found["job"]["status"]) == (1, "bad")
    assert "killed" in found["job"]["detail"]

    store = open_store(folder, holder="a test", clock=lambda: now_ms() - 3_600_000)
    store.heartbeat(now_ms() - 3_600_000)
    store.close()
    hold(folder, os.getpid())
    code, found = examine("--store", folder)
    assert (code, found["job"]["status"]) == (1, "bad")
    assert "no sign of life for 1.0 h" in found["job"]["detail"]


@pytest.mark.parametrize(
    ("records", "code", "said"),
    [(20, 0, "everything in the log"), (25, 1, "5 records are waiting"), (15, 1, "beyond the end of votes/0")],
)
def test_lag_of_a_store_without_a_job(tmp_path: Path, records: int, code: int, said: str) -> None:
    store = make_store(tmp_path / "store", "pictures")
    found_code, found = examine("--store", store, "--from", make_log(tmp_path, records))
    assert (found_code, found["log: votes"]["status"]) == (code, "ok")
    assert said in found["lag"]["detail"]


def say(folder: Path, **changes: Any) -> dict[str, dict[str, str]]:
    """Let a job that runs say how it is, and return what the doctor finds."""
    with open_store(folder, holder="a test") as store:
        store.heartbeat(now_ms(), make_status(**changes))
        return examine("--store", folder)[1]


def test_a_job_that_keeps_up_is_healthy(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", "pictures")
    found = say(folder)
    assert {found[check]["status"] for check in found if check.startswith("job")} == {"ok"}
    assert found["job: throughput"]["detail"] == "58.3 votes/s over the last minute, 0 records waiting"
    assert found["job: freshness"]["detail"] == "from append to board p50 0.4 s, p99 0.9 s"
    assert found["job: window"]["detail"].startswith("208,213 of 20,000,000 votes")


def test_what_a_job_says_of_its_troubles_comes_with_advice(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", "pictures")
    behind = (PartitionStatus(topic="votes", partition=0, position=0, end=1_000_000),)
    fresh = FreshnessStatus(votes=9, p50_ms=900, p99_ms=2_400, total=9, sum_ms=9, buckets=(0,) * 12)
    window = WindowStatus(votes=90, limit=100, horizon=now_ms(), bytes=4_000)
    found = say(
        folder,
        lag=behind,
        freshness=fresh,
        window=window,
        dead={"too_old": 7},
        restarts=2,
        last_error="a bug",
        last_error_at=now_ms() - 60_000,
        log_error="no route",
    )
    troubled = {check: row for check, row in found.items() if check.startswith("job: ")}
    assert {check: row["status"] for check, row in troubled.items()} == {
        "job: log": "bad",
        "job: throughput": "note",
        "job: freshness": "note",
        "job: failures": "note",
        "job: window": "note",
    }
    assert all(row["advice"] for row in troubled.values())
    assert "1,000,000 records waiting" in found["job: throughput"]["detail"]
    assert found["job: failures"]["detail"].startswith("2 restarts since")
    assert "7 were refused" in found["job: window"]["detail"]


def test_a_job_that_is_gone_is_not_asked_how_fast_it_is(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", "pictures")
    say(folder)
    found = examine("--store", folder)[1]
    assert found["job"]["detail"] == "no job runs; the last one stopped cleanly"
    assert "job: freshness" not in found
    assert "job: window" in found


def test_dead_letters_come_with_advice_and_the_latest_are_counted(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", "pictures", dead=("unknown_model", "schema", "unknown_model"))
    with open_store(folder, holder="a test") as store:
        store.heartbeat(now_ms() - 60_000, make_status(dead={"schema": 1}))
        store.heartbeat(now_ms(), make_status(dead={"schema": 1, "unknown_model": 2}))
    found = examine("--store", folder)[1]
    assert (found["dead letters: unknown_model"]["detail"], found["dead letters: schema"]["detail"]) == ("2", "1")
    assert "add the model to its arena" in found["dead letters: unknown_model"]["advice"]
    assert found["dead letters: lately"]["detail"].startswith("2 in the 1.0 min")


def test_a_log_that_lacks_what_the_job_needs_is_bad(tmp_path: Path) -> None:
    open_log(f"sqlite:{tmp_path / 'votes.db'}").create_topics({VOTES: 1})
    code, found = examine("--from", f"sqlite:{tmp_path / 'votes.db'}")
    assert (code, found["log"]["status"]) == (1, "bad")
    assert "has no topic control, matchups" in found["log"]["detail"]


def test_a_log_whose_client_is_not_installed_says_which_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_url: str) -> None:
        raise ModuleNotFoundError("No module named 'confluent_kafka'", name="confluent_kafka")

    monkeypatch.setattr("pipeline.eventlog.open_log", fail)
    code, found = examine("--from", "kafka://127.0.0.1:9092/votes")
    assert (code, found["log"]["status"]) == (1, "bad")
    assert "pip install 'kwise-arena[kafka]'" in found["log"]["detail"]


def test_missing_store_and_log_are_bad(tmp_path: Path) -> None:
    code, found = examine("--store", tmp_path / "nowhere", "--from", f"sqlite:{tmp_path / 'nowhere.db'}")
    assert code == 1
    assert found["store"]["status"] == found["log"]["status"] == "bad"
    assert not (tmp_path / "nowhere.db").exists()


def test_a_full_disk_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("usage", (), {"free": 2**29}))
    code, found = examine("--store", make_store(tmp_path / "store", "pictures"))
    assert (code, found["disk"]["status"]) == (1, "bad")
