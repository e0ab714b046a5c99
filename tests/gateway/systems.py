"""A whole arena behind a gateway, of real parts: log, job, store, gateway on a socket, stand-in worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec

from pipeline.cli.logs import PARTITIONS
from pipeline.contracts.arena import ArenaSettings
from pipeline.contracts.gateway import Reveal, ShownMatchup
from pipeline.contracts.log import MATCHUPS, VOTES, EventLog, Record
from pipeline.contracts.matchup import Matchup, MatchupPrompt, encode_matchup
from pipeline.eventlog import open_log
from pipeline.eventlog.blocks import wall_clock_ms
from pipeline.store.reader import StoreReader
from producers.client import Client
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.stand_in import StandInWorker, open_client
from producers.gateway.secret_file import GatewaySecrets, open_secrets
from producers.gateway.server import GatewayServer, serving
from producers.gateway.settings import GatewaySettings
from producers.simulate.pictures import WorldArtist
from producers.simulate.world import SimulatedWorld
from tests.conftest import wait_until
from tests.end_to_end.jobs import append, append_events, live_job, make_event

ARENA = "pictures"
OTHER_ARENA = "clips"
PATIENT = {
    "voter_per_minute": 1e6,
    "voter_burst": 1e5,
    "address_per_minute": 1e6,
    "address_burst": 1e5,
    "new_voters_per_hour": 1e7,
    "new_voters_burst": 1e5,
    "custom_per_hour": 1e6,
    "custom_burst": 1e3,
}
"""Limits that no test meets unless it wants to."""

MANY = ArenaSettings(open_min=150)
"""Tests look at many matchups and leave."""

QUICK_QUEUE = DispatcherSettings(durable=False, ready_min=8, backoff_s=0.05)


class Job:
    """A job that can be stopped and started again. `run` runs it while a block runs."""

    def __init__(self, run: Callable[[], AbstractContextManager[Any]]) -> None:
        self._run = run
        self._running = ExitStack()

    def start(self) -> None:
        self._running.enter_context(self._run())

    def stop(self) -> None:
        self._running.close()


@dataclass(frozen=True)
class System:
    """What runs, and where it keeps things."""

    folder: Path
    log: EventLog
    server: GatewayServer
    secrets: GatewaySecrets
    world: SimulatedWorld
    job: Job

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def keys(self) -> Path:
        return self.folder / "gateway" / "token-keys.toml"

    def client(self, **options: Any) -> Client:
        return Client(self.server.url, **options)

    def http(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.server.url, headers=headers, timeout=20)


def make_settings(folder: Path, **given: Any) -> GatewaySettings:
    queue = given.pop("queue", QUICK_QUEUE)
    return GatewaySettings(**{**PATIENT, "state": str(folder / "gateway"), "queue": queue, **given})


def make_arenas(log: EventLog, world: SimulatedWorld) -> None:
    """Make the world's arena known, which requires tokens, and another one of two models."""
    events = [
        msgspec.structs.replace(event, settings=MANY) if event.type == "arena.upsert" else event
        for event in world.arena_events(0)
    ]
    other = make_event("arena.upsert", arena=OTHER_ARENA, k=2, require_token=True, title="<script>alert(1)</script>")
    models = [make_event("model.add", arena=OTHER_ARENA, model={"id": each}) for each in ("alpha", "beta")]
    append_events(log, [*events, other, *models])


@contextmanager
def working(server_url: str, secrets: GatewaySecrets, world: SimulatedWorld, **options: Any) -> Iterator[StandInWorker]:
    """Run a stand-in worker while the block runs."""
    ended = threading.Event()
    with open_client(server_url, secrets.worker_keys[0]) as client:
        worker = StandInWorker(client, "stand-in", draw=WorldArtist(world).draw, wait_s=0.5, **options)
        thread = threading.Thread(target=worker.run, args=(ended,), daemon=True)
        thread.start()
        try:
            yield worker
        finally:
            ended.set()
            thread.join(20)


@contextmanager
def running_system(
    folder: Path, *, url: str | None = None, partitions: int = 2, refuse: str | None = None, **settings: Any
) -> Iterator[System]:
    """Run everything while the block runs."""
    world = SimulatedWorld(models=6, k=4, seed=5, arena_id=ARENA, require_token=True, skip_share=0.0)
    log = open_log(url or f"sqlite:{folder / 'events.db'}")
    log.create_topics({**PARTITIONS, VOTES: partitions})
    make_arenas(log, world)
    with ExitStack() as stack:
        chosen = make_settings(folder, **settings)
        server = stack.enter_context(serving(log, folder / "store", chosen))
        secrets = open_secrets(folder / "gateway", lambda: "never")
        job = Job(lambda: live_job(log, system.store, propose=True, token_keys=system.keys))
        system = System(folder, log, server, secrets, world, job)
        stack.callback(job.stop)
        job.start()
        stack.enter_context(working(server.url, system.secrets, world, refuse=refuse))
        with system.client() as client:
            wait_until(lambda: client.ready().status == "ok", 60)
            wait_until(lambda: {ARENA, OTHER_ARENA} <= StoreReader(system.store).arenas().keys(), 60)
            wait_until(lambda: ARENA in {arena.id for arena in client.arenas()}, 60)
        yield system


def vote_on(system: System, prompt: str) -> tuple[ShownMatchup, Reveal]:
    """Have a matchup made for a prompt of nobody else's, as a proposal of the job, and vote on it."""
    matchup = Matchup(
        matchup_id=uuid4().hex,
        arena=ARENA,
        models=tuple(system.world.model_ids[:4]),
        prompt=MatchupPrompt(id=f"p-{uuid4().hex}", text=prompt),
        policy="random",
        commit=1,
        created=wall_clock_ms(),
        expires=wall_clock_ms() + 600_000,
        priority=9,
    )
    append(system.log, MATCHUPS, [Record(encode_matchup(matchup), matchup.matchup_id)])
    with system.client() as client:

        def find() -> ShownMatchup | None:
            shown = client.ask(ARENA)
            return shown if isinstance(shown, ShownMatchup) and shown.matchup_id == matchup.matchup_id else None

        shown = wait_until(find, 60, 0.5)  # who asks more often uses up more than the worker makes
        assert shown is not None
        # not an order: other tests find out which models are the best ones
        return shown, client.vote(shown, mode="all_bad").reveal


def published_votes(system: System, arena: str = ARENA) -> int:
    """Return how many votes the published board of an arena has."""
    return StoreReader(system.store).board(arena).votes
