"""Promises 2 and 4: kill -9 of the job under load loses nothing, counts nothing twice, and no reader ever notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.jobs import make_log
from tests.end_to_end.killing import run_kill_test


@pytest.mark.timeout(120)
def test_killed_job_loses_nothing_and_no_reader_notices(tmp_path: Path) -> None:
    run_kill_test(make_log(tmp_path), tmp_path / "store", kills=4, rate=300.0, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_job_killed_thirty_times_loses_nothing_and_no_reader_notices(tmp_path: Path) -> None:
    run_kill_test(make_log(tmp_path), tmp_path / "store", kills=30, rate=300.0, seed=2)
