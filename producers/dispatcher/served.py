"""Which models are served: a matchup with a model that no worker makes artifacts of is not worth beginning."""

from __future__ import annotations

import threading

from producers.dispatcher.leases import Request


class ServedModels:
    """Which models workers have asked for of late. For any number of threads."""

    def __init__(self, memory_ms: int) -> None:
        self._memory_ms = memory_ms
        self._lock = threading.Lock()
        self._asked: dict[str, tuple[Request, int]] = {}

    def note(self, request: Request, now: int) -> None:
        """Note what a worker asked for; it counts instead of what it asked for before."""
        with self._lock:
            self._asked[request.worker] = request, now
            self._asked = {worker: asked for worker, asked in self._asked.items() if now - asked[1] <= self._memory_ms}

    def is_served(self, arena: str, model: str, *, now: int) -> bool:
        """Whether a worker makes artifacts of `model`."""
        with self._lock:
            asked = list(self._asked.values())
        return any(request.takes(arena, model) for request, when in asked if now - when <= self._memory_ms)
