"""What holds for every answer: its headers, its figures, a line in the access log without anything personal."""

from __future__ import annotations

import logging
import math
import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.contracts.gateway import ErrorAnswer, Fault
from producers.dispatcher.errors import DispatcherError
from producers.gateway.bodies import answer
from producers.gateway.errors import GatewayError
from producers.gateway.metrics import GatewayMetrics

_ACCESS = logging.getLogger("kwise.gateway.access")
_LOGGER = logging.getLogger("kwise.gateway")

_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_NO_STORE: Final = (b"cache-control", b"no-store")

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "OPTIONS"})
"""Others are one in the figures: anybody can make some up."""

_HANG_UP: Final = {401, 408, 413}
"""After these the rest of the body is not waited for."""

_STATUS_OF_CODE: Final = {
    "unavailable": 503,
    "stale_fence": 409,
    "unknown_matchup": 404,
    "unknown_ticket": 404,
    "already_voted": 409,
    "expired": 410,
    "cancelled": 410,
}
"""Statuses of what the dispatcher refuses, by `DispatcherError.code`."""


class Edge:
    """ASGI middleware around the whole application.

    Parameters
    ----------
    app
    metrics
    access_log : whether each request is logged
    """

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics, *, access_log: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], *_HEADERS]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append(_NO_STORE)
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")  # never the path: it may hold anything
        method = scope["method"] if route != "other" and scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if self._access_log:
            _ACCESS.info("%s %s %d %.1f ms", method, route, status, 1000 * seconds)


def refuse(error: GatewayError) -> Response:
    """Return what a refused request is answered with."""
    response = answer(ErrorAnswer(error=Fault(code=error.code, message=error.message, retry=error.retry)), error.status)
    if error.retry_after is not None:
        response.headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if error.status in _HANG_UP:
        response.headers["connection"] = "close"
    if error.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response


async def on_gateway_error(_request: Request, error: Exception) -> Response:
    """Answer a request that was refused."""
    assert isinstance(error, GatewayError)
    return refuse(error)


async def on_dispatcher_error(_request: Request, error: Exception) -> Response:
    """Answer a request that the dispatcher refused."""
    assert isinstance(error, DispatcherError)
    status = _STATUS_OF_CODE.get(error.code, 500)
    if status >= 500:
        _LOGGER.error("the queue failed: %s", error)
    message = str(error) if status < 500 else "the queue is out of order for now"
    after = 2.0 if error.retriable else None
    return refuse(GatewayError(status, error.code, message, retry=error.retriable, retry_after=after))


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Answer a request that no route takes."""
    status = getattr(error, "status_code", 500)
    codes = {404: "not_found", 405: "method_not_allowed"}
    response = refuse(GatewayError(status, codes.get(status, "http"), str(getattr(error, "detail", "refused"))))
    for name, value in (getattr(error, "headers", None) or {}).items():
        response.headers[name] = value
    return response


async def on_failure(_request: Request, error: Exception) -> Response:
    """Answer a request that met a bug: what it was is for the log, not for the caller."""
    _LOGGER.error("a request failed", exc_info=error)
    return refuse(GatewayError(500, "internal", "the gateway failed at this; its operators can read why in its log"))
