"""Encodes artifacts and hands them over, beside the making of the next ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Literal

from generation.errors import GatewayError, GenerationError, Refused, describe_error
from generation.frames import MEDIA_TYPE, Frames, encode_frames
from generation.safety import Checker
from generation.worker.held_jobs import HeldJobs
from generation.worker.stats import StatsBook
from generation.worker.work_api import StaleLease, WorkApi
from pipeline.contracts.generation import WorkJob, hash_recipe

_AHEAD = 4
"""Artifacts that wait for each that is being delivered: the making is held up by a slow gateway, memory is not."""


class Deliveries:
    """Takes what was made; delivers all of it before the block ends.

    Parameters
    ----------
    api, held, stats
        The gateway, the jobs on loan, and where outcomes are counted.
    threads
        Deliveries at once.
    checker
        Asked whether an artifact may be shown; None: all may.
    announce
        Told of deliveries that failed.
    """

    def __init__(
        self,
        api: WorkApi,
        held: HeldJobs,
        stats: StatsBook,
        threads: int,
        checker: Checker | None,
        announce: Callable[[str], None],
    ) -> None:
        self._api = api
        self._held = held
        self._stats = stats
        self._checker = checker
        self._announce = announce
        self._room = threading.BoundedSemaphore(threads * (1 + _AHEAD))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="delivery")

    def __enter__(self) -> Deliveries:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)

    def deliver(self, job: WorkJob, made: Frames, prompt: str) -> None:
        """Deliver an artifact soon; waits while too many are waiting."""
        self._submit(lambda: self._deliver(job, made, prompt))

    def refuse(self, job: WorkJob, refusal: Refused) -> None:
        """Report a refusal soon."""
        self._submit(lambda: self._report(job, "refused", refusal))

    def fail(self, job: WorkJob, error: GenerationError) -> None:
        """Report a failure soon."""
        self._submit(lambda: self._report(job, "failed", error))

    def release(self, job: WorkJob) -> None:
        """Give a job back soon."""
        self._submit(lambda: self._release(job))

    def _submit(self, work: Callable[[], None]) -> None:
        self._room.acquire()
        self._pool.submit(work).add_done_callback(self._note_done)

    def _note_done(self, future: Future[None]) -> None:
        self._room.release()
        if (error := future.exception()) is not None:
            self._announce(f"a delivery failed: {describe_error(error) if isinstance(error, Exception) else error}")

    def _deliver(self, job: WorkJob, made: Frames, prompt: str) -> None:
        try:
            if self._checker is not None and (why := self._checker(made.pixels, prompt)):
                raise Refused(why)
            data = encode_frames(made, job.format)
        except Refused as refusal:
            self._report(job, "refused", refusal)
            return
        except Exception as error:  # a checker's, or an encoder's: the artifact was not judged, so it is not shown
            self._report(job, "failed", GenerationError(describe_error(error)))
            return
        try:
            self._api.deliver(job, data, MEDIA_TYPE, hash_recipe(job))
        except GatewayError as error:
            if error.retriable or isinstance(error, StaleLease):
                self._lose(job, error)
            else:  # such as one that is too large: the next try would be refused too
                self._report(job, "failed", GenerationError(str(error), retriable=False))
        else:
            self._held.drop(job)
            self._stats.add(job.model, made=1, made_bytes=len(data))

    def _report(self, job: WorkJob, outcome: Literal["refused", "failed"], error: GenerationError) -> None:
        told = self._tell(job, lambda: self._api.report(job, outcome, str(error), retriable=error.retriable))
        if told:
            self._stats.add(job.model, **{outcome: 1})

    def _release(self, job: WorkJob) -> None:
        if self._tell(job, lambda: self._api.release(job)):
            self._stats.add(job.model, released=1)

    def _tell(self, job: WorkJob, call: Callable[[], None]) -> bool:
        """Call the gateway; False if the job was no longer ours, or the gateway could not be told."""
        try:
            call()
        except GatewayError as error:
            self._lose(job, error)
            return False
        self._held.drop(job)
        return True

    def _lose(self, job: WorkJob, error: GatewayError) -> None:
        self._held.drop(job)
        self._stats.add(job.model, lost=1)
        if not isinstance(error, StaleLease):
            self._announce(f"a job of {job.model} could not be ended, its lease will run out: {error}")
