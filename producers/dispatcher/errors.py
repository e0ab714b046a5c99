"""What the dispatcher refuses, and why. `code` is the word for it on the wire."""

from __future__ import annotations

from typing import ClassVar


class DispatcherError(Exception):
    """The dispatcher cannot do what was asked. Says what was wrong and what to do.

    Attributes
    ----------
    code : str
        Short name, the same for ever: clients decide by it.
    retriable : bool
        Whether the same call may succeed later without anybody mending anything.
    """

    code: ClassVar[str] = "dispatcher"
    retriable: ClassVar[bool] = False


class DispatcherUnavailable(DispatcherError):  # noqa: N818 - the standard word for it
    """The dispatcher's file is locked or its disk is full; nothing was changed."""

    code = "unavailable"
    retriable = True


class StaleFence(DispatcherError):  # noqa: N818 - what it is
    """The job is not, or no longer, held under this fence: somebody else has it, it is over, or nobody wants it."""

    code = "stale_fence"


class UnknownMatchup(DispatcherError):  # noqa: N818 - what it is
    """No such matchup was ever shown, or it is long forgotten."""

    code = "unknown_matchup"


class MatchupExpired(DispatcherError):  # noqa: N818 - what it is
    """The matchup can no longer be voted on; ask for another."""

    code = "expired"


class AlreadyVoted(DispatcherError):  # noqa: N818 - what it is
    """Another vote was given on this matchup."""

    code = "already_voted"


class UnknownTicket(DispatcherError):  # noqa: N818 - what it is
    """No such ticket, or it belongs to somebody else."""

    code = "unknown_ticket"


class CustomCancelled(DispatcherError):  # noqa: N818 - what it is
    """The custom prompt's matchup cannot be shown: a model failed, all refused, or it took too long."""

    code = "cancelled"
