"""Routes for workers: lease jobs, keep them by heartbeats, hand in artifacts and other outcomes.

A worker proves its loan of a job with the fence that came with it. All answers to errors are
``{"error": {"code", "message", "retry"}}``; `retry` tells whether the same request may succeed later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from pipeline.contracts.ids import ID_PATTERN
from pipeline.eventlog.blocks import wall_clock_ms
from producers.artifacts.errors import ArtifactError, ArtifactsUnavailable, ArtifactTooLarge, WrongMedia
from producers.artifacts.media import MEDIA_TYPES, normalize_media_type
from producers.artifacts.store import Artifact, ArtifactStore
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.errors import DispatcherError, DispatcherUnavailable, StaleFence
from producers.dispatcher.types import Job

_LOOK_S: Final = 0.25  # between two looks for work while a worker waits
_MOST_JOBS: Final = 64
_FENCE_MAX: Final = (1 << 63) - 1

Id = Annotated[str, Field(pattern=f"^{ID_PATTERN}$")]
Ids = Annotated[list[Id], Field(max_length=10_000)]
JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Recipe = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Fence = Annotated[int, Field(ge=1, le=_FENCE_MAX)]
Worker = Annotated[str, Field(min_length=1, max_length=128)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class LeaseRequest(_Body):
    """What a worker can make now. Absent `models` or `arenas`: all."""

    worker: Worker
    resident: Ids = []
    max_jobs: Annotated[int, Field(ge=1, le=_MOST_JOBS)] = 8
    models: Ids | None = None
    arenas: Ids | None = None
    wait_s: Annotated[float, Field(ge=0, le=20, strict=False)] = 0.0


class PromptAnswer(BaseModel):
    """The prompt of a job."""

    id: str
    text: str | None
    seed: int | None
    tags: list[str]


class JobAnswer(BaseModel):
    """A job on loan. `prompt` is null where the arena has no prompts."""

    job_id: str
    fence: int
    arena: str
    model: str
    generator: str | None
    revision: str | None
    prompt: PromptAnswer | None
    attempt: int


class LeaseAnswer(BaseModel):
    """Jobs of one arena and model, on loan for `lease_seconds`; none: ask again in `wait_s` seconds."""

    jobs: list[JobAnswer]
    lease_seconds: float
    wait_s: float


class HeldJob(_Body):
    """A job that a worker still has."""

    job_id: str
    fence: Fence


class Heartbeat(_Body):
    """The jobs that a worker still has."""

    worker: Worker
    jobs: Annotated[list[HeldJob], Field(max_length=1_000)]


class HeartbeatAnswer(BaseModel):
    """The loans last `lease_seconds` from now; those of `lost` are over: drop them."""

    lease_seconds: float
    lost: list[str]


class Outcome(_Body):
    """Why there is no artifact. A refusal is shown to the voter as such."""

    fence: Fence
    outcome: Literal["refused", "failed"]
    reason: Annotated[str, Field(max_length=10_000)] = ""
    retriable: bool = True


class OutcomeAnswer(BaseModel):
    """What became of the job."""

    state: Literal["refused", "waiting", "dead"]


class Release(_Body):
    """A job that a worker gives back untouched."""

    fence: Fence


class Reuse(_Body):
    """The recipe that a worker would follow for its job."""

    fence: Fence
    recipe: Recipe


class ReuseAnswer(BaseModel):
    """Whether the recipe was followed before: then the job is done with what it made."""

    done: bool


class Empty(BaseModel):
    """Nothing to say."""


class ErrorBody(BaseModel):
    """What went wrong."""

    code: str
    message: str
    retry: bool


class ErrorAnswer(BaseModel):
    """The answer to whatever did not succeed."""

    error: ErrorBody


def work_router(dispatcher: Dispatcher, artifacts: ArtifactStore, authorize: Callable[..., Any]) -> APIRouter:
    """Return the routes under ``/v1/work``.

    Parameters
    ----------
    dispatcher, artifacts : what they work on
    authorize : a FastAPI dependency that raises unless the request has a worker's key
    """
    answers: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorAnswer} for status in (400, 401, 403, 409, 413, 415, 503)
    }
    router = APIRouter(prefix="/v1/work", tags=["work"], dependencies=[Depends(authorize)], responses=answers)
    _add_leases(router, dispatcher)
    _add_artifacts(router, dispatcher, artifacts)
    _add_outcomes(router, dispatcher)
    return router


def _add_leases(router: APIRouter, dispatcher: Dispatcher) -> None:
    lease_s = dispatcher.settings.lease_s

    @router.post("/lease", response_model=LeaseAnswer)
    async def lease(body: LeaseRequest, request: Request) -> LeaseAnswer | JSONResponse:
        """Lease a batch of jobs of one model, waiting up to `wait_s` seconds for the first."""
        deadline = time.monotonic() + body.wait_s
        try:
            while True:
                jobs = await run_in_threadpool(
                    dispatcher.lease_jobs,
                    body.worker,
                    resident=body.resident,
                    models=body.models,
                    arenas=body.arenas,
                    max_jobs=body.max_jobs,
                    now=wall_clock_ms(),
                )
                left = deadline - time.monotonic()
                if jobs or left <= 0 or not dispatcher.is_leasing or await request.is_disconnected():
                    break
                await asyncio.sleep(min(_LOOK_S, left))
        except DispatcherError as error:
            return _refuse(error)
        return LeaseAnswer(jobs=[_describe(job) for job in jobs], lease_seconds=lease_s, wait_s=0 if jobs else _LOOK_S)

    @router.post("/heartbeat", response_model=HeartbeatAnswer)
    def heartbeat(body: Heartbeat) -> HeartbeatAnswer | JSONResponse:
        """Keep jobs; told which to drop."""
        try:
            lost = dispatcher.heartbeat(body.worker, [(job.job_id, job.fence) for job in body.jobs], wall_clock_ms())
        except DispatcherError as error:
            return _refuse(error)
        return HeartbeatAnswer(lease_seconds=lease_s, lost=lost)


def _add_artifacts(router: APIRouter, dispatcher: Dispatcher, artifacts: ArtifactStore) -> None:
    content = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in MEDIA_TYPES}

    def keep(job_id: str, fence: int, data: bytes, media_type: str, recipe: str | None) -> None:
        artifact = artifacts.put(data, media_type)
        if recipe is not None:
            artifact = artifacts.bind_recipe(recipe, artifact)
        dispatcher.finish_job(job_id, fence, artifact, wall_clock_ms())

    @router.put(
        "/jobs/{job_id}/artifact",
        status_code=201,
        response_model=Empty,
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )
    async def put_artifact(
        job_id: JobId,
        fence: Annotated[int, Query(ge=1, le=_FENCE_MAX)],
        request: Request,
        x_kwise_recipe: Annotated[str | None, Header(pattern="^[0-9a-f]{64}$")] = None,
    ) -> Empty | JSONResponse:
        """Hand in what a job made; the bytes are the body. Again is the same as once."""
        try:
            media_type = normalize_media_type(request.headers.get("content-type", ""))
            await run_in_threadpool(dispatcher.check_fence, job_id, fence)  # before the bytes come
            data = await _read_body(request, artifacts.max_bytes)
            await run_in_threadpool(keep, job_id, fence, data, media_type, x_kwise_recipe)
        except (ArtifactError, DispatcherError) as error:
            return _refuse(error)
        return Empty()

    def reuse_recipe(job_id: str, body: Reuse) -> bool:
        dispatcher.check_fence(job_id, body.fence)
        artifact: Artifact | None = artifacts.find_recipe(body.recipe)
        if artifact is not None:
            dispatcher.finish_job(job_id, body.fence, artifact, wall_clock_ms())
        return artifact is not None

    @router.post("/jobs/{job_id}/reuse", response_model=ReuseAnswer)
    def reuse(job_id: JobId, body: Reuse) -> ReuseAnswer | JSONResponse:
        """Ask, before making it, whether what a recipe makes is here; if so, the job is done with it."""
        try:
            return ReuseAnswer(done=reuse_recipe(job_id, body))
        except (ArtifactError, DispatcherError) as error:
            return _refuse(error)


def _add_outcomes(router: APIRouter, dispatcher: Dispatcher) -> None:
    @router.post("/jobs/{job_id}/outcome", response_model=OutcomeAnswer)
    def outcome(job_id: JobId, body: Outcome) -> OutcomeAnswer | JSONResponse:
        """Tell that there is no artifact: the model refused, or something failed."""
        try:
            if body.outcome == "refused":
                dispatcher.refuse_job(job_id, body.fence, body.reason, wall_clock_ms())
                return OutcomeAnswer(state="refused")
            state = dispatcher.fail_job(job_id, body.fence, body.reason, wall_clock_ms(), retriable=body.retriable)
        except DispatcherError as error:
            return _refuse(error)
        return OutcomeAnswer(state="dead" if state.name == "DEAD" else "waiting")

    @router.post("/jobs/{job_id}/release", response_model=Empty)
    def release(job_id: JobId, body: Release) -> Empty | JSONResponse:
        """Give a job back that was not begun."""
        try:
            dispatcher.release_job(job_id, body.fence, wall_clock_ms())
        except DispatcherError as error:
            return _refuse(error)
        return Empty()


async def _read_body(request: Request, limit: int) -> bytes:
    """Return the body; raises `ArtifactTooLarge` as soon as it is known to be longer than `limit`."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise ArtifactTooLarge(f"the body is longer than {limit} bytes: an artifact of that size is not taken")
        chunks.append(chunk)
    return b"".join(chunks)


def _describe(job: Job) -> JobAnswer:
    prompt = job.prompt
    return JobAnswer(
        job_id=job.job_id,
        fence=job.fence,
        arena=job.arena,
        model=job.model,
        generator=job.maker.generator,
        revision=job.maker.revision,
        prompt=prompt and PromptAnswer(id=prompt.id, text=prompt.text, seed=prompt.seed, tags=list(prompt.tags)),
        attempt=job.attempt,
    )


_STATUSES: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (StaleFence, 409, StaleFence.code),
    (DispatcherUnavailable, 503, DispatcherUnavailable.code),
    (ArtifactTooLarge, 413, "too_large"),
    (WrongMedia, 415, "wrong_media"),
    (ArtifactsUnavailable, 503, "artifacts_unavailable"),
)


def _refuse(error: ArtifactError | DispatcherError) -> JSONResponse:
    """Return the answer that tells of `error`."""
    status, code = next(
        ((status, code) for kind, status, code in _STATUSES if isinstance(error, kind)), (500, "internal")
    )
    answer = ErrorAnswer(error=ErrorBody(code=code, message=str(error), retry=error.retriable))
    return JSONResponse(answer.model_dump(), status_code=status)
