"""The real queue and artifact store behind the real work routes, on a real socket, for benchmarks and tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI
from starlette.requests import Request

from generation.demo.models import DEMO_MODELS, list_prompts
from pipeline.contracts.generation import ArtifactFormat
from pipeline.contracts.matchup import Matchup, MatchupPrompt
from producers.artifacts.store import ArtifactStore, open_artifacts
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.errors import DispatcherError
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.types import Maker, Showing
from producers.gateway.edge import on_dispatcher_error, on_gateway_error
from producers.gateway.errors import GatewayError
from producers.gateway.routes.work import work_router

ARENA = "demo"
KEY = "worker-key"
START_LIMIT_S = 30.0


def now_ms() -> int:
    """Return the wall clock in ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


def make_matchups(count: int, k: int = 4, models: int = len(DEMO_MODELS)) -> list[Matchup]:
    """Return matchups of demo models, each with a prompt of its own."""
    names = list(DEMO_MODELS)[:models]
    rng = np.random.default_rng(1)
    now = now_ms()
    return [
        Matchup(
            matchup_id=f"{number:032x}",
            arena=ARENA,
            models=tuple(str(name) for name in rng.choice(names, k, replace=False)),
            prompt=MatchupPrompt(id=prompt.id, text=prompt.text, seed=prompt.seed),
            policy="random",
            commit=1,
            created=now,
            expires=now + 3_600_000,
        )
        for number, prompt in enumerate(list_prompts(count))
    ]


class WorkServer:
    """The queue, and what can be seen of it while workers work on it."""

    def __init__(
        self, folder: Path, form: ArtifactFormat, lease_s: float, attempts: int, generators: dict[str, str]
    ) -> None:
        self.artifacts: ArtifactStore = open_artifacts(folder / "artifacts", clock=now_ms)
        settings = DispatcherSettings(
            durable=False,
            ready_min=500,
            lease_s=lease_s,
            max_attempts=attempts,
            backoff_s=0.05,
            min_vote_s=1,
        )
        self.dispatcher = Dispatcher(
            folder / "queue.db",
            self.artifacts,
            settings,
            maker_of=lambda _arena, model: Maker(generator=generators.get(model, f"demo:{model}"), format=form),
        )
        self.delivered = 0
        """Requests that bring an artifact, from their first byte."""
        self.url = ""

    def propose(self, matchups: list[Matchup]) -> None:
        """Take matchups in, as from the log."""
        assert self.dispatcher.take_proposals(matchups, {}) == len(matchups)

    def ready(self) -> int:
        """Return how many matchups can be shown."""
        return self.dispatcher.counts(now_ms()).arenas[ARENA].ready

    def show_all(self) -> list[Showing]:
        """Show everything that is ready, each to a voter of its own."""
        shown: list[Showing] = []
        while isinstance(showing := self.dispatcher.show_next(ARENA, f"voter-{len(shown)}", now_ms()), Showing):
            shown.append(showing)
        return shown

    def read(self, address: str) -> bytes:
        """Return the artifact at an address of a showing."""
        found = self.dispatcher.artifact_at(address)
        assert found is not None
        return self.artifacts.read(*found)


@contextmanager
def serving(
    folder: Path,
    form: ArtifactFormat,
    lease_s: float = 30.0,
    attempts: int = 4,
    generators: dict[str, str] | None = None,
) -> Iterator[WorkServer]:
    """Serve while the block runs. Models are demo models by their names, but for those in `generators`."""
    server = WorkServer(folder, form, lease_s, attempts, generators or {})

    def authorize(request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            raise GatewayError(401, "wrong_key", "no")
        server.delivered += request.method == "PUT"

    app = FastAPI(
        exception_handlers={GatewayError: on_gateway_error, DispatcherError: on_dispatcher_error},
    )
    app.include_router(work_router(server.dispatcher, server.artifacts, authorize))
    uvicorn_server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=uvicorn_server.run)
    thread.start()
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while not uvicorn_server.started:
            if time.monotonic() > deadline:
                raise TimeoutError("the server of the benchmark did not start")
            time.sleep(0.01)
        port = uvicorn_server.servers[0].sockets[0].getsockname()[1]
        server.url = f"http://127.0.0.1:{port}"
        yield server
    finally:
        uvicorn_server.should_exit = True
        thread.join(20)
        server.dispatcher.close()
