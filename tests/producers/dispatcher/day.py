"""A day of an arena, simulated: voters, the job's proposals, workers with their speed, and a burst.

A discrete-event simulation around a real dispatcher with a clock of its own: deterministic, and quicker than life.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from pipeline.contracts.generation import WorkJob
from pipeline.contracts.matchup import Matchup
from producers.artifacts.media import TEXT
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.types import Showing
from tests.producers.dispatcher.queues import ARENA, SECOND, START, TTL, Clock, make_matchup, open_dispatcher

MODELS = tuple(f"model-{number:02d}" for number in range(20))


@dataclass(frozen=True, slots=True)
class Day:
    """What happens in a day. Rates in voters a second.

    Attributes
    ----------
    seconds : int
        How long it lasts.
    rate : float
        Mean rate; it swings between a tenth of it at night and 1.9 times at noon.
    burst_at, burst_s : int
        When the burst begins, and how long it lasts.
    burst : float
        Times the rate.
    k : int
        Models a matchup.
    workers : int
    job_s, swap_s : float
        Time of one artifact, and of loading a model.
    loaded : int
        Models that a worker keeps loaded.
    backlog : int
        Proposals that the job keeps waiting.
    """

    seconds: int = 86_400
    rate: float = 0.03
    burst_at: int = 50_000
    burst_s: int = 1_200
    burst: float = 10.0
    k: int = 3
    workers: int = 2
    job_s: float = 0.7
    swap_s: float = 3.0
    loaded: int = 4
    backlog: int = 40

    def is_burst(self, second: float) -> bool:
        """Whether the burst is on."""
        return self.burst_at <= second < self.burst_at + self.burst_s

    def rate_at(self, second: float) -> float:
        """Return the rate at a time of the day."""
        swing = 1 - 0.9 * math.cos(2 * math.pi * second / 86_400)
        return self.rate * swing * (self.burst if self.is_burst(second) else 1.0)


@dataclass(slots=True)
class Outcome:
    """What came of a day: the wait of each voter in s, and when they came; who left; matchups and artifacts made."""

    waits: list[float] = field(default_factory=list)
    came: list[float] = field(default_factory=list)
    made: int = 0
    never_shown: int = 0
    artifacts: int = 0
    artifacts_shown: int = 0
    swaps: int = 0

    @property
    def waste(self) -> float:
        """Share of the ready matchups that were never shown."""
        return self.never_shown / max(self.made, 1)

    @property
    def artifact_waste(self) -> float:
        """Share of the artifacts that nobody ever saw, those of matchups that were not finished included."""
        return 1 - self.artifacts_shown / max(self.artifacts, 1)

    def quantile(self, share: float, during: Callable[[float], bool] = lambda _: True) -> float:
        """Return a quantile of the waits of voters who came then."""
        waits = sorted(wait for wait, came in zip(self.waits, self.came, strict=True) if during(came))
        return waits[min(int(share * len(waits)), len(waits) - 1)]


class Simulation:
    """Runs a day. Events are (time in ms, number, what to do)."""

    def __init__(self, folder: Path, day: Day, settings: DispatcherSettings, seed: int) -> None:
        self.clock = Clock()
        self.outcome = Outcome()
        self._day = day
        self._rng = random.Random(seed)
        self._dispatcher: Dispatcher = open_dispatcher(folder, self.clock, settings, seed=seed)
        self._artifact = self._dispatcher.artifacts.put(b"made", TEXT)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count(1)
        self._matchups = count(1)
        self._shown_jobs: set[tuple[str, str]] = set()
        self._residents: list[list[str]] = [[] for _ in range(day.workers)]
        self._voters = count(1)
        self._idle: list[int] = []
        self._since_top_up = 0

    def run(self) -> Outcome:
        """Run the day to its end."""
        self._at(0.0, self._upkeep)
        self._at(1.0, self._come)
        for worker in range(self._day.workers):
            self._at(0.1 * worker, lambda worker=worker: self._ask_for_work(worker))  # type: ignore[misc]
        end = START + self._day.seconds * SECOND
        while self._events and self._events[0][0] < end:
            self.clock.now, _, act = heapq.heappop(self._events)
            act()
        return self._finish(end)

    def _finish(self, end: int) -> Outcome:
        self._dispatcher.expire(end + 2 * TTL)
        counts = self._dispatcher.counts(end).arenas[ARENA]
        self.outcome.made, self.outcome.never_shown = counts.made, counts.made_never_shown
        self.outcome.artifacts, self.outcome.artifacts_shown = counts.jobs_done, len(self._shown_jobs)
        self._dispatcher.close()
        return self.outcome

    def _at(self, in_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.clock.now + round(in_s * SECOND), next(self._numbers), act))

    @property
    def _second(self) -> float:
        return (self.clock.now - START) / SECOND

    def _upkeep(self) -> None:
        """Expire, and let workers look for work; the gateway does so every second."""
        self._dispatcher.expire(self.clock.now)
        self._top_up()
        self._wake()
        self._at(60.0, self._upkeep)

    def _top_up(self) -> None:
        """Propose what is missing in the backlog, as the job does every half second."""
        counts = self._dispatcher.counts(self.clock.now).arenas.get(ARENA)
        waiting = 0 if counts is None else counts.proposed + counts.leased
        if missing := self._day.backlog - waiting:
            self._dispatcher.take_proposals([self._propose() for _ in range(missing)], {})
        self._since_top_up = 0

    def _wake(self) -> None:
        """Let the workers who wait for work look again: they do so every quarter of a second, mostly in vain."""
        for worker in self._idle:
            self._at(0.25, lambda worker=worker: self._ask_for_work(worker))  # type: ignore[misc]
        self._idle.clear()

    def _propose(self) -> Matchup:
        models = tuple(self._rng.sample(MODELS, self._day.k))
        return make_matchup(next(self._matchups), models=models, expires=self.clock.now + TTL)

    def _come(self) -> None:
        """A voter comes; the next one comes at random (thinning of a Poisson process)."""
        most = self._day.rate * 1.9 * (self._day.burst if self._second < self._day.burst_at + self._day.burst_s else 1)
        self._at(self._rng.expovariate(most), self._come)
        if self._rng.random() < self._day.rate_at(self._second) / most:
            self._ask(f"voter-{next(self._voters)}", self._second)

    def _ask(self, voter: str, came: float) -> None:
        answer = self._dispatcher.show_next(ARENA, voter, self.clock.now)
        if isinstance(answer, Showing):
            self.outcome.waits.append(self._second - came)
            self.outcome.came.append(came)
            text = str(answer.matchup.prompt and answer.matchup.prompt.text)
            self._since_top_up += 1
            if self._since_top_up > self._day.backlog // 4:
                self._top_up()
            self._shown_jobs |= {(model, text) for model in answer.matchup.models}
        else:
            self._at(answer.wait_s, lambda: self._ask(voter, came))
        self._wake()

    def _ask_for_work(self, worker: int) -> None:
        resident = self._residents[worker]
        jobs = self._dispatcher.lease_jobs(f"w{worker}", resident=resident, now=self.clock.now)
        if not jobs:
            self._idle.append(worker)
            return
        spent = 0.0
        if jobs[0].model not in resident:
            spent += self._day.swap_s
            self.outcome.swaps += 1
            resident.append(jobs[0].model)
            del resident[: -self._day.loaded]
        for job in jobs:
            spent += self._day.job_s
            self._at(spent, lambda job=job: self._deliver(job))  # type: ignore[misc]
        self._at(spent, lambda: self._ask_for_work(worker))

    def _deliver(self, job: WorkJob) -> None:
        self._dispatcher.finish_job(job.job_id, job.fence, self._artifact, self.clock.now)
