"""Models that misbehave on purpose, and a gateway in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest

from generation.adapters import registry
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


class FakeAdapter(Adapter):
    """`fake:BEHAVIOUR[,BEHAVIOUR]`.

    ``size=N`` takes N bytes of `DEVICE`; ``each=N`` takes N more for each picture of a batch; ``offload`` can work with
    a tenth of its bytes; ``broken`` fails always; ``poison`` fails prompts with "bad" in them; ``refuse`` refuses
    those; ``unavailable`` cannot be loaded here; ``unloadable`` fails to load; ``slow`` waits until it is stopped.
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
        while "slow" in self.words:
            if stop():
                raise Interrupted("stopped")
            threading.Event().wait(0.01)
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


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """A fresh fake device, and the adapter registered as ``fake:``."""
    fresh = FakeDevice()
    monkeypatch.setattr(FakeAdapter, "device", fresh)
    monkeypatch.setitem(registry.ADAPTERS, "fake", (__name__, "FakeAdapter"))
    monkeypatch.setattr("generation.adapters.registry.importlib.import_module", _import_here)
    return fresh


def _import_here(name: str) -> Any:
    import importlib  # noqa: PLC0415
    import sys  # noqa: PLC0415

    return sys.modules[name] if name in sys.modules else importlib.__import__(name, fromlist=["x"])
