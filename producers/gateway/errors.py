"""What a request can be refused with. Each knows its status, a code for programs, and whether a retry helps."""

from __future__ import annotations


class GatewayError(Exception):
    """A request that is not answered as asked.

    Attributes
    ----------
    status : int
        HTTP status.
    code : str
        For programs; the message is for people.
    retry : bool
        Whether the same request may succeed later.
    retry_after : float or None
        Seconds after which; sent as Retry-After.
    """

    def __init__(
        self, status: int, code: str, message: str, *, retry: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry = retry
        self.retry_after = retry_after


class SettingsError(Exception):
    """The gateway cannot be started as it is set up. Says which setting is wrong and what to write."""
