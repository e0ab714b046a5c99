"""What Prometheus gets to see: the published status, and nothing else."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.cli.metrics_server import MetricsError, serve_metrics
from pipeline.contracts.reasons import Reason
from pipeline.contracts.status import FRESHNESS_BOUNDS_MS, ArenaStatus, FreshnessStatus
from pipeline.store.duck_store import DuckStore, open_store
from pipeline.store.metrics import METRICS, StoreCollector
from pipeline.store.reader import StoreReader
from tests.store.factory import START, FakeClock, make_commit, make_dead
from tests.store.test_recent import STATUS

Values = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckStore]:
    with open_store(tmp_path / "store", holder="a test", clock=FakeClock()) as opened:
        yield opened


def scrape(port: int) -> Values:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_figures_are_those_of_the_status(store: DuckStore) -> None:
    counts = (0, 1, 4, *(9,) * (len(FRESHNESS_BOUNDS_MS) - 3))
    status = msgspec.structs.replace(
        STATUS,
        arenas={"pictures": ArenaStatus(accepted=10, votes=9, models=4, open_matchups=16)},
        freshness=FreshnessStatus(votes=5, p50_ms=400, p99_ms=900, total=10, sum_ms=12_345, buckets=counts),
        log_error="gone",
    )
    store.commit(make_commit(1, dead=make_dead(3)))
    store.heartbeat(START, status)
    with serve_metrics(StoreCollector(StoreReader(store.path)), "127.0.0.1", 0) as port:
        found = scrape(port)
        store.heartbeat(START + 2_000, msgspec.structs.replace(status, log_error=None))
        later = scrape(port)
    assert found["kwise_votes_accepted_total", ("pictures",)] == 10
    assert found["kwise_votes_duplicate_total", ()] == 2
    dead = {reason: count for (name, (*_, reason)), count in _labelled(found) if name == "kwise_dead_letters_total"}
    assert dead == {each.value: STATUS.dead.get(each.value, 0) for each in Reason if each is not Reason.DUPLICATE}
    lag = {labels: value for (name, labels), value in found.items() if name == "kwise_log_lag_records"}
    assert {(set(labels) - {"votes"}).pop(): value for labels, value in lag.items()} == {"0": 4, "1": 0, "2": 0}
    assert (found["kwise_log_up", ()], later["kwise_log_up", ()]) == (0, 1)
    assert found["kwise_freshness_seconds_bucket", ("0.5",)] == 4
    assert found["kwise_freshness_seconds_bucket", ("300",)] == 9
    assert found["kwise_freshness_seconds_bucket", ("+Inf",)] == found["kwise_freshness_seconds_count", ()] == 10
    assert found["kwise_freshness_seconds_sum", ()] == 12.345
    assert found["kwise_commits_total", ()] == 1
    assert found["kwise_store_files", ("dead",)] == 1
    assert later["kwise_heartbeat_timestamp_seconds", ()] - found["kwise_heartbeat_timestamp_seconds", ()] == 2
    assert found["process_resident_memory_bytes", ()] > 1e6


def _labelled(found: Values) -> Iterator[tuple[tuple[str, tuple[str, ...]], float]]:
    return ((key, value) for key, value in found.items() if key[1])


def test_every_metric_is_served_under_its_name(store: DuckStore) -> None:
    arenas = {"pictures": ArenaStatus(accepted=1, votes=1, models=1, open_matchups=1)}
    store.heartbeat(START, msgspec.structs.replace(STATUS, arenas=arenas))
    families = {family.name: family for family in StoreCollector(StoreReader(store.path)).collect()}
    assert {spec.name.removesuffix("_total") for spec in METRICS} == set(families)
    for spec in METRICS:
        family = families[spec.name.removesuffix("_total")]
        assert family.type == spec.kind
        assert family.samples
        assert spec.name.startswith("kwise_")
        assert spec.name.endswith("_total") == (spec.kind == "counter")
        if spec.kind != "histogram":
            assert all(tuple(sample.labels) == spec.labels for sample in family.samples)


def test_there_are_no_figures_where_no_live_job_has_reported(store: DuckStore, tmp_path: Path) -> None:
    assert not list(StoreCollector(StoreReader(tmp_path / "nowhere")).collect())
    store.heartbeat(START)
    assert not list(StoreCollector(StoreReader(store.path)).collect())
    (store.path / "HEARTBEAT.json").write_text("{")
    assert not list(StoreCollector(StoreReader(store.path)).collect())


def test_a_taken_port_is_named(store: DuckStore) -> None:
    collector = StoreCollector(StoreReader(store.path))
    with (
        serve_metrics(collector, "127.0.0.1", 0) as port,
        pytest.raises(MetricsError, match=f"127.0.0.1:{port}.*choose another --metrics-port"),
        serve_metrics(collector, "127.0.0.1", port),
    ):
        pass
