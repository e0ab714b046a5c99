"""The jobs that a worker holds, and the thread that keeps their leases alive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final

from generation.errors import GatewayError
from generation.worker.work_api import WorkApi
from pipeline.contracts.generation import WorkJob

_BEATS: Final = 4
"""Heartbeats in the time of a lease: three may be missed."""
_FIRST_S: Final = 5.0


class HeldJobs:
    """Jobs on loan, kept alive by heartbeats while the block runs.

    Parameters
    ----------
    api, worker
        The gateway, and who we are there.
    announce
        Told when heartbeats fail and when they succeed again.
    """

    def __init__(self, api: WorkApi, worker: str, announce: Callable[[str], None]) -> None:
        self._api = api
        self._worker = worker
        self._announce = announce
        self._lock = threading.Lock()
        self._fences: dict[str, int] = {}
        self._every_s = _FIRST_S
        self._ended = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> HeldJobs:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._wake.set()
        self._thread.join()

    def take(self, jobs: Iterable[WorkJob], lease_seconds: float) -> None:
        """Note new jobs."""
        with self._lock:
            self._fences.update({job.job_id: job.fence for job in jobs})
            if lease_seconds / _BEATS < self._every_s:
                self._every_s = lease_seconds / _BEATS
                self._wake.set()  # the pause that is under way may be longer than the lease

    def drop(self, job: WorkJob) -> None:
        """Forget a job that is delivered, reported or given back."""
        with self._lock:
            if self._fences.get(job.job_id) == job.fence:
                del self._fences[job.job_id]

    def holds(self, job: WorkJob) -> bool:
        """Whether the job is ours, as far as is known."""
        with self._lock:
            return self._fences.get(job.job_id) == job.fence

    def __len__(self) -> int:
        with self._lock:
            return len(self._fences)

    def _beat(self) -> None:
        failing = False
        while True:
            self._wake.wait(self._every_s)
            self._wake.clear()
            if self._ended:
                return
            with self._lock:
                held = dict(self._fences)
            if not held:
                continue
            try:
                lease_seconds, lost = self._api.heartbeat(self._worker, held)
            except GatewayError as error:
                if not failing:
                    self._announce(f"heartbeat failed, going on: {error}")
                failing = True
                continue
            if failing:
                self._announce("heartbeat is back")
            failing = False
            with self._lock:
                self._every_s = lease_seconds / _BEATS
                for job_id in lost:
                    if self._fences.get(job_id) == held[job_id]:
                        del self._fences[job_id]
