"""The embedded log, used by several processes at once."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pipeline.contracts.log import LogError, Record
from pipeline.eventlog.sqlite_log import SqliteLog

from .conftest import check_spans, read_all, values_of

WRITERS = 3
APPENDS = 12
BATCH = 40
SPAWN = multiprocessing.get_context("spawn")
NOBODY = 65534


def _append_many(path: str, who: int) -> None:
    log = SqliteLog(path, busy_seconds=60)
    log.create_topics({"votes": 3, "control": 1})  # all of them at once
    writer = log.writer()
    for turn in range(APPENDS):
        numbers = range(turn * BATCH, (turn + 1) * BATCH)
        writer.append("votes", [Record(b"%d:%d" % (who, n), None if n % 3 else str(n)) for n in numbers])
    writer.close()


def _append_for_ever(path: str, acknowledged: Connection) -> None:
    writer = SqliteLog(path).writer()
    while True:
        writer.append("votes", [Record(bytes(500), str(number)) for number in range(BATCH)])
        acknowledged.send(BATCH)


def _try_as_nobody(path: str, act: str, results: Connection) -> None:
    if os.getuid() == 0:
        os.setuid(NOBODY)  # root may write anywhere
    log = SqliteLog(path)
    try:
        if act == "write":
            log.writer().append("votes", [Record(b"a")])
        else:
            read_all(log.reader({}, live=False))
        results.send("no error")
    except LogError as error:
        results.send(str(error))


def _run(target: Callable[..., None], *argument_lists: tuple[object, ...]) -> None:
    processes = [SPAWN.Process(target=target, args=arguments) for arguments in argument_lists]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_nothing_is_lost_when_several_processes_append(tmp_path: Path) -> None:
    path = str(tmp_path / "events.db")
    _run(_append_many, *[(path, who) for who in range(WRITERS)])
    log = SqliteLog(path)
    batches = read_all(log.reader({}, live=False), max_records=500)
    check_spans(batches)
    expected = {b"%d:%d" % (who, n) for who in range(WRITERS) for n in range(APPENDS * BATCH)}
    values = values_of(batches)
    assert len(values) == len(expected)
    assert set(values) == expected
    offsets: dict[object, list[int]] = {}
    times: dict[object, list[int]] = {}
    for batch in batches:
        for number, span in enumerate(batch.spans):
            here = batch.span_of == number
            offsets.setdefault(span.source, []).extend(batch.offsets[here].tolist())
            times.setdefault(span.source, []).extend(batch.appended_at[here].tolist())
    assert {source: list(range(end)) for source, end in log.ends("votes").items()} == offsets
    assert all(stamps == sorted(stamps) for stamps in times.values())


def test_a_killed_writer_leaves_whole_appends(tmp_path: Path) -> None:
    path = str(tmp_path / "events.db")
    log = SqliteLog(path)
    log.create_topics({"votes": 3})
    ours, theirs = multiprocessing.Pipe()
    process = SPAWN.Process(target=_append_for_ever, args=(path, theirs))
    process.start()
    acknowledged = sum(ours.recv() for _ in range(20))
    process.kill()
    process.join(30)
    while ours.poll(0):
        acknowledged += ours.recv()
    ends = log.ends("votes")
    assert sum(ends.values()) % BATCH == 0
    assert acknowledged <= sum(ends.values()) <= acknowledged + BATCH
    assert len(values_of(read_all(log.reader({}, live=False)))) == sum(ends.values())
    log.writer().append("votes", [Record(b"next")])
    assert sum(log.ends("votes").values()) == sum(ends.values()) + 1


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that another user can reach; pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="kwise-eventlog-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("act", ["write", "read"])
def test_a_log_on_a_read_only_medium_says_what_to_do(shared_folder: Path, act: str) -> None:
    path = shared_folder / "events.db"
    log = SqliteLog(path)
    log.create_topics({"votes": 1})
    path.chmod(0o444)
    shared_folder.chmod(0o555)
    ours, theirs = multiprocessing.Pipe()
    process = SPAWN.Process(target=_try_as_nobody, args=(str(path), act, theirs))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    message = ours.recv()
    assert "must be writable" in message
    assert str(path) in message
