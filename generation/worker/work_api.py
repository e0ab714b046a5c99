"""The work API of the gateway, as a worker uses it. For any number of threads.

Every call may be repeated: what a fencing number did once it cannot do twice, and a repeated lease only makes jobs wait
until the lost one runs out.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import httpx
import msgspec

from generation.errors import GatewayError
from generation.worker.settings import LEASE_WAIT_S, WorkerSettings
from pipeline.contracts.generation import Lease, WorkJob
from pipeline.contracts.work import (
    RECIPE_HEADER,
    Heartbeat,
    HeartbeatAnswer,
    HeldJob,
    LeaseRequest,
    OutcomeRequest,
    ReleaseRequest,
)

T = TypeVar("T")

_TRIES: Final = 6
_BACKOFF_S: Final = 0.25
_LONGEST_S: Final = 8.0
_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_REASON: Final = 2_000
_STALE: Final = 409
_GONE: Final = frozenset({404, 410})
_TRANSIENT: Final = frozenset({408, 425, 429})


class StaleLease(GatewayError):  # noqa: N818 - what it is
    """The job is no longer ours: somebody else has it, it is over, or nobody wants it any more."""

    retriable = False


class WorkApi:
    """A client of ``/v1/work``.

    Parameters
    ----------
    gateway
        Address of the gateway.
    key
        Worker key.
    stop
        Ends pauses between tries.
    transport
        For tests.
    """

    def __init__(
        self, gateway: str, key: str, stop: threading.Event, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._gateway = gateway
        self._stop = stop
        self._client = httpx.Client(
            base_url=f"{gateway.rstrip('/')}/v1/work",
            headers={"authorization": f"Bearer {key}"},
            timeout=_TIMEOUT,
            transport=transport,
        )

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def lease(self, settings: WorkerSettings, resident: Sequence[str], exclude: Sequence[str]) -> Lease:
        """Ask for jobs, of `resident` models rather than of others and of none in `exclude`.

        Raises
        ------
        GatewayError
            The gateway refuses the worker, or cannot be reached.
        """
        asked = LeaseRequest(
            worker=settings.name,
            resident=tuple(resident),
            max_jobs=settings.max_jobs,
            models=settings.models,
            exclude=tuple(exclude),
            arenas=settings.arenas,
            wait_s=0.0 if settings.until_idle else LEASE_WAIT_S,
        )
        return _decode(self._post("/lease", asked, tries=1), Lease)

    def heartbeat(self, worker: str, jobs: Mapping[str, int]) -> tuple[float, frozenset[str]]:
        """Prolong the leases of `jobs` (job_id -> fence); return lease seconds and which are lost."""
        held = tuple(HeldJob(job_id=job_id, fence=fence) for job_id, fence in jobs.items())
        found = _decode(self._post("/heartbeat", Heartbeat(worker=worker, jobs=held), tries=1), HeartbeatAnswer)
        return found.lease_seconds, frozenset(found.lost)

    def deliver(self, job: WorkJob, data: bytes, media_type: str, recipe: str) -> None:
        """Hand over an artifact. Raises `StaleLease` where the job is not ours any more."""
        headers = {"content-type": media_type, RECIPE_HEADER: recipe}
        path = f"/jobs/{job.job_id}/artifact"
        self._send("PUT", path, params={"fence": str(job.fence)}, content=data, headers=headers)

    def report(self, job: WorkJob, outcome: Literal["refused", "failed"], reason: str, *, retriable: bool) -> None:
        """Say that there will be no artifact. Raises `StaleLease` where the job is not ours any more."""
        told = OutcomeRequest(fence=job.fence, outcome=outcome, reason=reason[:_REASON], retriable=retriable)
        self._post(f"/jobs/{job.job_id}/outcome", told)

    def release(self, job: WorkJob) -> None:
        """Give a job back unharmed. Raises `StaleLease` where it is not ours any more."""
        self._post(f"/jobs/{job.job_id}/release", ReleaseRequest(fence=job.fence), tries=2)

    def _post(self, path: str, body: msgspec.Struct, tries: int = _TRIES) -> httpx.Response:
        headers = {"content-type": "application/json"}
        return self._send("POST", path, tries=tries, content=msgspec.json.encode(body), headers=headers)

    def _send(self, method: str, path: str, *, tries: int = _TRIES, **arguments: Any) -> httpx.Response:
        for attempt in range(1, tries + 1):
            try:
                answer = self._client.request(method, path, **arguments)
            except httpx.TransportError as error:
                complaint = f"the gateway at {self._gateway} cannot be reached: {type(error).__name__}"
            else:
                if answer.is_success:
                    return answer
                complaint = (
                    f"the gateway at {self._gateway} answered {answer.status_code} to {path}: {_explain(answer)}"
                )
                if answer.status_code == _STALE or answer.status_code in _GONE:
                    raise StaleLease(complaint)
                if answer.status_code < 500 and answer.status_code not in _TRANSIENT:
                    raise GatewayError(complaint, retriable=False)
            if attempt < tries:
                # Spread out, so that workers do not come back all at once after the gateway's restart.
                self._stop.wait(min(_BACKOFF_S * 2**attempt, _LONGEST_S) * random.uniform(0.5, 1.0))
        raise GatewayError(complaint)


def _decode(answer: httpx.Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.MsgspecError as error:
        raise GatewayError(f"the gateway's answer cannot be read: {error}", retriable=False) from None


def _explain(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase or "no reason given"
