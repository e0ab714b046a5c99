"""The work routes over HTTP: jobs out, artifacts and outcomes in, and nothing for whoever has no key or no loan."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError

from pipeline.cli.logs import PARTITIONS
from pipeline.contracts.matchup import Matchup
from pipeline.eventlog import open_log
from pipeline.eventlog.blocks import wall_clock_ms
from producers.artifacts.media import PNG
from producers.artifacts.store import open_artifacts
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.errors import DispatcherError
from producers.dispatcher.plain_png import draw_png
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.stand_in import StandInWorker, open_client
from producers.dispatcher.types import Showing
from producers.gateway.app import on_bad_parameter
from producers.gateway.edge import on_dispatcher_error, on_gateway_error
from producers.gateway.errors import GatewayError
from producers.gateway.routes.work import work_router
from producers.gateway.secret_file import open_secrets
from producers.gateway.server import serving
from tests.conftest import wait_until
from tests.gateway.systems import make_settings
from tests.producers.dispatcher.queues import HOUR, make_matchup

KEY = "a worker's key"
JOB = "0" * 32
MOST_BYTES = 200_000


@dataclass
class Desk:
    """A dispatcher behind its work routes. Each matchup is of an arena of its own, so that tests do not meet."""

    url: str
    dispatcher: Dispatcher
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def propose(self, **options: Any) -> Matchup:
        """Propose a matchup."""
        number = next(self.numbers)
        matchup = make_matchup(number, arena=f"arena-{number}", expires=wall_clock_ms() + HOUR, **options)
        assert self.dispatcher.take_proposals([matchup], {}) == 1
        return matchup

    def client(self) -> httpx.Client:
        return open_client(self.url, KEY)


def require_key(request: Request) -> None:
    if request.headers.get("authorization") != f"Bearer {KEY}":
        raise GatewayError(401, "wrong_key", "this needs a worker key")


@contextmanager
def serving_work(dispatcher: Dispatcher) -> Iterator[str]:
    """Serve the work routes alone while the block runs."""
    app = FastAPI(
        exception_handlers={
            GatewayError: on_gateway_error,
            DispatcherError: on_dispatcher_error,
            RequestValidationError: on_bad_parameter,
        }
    )
    app.include_router(work_router(dispatcher, dispatcher.artifacts, require_key))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("work")
    artifacts = open_artifacts(folder / "artifacts", clock=wall_clock_ms, max_bytes=MOST_BYTES)
    settings = DispatcherSettings(durable=False, ready_min=100, lease_s=30, backoff_s=30)
    with Dispatcher(folder / "queue.db", artifacts, settings) as dispatcher, serving_work(dispatcher) as url:
        yield Desk(url, dispatcher)


@pytest.fixture
def client(desk: Desk) -> Iterator[httpx.Client]:
    with desk.client() as opened:
        yield opened


def lease(client: httpx.Client, matchup: Matchup, **options: Any) -> list[dict[str, Any]]:
    """Lease jobs of a matchup's arena, waiting for the first."""
    body = {"worker": "w", "arenas": [matchup.arena], "wait_s": 10, **options}
    answer = client.post("/v1/work/lease", json=body)
    assert answer.status_code == 200
    jobs: list[dict[str, Any]] = answer.json().get("jobs", [])
    return jobs


def hand_in(
    client: httpx.Client, job: dict[str, Any], data: bytes | None = None, headers: dict[str, str] | None = None
) -> httpx.Response:
    path = f"/v1/work/jobs/{job['job_id']}/artifact"
    content = draw_png(job["model"]) if data is None else data
    return client.put(
        path, params={"fence": job["fence"]}, content=content, headers={"content-type": PNG, **(headers or {})}
    )


def show_pictures(desk: Desk, matchup: Matchup) -> list[bytes]:
    """Show a matchup, which must be ready, and return its artifacts."""
    showing = desk.dispatcher.show_next(matchup.arena, "v", wall_clock_ms())
    assert isinstance(showing, Showing)
    found = [desk.dispatcher.artifact_at(str(slot.address)) for slot in showing.slots]
    return [desk.dispatcher.artifacts.read(*each) for each in found if each is not None]


def error_of(response: httpx.Response) -> tuple[int, str, bool]:
    fault = response.json()["error"]
    assert fault["message"]
    return response.status_code, fault["code"], fault["retry"]


def test_jobs_come_with_all_that_is_needed(desk: Desk, client: httpx.Client) -> None:
    matchup = desk.propose()
    answer = client.post("/v1/work/lease", json={"worker": "w", "arenas": [matchup.arena], "wait_s": 10}).json()
    (job,) = answer["jobs"]
    assert answer["lease_seconds"] == 30
    assert job["arena"] == matchup.arena
    assert job["model"] in matchup.models
    assert job["prompt"] == {
        "id": matchup.prompt and matchup.prompt.id,
        "text": matchup.prompt and matchup.prompt.text,
        "seed": 7,
    }
    assert job["fence"] >= 1


