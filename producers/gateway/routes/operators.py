"""Routes for operators: does it live, can it serve, what did it do."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from pipeline.contracts.gateway import Health
from producers.gateway.bodies import answer
from producers.gateway.metrics import CONTENT_TYPE
from producers.gateway.openapi import describe
from producers.gateway.routes.parts import gateway_of

router = APIRouter(tags=["operators"])


@router.get("/health", response_class=Response, openapi_extra=describe({200: ("The process lives", Health)}))
async def health() -> Response:
    """Say that the process lives."""
    return answer(Health(status="ok"))


@router.get(
    "/ready",
    response_class=Response,
    openapi_extra=describe({200: ("It can serve", Health), 503: ("It cannot", Health)}),
)
async def ready(request: Request) -> Response:
    """Say whether the gateway can serve, and what keeps it from that."""
    problems = gateway_of(request).list_problems()
    return answer(Health(status="not ready" if problems else "ok", problems=problems), 503 if problems else 200)


@router.get(
    "/metrics", response_class=Response, openapi_extra=describe({200: ("Figures", None)}, media_type="text/plain")
)
async def metrics(request: Request) -> Response:
    """Return the gateway's figures for Prometheus."""
    gateway = gateway_of(request)
    return Response(await gateway.threads.run(gateway.metrics.render), media_type=CONTENT_TYPE)
