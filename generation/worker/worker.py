"""The loop of a worker: lease a batch, make it, deliver it while the next one is made.

The next lease is asked for when the last part of a batch is begun, so that the device does not wait for the network and
no job waits here while another worker is idle. A worker may be killed at any moment: what it held is leased again when
its lease runs out, and what it still sends is refused by the fencing number.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import Final

from generation.adapters.base import Request, Surroundings
from generation.adapters.registry import make_adapter
from generation.errors import (
    BudgetSpent,
    GatewayError,
    GenerationError,
    Interrupted,
    ModelUnavailable,
    Refused,
)
from generation.prompts import check_prompt
from generation.safety import Checker
from generation.worker.batches import Outcome, make_batch
from generation.worker.breaker import Breakers
from generation.worker.deliveries import Deliveries
from generation.worker.held_jobs import HeldJobs
from generation.worker.residency import Identity, Residency, Resident
from generation.worker.settings import WorkerSettings
from generation.worker.stats import StatsBook
from generation.worker.work_api import WorkApi
from pipeline.contracts.generation import Lease, WorkJob, seed_of

_PROGRESS_S: Final = 30.0
_GATEWAY_PAUSE_S: Final = 2.0
_IDLE_S: Final = 0.2
"""Pause after an answer without jobs and without a wish how long to wait."""


class Worker:
    """Makes artifacts on one device.

    Parameters
    ----------
    api
        The gateway's work API.
    settings, surroundings
        How it works, and what it lends to adapters.
    stats
        Where it counts.
    announce
        Told in one line of what people want to know.
    checker
        Asked whether an artifact may be shown.
    clock
        Returns ms since 1970.
    timer
        Returns seconds.
    """

    def __init__(
        self,
        api: WorkApi,
        settings: WorkerSettings,
        surroundings: Surroundings,
        *,
        stats: StatsBook,
        announce: Callable[[str], None],
        clock: Callable[[], int],
        timer: Callable[[], float],
        checker: Checker | None = None,
    ) -> None:
        self._api = api
        self._settings = settings
        self._stats = stats
        self._announce = announce
        self._clock = clock
        self._timer = timer
        self._breakers = Breakers()
        self._residency = Residency(
            lambda identity: make_adapter(identity.generator, identity.settings, surroundings),
            settings.memory_bytes,
            self._note_load,
            lambda model: announce(f"released {model}"),
            timer,
            settings.memory_share,
        )
        self._held = HeldJobs(api, settings.name, announce)
        self._deliveries = Deliveries(api, self._held, stats, settings.deliveries, checker, announce)
        self._gateway_up = True
        self._told = (timer(), 0)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then break off what can be broken off, give back the rest, and deliver.

        Raises
        ------
        GatewayError
            The gateway does not accept this worker.
        """
        with self._held, self._deliveries, ThreadPoolExecutor(1, thread_name_prefix="lease") as pool:
            ahead: Future[Lease] | None = None

            def ask_ahead() -> None:
                nonlocal ahead
                if ahead is None and not stop.is_set():
                    ahead = pool.submit(self._lease, *self._wishes())

            try:
                while not stop.is_set():
                    asked, ahead = ahead, None
                    lease = self._await(asked)
                    if lease is None:
                        stop.wait(_GATEWAY_PAUSE_S)
                    elif lease.jobs:
                        self._process(lease, stop, ask_ahead)
                    elif self._settings.until_idle:
                        return
                    else:
                        self._wait(stop, lease.wait_s)
                    self._tell_progress()
            finally:
                if ahead is not None and (lease := self._await(ahead)) is not None:
                    self._give_back(lease.jobs)
                self._residency.release_others(None)

    def _wishes(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return which models are loaded, and which are left alone."""
        return self._residency.models, self._breakers.excluded(self._clock())

    def _lease(self, resident: tuple[str, ...], excluded: tuple[str, ...]) -> Lease:
        """Ask for jobs; what comes is kept alive from then on."""
        lease = self._api.lease(self._settings, resident, excluded)
        self._held.take(lease.jobs, lease.lease_seconds)
        return lease

    def _await(self, asked: Future[Lease] | None) -> Lease | None:
        """Return the answer to a question for jobs; None if the gateway cannot be reached for now."""
        try:
            lease = self._lease(*self._wishes()) if asked is None else asked.result()
        except GatewayError as error:
            if not error.retriable:
                raise
            if self._gateway_up:
                self._announce(f"{error}; trying on")
            self._gateway_up = False
            return None
        if not self._gateway_up:
            self._announce("the gateway is back")
        self._gateway_up = True
        return lease

    def _process(self, lease: Lease, stop: threading.Event, ask_ahead: Callable[[], None]) -> None:
        groups = [list(jobs) for _, jobs in groupby(lease.jobs, key=Identity.of)]
        for place, jobs in enumerate(groups):
            last = place == len(groups) - 1
            if stop.is_set() or jobs[0].model in self._breakers.excluded(self._clock()):
                self._give_back(jobs)
                continue
            try:
                resident = self._residency.use(jobs[0])
            except GenerationError as error:
                self._give_up(jobs, error)
                continue
            self._make(jobs, resident, stop, ask_ahead if last else lambda: None)

    def _make(
        self, jobs: Sequence[WorkJob], resident: Resident, stop: threading.Event, on_last: Callable[[], None]
    ) -> None:
        """Make the artifacts of jobs of one loaded model."""
        ours = [job for job in jobs if self._held.holds(job)]
        self._stats.add(jobs[0].model, lost=len(jobs) - len(ours))
        asked = [(job, request) for job in ours if (request := self._read_request(job)) is not None]
        left = [job for job, _ in asked]
        model = jobs[0].model
        try:
            made = make_batch([each for _, each in asked], resident, self._residency, stop.is_set, on_last)
            for place, outcome in self._timed(made, model):
                job, request = asked[place]
                left.remove(job)
                if isinstance(outcome, Refused):
                    self._deliveries.refuse(job, outcome)
                elif isinstance(outcome, GenerationError):
                    self._deliveries.fail(job, outcome)
                    if self._note_failure(job.model, outcome):
                        break
                else:
                    self._breakers.note_success(job.model)
                    self._deliveries.deliver(job, outcome, request.text)
            self._give_back(left)
        except GenerationError as error:
            self._give_up(left, error)

    def _timed(self, outcomes: Iterator[tuple[int, Outcome]], model: str) -> Iterator[tuple[int, Outcome]]:
        """Yield `outcomes`; the time that making them takes, and not what is done with them, is counted."""
        while True:
            started = self._timer()
            try:
                outcome = next(outcomes, None)
            finally:
                self._stats.add(model, making_s=self._timer() - started)
            if outcome is None:
                return
            yield outcome

    def _read_request(self, job: WorkJob) -> Request | None:
        if job.prompt.text is None:
            error = GenerationError(f"arena {job.arena} asks for artifacts without a prompt", retriable=False)
            self._deliveries.fail(job, error)
            return None
        try:
            return Request(check_prompt(job.prompt.text), seed_of(job.prompt), job.format)
        except Refused as refusal:
            self._deliveries.refuse(job, refusal)
            return None

    def _give_up(self, jobs: Sequence[WorkJob], error: GenerationError) -> None:
        """Do with jobs what an error of their model means for them."""
        if not jobs:
            return
        if isinstance(error, Interrupted | ModelUnavailable):
            self._give_back(jobs)
        else:
            for job in jobs:
                self._deliveries.fail(job, error)
        if isinstance(error, Interrupted):
            return
        until = error.until if isinstance(error, BudgetSpent) else None
        self._breakers.open(jobs[0].model, self._clock(), until)
        self._announce(f"leaving {jobs[0].model} alone for now: {error}")

    def _note_failure(self, model: str, error: GenerationError) -> bool:
        """Count a failure; return whether the model is left alone from now on."""
        if self._breakers.note_failure(model, self._clock()) is None:
            return False
        self._announce(f"leaving {model} alone for now, it keeps failing: {error}")
        return True

    def _give_back(self, jobs: Sequence[WorkJob]) -> None:
        for job in jobs:
            self._deliveries.release(job)

    def _wait(self, stop: threading.Event, seconds: float) -> None:
        started = self._timer()
        stop.wait(max(seconds, _IDLE_S))
        self._stats.add_waiting(self._timer() - started)

    def _note_load(self, model: str, seconds: float) -> None:
        self._stats.add(model, loads=1, loading_s=seconds)
        self._announce(f"loaded {model} in {seconds:.1f} s")

    def _tell_progress(self) -> None:
        excluded = self._breakers.excluded(self._clock())
        self._stats.note(
            resident=self._residency.models,
            resident_bytes=self._residency.bytes,
            held_jobs=len(self._held),
            excluded=excluded,
            gateway_up=self._gateway_up,
        )
        then, made_then = self._told
        now, stats = self._timer(), self._stats.read()
        if now - then < _PROGRESS_S or stats.made == made_then:
            return
        self._told = (now, stats.made)
        fresh, seconds = stats.made - made_then, now - then
        alone = f"; left alone: {', '.join(excluded)}" if excluded else ""
        self._announce(
            f"{fresh} artifacts in {seconds:.0f} s ({fresh / seconds:.1f} a second), {stats.made} since the start; "
            f"loaded: {', '.join(stats.resident) or 'nothing'}, "
            f"{stats.resident_bytes / 2**30:.1f} GiB{alone}"
        )
