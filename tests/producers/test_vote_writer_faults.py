"""`VoteWriter` while its log is away: nothing is lost or doubled if it comes back, and it is said if it does not."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from infra.kafka import KafkaBroker
from pipeline.contracts.vote import Vote
from producers.delivery.losses import LostVote
from producers.errors import DeliveryError
from producers.vote_writer import VoteWriter
from tests.conftest import wait_until
from tests.producers.archives import make_vote
from tests.producers.written import check_places, make_topics, read_log

pytestmark = pytest.mark.kafka


@pytest.fixture
def fragile_url(fragile_broker: KafkaBroker) -> str:
    return make_topics(f"kafka://{fragile_broker.bootstrap}/votes")


class WritingThread(threading.Thread):
    """Writes votes one by one until all are taken or a write fails."""

    def __init__(self, writer: VoteWriter, votes: list[Vote]) -> None:
        super().__init__(daemon=True)
        self.taken = 0
        self.error: Exception | None = None
        self._writer = writer
        self._votes = votes

    def has_taken(self, count: int) -> bool:
        return self.taken > count

    def run(self) -> None:
        try:
            for vote in self._votes:
                self._writer.write(vote)
                self.taken += 1
        except Exception as error:
            self.error = error


@pytest.mark.parametrize("envelope", [None, 50])
def test_nothing_is_lost_or_doubled_when_the_broker_is_killed_twice(
    fragile_broker: KafkaBroker, fragile_url: str, envelope: int | None
) -> None:
    votes = [make_vote(number) for number in range(30_000)]
    with VoteWriter(fragile_url, envelope=envelope, check=False, max_pending=5_000) as writer:
        thread = WritingThread(writer, votes)
        thread.start()
        for start in (5_000, 15_000):
            wait_until(partial(thread.has_taken, start), 60)
            fragile_broker.kill()
            fragile_broker.restart()
        thread.join(60)
        assert thread.error is None
    check_places(read_log(fragile_url), votes)


def test_memory_is_bounded_while_the_broker_is_away(fragile_broker: KafkaBroker, fragile_url: str) -> None:
    votes = [make_vote(number) for number in range(3_000)]
    with VoteWriter(fragile_url, check=False, max_pending=500) as writer:
        writer.write(votes[0])
        writer.flush()
        fragile_broker.kill()
        thread = WritingThread(writer, votes[1:])
        thread.start()
        wait_until(lambda: thread.taken == 500)
        thread.join(1.0)
        assert thread.is_alive()
        assert thread.taken == 500
        fragile_broker.restart()
        thread.join(60)
        assert thread.error is None
    check_places(read_log(fragile_url), votes)


@pytest.mark.parametrize("envelope", [None, 3])
def test_a_broker_that_stays_away_is_an_error_that_names_the_votes(
    fragile_broker: KafkaBroker, fragile_url: str, envelope: int | None
) -> None:
    lost: list[LostVote] = []
    votes = [make_vote(number, vote_id=f"v-{number}") for number in range(8)]
    with VoteWriter(fragile_url) as first:  # a broker that has just started needs its time for the first writer
        first.write(votes[0])
    writer = VoteWriter(fragile_url, envelope=envelope, delivery_timeout=4.0, on_lost=lost.append)
    writer.write(votes[0])
    writer.flush()
    fragile_broker.kill()
    writer.write_all(votes[1:])
    with pytest.raises(DeliveryError, match=r"7 votes were not delivered .*Send them again") as caught:
        writer.flush()
    assert caught.value.retriable
    assert sorted(caught.value.vote_ids) == [vote.vote_id for vote in votes[1:]]
    assert sorted(vote.vote_id or "" for vote in lost) == [vote.vote_id for vote in votes[1:]]
    assert "refused" in caught.value.reason
    writer.flush()  # it was said once

    writer.write_all(votes[1:3])
    wait_until(lambda: len(lost) == 9, 30)
    with pytest.raises(DeliveryError, match="2 votes were not delivered"):
        writer.write(votes[3])

    writer.close()

    fragile_broker.restart()
    with VoteWriter(fragile_url, envelope=envelope) as another:
        another.write_all(vote.value for vote in lost[:7])  # sent again, as kept
    assert sorted(set(read_log(fragile_url).ids())) == [vote.vote_id for vote in votes]


def test_close_gives_up_after_its_time_and_says_so(fragile_broker: KafkaBroker, fragile_url: str) -> None:
    writer = VoteWriter(fragile_url)
    writer.open()
    fragile_broker.kill()
    writer.write_all(make_vote(number) for number in range(5))
    with pytest.raises(DeliveryError, match="still on their way"):
        writer.flush(timeout=0.1)
    with pytest.raises(DeliveryError, match="5 votes were not delivered") as caught:
        writer.close(timeout=0.1)
    assert caught.value.count == 5
    writer.close()


@contextmanager
def lock_sqlite(path: Path) -> Iterator[None]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_a_locked_embedded_log_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.eventlog.sqlite_log.BUSY_SECONDS", 0.1)
    url = make_topics(f"sqlite:{tmp_path / 'events.db'}")
    votes = [make_vote(number) for number in range(10)]
    with VoteWriter(url) as writer:
        with lock_sqlite(tmp_path / "events.db"):
            writer.write_all(votes)
            with pytest.raises(DeliveryError, match="still on their way"):
                writer.flush(timeout=0.2)
        writer.flush()
    check_places(read_log(url), votes)
