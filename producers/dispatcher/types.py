"""What goes in and out of the dispatcher. Times in ms since 1970 UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import msgspec

from pipeline.contracts.generation import ArtifactFormat, GenerationSettings
from pipeline.contracts.matchup import Matchup, MatchupPrompt


class MatchupState(IntEnum):
    """Where a matchup is in its life. The numbers are stored, and their order is used in SQL.

    A proposed one is *leased* while a worker has one of its jobs; that follows from the jobs and is not stored.
    """

    PROPOSED = 0
    """Not all of its jobs are over."""
    READY = 1
    """All its jobs are over, and at least one made an artifact."""
    SHOWN = 2
    VOTED = 3
    EXPIRED = 4
    CANCELLED = 5
    """One of its jobs is dead, or all models refused."""


class JobState(IntEnum):
    """Where a job is. The numbers are stored, and their order is used in SQL."""

    WAITING = 0
    LEASED = 1
    DONE = 2
    REFUSED = 3
    DEAD = 4


class Maker(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a model makes artifacts, as its arena has it; part of a job's identity."""

    generator: str | None = None
    generation: GenerationSettings | None = None
    format: ArtifactFormat = ArtifactFormat()


@dataclass(frozen=True, slots=True)
class ShownSlot:
    """One slot of a showing: the random address of its artifact and its media type, or None for both if refused."""

    address: str | None
    media_type: str | None

    @property
    def refused(self) -> bool:
        """Whether the model refused this prompt."""
        return self.address is None


@dataclass(frozen=True, slots=True)
class Showing:
    """A matchup as it was shown to one voter. `vote_id`: of the vote that was claimed or given on it."""

    matchup: Matchup
    slots: tuple[ShownSlot, ...]
    voter: str
    shown_at: int
    state: MatchupState
    vote_id: str | None = None


@dataclass(frozen=True, slots=True)
class MadeArtifact:
    """What a model made, as it was first shown and voted on: address, media type, prompt, and when it was shown."""

    address: str
    media_type: str
    prompt: MatchupPrompt | None
    shown_at: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is ready: ask again in `wait_s` seconds."""

    wait_s: int


@dataclass(frozen=True, slots=True)
class ArenaCounts:
    """The queue of one arena.

    Attributes
    ----------
    proposed, leased, ready, shown : int
        Matchups in that state now; `proposed` are those of which no worker has a job.
    oldest_ready_ms : int or None
        Age of the matchup that has been ready longest.
    voted, expired, cancelled : int
        Matchups that ended so, ever.
    made_never_shown : int
        Those of the expired that were ready: waste.
    taken, made, shown_ever : int
        Matchups ever taken from proposals, ever ready, ever shown.
    jobs_waiting, jobs_leased : int
        Jobs that a proposed matchup needs and nobody has, and jobs that workers have now.
    jobs_done, jobs_refused, jobs_failed, jobs_lapsed, jobs_dead : int
        Jobs made and refused, attempts that failed or whose worker went silent, and jobs given up, ever.
    demand, waiting : int
        Matchups wanted ready or in the making, and voters waiting now.
    rate : float
        Voters a second who ask for a matchup.
    shortage : int
        How many more proposals the demand needs than there are.
    """

    proposed: int = 0
    leased: int = 0
    ready: int = 0
    shown: int = 0
    oldest_ready_ms: int | None = None
    voted: int = 0
    expired: int = 0
    cancelled: int = 0
    made_never_shown: int = 0
    taken: int = 0
    made: int = 0
    shown_ever: int = 0
    jobs_waiting: int = 0
    jobs_leased: int = 0
    jobs_done: int = 0
    jobs_refused: int = 0
    jobs_failed: int = 0
    jobs_lapsed: int = 0
    jobs_dead: int = 0
    demand: int = 0
    waiting: int = 0
    rate: float = 0.0
    shortage: int = 0


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """The queues of all arenas, by arena id, in order of id."""

    arenas: dict[str, ArenaCounts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expired:
    """What `Dispatcher.expire` found: matchups of which nothing or not all was made, that were ready, and shown."""

    unmade: int = 0
    ready: int = 0
    shown: int = 0


@dataclass(frozen=True, slots=True)
class Purged:
    """What `Dispatcher.purge` forgot."""

    matchups: int = 0
    jobs: int = 0
