"""Routes for workers: lease jobs, keep them by heartbeats, hand in artifacts and other outcomes.

A worker proves its loan of a job with the fence that came with it. Every call may be repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, Header, Path, Query
from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from pipeline.contracts.generation import Lease, WorkJob
from pipeline.contracts.work import (
    FENCE_MAX,
    RECIPE_HEADER,
    Done,
    Heartbeat,
    HeartbeatAnswer,
    LeaseRequest,
    OutcomeAnswer,
    OutcomeRequest,
    ReleaseRequest,
)
from producers.artifacts.errors import ArtifactError
from producers.artifacts.media import MEDIA_TYPES, normalize_media_type
from producers.artifacts.store import ArtifactStore
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.types import JobState
from producers.gateway.bodies import answer, read_body, read_json
from producers.gateway.errors import GatewayError
from producers.gateway.openapi import describe

_LOOK_S: Final = 0.25  # between two looks for work while a worker waits
_JSON_BYTES: Final = 1 << 20
_JSON_S: Final = 10.0
_ARTIFACT_S: Final = 120.0
_SECURED: Final = "worker"
_STATUS_OF_CODE: Final = {"too_large": 413, "wrong_media": 415, "artifacts_unavailable": 503}

T = TypeVar("T")
JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Fence = Annotated[int, Query(ge=1, le=FENCE_MAX)]
Recipe = Annotated[str | None, Header(alias=RECIPE_HEADER, pattern="^[0-9a-f]{64}$")]


def work_router(dispatcher: Dispatcher, artifacts: ArtifactStore, authorize: Callable[..., Any]) -> APIRouter:
    """Return the routes under ``/v1/work``. They raise `GatewayError` and `DispatcherError`.

    Parameters
    ----------
    dispatcher, artifacts : what they work on
    authorize : a dependency that raises unless a request shows a worker's key
    """
    router = APIRouter(prefix="/v1/work", tags=["work"], dependencies=[Depends(authorize)])
    _add_leases(router, dispatcher)
    _add_artifacts(router, dispatcher, artifacts)
    _add_outcomes(router, dispatcher)
    return router


def _add_leases(router: APIRouter, dispatcher: Dispatcher) -> None:
    lease_s = dispatcher.settings.lease_s

    @router.post(
        "/lease",
        response_class=Response,
        openapi_extra=describe(
            {200: ("Jobs of one model, or none", Lease)},
            body=LeaseRequest,
            refused=(400, 401, 413, 415, 422, 503),
            secured=_SECURED,
        ),
    )
    async def lease(request: Request) -> Response:
        """Lease a batch of jobs, all of one arena and model."""
        asked = await _read(request, LeaseRequest)
        jobs = await _wait_for_jobs(dispatcher, asked, request)
        return answer(Lease(jobs=jobs, lease_seconds=lease_s, wait_s=0.0 if jobs else _LOOK_S))

    @router.post(
        "/heartbeat",
        response_class=Response,
        openapi_extra=describe(
            {200: ("The loans go on, but for those lost", HeartbeatAnswer)},
            body=Heartbeat,
            refused=(400, 401, 413, 415, 422, 503),
            secured=_SECURED,
        ),
    )
    async def heartbeat(request: Request) -> Response:
        """Keep jobs; told which ones to drop."""
        beat = await _read(request, Heartbeat)
        held = [(job.job_id, job.fence) for job in beat.jobs]
        lost = await run_in_threadpool(dispatcher.heartbeat, beat.worker, held, dispatcher.now())
        return answer(HeartbeatAnswer(lease_seconds=lease_s, lost=tuple(lost)))


def _add_artifacts(router: APIRouter, dispatcher: Dispatcher, artifacts: ArtifactStore) -> None:
    content = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in MEDIA_TYPES}

    def keep(job_id: str, fence: int, data: bytes, media_type: str, recipe: str | None) -> None:
        artifact = artifacts.put(data, media_type)
        if recipe is not None:
            artifact = artifacts.bind_recipe(recipe, artifact)
        dispatcher.finish_job(job_id, fence, artifact, dispatcher.now())

    @router.put(
        "/jobs/{job_id}/artifact",
        status_code=201,
        response_class=Response,
        openapi_extra=describe(
            {201: ("The artifact is kept and the job done", Done)},
            body=content,
            refused=(400, 401, 408, 409, 413, 415, 422, 503),
            secured=_SECURED,
        ),
    )
    async def put_artifact(request: Request, job_id: JobId, fence: Fence, recipe: Recipe = None) -> Response:
        """Hand in what a job made; the bytes are the body."""
        try:
            media_type = normalize_media_type(request.headers.get("content-type", ""))
            await run_in_threadpool(dispatcher.check_fence, job_id, fence)  # before the bytes are read
            data = await read_body(request, artifacts.max_bytes, _ARTIFACT_S)
            await run_in_threadpool(keep, job_id, fence, data, media_type, recipe)
        except ArtifactError as error:
            status = _STATUS_OF_CODE.get(error.code, 500)
            raise GatewayError(status, error.code, str(error), retry=error.retriable) from error
        return answer(Done(), 201)


def _add_outcomes(router: APIRouter, dispatcher: Dispatcher) -> None:
    @router.post(
        "/jobs/{job_id}/outcome",
        response_class=Response,
        openapi_extra=describe(
            {200: ("What became of the job", OutcomeAnswer)},
            body=OutcomeRequest,
            refused=(400, 401, 409, 413, 415, 422, 503),
            secured=_SECURED,
        ),
    )
    async def outcome(request: Request, job_id: JobId) -> Response:
        """Tell that there is no artifact: the model refused, or something failed."""
        told = await _read(request, OutcomeRequest)
        if told.outcome == "refused":
            await run_in_threadpool(dispatcher.refuse_job, job_id, told.fence, told.reason, dispatcher.now())
            return answer(OutcomeAnswer(state="refused"))
        state = await run_in_threadpool(
            dispatcher.fail_job, job_id, told.fence, told.reason, dispatcher.now(), retriable=told.retriable
        )
        return answer(OutcomeAnswer(state="dead" if state is JobState.DEAD else "waiting"))

    @router.post(
        "/jobs/{job_id}/release",
        response_class=Response,
        openapi_extra=describe(
            {200: ("The job waits for another worker", Done)},
            body=ReleaseRequest,
            refused=(400, 401, 409, 413, 415, 422, 503),
            secured=_SECURED,
        ),
    )
    async def release(request: Request, job_id: JobId) -> Response:
        """Give a job back that was not begun, or not ended."""
        released = await _read(request, ReleaseRequest)
        await run_in_threadpool(dispatcher.release_job, job_id, released.fence, dispatcher.now())
        return answer(Done())


async def _wait_for_jobs(dispatcher: Dispatcher, asked: LeaseRequest, request: Request) -> tuple[WorkJob, ...]:
    """Return jobs as soon as there are any, none after the wait, at a shutdown, or for a worker who has gone."""
    deadline = time.monotonic() + asked.wait_s
    while True:
        jobs = await run_in_threadpool(
            dispatcher.lease_jobs,
            asked.worker,
            resident=asked.resident,
            models=asked.models,
            exclude=asked.exclude,
            arenas=asked.arenas,
            max_jobs=asked.max_jobs,
            now=dispatcher.now(),
        )
        left = deadline - time.monotonic()
        if jobs or left <= 0 or not dispatcher.is_leasing:
            return jobs
        await asyncio.sleep(min(_LOOK_S, left))
        if await request.is_disconnected():
            return ()


async def _read(request: Request, kind: type[T]) -> T:
    return await read_json(request, kind, _JSON_BYTES, _JSON_S)
