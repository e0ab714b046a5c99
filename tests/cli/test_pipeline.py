"""`kwise pipeline run` as people meet it: signals while it starts, and what it says when it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.contracts.log import VOTES, Record
from tests.broken_records import good_record
from tests.conftest import ROOT
from tests.end_to_end.jobs import KWISE, append, make_log, run_to_end

pytestmark = pytest.mark.timeout(300)  # three starts of a program

_SIGNAL_AT_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "pipeline.store.duck_store":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.{name})
            signal.sigtimedwait([], 1)  # the signal is delivered in here
sys.meta_path.insert(0, Finder())
signal.signal(signal.SIGINT, signal.{inherited})
sys.argv[1:] = {arguments}
from pipeline.cli.main import main
main()
"""


def run_kwise(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*KWISE, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("name", "inherited"), [("SIGTERM", "default_int_handler"), ("SIGINT", "SIG_IGN")])
def test_signal_while_the_job_starts_ends_it_cleanly(tmp_path: Path, name: str, inherited: str) -> None:
    arguments = ["pipeline", "run", "--from", f"sqlite:{tmp_path / 'events.db'}", "--store", str(tmp_path / "store")]
    ended = run_python(_SIGNAL_AT_IMPORT.format(name=name, inherited=inherited, arguments=arguments))
    assert (ended.returncode, ended.stderr) == (0, "stopped before anything was read\n")
    assert not (tmp_path / "store").exists()


def test_job_that_fails_says_so_in_one_line(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    append(log, VOTES, [Record(good_record(1))])
    store = tmp_path / "store"
    run_to_end(log, store)
    (tmp_path / "votes.jsonl").write_bytes(b"")
    ended = run_kwise("pipeline", "run", "--from", tmp_path / "votes.jsonl", "--store", store)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in ended.stderr
    assert "apache_beam" not in ended.stderr


def test_log_that_is_not_there_is_told_before_anything_else(tmp_path: Path) -> None:
    store = tmp_path / "store"
    ended = run_kwise("pipeline", "run", "--from", f"{tmp_path / 'nope'}/", "--store", store)
    assert ended.returncode == 1
    (said,) = ended.stderr.splitlines()
    assert said.startswith("Error: ")
    assert not store.exists()
