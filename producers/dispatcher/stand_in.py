"""A stand-in for generation workers: draws plain pictures, so that tests and the demo need no models.

It speaks the work routes of the gateway, as the real workers do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

import httpx
import msgspec

from pipeline.contracts.generation import Lease, WorkJob, WorkPrompt
from pipeline.contracts.work import HeartbeatAnswer
from producers.dispatcher.plain_png import draw_png

_TIMEOUT_S: Final = 30.0
_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 15.0

T = TypeVar("T")


class StandInWorker:
    """Leases jobs and hands in a picture for each, which depends on model, prompt and seed alone.

    Parameters
    ----------
    client : its base URL is the gateway's, and its headers hold the worker's key; see `open_client`
    worker : name of this worker
    draw : makes the picture of a job, a PNG; None: `draw_plain`
    refuse : a prompt with this word in it is refused; None: nothing is
    wait_s : how long one request for work may wait at the gateway, 0 to 20
    """

    def __init__(
        self,
        client: httpx.Client,
        worker: str,
        *,
        draw: Callable[[WorkJob], bytes] | None = None,
        refuse: str | None = None,
        wait_s: float = 5.0,
    ) -> None:
        self.made = 0
        self._client = client
        self._worker = worker
        self._refuse = refuse
        self._wait_s = wait_s
        self._draw = draw or draw_plain

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set; while the gateway is away, try again with longer and longer pauses."""
        pause = _PAUSE_S
        while not stopping.is_set():
            try:
                jobs = self.work_once()
                pause = _PAUSE_S
            except httpx.HTTPError:
                stopping.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                if not jobs and not self._wait_s:
                    stopping.wait(_PAUSE_S)

    def work_once(self) -> int:
        """Lease one batch and make it; return how many jobs it had. Raises `httpx.HTTPError`."""
        body = {"worker": self._worker, "wait_s": self._wait_s}
        jobs = self._post("/v1/work/lease", body, Lease).jobs
        for place, job in enumerate(jobs):
            if place:  # the first loan is fresh
                held = [{"job_id": each.job_id, "fence": each.fence} for each in jobs[place:]]
                beat = {"worker": self._worker, "jobs": held}
                if job.job_id in self._post("/v1/work/heartbeat", beat, HeartbeatAnswer).lost:
                    continue
            self._make(job)
        return len(jobs)

    def _make(self, job: WorkJob) -> None:
        path = f"/v1/work/jobs/{job.job_id}"
        if self._refuse is not None and self._refuse in describe_job(job):
            body = {"fence": job.fence, "outcome": "refused", "reason": "the stand-in refuses this word"}
            response = self._client.post(f"{path}/outcome", json=body)
        else:
            picture = self._draw(job)
            headers = {"content-type": "image/png"}
            response = self._client.put(
                f"{path}/artifact", params={"fence": job.fence}, content=picture, headers=headers
            )
        if response.status_code != httpx.codes.CONFLICT:  # else somebody else has it by now
            response.raise_for_status()
            self.made += 1

    def _post(self, path: str, body: dict[str, Any], kind: type[T]) -> T:
        response = self._client.post(path, json=body).raise_for_status()
        return msgspec.json.decode(response.content, type=kind)


def draw_plain(job: WorkJob) -> bytes:
    """Return a picture that depends on model, prompt and seed alone."""
    return draw_png(describe_job(job))


def describe_job(job: WorkJob) -> str:
    """Return model, prompt and seed as a text."""
    prompt = job.prompt or WorkPrompt(id="")
    return f"{job.model}\n{prompt.text or prompt.id}\n{prompt.seed}"


def open_client(url: str, key: str) -> httpx.Client:
    """Return a client of the gateway at `url` with a worker's key."""
    return httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=_TIMEOUT_S)
