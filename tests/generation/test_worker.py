"""The worker's loop on a gateway in memory: outcomes, failures, stops, and what it says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from generation.adapters.base import Surroundings
from generation.errors import GatewayError
from generation.frames import decode_frames
from generation.safety import Checker
from generation.worker.settings import WorkerSettings
from generation.worker.stats import StatsBook
from generation.worker.work_api import WorkApi
from generation.worker.worker import Worker
from pipeline.contracts.generation import WorkJob, WorkPrompt, hash_recipe
from tests.conftest import wait_until
from tests.generation.fakes import FakeDevice, FakeGateway, make_job


class Run:
    """A worker in a thread."""

    def __init__(self, gateway: FakeGateway, checker: Checker | None, key: str, settings: dict[str, Any]) -> None:
        self.stop = threading.Event()
        self.said: list[str] = []
        self.book = StatsBook()
        self.failure: BaseException | None = None
        self.now = 1_000_000
        worker = Worker(
            WorkApi("http://gateway", key, self.stop, gateway.transport),
            WorkerSettings(**{"name": "w", **settings}),
            Surroundings(),
            stats=self.book,
            announce=self.said.append,
            clock=lambda: self.now,
            timer=time.monotonic,
            checker=checker,
        )

        def run() -> None:
            try:
                worker.run(self.stop)
            except BaseException as error:
                self.failure = error

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


@contextmanager
def working(gateway: FakeGateway, checker: Checker | None = None, key: str = "right", **settings: Any) -> Iterator[Run]:
    run = Run(gateway, checker, key, settings)
    try:
        yield run
    finally:
        run.end()


def work_until_idle(gateway: FakeGateway, checker: Checker | None = None, **settings: Any) -> Run:
    with working(gateway, checker, until_idle=True, **settings) as run:
        run.thread.join(20)
    assert run.failure is None, run.failure
    return run


def test_every_job_gets_its_artifact_and_recipe(device: FakeDevice) -> None:
    jobs = [make_job(number, f"model-{number % 3}") for number in range(30)]
    gateway = FakeGateway(list(jobs))
    run = work_until_idle(gateway)
    assert gateway.recipes == {job.job_id: hash_recipe(job) for job in jobs}
    picture = decode_frames(gateway.artifacts[jobs[0].job_id]).pixels
    assert picture.shape == (1, 16, 16, 3)
    assert not gateway.leased
    stats = run.book.read()
    assert stats.made == 30
    assert {model: each.made for model, each in stats.models.items()} == {f"model-{n}": 10 for n in range(3)}
    assert device.used == {}


def test_weights_are_swapped_once_a_model(device: FakeDevice) -> None:
    jobs = [make_job(n, f"model-{n % 4}", f"fake:size=60,estimates,name={n % 4}") for n in range(48)]
    work_until_idle(FakeGateway(jobs), max_jobs=4)
    assert len(device.loads) == 4


def test_refusals_are_outcomes(device: FakeDevice) -> None:
    bad = WorkPrompt(id="p", text="something bad", seed=1)
    jobs = [
        make_job(1),
        make_job(2, generator="fake:refuse", prompt=bad),
        make_job(3, prompt=WorkPrompt(id="p", text="x" * 2001)),
        make_job(4, prompt=WorkPrompt(id="p", text="esc\x1b[31mape")),
        make_job(5, prompt=WorkPrompt(id="p", text=" \n ")),
    ]
    gateway = FakeGateway(jobs)
    run = work_until_idle(gateway)
    reasons = {int(job_id, 16): outcome["reason"] for job_id, outcome in gateway.outcomes.items()}
    assert reasons == {
        2: "no",
        3: "the prompt has 2001 characters; the limit is 2000",
        4: "the prompt holds control characters",
        5: "the prompt is empty",
    }
    assert {(each["outcome"], each["retriable"]) for each in gateway.outcomes.values()} == {("refused", False)}
    assert run.book.read().models["model-01"].refused == 4
    assert len(gateway.artifacts) == 1


def test_a_matchup_without_a_prompt_fails_for_good(device: FakeDevice) -> None:
    gateway = FakeGateway([make_job(1, prompt=WorkPrompt(id=""))])
    work_until_idle(gateway)
    assert {(each["outcome"], each["retriable"]) for each in gateway.outcomes.values()} == {("failed", False)}


def test_a_checker_stops_artifacts_and_its_failure_shows_nothing(device: FakeDevice) -> None:
    def check(pixels: NDArray[np.uint8], prompt: str) -> str | None:
        assert pixels.shape == (1, 16, 16, 3)
        if prompt == "prompt 3":
            raise RuntimeError("checker is broken")
        return "unsafe" if prompt == "prompt 2" else None

    gateway = FakeGateway([make_job(number) for number in (1, 2, 3)])
    work_until_idle(gateway, check)
    assert [int(job_id, 16) for job_id in gateway.artifacts] == [1]
    outcomes = {int(job_id, 16): (each["outcome"], each["reason"]) for job_id, each in gateway.outcomes.items()}
    assert outcomes == {2: ("refused", "unsafe"), 3: ("failed", "RuntimeError: checker is broken")}


def test_a_broken_model_is_left_alone_and_the_others_go_on(device: FakeDevice) -> None:
    broken = [make_job(number, "broken", "fake:broken") for number in range(10)]
    fine = [make_job(number, "fine") for number in range(10, 20)]
    gateway = FakeGateway(broken + fine)
    with working(gateway) as run:
        wait_until(lambda: len(gateway.artifacts) == 10 and any("broken" in each["exclude"] for each in gateway.asked))
        assert len(gateway.outcomes) == 3  # the breaker's threshold; the rest went back
        assert {each["reason"] for each in gateway.outcomes.values()} == {"RuntimeError: always broken"}
        assert len(gateway.waiting) == 7
        wait_until(lambda: run.book.read().excluded == ("broken",))
        run.now += 30_000
        wait_until(lambda: len(gateway.outcomes) == 4)  # one try, then a longer pause
        wait_until(lambda: len(gateway.waiting) == 6)
    assert any("leaving broken alone" in line for line in run.said)


def test_a_model_that_cannot_be_served_here_goes_back(device: FakeDevice) -> None:
    gateway = FakeGateway([make_job(1, "elsewhere", "fake:unavailable"), make_job(2, "odd", "magic:x")])
    with working(gateway) as run:
        wait_until(lambda: gateway.asked and gateway.asked[-1]["exclude"] == ["elsewhere", "odd"])
        wait_until(lambda: len(gateway.waiting) == 2)
        assert run.book.read().models["elsewhere"].released == 1
    assert not gateway.outcomes


def test_a_model_that_fails_to_load_fails_its_jobs(device: FakeDevice) -> None:
    gateway = FakeGateway([make_job(1, "m", "fake:unloadable"), make_job(2, "m", "fake:unloadable")])
    with working(gateway):
        wait_until(lambda: len(gateway.outcomes) == 2)
    assert all(each["retriable"] and "weights are broken" in each["reason"] for each in gateway.outcomes.values())


def test_a_model_too_large_fails_and_is_left_alone(device: FakeDevice) -> None:
    gateway = FakeGateway([make_job(1, "huge", "fake:size=10,each=1000"), make_job(2, "fine")])
    with working(gateway) as run:
        wait_until(lambda: len(gateway.outcomes) == 1 and len(gateway.artifacts) == 1)
    assert "does not fit" in next(iter(gateway.outcomes.values()))["reason"]
    assert any("leaving huge alone" in line for line in run.said)


def test_a_stop_gives_back_what_is_not_made(device: FakeDevice) -> None:
    gateway = FakeGateway([make_job(number, generator="fake:slow") for number in range(8)])
    with working(gateway) as run:
        wait_until(lambda: device.calls)
        assert len(gateway.leased) == 8
    assert run.failure is None
    assert not gateway.leased
    assert not gateway.outcomes
    assert len(gateway.waiting) == 8
    assert device.used == {}


def test_the_next_lease_is_asked_for_while_the_last_part_is_made(device: FakeDevice) -> None:
    gateway = FakeGateway([make_job(1, "a", "fake:slow"), make_job(2, "b", "fake:slow")])
    with working(gateway):
        wait_until(lambda: len(gateway.leased) == 2 and device.calls)
        assert [source for source, _ in device.calls] == ["slow"]
    assert len(gateway.waiting) == 2


def test_heartbeats_keep_what_is_held_and_drop_what_is_lost(device: FakeDevice) -> None:
    gateway = FakeGateway([make_job(number, generator="fake:slow") for number in range(4)], lease_seconds=0.08)
    with working(gateway) as run:
        wait_until(lambda: any(len(held) == 4 for held in gateway.beats))
        gateway.lost.add(make_job(2).job_id)
        wait_until(lambda: gateway.beats and len(gateway.beats[-1]) == 3)
    assert run.book.read().models["model-01"].lost == 1
    assert len(gateway.waiting) == 3


def test_what_is_lost_while_it_waits_for_its_turn_is_not_made(device: FakeDevice) -> None:
    slow, late = make_job(1, "a", "fake:slow"), make_job(2, "b")
    gateway = FakeGateway([slow, late], lease_seconds=0.08)
    with working(gateway) as run:
        wait_until(lambda: any(late.job_id in held for held in gateway.beats))
        gateway.lost.add(late.job_id)
        wait_until(lambda: late.job_id not in gateway.beats[-1])
        device.hurry.set()
        wait_until(lambda: "b" in run.book.read().models)
    assert run.book.read().models["b"].lost == 1
    assert [source for source, _ in device.calls] == ["slow"]


def test_an_artifact_that_comes_too_late_is_counted_and_forgotten(device: FakeDevice) -> None:
    gateway = FakeGateway([make_job(1), make_job(2)])
    gateway.lost.add(make_job(1).job_id)
    run = work_until_idle(gateway)
    stats = run.book.read().models["model-01"]
    assert (stats.made, stats.lost) == (1, 1)


def test_an_artifact_that_the_gateway_does_not_take_fails_for_good(device: FakeDevice) -> None:
    gateway = FakeGateway([make_job(1)], most_bytes=200)
    run = work_until_idle(gateway)
    (outcome,) = gateway.outcomes.values()
    assert (outcome["outcome"], outcome["retriable"]) == ("failed", False)
    assert "too large" in outcome["reason"]
    assert run.book.read().models["model-01"].failed == 1


def test_a_job_whose_end_cannot_be_told_is_left_to_its_lease(device: FakeDevice) -> None:
    gateway = FakeGateway([make_job(1, generator="fake:slow")])
    with working(gateway) as run:
        wait_until(lambda: device.calls)
        gateway.down = 10_000
    assert run.failure is None
    assert len(gateway.leased) == 1
    assert run.book.read().models["model-01"].lost == 1
    assert any("its lease will run out" in line for line in run.said)


def test_prompts_may_hold_emoji_and_any_script(device: FakeDevice) -> None:
    texts = (
        "a family \N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL} at the sea",
        "\u05d1\u05d9\u05ea \u200f\u05d0\u05d3\u05d5\u05dd",
        "\u8d64\u3044\u5186",
    )
    gateway = FakeGateway([make_job(n, prompt=WorkPrompt(id="p", text=text)) for n, text in enumerate(texts)])
    work_until_idle(gateway)
    assert len(gateway.artifacts) == 3


def test_a_gateway_that_goes_away_is_waited_for(device: FakeDevice) -> None:
    gateway = FakeGateway([make_job(1)], down=2)
    with working(gateway) as run:
        wait_until(lambda: gateway.artifacts, 20)
    assert [line.partition(":")[0] for line in run.said if "gateway" in line][:1] == ["the gateway at http"]
    assert "the gateway is back" in run.said


def test_a_wrong_key_ends_the_worker(device: FakeDevice) -> None:
    with working(FakeGateway([make_job(1)]), key="wrong") as run:
        run.thread.join(20)
    assert isinstance(run.failure, GatewayError)


def test_only_what_is_asked_for_is_leased(device: FakeDevice) -> None:
    gateway = FakeGateway([make_job(1, "a"), make_job(2, "b")])
    work_until_idle(gateway, models=("b",), arenas=("demo",))
    assert [job.model for job in gateway.waiting] == ["a"]
    assert gateway.asked[0]["arenas"] == ["demo"]


def make_identity_jobs() -> list[WorkJob]:
    return [make_job(1, revision="one"), make_job(2, revision="two"), make_job(3, revision="two")]


def test_jobs_of_one_lease_with_other_settings_are_other_models(device: FakeDevice) -> None:
    gateway = FakeGateway(make_identity_jobs())
    work_until_idle(gateway)
    assert [size for _, size in device.calls] == [1, 2]
    assert len(device.loads) == 2
    assert len(set(gateway.recipes.values())) == 3


def test_unexpected_errors_come_out_and_leave_no_thread(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("generation.worker.worker.seed_of", fail)
    before = threading.active_count()
    with working(FakeGateway([make_job(1)])) as run:
        run.thread.join(20)
    assert isinstance(run.failure, ZeroDivisionError)
    assert threading.active_count() == before
