"""Routes for everybody: arenas and their boards, as the job published them, and what models made of late."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from pipeline.contracts.arena import RegisteredArena
from pipeline.contracts.gateway import (
    ArenaDetail,
    ArenaList,
    ArenaModel,
    ArenaSummary,
    MadeArtifact,
    ModelArtifacts,
    ShownPrompt,
)
from pipeline.contracts.ids import ID_PATTERN
from producers.gateway.bodies import JSON, answer
from producers.gateway.errors import GatewayError
from producers.gateway.openapi import describe
from producers.gateway.routes.parts import PathId, gateway_of
from producers.gateway.service import Gateway
from producers.gateway.showings import ARTIFACTS_PATH

_MOST_ARTIFACTS: Final = 48

router = APIRouter(tags=["boards"])


@router.get(
    "/v1/arenas",
    response_class=Response,
    openapi_extra=describe({200: ("All arenas", ArenaList)}, refused=(403, 429)),
)
async def list_arenas(request: Request) -> Response:
    """Return all arenas, in order of id."""
    gateway = gateway_of(request)
    _count(gateway, request)
    arenas = gateway.watch.now.registry.arenas
    return answer(ArenaList(arenas=tuple(_summarize(gateway, arenas[arena_id]) for arena_id in sorted(arenas))))


@router.get(
    "/v1/arenas/{arena}",
    response_class=Response,
    openapi_extra=describe({200: ("The arena", ArenaDetail)}, refused=(403, 404, 422, 429)),
)
async def show_arena(request: Request, arena: PathId) -> Response:
    """Return an arena and its models."""
    gateway = gateway_of(request)
    _count(gateway, request)
    registered = gateway.watch.now.arena(arena)
    if registered is None:
        raise _unknown(arena)
    models = tuple(
        ArenaModel(
            id=model.id,
            name=model.name,
            organization=model.organization,
            license=model.license,
            url=model.url,
            access=model.access,
            retired=model.retired,
        )
        for model in registered.models
    )
    return answer(ArenaDetail(arena=_summarize(gateway, registered), models=models))


@router.get(
    "/v1/arenas/{arena}/board",
    response_class=Response,
    openapi_extra=describe(
        {200: ("The board, as `kwise board show --format json` prints it", None)},
        refused=(403, 404, 422, 429),
        media_type=JSON,
    ),
)
async def show_board(
    request: Request, arena: PathId, method: Annotated[str | None, Query(pattern=f"^{ID_PATTERN}$")] = None
) -> Response:
    """Return the newest published board, by the default method if none is named."""
    gateway = gateway_of(request)
    _count(gateway, request)
    published = gateway.watch.now
    if published.arena(arena) is None:
        raise _unknown(arena)
    board = published.encode_board(arena, method)
    if board is None:
        by = "" if method is None else f" by {method}"
        raise GatewayError(404, "no_board", f"arena {arena} has no board{by} at present")
    return Response(board, media_type=JSON)


@router.get(
    "/v1/arenas/{arena}/models/{model}/artifacts",
    response_class=Response,
    openapi_extra=describe({200: ("What the model made of late", ModelArtifacts)}, refused=(403, 404, 422, 429, 503)),
)
async def list_artifacts(
    request: Request, arena: PathId, model: PathId, limit: Annotated[int, Query(ge=1, le=_MOST_ARTIFACTS)] = 12
) -> Response:
    """Return the newest artifacts of a model that were voted on and that nobody votes on now, the last shown first."""
    gateway = gateway_of(request)
    _count(gateway, request)
    registered = gateway.watch.now.arena(arena)
    if registered is None:
        raise _unknown(arena)
    if not gateway.settings.show_artifacts:
        raise GatewayError(403, "not_shown", "this gateway does not show what models made")
    if all(model != known.id for known in registered.models):
        raise GatewayError(404, "unknown_model", f"there is no model {model} in arena {arena}")
    found = await gateway.threads.run(gateway.dispatcher.newest_artifacts, arena, model, limit)
    artifacts = tuple(
        MadeArtifact(
            artifact=ARTIFACTS_PATH + made.address,
            media_type=made.media_type,
            prompt=None if made.prompt is None else ShownPrompt(id=made.prompt.id, text=made.prompt.text),
        )
        for made in found
    )
    return answer(ModelArtifacts(artifacts=artifacts))


def _count(gateway: Gateway, request: Request) -> None:
    gateway.limits.address.take(gateway.callers.address_of(request))


def _summarize(gateway: Gateway, registered: RegisteredArena) -> ArenaSummary:
    arena = registered.arena
    board = gateway.watch.now.board(arena.id)
    return ArenaSummary(
        id=arena.id,
        title=arena.title,
        k=arena.k,
        modes=arena.modes,
        require_token=arena.require_token,
        custom_prompts=gateway.settings.custom_prompts,
        models=len(registered.models),
        votes=0 if board is None else board.votes,
    )


def _unknown(arena: str) -> GatewayError:
    return GatewayError(404, "unknown_arena", f"there is no arena {arena}")
