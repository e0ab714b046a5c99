"""500 voters at once through the gateway: ``python -m benchmarks.gateway [--quick] [--save]``.

Gateway, job, log, a worker that draws plain pictures, and the voters share the machine's cores. The voters come in
twice, first through the embedded log, then through a Kafka broker on the same cores:

- *crowd*: each asks for a matchup, fetches its four pictures, thinks (9 s in the median, as people do), votes, and goes
  on; they begin within ten seconds;
- *rush*: all ask in the same instant, and vote as soon as they have the pictures.

After each, the votes in the archive are compared, id by id, with those that were acknowledged.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from infra.kafka import KafkaBroker
from pipeline.cli.logs import PARTITIONS
from pipeline.contracts.arena import ArenaSettings
from pipeline.contracts.control import encode_control
from pipeline.contracts.log import CONTROL, EventLog, Record
from pipeline.eventlog import open_log
from pipeline.store.reader import StoreReader
from producers.dispatcher.stand_in import StandInWorker, open_client
from producers.gateway.secret_file import open_secrets
from producers.simulate.pictures import WorldArtist
from producers.simulate.world import SimulatedWorld

TARGETS = {
    f"{log}_{kind}_{what}_p99_ms": 250
    for log in ("sqlite", "kafka")
    for kind in ("crowd", "rush")
    for what in ("next", "vote")
} | {
    f"{log}_{kind}_{what}": 0 for log in ("sqlite", "kafka") for kind in ("crowd", "rush") for what in ("lost", "twice")
}

VOTERS = 500
_THINK_S = 9.0
_SPREAD_S = 10.0
_OPEN = 2_000

_SETTINGS = """
voter_per_minute = 1e6
voter_burst = 1e6
address_per_minute = 1e7
address_burst = 1e6
artifacts_per_minute = 1e7
artifacts_burst = 1e6
new_voters_per_hour = 1e7
new_voters_burst = 1e6

