"""What routes share: the gateway behind a request, and the types of their path parameters."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Path
from starlette.requests import Request

from pipeline.contracts.ids import ID_PATTERN
from producers.gateway.callers import Caller
from producers.gateway.errors import GatewayError
from producers.gateway.service import Gateway

PathId: TypeAlias = Annotated[str, Path(pattern=f"^{ID_PATTERN}$", max_length=128)]
"""An arena or a matchup in a path."""

PathToken: TypeAlias = Annotated[str, Path(pattern="^[A-Za-z0-9_-]{22}$")]
"""A ticket, or the random part of an artifact's address."""


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that answers this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def admit_voter(request: Request) -> Caller:
    """Return the voter who asks, new ones too, and count the request. Raises `GatewayError`."""
    gateway = gateway_of(request)
    caller = gateway.callers.find_voter(request)
    if caller is None:
        caller = gateway.callers.new_voter(request)
        gateway.limits.address.take(caller.address)
        gateway.limits.new_voters.take(caller.address)
        return caller
    count_request(gateway, caller)
    return caller


def require_voter(request: Request) -> Caller:
    """Return the voter who asks, and count the request. Raises `GatewayError` 403 for one that we have not seen."""
    gateway = gateway_of(request)
    caller = gateway.callers.find_voter(request)
    if caller is None:
        gateway.limits.address.take(gateway.callers.address_of(request))
        raise GatewayError(
            403, "unknown_voter", "there is no voter in this request: keep the cookie of the first answer"
        )
    count_request(gateway, caller)
    return caller


def count_request(gateway: Gateway, caller: Caller) -> None:
    """Count a request of a voter. Raises `GatewayError` 429."""
    gateway.limits.voter.take(caller.identity)
    gateway.limits.address.take(caller.address)
