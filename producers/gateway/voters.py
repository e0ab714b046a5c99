"""Who votes: a random cookie, and the voter id that the log sees in its place.

voter id = ``v<epoch>.<32 hex digits>``: HMAC-SHA-256 of epoch and cookie, cut to 128 bits. An epoch is 90 days. Nobody
can come from a voter id to a cookie, or from a voter's id in one epoch to that of the next, without the secret.

A cookie is ``<32 hex digits>.<16 hex digits>``: 128 random bits and a check of ours, so that whoever makes cookies up
is a new voter at each request, and is limited as one.
"""

from __future__ import annotations

import hmac
import re
from typing import Final

from pipeline.contracts.mac import Mac

EPOCH_DAYS: Final = 90
_DAY_MS: Final = 86_400_000
_COOKIE = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{16})")
_IDENTITY = re.compile(r"[0-9a-f]{32}")
_VOTER = re.compile(r"v([0-9]{1,6})\.[0-9a-f]{32}")

COOKIE_SECONDS: Final = 400 * 86_400
"""As long as browsers keep one at most."""


class Voters:
    """Turns cookies into voter ids.

    Parameters
    ----------
    secret : text
    """

    def __init__(self, secret: str) -> None:
        self._codes = Mac(secret.encode())

    def make_cookie(self, identity: str) -> str:
        """Return the cookie of a voter, `identity` being 32 random hex digits."""
        return f"{identity}.{self._mac('cookie', identity)[:16]}"

    def read_cookie(self, cookie: str | None) -> str | None:
        """Return whose cookie it is; None for one that is not ours."""
        found = None if cookie is None else _COOKIE.fullmatch(cookie)
        if found is None or not hmac.compare_digest(self.make_cookie(found[1]), found[0]):
            return None
        return found[1]

    def voter_id(self, identity: str, now: int) -> str:
        """Return the voter id of an identity at `now` (ms)."""
        return self._voter_id(identity, now // _DAY_MS // EPOCH_DAYS)

    def is_voter(self, identity: str, voter: str) -> bool:
        """Whether `voter` is an id of this identity, in whichever epoch."""
        found = _VOTER.fullmatch(voter)
        return found is not None and hmac.compare_digest(self._voter_id(identity, int(found[1])), voter)

    def _voter_id(self, identity: str, epoch: int) -> str:
        return f"v{epoch}.{self._mac(f'{epoch}', identity)[:32]}"

    def _mac(self, use: str, identity: str) -> str:
        return self._codes.digest(f"{use}:{identity}".encode()).hex()


def is_identity(text: str) -> bool:
    """Whether `text` may stand for a voter: 32 hex digits."""
    return _IDENTITY.fullmatch(text) is not None
