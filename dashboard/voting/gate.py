"""The gateway over HTTP, for one reader of the page.

The dashboard's server speaks for its readers: browsers need no second address, no other origin is let in, and pictures
come inside the page. A reader is whom the gateway's own cookie says: it is made and signed by the gateway, kept by the
browser, and shown again by us, so that the gateway's limits on voters hold for readers of the page as for anybody.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

import httpx

from dashboard.formatting import format_age
from dashboard.voting.errors import GateError
from pipeline.contracts.gateway import (
    ADDRESS_HEADER,
    PROXY_SECRET_HEADER,
    Reveal,
    ShownMatchup,
    VoteReceipt,
    Wait,
)
from producers.client import Client, GatewayRefusal, GatewayUnreachable

PROXY_SECRET_VARIABLE: Final = "KWISE_GATEWAY_PROXY_SECRET"
"""Where it is set, each reader has the limits of an own address; else all readers share those of this server."""
PATIENCE_S: Final = 2.0
"""For so long a call is tried again before the reader is told; the page goes on trying."""
_TIMEOUT_S: Final = 8.0
"""Without a byte for so long a gateway that took the call is taken to be away."""
_TOLD_S: Final = 5.0
"""Waits of fewer seconds are over before they are read."""
_COOKIE = re.compile(r"[0-9a-f.]{1,128}")

_WORDS: Final = {
    "expired": ("Too late", "This matchup could be voted on for some minutes only. Here is another."),
    "already_voted": ("Already voted", "There is a vote on this matchup. Here is another."),
    "too_many": ("A moment, please", "You are quicker than this arena allows."),
}
"""By code of the gateway, where its own words are for programs."""


@dataclass(slots=True)
class HttpGate:
    """One voter at a gateway. Not for several threads at once."""

    client: Client

    def ask(self, arena: str, prompt: str | None = None) -> ShownMatchup | Wait:
        """Return the next matchup, or how long to wait; with `prompt`, have one made."""
        with _in_words():
            return self.client.ask(arena, prompt)

    def ticket(self, ticket: str) -> ShownMatchup | Wait:
        """Return the matchup of a custom prompt, or how long to wait."""
        with _in_words():
            return self.client.ticket(ticket)

    def picture(self, path: str) -> tuple[str, bytes]:
        """Return media type and bytes of what is in a slot."""
        with _in_words():
            found = self.client.artifact(path)
        return found.media_type.partition(";")[0], found.data

    def vote(
        self, shown: ShownMatchup, mode: str, ranks: tuple[int | None, ...] | None, duration_ms: int
    ) -> VoteReceipt:
        """Vote. The same again is the same vote."""
        with _in_words():
            return self.client.vote(shown, ranks, mode=mode, duration_ms=duration_ms)

    def reveal(self, matchup_id: str) -> Reveal:
        """Return what the vote revealed by now."""
        with _in_words():
            return self.client.reveal(matchup_id)

    def takes_prompts(self, arena: str) -> bool:
        """Whether voters may type prompts."""
        with _in_words():
            return self.client.arena(arena).arena.custom_prompts

    def cookie(self) -> str | None:
        """Return what the browser is to keep."""
        return self.client.cookie


def open_gate(url: str, cookie: str | None, address: str | None) -> HttpGate:
    """Return the gateway at `url` for the reader whose browser has `cookie` and is at `address`."""
    secret = os.environ.get(PROXY_SECRET_VARIABLE)
    headers = {PROXY_SECRET_HEADER: secret, ADDRESS_HEADER: address} if secret and address else {}
    http = httpx.Client(timeout=_TIMEOUT_S, headers=headers)
    known = cookie if cookie is not None and _COOKIE.fullmatch(cookie) else None
    return HttpGate(Client(url, patience=PATIENCE_S, http=http, cookie=known))


class _in_words:  # noqa: N801 - a context manager
    """Turns what the client raises into words for voters."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, GatewayUnreachable):
            raise GateError(
                "No answer", "The arena cannot be reached. This page tries again by itself.", retriable=True
            ) from error
        if isinstance(error, GatewayRefusal):
            said = str(error).removesuffix(f" ({error.status} {error.code})")
            title, text = _WORDS.get(error.code, ("Not taken", said[:1].upper() + said[1:] + "."))
            if error.retriable and error.retry_after is not None and error.retry_after >= _TOLD_S:
                text += f" Next try in {format_age(round(1000 * error.retry_after))}."
            raise GateError(title, text, retriable=error.retriable, retry_after=error.retry_after) from error
