"""`kwise pipeline run --metrics-port`: a real job, scraped as Prometheus does."""

from __future__ import annotations

import re
import signal
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from pipeline.cli.main import kwise
from pipeline.contracts.log import VOTES, Record
from tests.broken_records import ARENA, good_record
from tests.end_to_end.jobs import Program, append, make_log, wait_while_running

pytestmark = pytest.mark.timeout(120)


def scrape(port: int) -> dict[tuple[str, ...], float]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_a_running_job_is_scraped(tmp_path: Path) -> None:
    log, store = make_log(tmp_path), tmp_path / "store"
    append(log, VOTES, [Record(good_record(n)) for n in (1, 2, 3, 2)] + [Record(b"{")])
    with Program("pipeline", "run", "--from", log.url, "--store", store, "--metrics-port", "0") as job:
        said = wait_while_running(job, lambda: re.search(r"metrics at http://127\.0\.0\.1:(\d+)/metrics", job.stderr))
        port = int(said[1])
        accepted = ("kwise_votes_accepted_total", ARENA)
        wait_while_running(job, lambda: scrape(port).get(accepted) == 3)
        append(log, VOTES, [Record(good_record(n)) for n in range(4, 24)])
        found = wait_while_running(
            job, lambda: (now := scrape(port)).get(("kwise_freshness_seconds_count",)) == 23 and now
        )
        assert found[accepted] == 23
        assert found["kwise_votes_duplicate_total",] == 1
        assert found["kwise_dead_letters_total", "not_json"] == 1
        assert found["kwise_log_up",] == 1
        assert found["kwise_window_votes",] == 23
        assert job.end(signal.SIGTERM) == 0


def test_missing_extra_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "pipeline.cli.metrics_server", raising=False)
    arguments = ["pipeline", "run", "--from", f"sqlite:{tmp_path / 'e.db'}", "--store", str(tmp_path / "store")]
    result = CliRunner().invoke(kwise, [*arguments, "--metrics-port", "0"])
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: this needs the package prometheus_client, which is not installed: pip install 'kwise-arena[metrics]'\n"
    )
    assert not list(tmp_path.iterdir())