[queue]
ready_min = 1200
"""


def make_world() -> SimulatedWorld:
    """Return the arena of the benchmark."""
    return SimulatedWorld(models=12, k=4, arena_id="pictures", require_token=True)


def make_log(url: str) -> EventLog:
    """Make a log with the arena in it."""
    log = open_log(url)
    log.create_topics(PARTITIONS)
    settings = ArenaSettings(open_min=_OPEN, open_max=2 * _OPEN, matchup_ttl_seconds=3600)
    events = [
        msgspec.structs.replace(event, settings=settings) if event.type == "arena.upsert" else event
        for event in make_world().arena_events(0)
    ]
    writer = log.writer()
    writer.append(CONTROL, [Record(encode_control(event)) for event in events])
    writer.close()
    return log


@contextlib.contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run `kwise` while the block runs."""
    command = [sys.executable, "-m", "pipeline.cli.main", *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


@contextlib.contextmanager
def running_arena(folder: Path, url: str) -> Iterator[str]:
    """Run gateway, job and worker while the block runs; yields the gateway's URL once matchups are ready."""
    (folder / "gateway.toml").write_text(_SETTINGS)
    state, store = folder / "gateway", folder / "store"
    serve = ("gateway", "serve", "--from", url, "--store", store, "--state", state, "--port", 0)
    rate = ("pipeline", "run", "--from", url, "--store", store, "--token-keys", state / "token-keys.toml")
    with running(*serve, "--settings", folder / "gateway.toml") as gateway:
        assert gateway.stderr is not None
        line = next(line for line in gateway.stderr if " at http" in line)
        at = line.rpartition(" at ")[2].partition(";")[0]
        threading.Thread(target=gateway.stderr.read, daemon=True).start()
        key = open_secrets(state, lambda: "").worker_keys[0]
        ended = threading.Event()
        with running(*rate), open_client(at, key) as client:
            worker = StandInWorker(client, "benchmark", draw=WorldArtist(make_world()).draw)
            thread = threading.Thread(target=worker.run, args=(ended,), daemon=True)
            thread.start()
            wait_for_supply(at, VOTERS * 2)
            yield at
            ended.set()
            thread.join()


def wait_for_supply(url: str, count: int) -> None:
    """Return when so many matchups are ready."""
    wanted = 'kwise_gateway_matchups{arena="pictures",state="ready"} '
    while True:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        if any(float(line.removeprefix(wanted)) >= count for line in lines if line.startswith(wanted)):
            return
        time.sleep(0.5)


def send_crowd(url: str, seconds: float, think_s: float, spread_s: float) -> dict[str, Any]:
    """Let the voters vote; return what they measured."""
    arguments = map(str, (url, "pictures", VOTERS, seconds, think_s, spread_s))
    command = [sys.executable, "-m", "benchmarks.gateway.crowd", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def read_archive(store: Path) -> list[str]:
    """Return the ids of all votes in the archive."""
    ids = [each for batch in StoreReader(store).read_archive() for each in batch["vote_id"].to_pylist()]
    return [each for each in ids if each is not None]


def measure(folder: Path, url: str, name: str, seconds: float) -> dict[str, object]:
    """Measure both ways of coming; return figures whose names begin with `name`."""
    make_log(url)
    figures: dict[str, object] = {}
    acknowledged: list[str] = []
    with running_arena(folder, url) as at:
        for kind, (length, think_s, spread_s) in {
            "rush": (0.0, 0.0, 0.0),
            "crowd": (seconds, _THINK_S, _SPREAD_S),
        }.items():
            wait_for_supply(at, VOTERS)
            began = time.monotonic()
            measured = send_crowd(at, length, think_s, spread_s)
            took = time.monotonic() - began
            votes = measured["votes"]
            acknowledged += votes
            for what in ("next", "artifact", "vote"):
                waits = measured[f"{what}_ms"]
                for percent in (50, 99):
                    figures[f"{name}_{kind}_{what}_p{percent}_ms"] = round(float(np.percentile(waits, percent)), 1)
            figures[f"{name}_{kind}_votes"] = len(votes)
            figures[f"{name}_{kind}_votes_per_s"] = round(len(votes) / took)
            figures[f"{name}_{kind}_told_to_wait"] = measured["waited"]
            figures[f"{name}_{kind}_failed"] = sum(measured["failed"].values())
            archived = wait_for_archive(folder / "store", len(acknowledged))
            figures[f"{name}_{kind}_lost"] = len(set(acknowledged) - set(archived))
            figures[f"{name}_{kind}_twice"] = len(archived) - len(set(archived))
        board = httpx.get(f"{at}/v1/arenas/pictures/board").json()
        figures[f"{name}_votes_on_board"] = board["votes"]
    return figures


def wait_for_archive(store: Path, count: int) -> list[str]:
    """Return the archive when it has so many votes, or after 30 seconds."""
    deadline = time.monotonic() + 30
    while len(found := read_archive(store)) < count and time.monotonic() < deadline:
        time.sleep(0.5)
    time.sleep(1.0)
    return found


def main() -> None:
    """Run with both logs and print one JSON object as the last line."""
    options = parse_options(__doc__, "a short crowd", "sqlite or kafka: one log")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    seconds = 10.0 if options.quick else 60.0
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only in {None, "sqlite"}:
            (folder / "sqlite").mkdir()
            figures |= measure(folder / "sqlite", f"sqlite:{folder / 'events.db'}", "sqlite", seconds)
        if options.only in {None, "kafka"}:
            (folder / "kafka").mkdir()
            with KafkaBroker(folder / "broker") as broker:
                figures |= measure(folder / "kafka", f"kafka://{broker.bootstrap}/votes", "kafka", seconds)
    result = {
        "benchmark": "gateway",
        "quick": options.quick,
        "machine": describe_machine(),
        "versions": describe_versions("fastapi", "uvicorn", "starlette", "confluent-kafka"),
        "figures": figures,
        "targets": {name: target for name, target in TARGETS.items() if name in figures},
    }
    hand_out(result, save=options.save)


if __name__ == "__main__":
    main()
