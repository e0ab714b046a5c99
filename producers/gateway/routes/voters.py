"""Routes for voters: the next matchup, its artifacts, the vote, what it revealed."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from pipeline.contracts import gateway as messages
from pipeline.contracts.gateway import MatchupRequest, ShownMatchup, VoteReceipt, VoteRequest, Wait
from producers.gateway.bodies import answer, read_json
from producers.gateway.callers import Caller
from producers.gateway.openapi import describe
from producers.gateway.routes.parts import PathId, PathToken, admit_voter, gateway_of, require_voter
from producers.gateway.showings import ARTIFACTS_PATH

_IMMUTABLE: Final = "private, max-age=31536000, immutable"
_SANDBOX: Final = "default-src 'none'; sandbox"
"""An artifact that is opened by itself may do nothing."""

_SHOWN: Final = {200: ("A matchup to vote on", ShownMatchup), 202: ("Not ready yet: see wait_s", Wait)}

router = APIRouter(tags=["voters"])


@router.post(
    "/v1/arenas/{arena}/matchups",
    response_class=Response,
    openapi_extra=describe(
        _SHOWN,
        body=MatchupRequest,
        refused=(400, 403, 404, 408, 413, 415, 422, 429, 503),
    ),
)
async def next_matchup(request: Request, arena: PathId) -> Response:
    """Return the next matchup; with a prompt, have one made for it."""
    gateway = gateway_of(request)
    caller = admit_voter(request)
    settings = gateway.settings
    asked = await read_json(request, MatchupRequest, settings.max_json_bytes, settings.body_seconds)
    if asked.prompt is None:
        return _show(await gateway.showings.show_next(arena, caller.identity), caller)
    gateway.limits.custom.take(caller.identity)
    return _show(await gateway.showings.ask_for(arena, asked.prompt, caller.identity), caller)


@router.get(
    "/v1/tickets/{ticket}",
    response_class=Response,
    openapi_extra=describe(_SHOWN, refused=(400, 403, 404, 410, 422, 429, 503), secured="voter"),
)
async def ticket_matchup(request: Request, ticket: PathToken) -> Response:
    """Return the matchup of a custom prompt, once it is ready."""
    caller = require_voter(request)
    return _show(await gateway_of(request).showings.show_ticket(ticket, caller.identity), caller)


@router.post(
    "/v1/votes",
    response_class=Response,
    openapi_extra=describe(
        {200: ("The log has the vote", VoteReceipt)},
        body=VoteRequest,
        refused=(400, 403, 404, 408, 409, 410, 413, 415, 422, 429, 503),
        secured="voter",
    ),
)
async def vote(request: Request) -> Response:
    """Take a vote; the answer comes when the log has it."""
    gateway = gateway_of(request)
    caller = require_voter(request)
    settings = gateway.settings
    cast = await read_json(request, VoteRequest, settings.max_json_bytes, settings.body_seconds)
    receipt = await gateway.votes.take(cast, caller.identity)
    gateway.metrics.votes.inc()
    return answer(receipt)


@router.get(
    "/v1/matchups/{matchup_id}/reveal",
    response_class=Response,
    openapi_extra=describe(
        {200: ("What the vote revealed", messages.Reveal)},
        refused=(400, 403, 404, 409, 422, 429, 503),
        secured="voter",
    ),
)
async def reveal(request: Request, matchup_id: PathId) -> Response:
    """Return the models of a matchup that the voter voted on, and how the board moved."""
    caller = require_voter(request)
    return answer(await gateway_of(request).votes.reveal(matchup_id, caller.identity))


@router.get(
    ARTIFACTS_PATH + "{address}",
    response_class=Response,
    openapi_extra=describe(
        {200: ("The bytes", None)}, refused=(403, 404, 422, 429, 503), media_type="application/octet-stream"
    ),
)
async def artifact(request: Request, address: PathToken) -> Response:
    """Return what a model made, by the random address of its slot in one showing."""
    gateway = gateway_of(request)
    gateway.limits.artifacts.take(gateway.callers.address_of(request))
    found = await gateway.pictures.find(address)
    headers = {"cache-control": _IMMUTABLE, "content-security-policy": _SANDBOX}
    return Response(found.data, 200, headers, found.media_type)


def _show(found: ShownMatchup | Wait, caller: Caller) -> Response:
    if isinstance(found, Wait):
        response = answer(found, 202, retry_after=str(max(1, round(found.wait_s))))
    else:
        response = answer(found)
    caller.greet(response)
    return response
