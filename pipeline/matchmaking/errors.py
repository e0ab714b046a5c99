"""What can go wrong in matchmaking."""

from __future__ import annotations


class MatchmakingError(ValueError):
    """A proposal was asked for in a way that cannot be met. Says what was wrong and what to do."""

    retriable = False
