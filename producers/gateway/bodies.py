"""Bodies of requests: read up to a limit and a time, and taken as the types of `contracts.gateway`."""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from producers.gateway.errors import GatewayError

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"

T = TypeVar("T")


def media_type_of(request: Request) -> str:
    """Return the media type of a body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, limit: int, seconds: float) -> bytes:
    """Return the whole body. Raises `GatewayError` 413 if it is larger than `limit`, 408 if it takes too long."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    chunks, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
    except TimeoutError:
        raise GatewayError(408, "too_slow", f"the body did not arrive within {seconds:g} s", retry=True) from None
    except ClientDisconnect:
        raise GatewayError(400, "cut_off", "the body ended before its end", retry=True) from None
    return b"".join(chunks)


async def read_json(request: Request, kind: type[T], limit: int, seconds: float) -> T:
    """Return a JSON body as `kind`. Raises `GatewayError` 415, 413, 408, 400 (no JSON) or 422 (another type).

    Only `application/json` is taken: a page of another site cannot send that without being asked first.
    """
    if media_type_of(request) != JSON:
        raise GatewayError(415, "media_type", f"the body must be {JSON}")
    body = await read_body(request, limit, seconds)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise GatewayError(422, "schema", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise GatewayError(400, "not_json", "the body is not JSON") from None


def answer(value: object, status: int = 200, **headers: str) -> Response:
    """Return `value` as a JSON answer; underscores in names of headers become dashes."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(msgspec.json.encode(value), status, named, JSON)


def _too_large(limit: int) -> GatewayError:
    return GatewayError(413, "too_large", f"the body is larger than {limit} bytes")
