"""The doctor's look at a store and at an event log: does the job live, does it keep up, is there room."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.cli.doctor import Finding
from pipeline.cli.doctor_status import check_dead_letters, check_status
from pipeline.cli.published import open_store
from pipeline.cli.times import format_age, format_time

if TYPE_CHECKING:
    from pipeline.store.lock import LockHolder
    from pipeline.store.reader import StoreReader

_STALE_MS: Final = 15_000
"""The job writes its heartbeat at each tick, about 0.5 s apart; a slow disk or a long commit is forgiven."""
_FREE_BYTES: Final = 1 << 30
"""Less free disk than this is bad: a compaction writes files before it deletes any."""


def check_log(url: str) -> Iterator[Finding]:
    """Look at the event log at `url` as the job does before it starts, and at how much is in it."""
    from pipeline.cli.main import describe_error
    from pipeline.contracts.log import CONTROL, MATCHUPS, VOTES, LogError
    from pipeline.eventlog import open_log

    topics = (VOTES, CONTROL, MATCHUPS)
    began = time.monotonic()
    try:
        log = open_log(url)
        log.preflight(topics)
        yield Finding("log", "ok", f"{url} answers within {1000 * (time.monotonic() - began):.0f} ms")
        for topic in topics:
            ends = log.ends(topic)
            records = sum(ends.values())
            detail = f"{records} records (by offset), partitions: {len(ends)}" if ends else "no such topic"
            yield Finding(f"log: {topic}", "ok" if ends else "note", detail)
    except LogError as error:
        advice = "wait until it is back, or check address and log-in" if error.retriable else None
        yield Finding("log", "bad", f"{url}: {error}", advice or "check the URL; does the log exist, may you read it?")
    except (OSError, ModuleNotFoundError) as error:
        yield Finding("log", "bad", f"{url}: {describe_error(error) or error}")


def check_store(folder: Path, source: str | None, now: int) -> Iterator[Finding]:
    """Look at the store in `folder`, and at its lag behind the log at the URL `source`. `now` is in ms."""
    from pipeline.contracts.store import StoreError

    try:
        reader = open_store(folder)
        manifest = reader.manifest()
    except (StoreError, OSError) as error:
        yield Finding("store", "bad", str(error), "name the folder that `kwise pipeline run --store` writes to")
        return
    newest = f"newest record {format_time(manifest.log_time)}" if manifest.log_time else "nothing read yet"
    yield Finding("store", "ok", f"commit {manifest.commit}, arenas: {len(manifest.arenas)}, {newest}")
    job = check_job(folder, reader, now)
    yield job
    runs = job.status == "ok"
    if source is not None:
        yield from check_lag(reader, source, runs=runs)
    heartbeat = reader.heartbeat()
    if heartbeat is not None and heartbeat.status is not None:
        yield from check_status(heartbeat.status, runs=runs, now=now)
    yield from check_dead_letters(reader)
    free = shutil.disk_usage(folder).free
    room = f"{free / 2**30:.1f} GiB free"
    enough = free >= _FREE_BYTES
    yield Finding("disk", "ok" if enough else "bad", room, None if enough else "make room before the disk is full")


def check_job(folder: Path, reader: StoreReader, now: int) -> Finding:
    """Look at the job that owns the store: `ok` only if it runs and shows life."""
    holder = read_holder(folder)
    if holder is None:
        return Finding("job", "note", "no job runs; the last one stopped cleanly")
    who = f"{holder.holder}, process {holder.pid}, since {format_time(holder.since)}"
    if not _is_alive(holder.pid):
        return Finding("job", "bad", f"killed: {who}", "start it again with `kwise pipeline run`: nothing is lost")
    heartbeat = reader.heartbeat()
    if heartbeat is None:
        return Finding("job", "note", f"starting: {who}")
    age = now - heartbeat.time
    if age > _STALE_MS:
        advice = "look at its output; if it hangs, stop it and start it again: nothing is lost"
        return Finding("job", "bad", f"{who}: no sign of life for {format_age(age)}", advice)
    return Finding("job", "ok", f"runs: {who}; heartbeat {format_age(age)} ago, commit {heartbeat.commit}")


def check_lag(reader: StoreReader, url: str, *, runs: bool) -> Iterator[Finding]:
    """Compare what the store has read with where the log ends. Waiting records are bad if no job `runs`."""
    from pipeline.contracts.log import CONTROL, VOTES, LogError, TopicPartition
    from pipeline.eventlog import open_log

    heartbeat, manifest = reader.heartbeat(), reader.manifest()
    newest = heartbeat if heartbeat is not None and heartbeat.commit > manifest.commit else manifest
    read = {TopicPartition(topic, partition): offset for topic, partition, offset, _ in newest.positions}
    ends: dict[TopicPartition, int] = {}
    try:
        log = open_log(url)
        for topic in (VOTES, CONTROL):
            ends |= log.ends(topic)
    except (LogError, OSError, ModuleNotFoundError):
        return  # check_log has said so
    beyond = [f"{each.topic}/{each.partition}" for each, end in ends.items() if read.get(each, 0) > end]
    if beyond:
        advice = "is this the log that the store was made from? A log that lost records needs a new store"
        yield Finding("lag", "bad", f"the store has read beyond the end of {', '.join(beyond)}", advice)
        return
    waiting = sum(max(0, end - read.get(each, 0)) for each, end in ends.items())
    detail = f"{waiting} records are waiting" if waiting else "everything in the log is in the store"
    if waiting and not runs:
        yield Finding("lag", "bad", detail, f"kwise pipeline run --from {url} --store {reader.path}")
    else:
        yield Finding("lag", "ok", detail)


def read_holder(folder: Path) -> LockHolder | None:
    """Return who holds the store, or held it when it was killed; None after a clean stop."""
    import msgspec

    from pipeline.store.lock import LOCK_NAME, LockHolder

    try:
        # Read, never tried: a doctor that takes the lock for a moment could turn the job away.
        return msgspec.json.decode((folder / LOCK_NAME).read_bytes(), type=LockHolder)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True
