"""Running the job in this process and as a program, and looking at what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from pipeline.cli.logs import PARTITIONS
from pipeline.cli.main import kwise
from pipeline.contracts.control import ControlEvent, ControlType, encode_control
from pipeline.contracts.log import CONTROL, VOTES, EventLog, Record
from pipeline.eventlog import open_log
from pipeline.operators.rate import RateSettings
from pipeline.store.duck_store import open_store
from pipeline.store.errors import ReaderError
from pipeline.store.reader import StoreReader
from pipeline.streaming.job import run_job
from tests.conftest import ROOT, wait_until

KWISE = [sys.executable, "-m", "pipeline.cli.main"]


def make_log(folder: Path, *, partitions: int = 4, **settings: Any) -> EventLog:
    log = open_log(f"sqlite:{folder / 'events.db'}", **settings)
    log.create_topics({**PARTITIONS, VOTES: partitions})
    return log


def make_kafka_log(url: str, *, partitions: int = 4) -> EventLog:
    log = open_log(url)
    log.create_topics({**PARTITIONS, VOTES: partitions})
    return log


def append(log: EventLog, topic: str, records: Sequence[Record]) -> None:
    writer = log.writer()
    try:
        writer.append(topic, records)
    finally:
        writer.close()


def append_events(log: EventLog, events: Sequence[ControlEvent]) -> None:
    append(log, CONTROL, [Record(encode_control(event)) for event in events])


_numbers = iter(range(1, 1 << 30))


def make_event(kind: ControlType, **fields: Any) -> ControlEvent:
    return ControlEvent(schema=1, event_id=f"event-{next(_numbers)}", type=kind, time=0, by="a test", **fields)


def is_caught_up(log: EventLog, folder: Path) -> bool:
    """Whether the store in `folder` has read everything in `log`."""
    try:
        positions = StoreReader(folder).positions()
    except ReaderError:
        return False
    ends = {**log.ends(VOTES), **log.ends(CONTROL)}
    return all(source in positions and positions[source].offset == end for source, end in ends.items() if end)


def run_to_end(log: EventLog, folder: Path, **settings: Any) -> list[str]:
    """Run a job until it has read what is in the log; return what it said."""
    said: list[str] = []
    rate = RateSettings(propose=settings.pop("propose", False), seed=settings.pop("seed", None))
    with open_store(folder, holder="a test") as store:
        stop = threading.Event()
        run_job(log, store, rate, owner_key=str(folder), stop=stop, announce=said.append, live=False, **settings)
    return said


@contextmanager
def live_job(
    log: EventLog, folder: Path, *, propose: bool = False, token_keys: Path | None = None
) -> Iterator[list[str]]:
    """Run a live job in a thread while the block runs; then stop it, and raise what ended it."""
    said: list[str] = []
    failed: list[BaseException] = []
    stop = threading.Event()

    def run() -> None:
        try:
            with open_store(folder, holder="a test") as store:
                rate = RateSettings(propose=propose)
                run_job(log, store, rate, owner_key=str(folder), stop=stop, announce=said.append, token_keys=token_keys)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield said
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def call(*arguments: str | Path, code: int = 0) -> Result:
    """Call `kwise` in this process and check its exit code."""
    result = CliRunner().invoke(kwise, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def call_json(*arguments: str | Path) -> Any:
    """Call `kwise` with ``--format json`` in this process; return what it printed."""
    return json.loads(call(*arguments, "--format", "json").stdout)


def family_of(pid: int) -> list[int]:
    """Return the process ids of all descendants."""
    try:
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [*children, *(deeper for child in children for deeper in family_of(child))]


class Program:
    """`kwise` as a program of its own, ended with its children by their process ids at the end of the block."""

    def __init__(self, *arguments: str | Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [*KWISE, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._threads = [threading.Thread(target=self._collect, args=(name,), daemon=True) for name in self._lines]
        for thread in self._threads:
            thread.start()

    def _collect(self, name: str) -> None:
        for line in getattr(self.process, name):
            self._lines[name].append(line.rstrip("\n"))

    @property
    def stdout(self) -> str:
        return "\n".join(self._lines["stdout"])

    @property
    def stderr(self) -> str:
        return "\n".join(self._lines["stderr"])

    def end(self, number: int, timeout: float = 30.0) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def wait(self, timeout: float = 60.0) -> int:
        code = self.process.wait(timeout)
        for thread in self._threads:
            thread.join(10)
        return code

    def require_running(self) -> None:
        if self.process.poll() is not None:
            self.wait()
            raise AssertionError(f"ended with exit code {self.process.returncode}: {self.stderr}")

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            family = family_of(self.process.pid)
            self.process.send_signal(signal.SIGKILL)
            for pid in family:  # they would keep our pipes open
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(30)
        for thread in self._threads:
            thread.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def wait_while_running(program: Program, condition: Any, timeout: float = 60.0) -> Any:
    """Wait until `condition` answers something true; fail at once if the program ends before."""

    def ask() -> Any:
        program.require_running()
        return condition()

    return wait_until(ask, timeout)


def archived_votes(folder: Path) -> list[str]:
    """Return the vote ids in the archive, in its order."""
    ids = [each for batch in StoreReader(folder).read_archive() for each in batch["vote_id"].to_pylist()]
    return [each for each in ids if each is not None]


def dead_letters(folder: Path) -> Counter[tuple[str, bytes]]:
    """Return how often each (reason, payload) is among the dead letters."""
    table = StoreReader(folder).dead_letters()
    return Counter(zip(table["reason"].to_pylist(), table["payload"].to_pylist(), strict=True))


def count_naively(votes: Sequence[bytes]) -> Counter[tuple[str, int, bool, str, str]]:
    """Count what votes add to their arena, straight from the text of the architecture; in words, not numbers."""
    counts: Counter[tuple[str, int, bool, str, str]] = Counter()
    for raw in votes:
        vote = json.loads(raw)
        mode, models, ranks = vote.get("mode", "rank"), vote["models"], vote.get("ranks")
        if mode in {"all_bad", "skip"}:
            counts.update((mode, 0, False, model, "") for model in models)
            continue
        k, best = len(models), mode == "best"
        counts.update(("shown", k, best, model, "") for model in models)
        for a in range(k):
            for b in range(a + 1, k):
                one, other = ranks[a], ranks[b]
                if one is None and other is None:
                    continue
                if one == other:
                    counts["tie", k, best, *sorted((models[a], models[b]))] += 1
                elif other is None or (one is not None and one < other):
                    counts["win", k, best, models[a], models[b]] += 1
                else:
                    counts["win", k, best, models[b], models[a]] += 1
    return counts


def published_counts(folder: Path, arena: str) -> Counter[tuple[str, int, bool, str, str]]:
    """Return the published counts of an arena in the form of `count_naively`."""
    reader = StoreReader(folder)
    models = [model.id for model in reader.publication(arena).registered.models]
    kinds = ("win", "tie", "shown", "all_bad", "skip")
    counts: Counter[tuple[str, int, bool, str, str]] = Counter()
    for row in reader.counts(arena).to_pylist():
        kind = kinds[row["kind"]]
        pair = [models[row["i"]], models[row["j"]] if kind in {"win", "tie"} else ""]
        if kind == "tie":
            pair.sort()
        counts[kind, row["k"], bool(row["best"]), pair[0], pair[1]] += row["n"]
    return counts
