"""Settings of the dispatcher, each with its reason."""

from __future__ import annotations

import msgspec


class DispatcherSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers that operators may set. Raises `ValueError` for such as cannot be."""

    lease_s: float = 60.0
    """How long a worker may be silent: three missed heartbeats of 20 s."""
    max_attempts: int = 4
    """Leases of one job, until it is dead."""
    backoff_s: float = 2.0
    """Pause after the first failure; it doubles with each further one, up to `backoff_max_s`, with jitter."""
    backoff_max_s: float = 120.0
    dead_rest_s: float = 600.0
    """A dead job is tried again for a new matchup after this long; until then the matchup is cancelled at once."""
    min_vote_s: float = 120.0
    """A matchup is shown only while a voter has this long to answer."""
    lead_s: float = 30.0
    """Matchups are kept ready for so many seconds of voters; at least, where making one takes longer."""
    lead_max_s: float = 300.0
    """More than this is never made ahead, however slow making is."""
    spread: float = 3.0
    """So many standard deviations of the voters of `lead_s` (Poisson) are kept ready on top."""
    ready_min: int = 2
    """Kept ready when nobody asks, so that the first voters do not wait."""
    ready_max: int = 2000
    """Kept ready and in the making at most, an arena."""
    hysteresis: float = 0.2
    """Making begins when this share of the demand is missing, and goes on until none is: fewer, larger batches."""
    patience_s: float = 15.0
    """A voter who was told to wait counts as waiting for this long after the wait that was asked for."""
    served_s: float = 120.0
    """A model counts as served for this long after a worker asked for its jobs."""
    keep_s: float = 7 * 86_400.0
    """Ended matchups, jobs that nothing needs, and their artifacts are kept this long."""
    durable: bool = True
    """Flush to disk what was promised to others. False only where a power cut does not matter: tests, simulations."""

    def __post_init__(self) -> None:
        positive = ("lease_s", "backoff_s", "backoff_max_s", "lead_s", "lead_max_s", "served_s", "keep_s")
        for name in positive:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        for name in ("dead_rest_s", "min_vote_s", "spread", "ready_min", "patience_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be negative")
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts is {self.max_attempts}: at least one is needed")
        if self.ready_max < max(self.ready_min, 1):
            raise ValueError(f"ready_max is {self.ready_max}: it must be at least 1 and at least ready_min")
        if not 0 <= self.hysteresis < 1:
            raise ValueError(f"hysteresis is {self.hysteresis}: a share from 0 to below 1")
