"""Routes for producers: many votes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from pipeline.contracts.gateway import BulkReceipt
from pipeline.contracts.log import ARROW_STREAM, LogError
from producers.gateway.bodies import NDJSON, answer, media_type_of, read_body
from producers.gateway.errors import GatewayError
from producers.gateway.openapi import describe
from producers.gateway.routes.parts import gateway_of
from producers.gateway.service import Gateway

if TYPE_CHECKING:
    from producers.gateway.bulk import SortedVotes

_BODY: Final = {
    NDJSON: {"schema": {"type": "string", "description": "One vote a line"}},
    ARROW_STREAM: {"schema": {"type": "string", "format": "binary", "description": "An Arrow IPC stream of votes"}},
}

router = APIRouter(tags=["producers"])


@router.post(
    "/v1/votes/bulk",
    response_class=Response,
    openapi_extra=describe(
        {200: ("The log has the accepted votes", BulkReceipt)},
        body=_BODY,
        refused=(400, 401, 408, 413, 415, 422, 503),
        secured="producer",
    ),
)
async def write_votes(request: Request) -> Response:
    """Take many votes, each as it goes on the wire; the answer comes when the log has those that are right."""
    gateway = gateway_of(request)
    gateway.callers.require_producer(request)
    settings = gateway.settings
    body = await read_body(request, settings.max_bulk_bytes, settings.body_seconds)
    found = await gateway.threads.run(_sort, gateway, body, media_type_of(request))
    try:
        await gateway.writer.write_encoded(found.values, found.keys)
    except LogError as error:
        # Some may be in the log; a vote_id counts once.
        raise GatewayError(
            503, "log_unavailable", "not all votes are confirmed: send all again", retry=True, retry_after=2.0
        ) from error
    gateway.metrics.votes.inc(len(found.values))
    return answer(BulkReceipt(accepted=len(found.values), refused=tuple(found.refused)))


def _sort(gateway: Gateway, body: bytes, media_type: str) -> SortedVotes:
    from producers.gateway.bulk import sort_votes  # noqa: PLC0415 - loads a compiler, which takes seconds

    registry, limit = gateway.watch.now.registry, gateway.settings.max_bulk_votes
    return sort_votes(body, media_type, registry, gateway.keys, now=gateway.clock(), max_votes=limit)
