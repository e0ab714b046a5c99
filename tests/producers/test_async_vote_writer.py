"""`async with VoteWriter(...)`: each write returns when its vote is in the log, or says why it is not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from infra.kafka import KafkaBroker
from pipeline.contracts.log import LogError
from pipeline.contracts.vote import encode_vote
from producers.delivery.losses import LostVote
from producers.errors import DeliveryError, VoteFault
from producers.vote_writer import VoteWriter
from tests.producers.archives import make_vote
from tests.producers.written import check_places, make_topics, read_log

KAFKA = pytest.mark.kafka
MODES = [
    pytest.param("kafka", None, marks=KAFKA),
    pytest.param("kafka", 5, marks=KAFKA),
    ("sqlite", None),
    ("sqlite", 5),
]


@pytest.fixture
def log_url(request: pytest.FixtureRequest, tmp_path: Path, log: str) -> str:
    if log == "kafka":
        return make_topics(request.getfixturevalue("kafka_url"))
    return make_topics(f"sqlite:{tmp_path / 'events.db'}")


@pytest.mark.parametrize(("log", "envelope"), MODES)
def test_a_write_returns_when_its_vote_is_in_the_log(log_url: str, envelope: int | None) -> None:
    votes = [make_vote(number) for number in range(40)]

    async def write() -> None:
        async with VoteWriter(log_url, envelope=envelope) as writer:
            await writer.write(votes[0])
            assert read_log(log_url).ids() == [votes[0].vote_id]
            await asyncio.gather(*(writer.write(encode_vote(vote)) for vote in votes[1:]))
            check_places(read_log(log_url), votes)
            with pytest.raises(VoteFault, match="schema: schema 2 is unknown"):
                await writer.write({"schema": 2})

    asyncio.run(write())
    check_places(read_log(log_url), votes)


@pytest.mark.parametrize(("log", "envelope"), MODES)
def test_more_writes_at_once_than_may_be_pending_all_arrive(log_url: str, envelope: int | None) -> None:
    votes = [make_vote(number) for number in range(500)]

    async def write() -> None:
        async with VoteWriter(log_url, envelope=envelope, max_pending=10) as writer:
            await asyncio.gather(*(writer.write(vote) for vote in votes))

    asyncio.run(write())
    assert read_log(log_url).ids() == [vote.vote_id for vote in votes]


@pytest.mark.parametrize("log", ["sqlite"])
def test_flush_waits_for_writes_that_nobody_awaits(log_url: str) -> None:
    async def write() -> None:
        async with VoteWriter(log_url, linger=60) as writer:
            tasks = [asyncio.create_task(writer.write(make_vote(number))) for number in range(3)]
            await asyncio.sleep(0)
            await writer.flush()
            assert len(read_log(log_url).votes) == 3
            await asyncio.gather(*tasks)

    asyncio.run(write())


@pytest.mark.parametrize("log", ["sqlite"])
def test_a_closed_writer_says_so(log_url: str) -> None:
    async def write() -> None:
        async with VoteWriter(log_url) as writer:
            pass
        await writer.close()
        with pytest.raises(LogError, match="this writer is closed"):
            await writer.write(make_vote(1))

    asyncio.run(write())


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    async def write() -> None:
        async with VoteWriter(f"sqlite:{tmp_path / 'none.db'}"):
            pass

    with pytest.raises(LogError, match="does not exist"):
        asyncio.run(write())


@pytest.mark.kafka
@pytest.mark.parametrize("envelope", [None, 2])
def test_each_write_tells_of_its_own_loss_and_the_loop_goes_on(
    fragile_broker: KafkaBroker, envelope: int | None
) -> None:
    url = make_topics(f"kafka://{fragile_broker.bootstrap}/votes")
    lost: list[LostVote] = []
    votes = [make_vote(number, vote_id=f"v-{number}") for number in range(4)]
    with VoteWriter(url) as patient:  # a broker that was just started has nothing to give to idempotent producers yet
        patient.write(make_vote(4, vote_id="warm"))

    async def write() -> None:
        async with VoteWriter(url, envelope=envelope, delivery_timeout=1.5, on_lost=lost.append) as writer:
            await writer.write(votes[0])
            fragile_broker.kill()
            writing = asyncio.gather(*(writer.write(vote) for vote in votes[1:3]), return_exceptions=True)
            rounds = 0
            while not writing.done():
                await asyncio.sleep(0.01)
                rounds += 1
            assert rounds > 20
            errors = await writing
            assert [error.vote_ids for error in errors if isinstance(error, DeliveryError)] == [("v-1",), ("v-2",)]
            await writer.flush()  # each was told: there is nothing left to tell

            task = asyncio.create_task(writer.write(votes[3]))
            await asyncio.sleep(0)
            task.cancel()

    with pytest.raises(DeliveryError, match="v-3"):  # nobody heard of this one
        asyncio.run(write())
    assert sorted(vote.vote_id or "" for vote in lost) == ["v-1", "v-2", "v-3"]
    fragile_broker.restart()
    assert read_log(url).ids() == ["v-0", "warm"]
