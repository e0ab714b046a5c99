"""How long a client goes on trying, and how long it waits in between."""

from __future__ import annotations

from typing import Final

from producers.client.errors import GatewayRefusal, GatewayUnreachable

_FIRST_S: Final = 0.2
_LONGEST_S: Final = 5.0


class Patience:
    """Pauses between tries of one request: doubling, or as long as the gateway says, until the time is over.

    Parameters
    ----------
    seconds : how long to go on
    now : seconds, monotonic
    """

    def __init__(self, seconds: float, now: float) -> None:
        self._deadline = now + seconds
        self._pause = _FIRST_S

    def after_error(self, error: GatewayRefusal | GatewayUnreachable, now: float) -> float:
        """Return how long to wait before the next try; raise `error` if none helps or the time is over."""
        if not error.retriable:
            raise error
        asked = getattr(error, "retry_after", None)
        pause = self._pause if asked is None else asked
        self._pause = min(2 * self._pause, _LONGEST_S)
        if now + pause > self._deadline:
            raise error
        return pause

    def before_look(self, wait_s: float, now: float) -> float | None:
        """Return how long to wait before looking again; None if the time is over."""
        left = self._deadline - now
        return None if left <= 0 else min(wait_s, left)
