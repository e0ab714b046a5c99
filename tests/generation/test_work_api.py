"""The worker's side of the work API: what is tried again, what is not, and what errors mean."""

from __future__ import annotations

import threading

import httpx
import pytest

from generation.errors import GatewayError
from generation.worker.settings import WorkerSettings
from generation.worker.work_api import StaleLease, WorkApi
from pipeline.contracts.generation import WorkJob
from tests.generation.fakes import FakeGateway, make_job

SETTINGS = WorkerSettings(name="w")


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway([make_job(number) for number in range(3)])


def open_api(gateway: FakeGateway, key: str = "right") -> WorkApi:
    stopped = threading.Event()
    stopped.set()  # pauses between tries take no time
    return WorkApi("http://gateway", key, stopped, gateway.transport)


def lease_one(api: WorkApi) -> WorkJob:
    return api.lease(WorkerSettings(name="w", max_jobs=1), (), ()).jobs[0]


def test_jobs_are_leased_delivered_reported_and_released(gateway: FakeGateway) -> None:
    api = open_api(gateway)
    jobs = api.lease(SETTINGS, ("model-01",), ("model-09",)).jobs
    assert [job.prompt.text for job in jobs] == ["prompt 0", "prompt 1", "prompt 2"]
    assert (gateway.asked[0]["resident"], gateway.asked[0]["exclude"]) == (["model-01"], ["model-09"])
    api.deliver(jobs[0], b"bytes", "image/webp", "0" * 64)
    api.report(jobs[1], "refused", "because " * 1000, retriable=False)
    api.release(jobs[2])
    assert gateway.artifacts == {jobs[0].job_id: b"bytes"}
    assert gateway.outcomes[jobs[1].job_id]["outcome"] == "refused"
    assert len(gateway.outcomes[jobs[1].job_id]["reason"]) == 2000
    assert gateway.released == [jobs[2].job_id]


def test_a_busy_gateway_is_asked_again(gateway: FakeGateway) -> None:
    api = open_api(gateway)
    job = lease_one(api)
    gateway.down = 3
    api.deliver(job, b"bytes", "image/webp", "0" * 64)
    assert gateway.artifacts
    gateway.down = 100
    with pytest.raises(GatewayError, match=r"answered 503.*busy") as caught:
        api.report(job, "failed", "x", retriable=True)
    assert caught.value.retriable
    assert gateway.down == 94


def test_a_lease_is_asked_for_once(gateway: FakeGateway) -> None:
    gateway.down = 1
    with pytest.raises(GatewayError):
        open_api(gateway).lease(SETTINGS, (), ())
    assert gateway.down == 0


def test_an_old_fence_is_known_at_once(gateway: FakeGateway) -> None:
    api = open_api(gateway)
    job = lease_one(api)
    api.release(job)
    lease_one(api)
    with pytest.raises(StaleLease):
        api.deliver(job, b"bytes", "image/webp", "0" * 64)


def test_a_wrong_key_is_final(gateway: FakeGateway) -> None:
    with pytest.raises(GatewayError, match=r"401.*bad key") as caught:
        open_api(gateway, "wrong").lease(SETTINGS, (), ())
    assert not caught.value.retriable


def test_a_gateway_that_cannot_be_reached_is_named_without_the_key() -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    stopped = threading.Event()
    stopped.set()
    api = WorkApi("http://gateway", "secret-key", stopped, httpx.MockTransport(fail))
    with pytest.raises(GatewayError, match="http://gateway cannot be reached: ConnectError") as caught:
        api.lease(SETTINGS, (), ())
    assert caught.value.retriable
    assert "secret-key" not in str(caught.value)


def test_an_answer_that_is_no_answer_is_an_error() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>"))
    with pytest.raises(GatewayError, match="cannot be read"):
        WorkApi("http://gateway", "k", threading.Event(), transport).lease(SETTINGS, (), ())
