"""The live job on one machine: the graph on the embedded runner, started again from the last commit when it fails."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.contracts.log import CONTROL, MATCHUPS, VOTES, EventLog, LogError
from pipeline.contracts.store import Store, StoreError
from pipeline.operators.fence import GapError
from pipeline.operators.rate import RateSettings
from pipeline.streaming.embedded_runner import EmbeddedRunner
from pipeline.streaming.graph import build_graph
from pipeline.streaming.owner import Backoff, Owner, forget_owner, register_owner, wall_clock
from pipeline.streaming.watch import Watch

TRIES = 6
"""The job gives up after so many failures in a row without a commit in between."""

TOPICS = (VOTES, CONTROL, MATCHUPS)


class JobError(Exception):
    """The job cannot go on. Says what was wrong and what to do."""


def run_job(
    log: EventLog,
    store: Store,
    settings: RateSettings,
    *,
    owner_key: str,
    stop: threading.Event,
    announce: Callable[[str], None],
    live: bool = True,
    bundle_polls: int | None = None,
    clock: Callable[[], int] = wall_clock,
    token_keys: Path | None = None,
) -> None:
    """Rate what comes from `log` into `store` until `stop` is set; without `live`, until the log's end.

    A failure is announced, and the job starts again from the store's last commit after a back-off. What a retry
    cannot mend (a gap, a truncated log, a store that cannot be written) ends it.

    Parameters
    ----------
    log, store
        Open. `store` stays open.
    settings
    owner_key
        Names the owner in this process; the store's path.
    stop
        Set by a signal handler or another thread: the bundle in progress is committed and published first. While
        waiting to start again after a failure there is none, and the last commit holds.
    announce
        Takes one line for people.
    live, bundle_polls, clock
        See `Owner`.
    token_keys
        File of the keys that tokens are checked with (`contracts.keyring_file`), which can be read.

    Raises
    ------
    JobError, LogError, StoreError
        A retry does not help.
    """
    log.preflight(TOPICS)
    with closing(Watch(log, clock)) as watch:

        def make_owner() -> Owner:
            return Owner(
                log,
                store,
                settings,
                watch=watch,
                stop=stop,
                announce=announce,
                live=live,
                bundle_polls=bundle_polls,
                clock=clock,
            )

        def run_once() -> Exception | None:
            return _run_once(make_owner, owner_key, log.row_times, token_keys)

        try:
            _run_until_end(run_once, store, watch, stop, announce, clock)
        except (JobError, LogError, StoreError) as error:
            with suppress(StoreError):  # what ended the job is what matters
                store.heartbeat(clock(), watch.note_failure(_describe(error), restarts=False))
            raise


def _run_until_end(
    run_once: Callable[[], Exception | None],
    store: Store,
    watch: Watch,
    stop: threading.Event,
    announce: Callable[[str], None],
    clock: Callable[[], int],
) -> None:
    """Run, and run again after what a retry may mend, until a clean end."""
    backoff, failures, last_commit = Backoff(), 0, -1
    while True:
        failure = run_once()
        if failure is None:
            return
        if isinstance(failure, GapError):
            raise JobError(str(failure)) from failure
        if isinstance(failure, StoreError) or (isinstance(failure, LogError) and not failure.retriable):
            raise failure
        commit = store.load().commit
        if commit > last_commit:
            backoff, failures, last_commit = Backoff(), 0, commit
        backoff.failed()
        failures += 1
        text = _describe(failure)
        if failures == TRIES:
            raise JobError(f"the job failed {failures} times at commit {commit}: {text}") from failure
        announce(f"the job failed ({text}); it starts again from commit {commit} in {backoff.wait_s:.3g} s")
        store.heartbeat(clock(), watch.note_failure(text, restarts=True))
        if stop.wait(backoff.wait_s):
            return


def _run_once(
    make_owner: Callable[[], Owner], owner_key: str, row_times: bool, token_keys: Path | None
) -> Exception | None:
    """Run the graph once; return what ended it, None for a clean end."""
    try:
        owner = make_owner()
    except Exception as error:
        return error
    try:
        register_owner(owner_key, owner)
        pipeline = beam.Pipeline(runner=EmbeddedRunner(), options=PipelineOptions(["--streaming"]))
        # Only transforms of other languages use it, and a killed job would leave it behind.
        Path(pipeline.local_tempdir).rmdir()
        build_graph(pipeline, owner_key, row_times=row_times, token_keys=token_keys)
        pipeline.run()
        owner.finish()
    except Exception as error:
        return owner.failure if isinstance(owner.failure, Exception) else error
    finally:
        forget_owner(owner_key)
        owner.close()
    return None


def _describe(failure: Exception) -> str:
    """Return one line: with its place if it looks like a bug, the last one if the runner made text of a traceback."""
    lines = str(failure).strip().splitlines() or [""]
    if type(failure).__module__.startswith("pipeline."):
        return f"{type(failure).__name__}: {lines[0]}"
    frames = traceback.extract_tb(failure.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if len(lines) == 1 and frames else ""
    return f"{type(failure).__name__}: {lines[-1]}{place}"
