"""kill -9 of the gateway under load: no acknowledged vote is lost, none counts twice, no matchup is shown twice."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

import httpx
import pytest

from infra.kafka import KafkaBroker
from pipeline.cli.logs import PARTITIONS
from pipeline.contracts.keyring_file import write_keyring
from pipeline.contracts.token import Keyring, TokenKey
from pipeline.eventlog import open_log
from producers.client import AsyncClient, Client, GatewayRefusal
from producers.gateway.secret_file import open_secrets
from producers.simulate.world import SimulatedWorld
from tests.conftest import wait_until
from tests.end_to_end.jobs import Program, archived_votes, dead_letters, live_job, wait_while_running
from tests.gateway.systems import ARENA, make_arenas, running_system, working

VOTERS = 12
SETTINGS = """
voter_per_minute = 1e6
voter_burst = 1e5
address_per_minute = 1e6
address_burst = 1e5
new_voters_per_hour = 1e6
new_voters_burst = 1e5
[queue]
ready_min = 60
"""


@dataclass
class Seen:
    """What voters saw: matchups that they were shown, votes that were acknowledged, and codes of refusals."""

    shown: list[str] = field(default_factory=list)
    votes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


async def vote_on_and_on(url: str, http: httpx.AsyncClient, seen: Seen, rng: random.Random) -> None:
    client = AsyncClient(url, http=http, patience=60.0)
    while True:
        shown = await client.next_matchup(ARENA)
        seen.shown.append(shown.matchup_id)
        ranks = rng.sample(range(1, 5), 4)
        try:
            receipt = await client.vote(shown, ranks)
            seen.votes.append(receipt.vote_id)
        except GatewayRefusal as refusal:
            seen.refused.append(refusal.code)


def serve(folder: Path, url: str, at: str) -> Program:
    port = at.rpartition(":")[2]
    options = ("--state", folder / "gateway", "--settings", folder / "gateway.toml", "--port", port)
    return Program("gateway", "serve", "--from", url, "--store", folder / "store", *options)


def wait_until_serving(program: Program, at: str) -> None:
    wait_while_running(program, lambda: "; Ctrl-C stops" in program.stderr)
    with Client(at) as client:
        wait_while_running(program, lambda: ARENA in {arena.id for arena in client.arenas()})


def kill_again_and_again(folder: Path, url: str, at: str, seen: Seen, started: threading.Event) -> None:
    """Start the gateway, let votes come through it, and kill it; the last one is stopped in order."""
    for number in range(3):
        with serve(folder, url, at) as program:
            wait_until_serving(program, at)
            started.set()
            goal = len(seen.votes) + 40
            wait_while_running(program, lambda: len(seen.votes) >= goal)  # noqa: B023 - at once
            if number == 2:
                assert program.end(signal.SIGTERM) == 0
                assert "stopping: what is under way is finished" in program.stderr
            else:
                program.end(signal.SIGKILL)


@pytest.mark.timeout(240)
def test_a_killed_gateway_loses_no_acknowledged_vote(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(SETTINGS)
    world = SimulatedWorld(models=6, k=4, seed=5, arena_id=ARENA, require_token=True)
    log = open_log(f"sqlite:{tmp_path / 'events.db'}")
    log.create_topics(PARTITIONS)
    make_arenas(log, world)
    secrets = open_secrets(tmp_path / "gateway", lambda: token_hex(32))
    keys = tmp_path / "gateway" / "token-keys.toml"
    write_keyring(keys, Keyring((TokenKey("k1", b"k" * 32),)), new=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        at = f"http://127.0.0.1:{probe.getsockname()[1]}"
    seen, started = Seen(), threading.Event()

    async def crowd() -> None:
        async with httpx.AsyncClient(timeout=5) as http, asyncio.TaskGroup() as tasks:
            killing = asyncio.create_task(asyncio.to_thread(kill_again_and_again, tmp_path, log.url, at, seen, started))
            await asyncio.to_thread(started.wait, 60)
            voters = [
                tasks.create_task(vote_on_and_on(at, http, seen, random.Random(number))) for number in range(VOTERS)
            ]
            await killing
            for voter in voters:
                voter.cancel()

    with live_job(log, tmp_path / "store", propose=True, token_keys=keys), working(at, secrets, world):
        asyncio.run(crowd())
        wait_until(lambda: set(seen.votes) <= set(archived_votes(tmp_path / "store")), 30)
    archived = Counter(archived_votes(tmp_path / "store"))
    assert len(seen.votes) >= 120
    assert max(archived.values()) == 1
    assert max(Counter(seen.shown).values()) == 1
    assert set(seen.refused) <= {"already_voted"}
    assert not dead_letters(tmp_path / "store")


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_votes_through_kafka_are_counted_once(kafka_broker: KafkaBroker, kafka_url: str, tmp_path: Path) -> None:
    del kafka_broker
    with running_system(tmp_path, url=kafka_url, partitions=3) as system:

        async def vote() -> list[str]:
            async with httpx.AsyncClient(timeout=20) as http:
                voters = [AsyncClient(system.server.url, http=http) for _ in range(10)]
                receipts = []
                for _ in range(4):
                    shown = await asyncio.gather(*(voter.next_matchup(ARENA) for voter in voters))
                    cast = (voter.vote(one, (1, 2, 3, 4)) for voter, one in zip(voters, shown, strict=True))
                    receipts += await asyncio.gather(*cast)
                assert {receipt.counted_at is not None for receipt in receipts} == {True}
                assert len({str(receipt.counted_at) for receipt in receipts}) == 40
                revealed = await voters[0].reveal(shown[0].matchup_id, in_board=True)
                assert revealed.in_board
                return [receipt.vote_id for receipt in receipts]

        votes = asyncio.run(vote())
        wait_until(lambda: sorted(archived_votes(system.store)) == sorted(votes), 30)
        assert not dead_letters(system.store)
