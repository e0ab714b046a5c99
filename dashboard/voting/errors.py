"""What a voter can meet at the gateway, in words for voters."""

from __future__ import annotations


class GateError(Exception):
    """The gateway refused, or does not answer. The text says what to do.

    Attributes
    ----------
    title : str
        A heading for it.
    retriable : bool
        Whether the page tries again by itself.
    retry_after : float or None
        Seconds after which, where that is known.
    """

    def __init__(self, title: str, text: str, *, retriable: bool, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.title = title
        self.retriable = retriable
        self.retry_after = retry_after
