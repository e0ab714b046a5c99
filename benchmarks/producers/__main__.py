"""Write votes to a real broker: ``python -m benchmarks.producers [--quick]``.

One broker runs on the same machine, on the same cores. All ways of writing get the same votes in the same run, in turn;
a figure is the median of the rounds. Each is given twice: by the wall clock, until the broker has acknowledged all
votes, and by the processor time of the writing process.

- *writer*: `VoteWriter`: votes as objects, checked, one at a time (``single``), many at a time (``many``), from an
  event loop (``async``), in envelopes (``envelopes``); ready JSON as it is (``ready``), ready rows (``rows``);
- *simulate*: the same with what ``kwise votes simulate`` does to make the votes, to Kafka and to SQLite;
- *peers*: ready JSON by confluent-kafka and by kafka-python as their manuals do it, with keys, acknowledged by all.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import confluent_kafka
import msgspec
import pyarrow as pa
from kafka import KafkaProducer

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from infra.kafka import KafkaBroker
from pipeline.contracts.log import VOTES
from pipeline.contracts.vote import Vote
from pipeline.eventlog import open_log
from producers.simulate.world import SimulatedWorld
from producers.vote_writer import VoteWriter

ENVELOPE = 500
ASYNC_AT_ONCE = 5_000
TARGETS = {"ready_against_confluent": 0.9, "many_against_kafka_python": 2.0}


@dataclass(frozen=True, slots=True)
class Votes:
    """The same votes in all forms."""

    objects: list[Vote]
    values: list[bytes]
    keys: list[str]
    rows: list[pa.Table]

    def __len__(self) -> int:
        return len(self.objects)


def make_votes(total: int) -> Votes:
    """Make the votes of a simulated arena."""
    batches = list(SimulatedWorld().batches(total))
    values = [value for batch in batches for value in batch.values]
    decode = msgspec.json.Decoder(Vote).decode
    keys = [key for batch in batches for key in batch.keys]
    return Votes([decode(value) for value in values], values, keys, list(SimulatedWorld().tables(total)))


def write_single(url: str, votes: Votes) -> None:
    """One vote a call."""
    with VoteWriter(url) as writer:
        for vote in votes.objects:
            writer.write(vote)


def write_many(url: str, votes: Votes, envelope: int | None = None) -> None:
    """Many votes a call."""
    with VoteWriter(url, envelope=envelope) as writer:
        writer.write_all(votes.objects)


def write_envelopes(url: str, votes: Votes) -> None:
    """Many votes a call, in envelopes."""
    write_many(url, votes, ENVELOPE)


def write_ready(url: str, votes: Votes) -> None:
    """Ready JSON."""
    with VoteWriter(url) as writer:
        writer.write_encoded(votes.values, votes.keys)


def write_rows(url: str, votes: Votes) -> None:
    """Ready columns."""
    with VoteWriter(url, envelope=ENVELOPE) as writer:
        for rows in votes.rows:
            writer.write_rows(rows)


def write_async(url: str, votes: Votes) -> None:
    """Thousands of tasks, each waiting for its vote."""

    async def write() -> None:
        async with VoteWriter(url) as writer:
            for start in range(0, len(votes), ASYNC_AT_ONCE):
                some = votes.objects[start : start + ASYNC_AT_ONCE]
                await asyncio.gather(*(writer.write(vote) for vote in some))

    asyncio.run(write())


def simulate_json(url: str, votes: Votes) -> None:
    """Draw and write single votes."""
    with VoteWriter(url) as writer:
        for batch in SimulatedWorld().batches(len(votes)):
            writer.write_records(batch.values, batch.keys)


def simulate_envelopes(url: str, votes: Votes) -> None:
    """Draw and write envelopes."""
    with VoteWriter(url, envelope=ENVELOPE) as writer:
        for rows in SimulatedWorld().tables(len(votes)):
            writer.write_rows(rows)


def write_by_confluent(url: str, votes: Votes) -> None:
    """Write as the manual of confluent-kafka does it, with the settings of our writer."""
    bootstrap, topic = url.removeprefix("kafka://").split("/")
    failures: list[object] = []
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": 1 << 20,
            "partitioner": "murmur2_random",
        }
    )

    def note(error: object, _message: object) -> None:
        if error is not None:
            failures.append(error)

    for value, key in zip(votes.values, votes.keys, strict=True):
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=note)
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    assert producer.flush(60) == 0
    assert not failures, failures[0]


def write_by_kafka_python(url: str, votes: Votes) -> None:
    """Write as the manual of kafka-python does it, with batches as large as pay."""
    bootstrap, topic = url.removeprefix("kafka://").split("/")
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", compression_type="lz4", linger_ms=20, batch_size=262_144
    )
    futures = [
        producer.send(topic, value, key=key.encode()) for value, key in zip(votes.values, votes.keys, strict=True)
    ]
    producer.flush(120)
    assert all(future.succeeded() for future in futures)
    producer.close()


Way = Callable[[str, Votes], None]
KAFKA_WAYS: dict[str, Way] = {
    "writer_single": write_single,
    "writer_many": write_many,
    "writer_ready": write_ready,
    "writer_async": write_async,
    "writer_envelopes": write_envelopes,
    "writer_rows": write_rows,
    "simulate_json": simulate_json,
    "simulate_envelopes": simulate_envelopes,
}
PEERS: dict[str, Way] = {"confluent_plain": write_by_confluent, "kafka_python_plain": write_by_kafka_python}
SQLITE_WAYS: dict[str, Way] = {"sqlite_simulate_json": simulate_json, "sqlite_simulate_envelopes": simulate_envelopes}
SLOW = {"kafka_python_plain", "writer_async", "writer_single"}
"""These get a quarter of the votes."""


def measure(way: Way, url: str, votes: Votes) -> tuple[float, float]:
    """Return votes a second by wall clock and by processor time, with a fresh log at `url`."""
    log = open_log(url)
    log.create_topics({VOTES: 4, "control": 1})
    wall, cpu = time.perf_counter(), _processor_time()
    way(url, votes)
    wall, cpu = time.perf_counter() - wall, _processor_time() - cpu
    assert any(log.ends(VOTES).values())
    return len(votes) / wall, len(votes) / cpu


def _processor_time() -> float:
    times = os.times()
    return times.user + times.system


def run(folder: Path, broker: KafkaBroker, votes: Votes, rounds: int) -> dict[str, int]:
    """Measure all ways in turn; return the medians."""
    few = len(votes) // 4
    some = Votes(votes.objects[:few], votes.values[:few], votes.keys[:few], [])
    warm = Votes(votes.objects[:2_000], votes.values[:2_000], votes.keys[:2_000], votes.rows[:1])
    found: dict[str, list[tuple[float, float]]] = {}
    numbers = count()
    for name, way in {**KAFKA_WAYS, **PEERS, **SQLITE_WAYS}.items():
        way_url = _new_url(name, folder, broker, next(numbers))
        open_log(way_url).create_topics({VOTES: 4})
        way(way_url, warm)
    for _ in range(rounds):
        for name, way in {**KAFKA_WAYS, **PEERS, **SQLITE_WAYS}.items():
            given = some if name in SLOW else votes
            found.setdefault(name, []).append(measure(way, _new_url(name, folder, broker, next(numbers)), given))
    figures = {}
    for name, pairs in found.items():
        figures[f"{name}_votes_per_s"] = round(statistics.median(wall for wall, _ in pairs))
        figures[f"{name}_votes_per_cpu_s"] = round(statistics.median(cpu for _, cpu in pairs))
    return figures


def _new_url(name: str, folder: Path, broker: KafkaBroker, number: int) -> str:
    if name.startswith("sqlite"):
        return f"sqlite:{folder / f'{number}.db'}"
    return f"kafka://{broker.bootstrap}/b{number}-{VOTES}"


def main() -> None:
    """Run all parts and print one JSON object as the last line."""
    options = parse_options(__doc__, quick="fewer votes, one round")
    total, rounds = (50_000, 1) if options.quick else (200_000, 3)
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="kwise-bench-") as name, KafkaBroker(Path(name) / "kafka") as broker:
        figures = run(Path(name), broker, make_votes(total), rounds)
    peers = {name: figures.pop(name) for name in list(figures) if name.startswith(tuple(PEERS))}
    ratios = {
        "ready_against_confluent": figures["writer_ready_votes_per_cpu_s"] / peers["confluent_plain_votes_per_cpu_s"],
        "many_against_kafka_python": figures["writer_many_votes_per_s"] / peers["kafka_python_plain_votes_per_s"],
    }
    result = {
        "benchmark": "producers",
        "figures": {
            "votes": total,
            "rounds": rounds,
            "envelope": ENVELOPE,
            **figures,
            **{name: round(ratio, 2) for name, ratio in ratios.items()},
        },
        "peers": peers,
        "targets": TARGETS,
        "versions": describe_versions("confluent-kafka", "kafka-python", "msgspec", "numpy", "pyarrow"),
        "machine": machine,
    }
    hand_out(result, save=options.save)


if __name__ == "__main__":
    main()
