"""The HTTP application: routes, errors, what is around them."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from producers.dispatcher.errors import DispatcherError
from producers.gateway.direct import Direct
from producers.gateway.edge import Edge, on_dispatcher_error, on_failure, on_gateway_error, on_http_error, refuse
from producers.gateway.errors import GatewayError
from producers.gateway.openapi import SECURITY_SCHEMES, make_components
from producers.gateway.routes import boards, operators, producers, voters
from producers.gateway.routes.work import work_router
from producers.gateway.service import Gateway

_DESCRIPTION = "Matchups out, votes in. Errors are `{error: {code, message, retry}}`; times are ms since 1970 UTC."


def make_app(gateway: Gateway) -> ASGIApp:
    """Return the application that serves `gateway`."""
    app = FastAPI(
        title="kwise-arena gateway",
        version=metadata.version("kwise-arena"),
        description=_DESCRIPTION,
        redirect_slashes=False,
        redoc_url=None,
        exception_handlers={
            GatewayError: on_gateway_error,
            DispatcherError: on_dispatcher_error,
            RequestValidationError: on_bad_parameter,
            HTTPException: on_http_error,
            Exception: on_failure,
        },
    )
    app.state.gateway = gateway
    for module in (voters, boards, producers, operators):
        app.include_router(module.router)
    app.include_router(work_router(gateway.dispatcher, gateway.artifacts, gateway.callers.require_worker))
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]  # FastAPI's own way to change it
    inner: ASGIApp = Direct(app)
    if gateway.settings.origins:
        inner = CORSMiddleware(
            inner,
            allow_origins=gateway.settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["content-type"],
            allow_credentials=True,
            max_age=600,
        )
    return Edge(inner, gateway.metrics, access_log=gateway.settings.access_log)


def _describe(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = schema.setdefault("components", {})
        components["schemas"] = {**components.get("schemas", {}), **make_components()}
        components["securitySchemes"] = SECURITY_SCHEMES
        app.openapi_schema = schema
    return app.openapi_schema


async def on_bad_parameter(_request: Request, error: Exception) -> Response:
    """Answer a request whose path or query is not what it must be; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    named = ", ".join(sorted({str(each["loc"][-1]) for each in error.errors()}))
    return refuse(GatewayError(422, "bad_parameter", f"not valid in the path or query: {named}"))