def test_the_stand_in_makes_what_it_is_lent(desk: Desk) -> None:
    matchup = desk.propose(text="a forbidden thing", models=("alpha", "beta"))
    allowed = desk.propose(models=("alpha", "beta"))
    stop = threading.Event()
    with desk.client() as client:
        worker = StandInWorker(client, "stand-in", refuse="forbidden", wait_s=0.5)
        thread = threading.Thread(target=worker.run, args=(stop,))
        thread.start()
        wait_until(lambda: desk.dispatcher.counts(wall_clock_ms()).arenas[allowed.arena].ready)
        stop.set()
        thread.join()
    pictures = show_pictures(desk, allowed)
    assert len(set(pictures)) == 2
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert desk.dispatcher.counts(wall_clock_ms()).arenas[matchup.arena].jobs_refused == 2
    assert worker.made >= 4


def test_a_job_is_handed_in_once_or_again(desk: Desk, client: httpx.Client) -> None:
    (job,) = lease(client, desk.propose())
    for _ in range(2):
        assert hand_in(client, job).status_code == 201
    held = {"worker": "w", "jobs": [{"job_id": job["job_id"], "fence": job["fence"]}]}
    assert client.post("/v1/work/heartbeat", json=held).json() == {"lease_seconds": 30.0, "lost": [job["job_id"]]}


def test_a_recipe_finds_what_it_made_first(desk: Desk, client: httpx.Client) -> None:
    recipe = {"x-kwise-recipe": "ab" * 32}
    earlier, later = (desk.propose(models=("alpha", "beta")) for _ in range(2))
    assert hand_in(client, lease(client, earlier)[0], draw_png("first"), recipe).status_code == 201
    assert hand_in(client, lease(client, later)[0], draw_png("second"), recipe).status_code == 201
    (job,) = lease(client, later)
    assert error_of(hand_in(client, job, headers={"x-kwise-recipe": "../x"}))[0] == 422
    assert hand_in(client, job, draw_png("third")).status_code == 201
    assert sorted(show_pictures(desk, later)) == sorted([draw_png("first"), draw_png("third")])


def test_heartbeats_keep_what_is_wanted(desk: Desk, client: httpx.Client) -> None:
    (job,) = lease(client, desk.propose())
    beat = {"worker": "w", "jobs": [{"job_id": job["job_id"], "fence": job["fence"]}, {"job_id": "x", "fence": 1}]}
    assert client.post("/v1/work/heartbeat", json=beat).json()["lost"] == ["x"]


def test_a_stale_fence_is_refused_everywhere(desk: Desk, client: httpx.Client) -> None:
    (job,) = lease(client, desk.propose())
    path = f"/v1/work/jobs/{job['job_id']}"
    stale = {**job, "fence": job["fence"] + 1_000}
    assert error_of(hand_in(client, stale)) == (409, "stale_fence", False)
    for route, body in (("release", {}), ("outcome", {"outcome": "refused"}), ("outcome", {"outcome": "failed"})):
        answer = client.post(f"{path}/{route}", json={"fence": stale["fence"], **body})
        assert error_of(answer) == (409, "stale_fence", False)
    assert error_of(hand_in(client, {**job, "job_id": JOB})) == (409, "stale_fence", False)
    assert hand_in(client, job).status_code == 201


def test_outcomes_say_what_became_of_the_job(desk: Desk, client: httpx.Client) -> None:
    matchup = desk.propose()
    refused, failed, broken, given_back = (lease(client, matchup, max_jobs=1)[0] for _ in range(4))

    def tell(job: dict[str, Any], route: str, **body: Any) -> httpx.Response:
        return client.post(f"/v1/work/jobs/{job['job_id']}/{route}", json={"fence": job["fence"], **body})

    assert tell(given_back, "release").status_code == 200
    assert lease(client, matchup)[0]["job_id"] == given_back["job_id"]
    assert tell(refused, "outcome", outcome="refused", reason="not this").json() == {"state": "refused"}
    assert tell(failed, "outcome", outcome="failed", reason="out of memory").json() == {"state": "waiting"}
    assert tell(broken, "outcome", outcome="failed", retriable=False).json() == {"state": "dead"}
    assert lease(client, matchup, wait_s=0) == []


