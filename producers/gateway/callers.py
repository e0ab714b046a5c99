"""Who is asking: a voter by cookie, a program with a secret, and the address that limits count by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from pipeline.contracts.gateway import (
    ADDRESS_HEADER,
    CLIENT_SECRET_HEADER,
    PROXY_SECRET_HEADER,
    VOTER_COOKIE,
    VOTER_HEADER,
)
from producers.gateway.errors import GatewayError
from producers.gateway.limits import hash_address
from producers.gateway.secret_file import GatewaySecrets, matches
from producers.gateway.voters import COOKIE_SECONDS, Voters, is_identity

_BEARER: Final = "bearer "
_HASHES_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """One voter. `new_cookie` is to be set where the voter is new."""

    identity: str
    address: str
    new_cookie: str | None = None
    secure: bool = False

    def greet(self, response: Response) -> None:
        """Let the answer set the cookie of a new voter."""
        if self.new_cookie is not None:
            response.set_cookie(
                VOTER_COOKIE,
                self.new_cookie,
                max_age=COOKIE_SECONDS,
                path="/",
                secure=self.secure,
                httponly=True,
                samesite="lax",
            )


class Callers:
    """Tells from a request who is asking.

    Parameters
    ----------
    voters, secrets
    address_key : key under which addresses are kept in memory
    make_identity : returns 32 random hex digits
    """

    def __init__(
        self, voters: Voters, secrets: GatewaySecrets, address_key: bytes, make_identity: Callable[[], str]
    ) -> None:
        self._voters = voters
        self._secrets = secrets
        self._address_key = address_key
        self._make_identity = make_identity
        self._hashed: dict[str, str] = {}

    def address_of(self, request: Request) -> str:
        """Return what stands for the address of a request.

        It is that of the connection, but for a proxy that shows its secret: then what it says. `GatewayError` 403
        for a wrong secret: a proxy that is set up wrongly would have all its voters share one limit.
        """
        headers = request.headers
        address = request.client.host if request.client is not None else ""
        if self._is_proxy(request):
            forwarded = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()  # what the proxy itself saw
            address = headers.get(ADDRESS_HEADER, forwarded).strip() or address
        hashed = self._hashed.get(address)
        if hashed is None:
            if len(self._hashed) >= _HASHES_KEPT:
                self._hashed.clear()
            hashed = self._hashed[address] = hash_address(address, self._address_key)
        return hashed

    def find_voter(self, request: Request) -> Caller | None:
        """Return the voter who asks; None for one that we have not seen. `GatewayError` 403 for a wrong secret."""
        address = self.address_of(request)
        given = request.headers.get(VOTER_HEADER)
        if given is not None:
            if not matches(request.headers.get(CLIENT_SECRET_HEADER), self._secrets.client_secret):
                raise GatewayError(403, "wrong_secret", f"{VOTER_HEADER} needs a right {CLIENT_SECRET_HEADER}")
            if not is_identity(given):
                raise GatewayError(400, "bad_voter", f"{VOTER_HEADER} is not 32 hex digits")
            return Caller(given, address)
        identity = self._voters.read_cookie(request.cookies.get(VOTER_COOKIE))
        return None if identity is None else Caller(identity, address)

    def new_voter(self, request: Request) -> Caller:
        """Return a voter that we have not seen before."""
        identity = self._make_identity()
        secure = request.url.scheme == "https" or (
            self._is_proxy(request) and request.headers.get("x-forwarded-proto") == "https"
        )
        return Caller(identity, self.address_of(request), self._voters.make_cookie(identity), secure)

    def require_producer(self, request: Request) -> None:
        """Raise `GatewayError` 401 unless a right producer key is shown."""
        _require_key(request, self._secrets.producer_keys, "producer")

    def require_worker(self, request: Request) -> None:
        """Raise `GatewayError` 401 unless a right worker key is shown."""
        _require_key(request, self._secrets.worker_keys, "worker")

    def _is_proxy(self, request: Request) -> bool:
        secret = request.headers.get(PROXY_SECRET_HEADER)
        if secret is None:
            return False
        if not matches(secret, self._secrets.proxy_secret):
            raise GatewayError(403, "wrong_secret", f"{PROXY_SECRET_HEADER} is not the secret of this gateway")
        return True


def _require_key(request: Request, keys: tuple[str, ...], who: str) -> None:
    given = request.headers.get("authorization", "")
    if given[: len(_BEARER)].lower() != _BEARER or not matches(given[len(_BEARER) :].strip(), *keys):
        raise GatewayError(401, "wrong_key", f"this needs a {who} key: Authorization: Bearer KEY")
