"""Votes through a real Kafka are counted once, whatever is killed; replays agree; a lost broker is survived."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.kafka import KafkaBroker, KafkaCluster
from pipeline.contracts.log import EventLog
from pipeline.store.reader import StoreReader
from tests.end_to_end.jobs import archived_votes, call, make_kafka_log, published_counts
from tests.end_to_end.killing import run_kill_test

pytestmark = pytest.mark.kafka


def kill_broker_at(broker: KafkaBroker, moments: set[int]) -> Callable[[int], None]:
    """Return a disturbance that kills `broker` at these numbers of the job's kills, and starts it again."""

    def disturb(number: int) -> None:
        if number in moments:
            broker.kill()
            broker.restart()

    return disturb


def expect_replays_agree(log: EventLog, folder: Path, tmp_path: Path) -> None:
    """Replay the log from its first offset, and the archive, into stores of their own."""
    for name, source in (("raw", log.url), ("rebuilt", folder / "archive")):
        call("replay", "--from", source, "--store", tmp_path / name)
        assert sorted(archived_votes(tmp_path / name)) == sorted(archived_votes(folder))
        assert published_counts(tmp_path / name, "pictures") == published_counts(folder, "pictures")
        boards = [StoreReader(each).board("pictures").models for each in (tmp_path / name, folder)]
        assert boards[0] == boards[1]


@pytest.mark.timeout(300)
def test_job_and_broker_are_killed_and_every_vote_counts_once(fragile_broker: KafkaBroker, tmp_path: Path) -> None:
    log = make_kafka_log(f"kafka://{fragile_broker.bootstrap}/votes")
    disturb = kill_broker_at(fragile_broker, {1})
    run_kill_test(log, tmp_path / "store", kills=3, rate=300.0, seed=1, disturb=disturb)
    expect_replays_agree(log, tmp_path / "store", tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_votes_ten_kills_of_the_job_three_of_the_broker(fragile_broker: KafkaBroker, tmp_path: Path) -> None:
    log = make_kafka_log(f"kafka://{fragile_broker.bootstrap}/votes")
    disturb = kill_broker_at(fragile_broker, {2, 5, 8})
    run_kill_test(log, tmp_path / "store", kills=10, rate=20_000.0, seed=2, votes=1_000_000, disturb=disturb)
    expect_replays_agree(log, tmp_path / "store", tmp_path)


@pytest.mark.timeout(300)
def test_one_broker_of_three_is_lost_and_work_goes_on(tmp_path: Path) -> None:
    with KafkaCluster(tmp_path / "kafka") as cluster:
        log = make_kafka_log(f"kafka://{cluster.bootstrap}/votes")

        def disturb(number: int) -> None:
            if number == 0:
                cluster.brokers[1].kill()

        run_kill_test(log, tmp_path / "store", kills=2, rate=200.0, seed=3, disturb=disturb)
