"""`kwise doctor`: sick things are found, and exit 1."""

from __future__ import annotations

import json
import os
import re
from importlib import metadata
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from pipeline.cli.logs import PARTITIONS
from pipeline.cli.main import kwise
from pipeline.cli.times import now_ms
from pipeline.contracts.log import VOTES, Record
from pipeline.eventlog import open_log
from pipeline.store.duck_store import open_store
from pipeline.store.lock import LOCK_NAME, LockHolder
from tests.cli.stores import make_store

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


def test_missing_store_and_log_are_bad(tmp_path: Path) -> None:
    code, found = examine("--store", tmp_path / "nowhere", "--from", f"sqlite:{tmp_path / 'nowhere.db'}")
    assert code == 1
    assert found["store"]["status"] == found["log"]["status"] == "bad"
    assert not (tmp_path / "nowhere.db").exists()


def test_a_full_disk_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("usage", (), {"free": 2**29}))
    code, found = examine("--store", make_store(tmp_path / "store", "pictures"))
    assert (code, found["disk"]["status"]) == (1, "bad")
