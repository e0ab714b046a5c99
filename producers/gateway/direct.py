"""The three requests that voters make again and again go straight to their handlers.

FastAPI's way to them costs more than all that they do themselves (benchmarks.gateway). The routes are declared in
`routes.voters` all the same: they are the description of the API, and take whatever is not exactly one of the three.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.contracts.ids import ID_PATTERN
from producers.dispatcher.errors import DispatcherError
from producers.gateway.edge import on_dispatcher_error, on_failure, on_gateway_error
from producers.gateway.errors import GatewayError
from producers.gateway.routes import voters


class DirectRoute(NamedTuple):
    """One request that goes straight to its handler; `path` is the name of the route, for figures."""

    method: str
    path: str
    pattern: re.Pattern[str]
    handler: Callable[..., Awaitable[Response]]


_ROUTES: Final = (
    DirectRoute(
        "GET", "/v1/artifacts/{address}", re.compile(r"/v1/artifacts/(?P<address>[A-Za-z0-9_-]{22})"), voters.artifact
    ),
    DirectRoute("POST", "/v1/votes", re.compile(r"/v1/votes"), voters.vote),
    DirectRoute(
        "POST",
        "/v1/arenas/{arena}/matchups",
        re.compile(rf"/v1/arenas/(?P<arena>{ID_PATTERN})/matchups"),
        voters.next_matchup,
    ),
)


class Direct:
    """ASGI middleware in front of the application.

    Parameters
    ----------
    app : takes the other requests
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            method, path = scope["method"], scope["path"]
            for route in _ROUTES:
                if route.method == method and (found := route.pattern.fullmatch(path)) is not None:
                    scope["app"], scope["route"] = self._app, route
                    response = await _answer(Request(scope, receive, send), route, found.groupdict())
                    await response(scope, receive, send)
                    return
        await self._app(scope, receive, send)


async def _answer(request: Request, route: DirectRoute, parameters: dict[str, str]) -> Response:
    try:
        return await route.handler(request, **parameters)
    except GatewayError as error:
        return await on_gateway_error(request, error)
    except DispatcherError as error:
        return await on_dispatcher_error(request, error)
    except Exception as error:
        return await on_failure(request, error)
