"""The dispatcher: takes proposals, has their artifacts made by workers, and hands out ready matchups once each.

All that was promised to anybody is in one SQLite file, so the process may be killed at any moment: nothing is lost,
and nothing is shown twice. What is flushed to disk before the answer, too: what was shown, leased, made. Taking in
proposals, heartbeats, expiry and votes are not: after a power cut they are read from the log again, or happen again.
In memory are guesses only: demand, and which models are served.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.contracts.generation import WorkJob, hash_recipe
from pipeline.contracts.log import Position, TopicPartition
from pipeline.contracts.matchup import Matchup
from pipeline.eventlog.blocks import wall_clock_ms
from producers.artifacts.store import Artifact, ArtifactStore, Removed
from producers.dispatcher import jobs, leases, made, proposals, retention, showings, totals
from producers.dispatcher.connections import GroupWriter, ReaderPool
from producers.dispatcher.demand import REMEMBERED_MS, Demand
from producers.dispatcher.errors import DispatcherError, StaleFence
from producers.dispatcher.served import ServedModels
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.types import (
    ArenaCounts,
    Expired,
    JobState,
    MadeArtifact,
    Maker,
    Purged,
    QueueCounts,
    Showing,
    Wait,
)


class Dispatcher:
    """The queue of matchups in one file. All methods may be called from many threads; `now` is in ms since 1970 UTC.

    Parameters
    ----------
    path : the file; made if it is new, its folder must be there
    artifacts : where workers' artifacts are kept
    settings : numbers that operators may set
    clock : returns the wall clock in ms
    rng : draws addresses and tickets, which must be unguessable where people vote (None: from the system), and backoff
    maker_of : see `proposals.MakerOf`; None: no model has a generator
    """

    def __init__(
        self,
        path: str | Path,
        artifacts: ArtifactStore,
        settings: DispatcherSettings | None = None,
        clock: Callable[[], int] = wall_clock_ms,
        rng: random.Random | None = None,
        *,
        maker_of: proposals.MakerOf | None = None,
    ) -> None:
        self.artifacts = artifacts
        self.settings = settings or DispatcherSettings()
        self._clock = clock
        self._rng = rng or random.SystemRandom()
        self._maker_of = maker_of or (lambda _arena, _model: Maker())
        self._demand = Demand(self.settings)
        self._served = ServedModels(round(self.settings.served_s * 1000))
        self._leasing = True
        self._writer = GroupWriter(Path(path), durable=self.settings.durable)
        self._readers = ReaderPool(Path(path))
        self._remember_demand()

    def now(self) -> int:
        """Return the time in ms since 1970 UTC by the dispatcher's clock."""
        return self._clock()

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self._leasing = False
        self._writer.close()
        self._readers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------ proposals

    def take_proposals(
        self,
        matchups: Iterable[Matchup],
        position: Mapping[TopicPartition, Position],
        identities: Mapping[TopicPartition, str] | None = None,
    ) -> int:
        """Take in proposals, each once, and remember how far the log was read; return how many were new.

        Those that expire before a voter could answer them are passed over.
        """
        listed, now = list(matchups), self._clock()
        taking = self._taking(now)

        def work(connection: sqlite3.Connection) -> proposals.Newcomers:
            newcomers = proposals.take_matchups(connection, listed, taking)
            proposals.note_positions(connection, position, identities or {})
            return newcomers

        newcomers = self._writer.run(work, durable=False)
        for arena in newcomers.ready:
            self._demand.note_made(arena, None, now)
        return newcomers.taken

    def position(self) -> dict[TopicPartition, Position]:
        """Return how far the log was read."""
        with self._readers.reading() as connection:
            return proposals.read_positions(connection)

    def identities(self) -> dict[TopicPartition, str]:
        """Return which log was read: `EventLog.identities` of the partitions."""
        with self._readers.reading() as connection:
            return proposals.read_identities(connection)

    def add_custom(self, matchup: Matchup, voter: str) -> str:
        """Take in a matchup whose prompt (id ``c-...``) `voter` typed, to be made first; return its ticket.

        Raises `DispatcherError` if the prompt is no custom one or the matchup is somebody else's.
        """
        if not proposals.is_custom(matchup):
            raise DispatcherError(f"matchup {matchup.matchup_id} has no custom prompt: its prompt's id begins with c-")
        work = partial(
            showings.add_custom,
            matchup=matchup,
            voter=voter,
            ticket=showings.draw_token(self._rng),
            taking=self._taking(self._clock()),
        )
        return self._writer.run(work)

    # ------------------------------------------------------------------------------------------ workers

    @property
    def is_leasing(self) -> bool:
        """Whether jobs are leased: until `stop_leasing` or `close`."""
        return self._leasing

    def stop_leasing(self) -> None:
        """Lease no more jobs, for a shutdown: waiting workers get an empty answer; others may still hand in."""
        self._leasing = False

    def lease_jobs(
        self,
        worker: str,
        *,
        resident: Iterable[str] = (),
        models: Iterable[str] | None = None,
        exclude: Iterable[str] = (),
        arenas: Iterable[str] | None = None,
        max_jobs: int = 8,
        now: int,
    ) -> tuple[WorkJob, ...]:
        """Lease up to `max_jobs` jobs of one arena and model, by demand; see `leases`.

        Those whose recipe is in the artifact store already are done on the spot, and are not among them.

        Parameters
        ----------
        worker : name of the worker
        resident : models that it has loaded, and makes at once
        models, arenas : those that it can make; None: all
        exclude : models that it cannot make for now
        """
        request = leases.Request(
            worker=worker,
            resident=frozenset(resident),
            models=None if models is None else frozenset(models),
            exclude=frozenset(exclude),
            arenas=None if arenas is None else frozenset(arenas),
            max_jobs=max_jobs,
        )
        self._served.note(request, now)
        while self._leasing:
            leased = self._writer.run(partial(self._lease, request=request, now=now))
            wanted = tuple(job for job in leased if not self._finish_from_store(job, now))
            if wanted or not leased:
                return wanted
        return ()

    def heartbeat(self, worker: str, held: Iterable[tuple[str, int]], now: int) -> list[str]:
        """Prolong the leases of (job_id, fence) pairs; return the ids of jobs that the worker should drop."""
        work = partial(
            jobs.renew_leases, worker=worker, held=list(held), now=now, lease_ms=round(self.settings.lease_s * 1000)
        )
        return self._writer.run(work, durable=False)

    def check_fence(self, job_id: str, fence: int) -> None:
        """Raise `StaleFence` unless the job is held, or was done, under `fence`: before its artifact is taken."""
        with self._readers.reading() as connection:
            jobs.check_fence(connection, job_id, fence)

    def finish_job(self, job_id: str, fence: int, artifact: Artifact, now: int) -> None:
        """Note that `artifact`, which is in the store, was made. Raises `StaleFence`."""
        self._note_made(
            self._writer.run(partial(jobs.finish_job, job_id=job_id, fence=fence, artifact=artifact, now=now)), now
        )

    def refuse_job(self, job_id: str, fence: int, reason: str, now: int) -> None:
        """Note that the model refuses the prompt: an outcome that is shown. Raises `StaleFence`."""
        self._note_made(
            self._writer.run(partial(jobs.refuse_job, job_id=job_id, fence=fence, reason=reason, now=now)), now
        )

    def fail_job(self, job_id: str, fence: int, reason: str, now: int, *, retriable: bool = True) -> JobState:
        """Note a failure; return WAITING if the job is tried again, DEAD if not. Raises `StaleFence`."""
        work = partial(
            jobs.fail_job,
            job_id=job_id,
            fence=fence,
            reason=reason,
            now=now,
            retriable=retriable,
            settings=self.settings,
            rng=self._rng,
        )
        return self._writer.run(work)

    def release_job(self, job_id: str, fence: int, now: int) -> None:
        """Take a job back from a worker who stops; the attempt does not count. Raises `StaleFence`."""
        self._writer.run(partial(jobs.release_job, job_id=job_id, fence=fence, now=now))

    # ------------------------------------------------------------------------------------------ voters

    def show_next(self, arena: str, voter: str, now: int) -> Showing | Wait:
        """Show `voter` a matchup that nobody was shown before, or tell how long to wait for one."""
        (found,) = self.show_all([(arena, voter)], now)
        if isinstance(found, Exception):
            raise found
        return found

    def show_all(self, asked: Sequence[tuple[str, str]], now: int) -> list[Showing | Wait | Exception]:
        """Answer many at once, each as `show_next` would: (arena, voter) pairs."""
        latest = self._latest(now)
        works = [
            partial(showings.show_next, arena=arena, voter=voter, now=now, latest=latest, rng=self._rng)
            for arena, voter in asked
        ]
        answers: list[Showing | Wait | Exception] = []
        for (arena, voter), found in zip(asked, self._writer.run_all(works), strict=True):
            if found is None:
                answers.append(Wait(self._demand.note_waiting(arena, voter, now)))
                continue
            if isinstance(found, Showing):
                self._demand.note_served(arena, voter, now)
            answers.append(found)
        return answers

    def show_ticket(self, ticket: str, voter: str, now: int) -> Showing | Wait:
        """Show the matchup of a custom prompt to the voter who typed it, or tell how long to wait for it.

        Raises `UnknownTicket` or `CustomCancelled`.
        """
        work = partial(
            showings.show_ticket, ticket=ticket, voter=voter, now=now, latest=self._latest(now), rng=self._rng
        )
        found = self._writer.run(work)
        return Wait(self._demand.estimate_making(found)) if isinstance(found, str) else found

    def showing(self, matchup_id: str) -> Showing | None:
        """Return what was shown of a matchup; None if it was not shown, or is forgotten."""
        with self._readers.reading() as connection:
            return showings.find_showing(connection, matchup_id)

    def artifact_at(self, address: str) -> tuple[str, str] | None:
        """Return SHA-256 and media type of the artifact at a random address of a showing; None if there is none."""
        return self.artifacts_at([address])[0]

    def artifacts_at(self, addresses: Iterable[str]) -> list[tuple[str, str] | None]:
        """Answer many at once, each as `artifact_at` would."""
        with self._readers.reading() as connection:
            return [showings.find_artifact(connection, address) for address in addresses]

    def newest_artifacts(self, arena: str, model: str, limit: int) -> list[MadeArtifact]:
        """Return up to `limit` artifacts of a model that were voted on and that no living matchup shows, newest first.

        Those of prompts that voters typed are left out. Looks at the newest `made.JOBS_SEEN` that the model made.
        """
        with self._readers.reading() as connection:
            return made.list_newest(connection, arena, model, limit)

    def claim_vote(self, matchup_id: str, vote_id: str, now: int) -> Showing:
        """Reserve a matchup for one vote before it is written to the log; the same vote may claim it again.

        Raises `UnknownMatchup`, `AlreadyVoted` (another vote has it) or `MatchupExpired`.
        """
        (claimed,) = self.claim_votes([(matchup_id, vote_id)], now)
        if isinstance(claimed, Exception):
            raise claimed
        return claimed

    def claim_votes(self, claims: Iterable[tuple[str, str]], now: int) -> list[Showing | Exception]:
        """Make many claims, each as `claim_vote` would: (matchup_id, vote_id) pairs."""
        return self._writer.run_all(
            partial(showings.claim_vote, matchup_id=matchup_id, vote_id=vote_id, now=now)
            for matchup_id, vote_id in claims
        )

    def drop_claim(self, matchup_id: str, vote_id: str) -> None:
        """Undo a claim whose vote the log has not and will not get."""
        self._writer.run(partial(showings.drop_claim, matchup_id=matchup_id, vote_id=vote_id), durable=False)

    def note_voted(self, matchup_id: str, vote_id: str, now: int) -> None:
        """Note that the log has the vote. Raises `UnknownMatchup` or `AlreadyVoted`."""
        (failure,) = self.note_all_voted([(matchup_id, vote_id)], now)
        if failure is not None:
            raise failure

    def note_all_voted(self, votes: Iterable[tuple[str, str]], now: int) -> list[Exception | None]:
        """Note many votes, each as `note_voted` would: (matchup_id, vote_id) pairs; return what each raised."""
        works = [
            partial(showings.note_voted, matchup_id=matchup_id, vote_id=vote_id, now=now)
            for matchup_id, vote_id in votes
        ]
        return self._writer.run_all(works, durable=False)

    # ------------------------------------------------------------------------------------------ upkeep

    def expire(self, now: int) -> Expired:
        """End what is too old, and take back jobs of silent workers. To be called about every second."""

        def work(connection: sqlite3.Connection) -> Expired:
            jobs.take_back_lapsed(connection, now, self.settings)
            return retention.expire_matchups(connection, now, self._latest(now))

        return self._writer.run(work, durable=False)

    def purge(self, now: int) -> Purged:
        """Forget what ended long ago, some rows at a time. To be called now and then."""
        before = now - round(self.settings.keep_s * 1000)
        matchups = forgotten_jobs = 0
        while True:
            purged = self._writer.run(partial(retention.purge_rows, before=before), durable=False)
            matchups += purged.matchups
            forgotten_jobs += purged.jobs
            if max(purged.matchups, purged.jobs) < retention.AT_ONCE:
                return Purged(matchups, forgotten_jobs)

    def remove_artifacts(self) -> Removed:
        """Delete artifacts that no job refers to and that are older than `keep_s`; after `purge`, now and then."""

        def referenced(hashes: Iterable[str]) -> set[str]:
            with self._readers.reading() as connection:
                return retention.find_referenced(connection, hashes)

        return self.artifacts.remove_unreferenced(referenced, older_than_ms=round(self.settings.keep_s * 1000))

    def counts(self, now: int) -> QueueCounts:
        """Return the queues as they are, for metrics and health."""
        with self._readers.reading() as connection:
            queue, sums = totals.read_queue(connection, now), totals.read_totals(connection)
            arenas = {}
            for arena in sorted(queue.keys() | sums.keys()):
                demand, waiting, rate = self._demand.describe(arena, now)
                ready, proposed = leases.count_supply(connection, arena, self._latest(now))
                arenas[arena] = ArenaCounts(
                    **queue.get(arena, {}),
                    **sums.get(arena, {}),
                    demand=demand,
                    waiting=waiting,
                    rate=rate,
                    shortage=max(demand - ready - proposed, 0),
                )
        return QueueCounts(arenas)

    # ------------------------------------------------------------------------------------------ inside

    def _lease(self, connection: sqlite3.Connection, *, request: leases.Request, now: int) -> tuple[WorkJob, ...]:
        jobs.take_back_lapsed(connection, now, self.settings)
        return leases.lease_jobs(
            connection,
            request,
            now,
            demand=self._demand,
            is_served=partial(self._served.is_served, now=now),
            settings=self.settings,
        )

    def _finish_from_store(self, job: WorkJob, now: int) -> bool:
        """Finish a job with what its recipe made before, if that is in the store."""
        artifact = None if job.generator is None else self.artifacts.find_recipe(hash_recipe(job))
        if artifact is None:
            return False
        with suppress(StaleFence):  # its lease ran out meanwhile
            self.finish_job(job.job_id, job.fence, artifact, now)
        return True

    def _latest(self, now: int) -> int:
        """Return the expiry up to which a matchup is no longer worth showing."""
        return now + round(self.settings.min_vote_s * 1000)

    def _taking(self, now: int) -> proposals.Taking:
        rest_ms = round(self.settings.dead_rest_s * 1000)
        return proposals.Taking(maker_of=self._maker_of, now=now, latest=self._latest(now), rest_ms=rest_ms)

    def _note_made(self, made: Iterable[jobs.Made], now: int) -> None:
        for each in made:
            self._demand.note_made(each.arena, each.took_ms, now)

    def _remember_demand(self) -> None:
        """Begin with the demand of the last minutes."""
        with self._readers.reading() as connection:
            shown = showings.list_showings(connection, self._clock() - REMEMBERED_MS)
        for arena, voter, shown_at in shown:
            self._demand.note_served(arena, voter, shown_at)
