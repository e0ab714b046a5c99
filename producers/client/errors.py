"""What a client of the gateway can meet. Each knows whether a retry helps."""

from __future__ import annotations


class GatewayUnreachable(Exception):  # noqa: N818 - what it is
    """No answer came: the gateway is away, or the network is."""

    retriable = True


class GatewayRefusal(Exception):  # noqa: N818 - an answer, not a failure of the program
    """The gateway refused a request.

    Attributes
    ----------
    status : int
        HTTP status.
    code : str
        For programs: docs/gateway.md lists them.
    retriable : bool
        Whether the same request may succeed later.
    retry_after : float or None
        Seconds after which, where the gateway says so.
    """

    def __init__(self, status: int, code: str, message: str, *, retriable: bool, retry_after: float | None) -> None:
        super().__init__(f"{message} ({status} {code})")
        self.status = status
        self.code = code
        self.retriable = retriable
        self.retry_after = retry_after
