"""What a worker counts, per model. For any number of threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class ModelStats:
    """Counts of one model since the worker started; seconds are those of the device.

    `released` jobs went back unharmed, `lost` ones were no longer ours when they were ready.
    """

    made: int = 0
    refused: int = 0
    failed: int = 0
    released: int = 0
    lost: int = 0
    made_bytes: int = 0
    making_s: float = 0.0
    loads: int = 0
    loading_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStats:
    """All counts at one moment."""

    models: Mapping[str, ModelStats] = field(default_factory=dict)
    resident: tuple[str, ...] = ()
    resident_bytes: int = 0
    held_jobs: int = 0
    excluded: tuple[str, ...] = ()
    waiting_s: float = 0.0
    gateway_up: bool = True

    @property
    def made(self) -> int:
        """Artifacts delivered, of all models."""
        return sum(model.made for model in self.models.values())


class StatsBook:
    """Collects the counts of one worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stats = WorkerStats()

    def add(self, model: str, **amounts: float) -> None:
        """Add `amounts` to the fields of a model that they name."""
        with self._lock:
            before = self._stats.models.get(model, ModelStats())
            after = replace(before, **{name: getattr(before, name) + amount for name, amount in amounts.items()})
            self._stats = replace(self._stats, models={**self._stats.models, model: after})

    def add_waiting(self, seconds: float) -> None:
        """Count seconds without work."""
        with self._lock:
            self._stats = replace(self._stats, waiting_s=self._stats.waiting_s + seconds)

    def note(
        self,
        *,
        resident: tuple[str, ...],
        resident_bytes: int,
        held_jobs: int,
        excluded: tuple[str, ...],
        gateway_up: bool,
    ) -> None:
        """Set what is no count."""
        with self._lock:
            self._stats = replace(
                self._stats,
                resident=resident,
                resident_bytes=resident_bytes,
                held_jobs=held_jobs,
                excluded=excluded,
                gateway_up=gateway_up,
            )

    def read(self) -> WorkerStats:
        """Return the counts as they are now."""
        with self._lock:
            return self._stats
