"""Models that misbehave on purpose, and a gateway in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import numpy as np

from generation.adapters.base import Adapter, Request, Surroundings
from generation.errors import GenerationError, Interrupted, ModelUnavailable, OutOfMemory, Refused
from generation.frames import Frames
from pipeline.contracts.generation import ArtifactFormat, GenerationSettings, WorkJob, WorkPrompt

FORM = ArtifactFormat(width=16, height=16)


def make_job(number: int, model: str = "model-01", generator: str = "fake:ok", **more: Any) -> WorkJob:
    prompt = more.pop("prompt", WorkPrompt(id=f"p-{number}", text=f"prompt {number}", seed=number))
    return WorkJob(
        job_id=f"{number:032x}", fence=1, arena="demo", model=model, generator=generator, prompt=prompt,
        **{"format": FORM, **more},
    )  # fmt: skip


@dataclass
class FakeDevice:
    """Memory that fake models share, and what they did."""

    capacity: int = 100
    calls: list[tuple[str, int]] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    used: dict[int, int] = field(default_factory=dict)
    hurry: threading.Event = field(default_factory=threading.Event)
    """Ends the waiting of slow models."""


class FakeAdapter(Adapter):
    """`fake:BEHAVIOUR[,BEHAVIOUR]`.

    ``size=N`` takes N bytes of `DEVICE`; ``each=N`` takes N more for each picture of a batch; ``offload`` can work with
    a tenth of its bytes; ``broken`` fails always; ``poison`` fails prompts with "bad" in them; ``refuse`` refuses
    those; ``unavailable`` cannot be loaded here; ``unloadable`` fails to load; ``slow`` waits until it is stopped or
    told to hurry.
    """

    device = FakeDevice()

    def __init__(self, source: str, settings: GenerationSettings, surroundings: Surroundings) -> None:
        super().__init__(source, settings, surroundings)
        words = dict(word.partition("=")[::2] for word in source.split(","))
        self.words = words
        self.bytes = int(words.get("size", 0))
        self.each = int(words.get("each", 0))
        self.offloaded = False

    def load(self) -> None:
        if "unavailable" in self.words:
            raise ModelUnavailable("not here")
        if "unloadable" in self.words:
            raise RuntimeError("weights are broken")
        self._take(self.bytes)
        self.device.loads.append(self.source)

    def _take(self, amount: int) -> None:
        others = sum(used for key, used in self.device.used.items() if key != id(self))
        if others + amount > self.device.capacity:
            raise OutOfMemory("fake device is full")
        self.device.used[id(self)] = amount

    def generate(self, requests: Sequence[Request], stop: Callable[[], bool]) -> list[Frames | Refused]:
        self.device.calls.append((self.source, len(requests)))
        self._take(self.memory_bytes + self.each * len(requests))
        self._take(self.memory_bytes)
        while "slow" in self.words and not self.device.hurry.wait(0.01):
            if stop():
                raise Interrupted("stopped")
        if "broken" in self.words:
            raise RuntimeError("always broken")
        if "poison" in self.words and any("bad" in request.text for request in requests):
            raise GenerationError("poisoned")
        return [
            Refused("no") if "refuse" in self.words and "bad" in request.text else draw_fake(request)
            for request in requests
        ]

    def offload(self) -> bool:
        if "offload" not in self.words or self.offloaded:
            return False
        self.offloaded = True
        self._take(self.memory_bytes)
        return True

    def release(self) -> None:
        self.device.used.pop(id(self), None)

    @property
    def memory_bytes(self) -> int:
        return self.bytes // 10 if self.offloaded else self.bytes

    @property
    def capacity_bytes(self) -> int:
        return self.device.capacity

    def estimate_bytes(self) -> int:
        return self.bytes if "estimates" in self.words else 0


def draw_fake(request: Request) -> Frames:
    rng = np.random.default_rng(request.seed)
    return Frames(rng.integers(0, 255, (1, request.form.height, request.form.width, 3), dtype=np.uint8))


@dataclass
class FakeGateway:
    """The work API in memory: jobs wait, are leased under rising fences, and end once."""

    waiting: list[WorkJob] = field(default_factory=list)
    leased: dict[str, WorkJob] = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    recipes: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    beats: list[list[str]] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    down: int = 0
    """So many requests are answered 503."""
    lease_seconds: float = 60.0
    most_bytes: int = 1 << 20
    lock: threading.Lock = field(default_factory=threading.Lock)
    fence: int = 0

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.handle)

    def handle(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            if request.headers["authorization"] != "Bearer right":
                return self._error(401, "bad key")
            if self.down > 0:
                self.down -= 1
                return self._error(503, "busy")
            parts = request.url.path.removeprefix("/v1/work/").split("/")
            if parts[0] == "lease":
                return self._lease(json.loads(request.content))
            if parts[0] == "heartbeat":
                held = [job["job_id"] for job in json.loads(request.content)["jobs"]]
                self.beats.append(held)
                lost = sorted(self.lost.intersection(held))
                return httpx.Response(200, json={"lease_seconds": self.lease_seconds, "lost": lost})
            return self._end(parts[1], parts[2], request)

    def _lease(self, body: dict[str, Any]) -> httpx.Response:
        self.asked.append(body)
        able = [
            job
            for job in self.waiting
            if job.model not in body["exclude"] and (body["models"] is None or job.model in body["models"])
        ]
        able.sort(key=lambda job: job.model not in body["resident"])
        chosen = [job for job in able if job.model == able[0].model][: body["max_jobs"]]
        out = []
        for job in chosen:
            self.fence += 1
            self.waiting.remove(job)
            self.leased[job.job_id] = msgspec.structs.replace(job, fence=self.fence)
            out.append(self.leased[job.job_id])
        return httpx.Response(
            200, content=msgspec.json.encode({"jobs": out, "lease_seconds": self.lease_seconds, "wait_s": 0.01})
        )

    def _end(self, job_id: str, verb: str, request: httpx.Request) -> httpx.Response:
        job = self.leased.get(job_id)
        body = {} if verb == "artifact" else json.loads(request.content)
        fence = int(request.url.params["fence"]) if verb == "artifact" else body["fence"]
        if job is None or job.fence != fence or job_id in self.lost:
            return self._error(409, "stale fence")
        if len(request.content) > self.most_bytes:
            return self._error(413, "too large")
        del self.leased[job_id]
        if verb == "artifact":
            self.artifacts[job_id] = request.content
            self.recipes[job_id] = request.headers["x-kwise-recipe"]
            return httpx.Response(201, json={})
        if verb == "release":
            self.released.append(job_id)
            self.waiting.append(job)
            return httpx.Response(200, json={})
        self.outcomes[job_id] = body
        return httpx.Response(200, json={"state": "dead"})

    @staticmethod
    def _error(status: int, message: str) -> httpx.Response:
        return httpx.Response(status, json={"error": {"code": "x", "message": message, "retry": status >= 500}})
