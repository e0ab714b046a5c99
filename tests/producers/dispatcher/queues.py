"""Dispatchers, matchups and workers for tests. Nothing here waits: time is an argument."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from pipeline.contracts.generation import WorkJob, WorkPrompt
from pipeline.contracts.matchup import Matchup, MatchupPrompt
from producers.artifacts.media import TEXT
from producers.artifacts.store import open_artifacts
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.proposals import MakerOf
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.types import Showing

START = 1_764_000_000_000
SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
TTL = 15 * MINUTE
ARENA = "text-to-image"
MODELS = ("alpha", "beta", "gamma", "delta")


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


def open_dispatcher(
    folder: Path,
    clock: Clock,
    settings: DispatcherSettings | None = None,
    *,
    seed: int = 1,
    maker_of: MakerOf | None = None,
) -> Dispatcher:
    """Open the queue in `folder`, not flushed unless `settings` say so."""
    artifacts = open_artifacts(folder / "artifacts", clock=clock)
    settings = settings or DispatcherSettings(durable=False)
    return Dispatcher(folder / "queue.db", artifacts, settings, clock, random.Random(seed), maker_of=maker_of)


def make_matchup(
    number: int,
    *,
    arena: str = ARENA,
    models: tuple[str, ...] = MODELS,
    text: str | None = None,
    prompt_id: str | None = None,
    expires: int = START + TTL,
    priority: int = 0,
) -> Matchup:
    """Return matchup `number`, with a prompt of its own unless told."""
    text = f"a thing, number {number}" if text is None else text
    return Matchup(
        matchup_id=f"{number:032x}",
        arena=arena,
        models=models,
        prompt=MatchupPrompt(id=prompt_id or f"p-{number}", text=text, seed=7),
        policy="gibbs",
        propensity=0.25,
        commit=1,
        created=START,
        expires=expires,
        priority=priority,
    )


def make_custom(number: int, *, expires: int = START + TTL) -> Matchup:
    """Return a matchup whose prompt a voter typed."""
    return make_matchup(number, prompt_id=f"c-{number}", expires=expires)


def prompt_of(job: WorkJob) -> WorkPrompt:
    """Return the prompt of a job, which the dispatcher always gives."""
    assert job.prompt is not None
    return job.prompt


def finish(dispatcher: Dispatcher, jobs: Iterable[WorkJob], now: int) -> None:
    """Hand in an artifact for each job."""
    for job in jobs:
        artifact = dispatcher.artifacts.put(f"{job.model}: {prompt_of(job).text}".encode(), TEXT)
        dispatcher.finish_job(job.job_id, job.fence, artifact, now)


def lease_model(
    dispatcher: Dispatcher, model: str, now: int = START, *, worker: str = "w", max_jobs: int = 8
) -> tuple[WorkJob, ...]:
    """Lease jobs of one model for a worker that makes no other, beside one that makes all models and is busy."""
    dispatcher.lease_jobs("busy", max_jobs=0, now=now)
    return dispatcher.lease_jobs(worker, models=[model], max_jobs=max_jobs, now=now)


def work_off(dispatcher: Dispatcher, now: int, *, worker: str = "w", limit: int = 10_000) -> int:
    """Make whatever is in demand; return how many jobs that were."""
    done = 0
    while done < limit:
        jobs = dispatcher.lease_jobs(worker, now=now)
        if not jobs:
            break
        finish(dispatcher, jobs, now)
        done += len(jobs)
    return done


def take_ready(dispatcher: Dispatcher, count: int, now: int = START) -> None:
    """Take in matchups 1 to `count` and make them all; the settings must want that many."""
    dispatcher.take_proposals([make_matchup(number) for number in range(1, count + 1)], {})
    assert work_off(dispatcher, now) == count * len(MODELS)


def must_show(dispatcher: Dispatcher, voter: str, now: int = START, arena: str = ARENA) -> Showing:
    """Show the next matchup, which must be ready."""
    showing = dispatcher.show_next(arena, voter, now)
    assert isinstance(showing, Showing)
    return showing
