"""Which votes a replay leaves out on request: they are archived, and count on no board of the store that it makes."""

from __future__ import annotations

import msgspec


class VoteFilter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Votes of `voters`, and those with the voter's time before `event_from` or after `event_until` (ms)."""

    voters: tuple[str, ...] = ()
    event_from: int | None = None
    event_until: int | None = None

    def __bool__(self) -> bool:
        return bool(self.voters) or self.event_from is not None or self.event_until is not None

    def narrow(self, other: VoteFilter) -> VoteFilter:
        """Return the filter that leaves out what this one or `other` does."""
        starts = [each for each in (self.event_from, other.event_from) if each is not None]
        ends = [each for each in (self.event_until, other.event_until) if each is not None]
        return VoteFilter(
            voters=tuple(sorted({*self.voters, *other.voters})),
            event_from=max(starts, default=None),
            event_until=min(ends, default=None),
        )