@pytest.mark.parametrize(
    ("data", "media_type", "status", "code"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(MOST_BYTES), PNG, 413, "too_large"),
        (b"<svg onload='alert(1)'/>", "image/svg+xml", 415, "wrong_media"),
        (b"<script>alert(1)</script>", PNG, 415, "wrong_media"),
        (b"", PNG, 415, "wrong_media"),
        (b"\x89PNG\r\n\x1a\n", "", 415, "wrong_media"),
    ],
)
def test_what_is_no_artifact_is_refused(
    desk: Desk, client: httpx.Client, data: bytes, media_type: str, status: int, code: str
) -> None:
    (job,) = lease(client, desk.propose())
    assert error_of(hand_in(client, job, data, {"content-type": media_type})) == (status, code, False)
    assert hand_in(client, job).status_code == 201


@pytest.mark.parametrize("job_id", ["..%2f..%2fetc", "A" * 32, "0" * 31, "%00" * 32, "0" * 33])
def test_no_job_id_leads_anywhere(client: httpx.Client, job_id: str) -> None:
    answer = client.put(f"/v1/work/jobs/{job_id}/artifact?fence=1", content=b"x", headers={"content-type": PNG})
    assert answer.status_code in {404, 422}


@pytest.mark.parametrize("fence", ["0", "-1", "x", "", str(1 << 63), "1e3"])
def test_a_fence_is_a_number(client: httpx.Client, fence: str) -> None:
    answer = client.put(f"/v1/work/jobs/{JOB}/artifact?fence={fence}", content=b"x", headers={"content-type": PNG})
    assert error_of(answer)[:2] == (422, "bad_parameter")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"worker": ""}', 422),
        (b'{"worker": "w", "max_jobs": 0}', 422),
        (b'{"worker": "w", "max_jobs": 65}', 422),
        (b'{"worker": "w", "wait_s": 21}', 422),
        (b'{"worker": "w", "wait_s": -1}', 422),
        (b'{"worker": "w", "models": ["../x"]}', 422),
        (b'{"worker": "w", "x": "' + b"a" * (1 << 20) + b'"}', 413),
    ],
)
def test_a_lease_request_that_makes_no_sense_is_refused(client: httpx.Client, body: bytes, status: int) -> None:
    answer = client.post("/v1/work/lease", content=body, headers={"content-type": "application/json"})
    assert error_of(answer)[0] == status


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", "Basic d3Jvbmc6a2V5"])
def test_nothing_is_lent_without_a_key(desk: Desk, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header}
    with httpx.Client(base_url=desk.url, headers=headers) as stranger:
        for method, path in (
            ("POST", "lease"),
            ("POST", "heartbeat"),
            ("PUT", f"jobs/{JOB}/artifact?fence=1"),
            ("POST", f"jobs/{JOB}/outcome"),
            ("POST", f"jobs/{JOB}/release"),
        ):
            assert error_of(stranger.request(method, f"/v1/work/{path}"))[0] == 401


def test_a_worker_who_waits_is_answered_when_the_gateway_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(f"sqlite:{tmp_path / 'events.db'}")
    log.create_topics(PARTITIONS)
    waiting = threading.Event()
    lease_jobs = Dispatcher.lease_jobs
    answers: list[httpx.Response] = []

    def lease(self: Dispatcher, worker: str, **named: Any) -> Any:
        if worker == "the one who waits":  # there are others, at other gateways
            waiting.set()
        return lease_jobs(self, worker, **named)

    monkeypatch.setattr(Dispatcher, "lease_jobs", lease)
    with serving(log, tmp_path / "store", make_settings(tmp_path)) as server:
        key = open_secrets(tmp_path / "gateway", lambda: "never").worker_keys[0]

        def ask() -> None:
            with open_client(server.url, key) as client:
                answers.append(client.post("/v1/work/lease", json={"worker": "the one who waits", "wait_s": 20}))

        thread = threading.Thread(target=ask)
        thread.start()
        assert waiting.wait(20)
    thread.join(60)
    assert answers[0].status_code == 200


def test_the_routes_are_described(tmp_path: Path) -> None:
    log = open_log(f"sqlite:{tmp_path / 'events.db'}")
    log.create_topics(PARTITIONS)
    with serving(log, tmp_path / "store", make_settings(tmp_path)) as server:
        described = httpx.get(f"{server.url}/openapi.json").json()
    paths = {path for path in described["paths"] if path.startswith("/v1/work")}
    assert paths == {
        "/v1/work/lease",
        "/v1/work/heartbeat",
        "/v1/work/jobs/{job_id}/artifact",
        "/v1/work/jobs/{job_id}/outcome",
        "/v1/work/jobs/{job_id}/release",
    }
    assert "LeaseRequest" in described["components"]["schemas"]
    operation = described["paths"]["/v1/work/jobs/{job_id}/artifact"]["put"]
    assert PNG in operation["requestBody"]["content"]
    assert {"201", "409", "413"} <= operation["responses"].keys()
