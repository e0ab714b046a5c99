"""The API's description: schemas are made from the types of `contracts.gateway`, so that there is one truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from pipeline.contracts import gateway as messages
from pipeline.contracts import generation, work

_REF: Final = "#/components/schemas/{name}"

_TYPES: Final = (
    messages.MatchupRequest,
    messages.ShownMatchup,
    messages.Wait,
    messages.VoteRequest,
    messages.VoteReceipt,
    messages.Reveal,
    messages.BulkReceipt,
    messages.ArenaList,
    messages.ArenaDetail,
    messages.ModelArtifacts,
    messages.ErrorAnswer,
    messages.Health,
    generation.Lease,
    *work.MESSAGES,
)


def make_components() -> dict[str, Any]:
    """Return the schemas of all messages, by name."""
    _, components = msgspec.json.schema_components(_TYPES, ref_template=_REF)
    return components


def describe(
    statuses: Mapping[int, tuple[str, type | None]],
    *,
    body: type | Mapping[str, Mapping[str, Any]] | None = None,
    refused: Sequence[int] = (),
    media_type: str = "application/json",
    secured: str | None = None,
) -> dict[str, Any]:
    """Return the OpenAPI of one operation, for a route's `openapi_extra`.

    Parameters
    ----------
    statuses
        Meaning and type of each good answer; None: no JSON of ours.
    body
        Type of the JSON body, or schemas by media type.
    refused
        Statuses from 400 on that it may be refused with; their body is an `ErrorAnswer`.
    media_type
        Of answers without a type.
    secured
        Name of the security scheme that is needed.
    """
    responses: dict[str, Any] = {}
    for status, (meaning, kind) in statuses.items():
        responses[str(status)] = {
            "description": meaning,
            "content": {media_type: {}} if kind is None else {"application/json": {"schema": _refer(kind)}},
        }
    for status in refused:
        responses[str(status)] = {
            "description": _REFUSALS[status],
            "content": {"application/json": {"schema": _refer(messages.ErrorAnswer)}},
        }
    operation: dict[str, Any] = {"responses": responses}
    if body is not None:
        content: Mapping[str, Any] = {"application/json": {"schema": _refer(body)}} if isinstance(body, type) else body
        operation["requestBody"] = {"required": True, "content": dict(content)}
    if secured is not None:
        operation["security"] = [{secured: []}]
    return operation


SECURITY_SCHEMES: Final = {
    "voter": {"type": "apiKey", "in": "cookie", "name": messages.VOTER_COOKIE},
    "producer": {"type": "http", "scheme": "bearer"},
    "worker": {"type": "http", "scheme": "bearer"},
}

_REFUSALS: Final = {
    400: "The request cannot be read",
    401: "A key is missing or wrong",
    403: "A token or secret is wrong",
    404: "There is no such thing",
    408: "The body took too long",
    409: "It contradicts what was done before",
    410: "Too late",
    413: "The body is too large",
    415: "The body has the wrong media type",
    422: "The request makes no sense",
    429: "Too many requests: see Retry-After",
    503: "Not now: see Retry-After",
}


def _refer(kind: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}
