"""Votes through real Kafka: throughput beside its limit and two peers, envelopes, freshness.

One broker runs on the same machine, on the same cores. Parts, each in a process of its own, one after the other, the
job and its limit in turn:

- *limit*: the client's own drain and decode of JSON votes, with nothing else to do;
- *job*: JSON votes in Kafka -> decoded, judged, rated, archived, published;
- *peers*: the same in the plain style of quix-streams and of a bare kafka-python loop, a message at a time, rated by
  openskill, in an environment made for them;
- *envelopes*: the same votes, many a record;
- *freshness*: from append to published board at several rates.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from benchmarks.kafka.job import WARM_VOTES
from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from benchmarks.path.freshness import measure_freshness
from benchmarks.path.world import fill_log, make_world, prepare_log
from infra.kafka import KafkaBroker
from pipeline.contracts.log import VOTES
from pipeline.eventlog import open_log
from producers.vote_writer import VoteWriter

HERE = Path(__file__).parent
ENVELOPE = 500
RATES = (1_000, 10_000, 50_000)
TARGETS = {
    "job_votes_per_s": 300_000,
    "job_against_limit": 0.6,
    "job_against_quix": 20,
    "job_against_bare": 20,
    "envelopes_job_votes_per_s": 1_000_000,
    **{f"freshness_at_{rate}_p99_ms": 1_500 for rate in RATES},
}


def prepare(bootstrap: str, prefix: str, votes: int, *, envelope: int = 0) -> str:
    """Fill a log with so many votes, and one beside it to compile the programs with; return its URL."""
    url = f"kafka://{bootstrap}/{prefix}{VOTES}"
    for address, count in ((url, votes), (f"{url.removesuffix(VOTES)}warm-{VOTES}", WARM_VOTES)):
        log = prepare_log(open_log(address))
        if not envelope:
            fill_log(log, count)
            continue
        with VoteWriter(address, envelope=envelope) as writer:
            for batch in make_world().batches(count, batch_size=10_000):
                writer.write_encoded(batch.values, batch.keys)
    return url


def run_part(what: str, folder: Path, url: str, votes: int) -> dict[str, float]:
    """Run one part in a fresh process and return what it measured."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # as the command line sets it
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        command = [sys.executable, "-m", "benchmarks.kafka.job", what, inside, url, str(votes)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure_job(name: str, folder: Path, url: str, votes: int, rounds: int) -> dict[str, object]:
    """Return medians of limit and job, measured in turn, and their ratio."""
    pairs = [[run_part(what, folder, url, votes) for what in ("limit", "run")] for _ in range(rounds)]
    limit, job = (statistics.median(pair[side]["seconds"] for pair in pairs) for side in (0, 1))
    return {
        f"{name}limit_votes_per_s": round(votes / limit),
        f"{name}job_votes_per_s": round(votes / job),
        f"{name}job_cpu_us_per_vote": round(statistics.median(pair[1]["cpu"] for pair in pairs) / votes * 1e6, 2),
        f"{name}job_against_limit": round(statistics.median(p[0]["seconds"] / p[1]["seconds"] for p in pairs), 2),
    }


def measure_peers(folder: Path, bootstrap: str, topic: str, votes: int) -> dict[str, int]:
    """Return votes a second of the two peers over the first `votes` of the topic."""
    python = str(folder / "peers" / "bin" / "python")
    venv.create(folder / "peers", with_pip=True)
    requirements = str(HERE / "peers.txt")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", requirements], check=True)
    figures = {}
    for name in ("quix", "bare"):
        inside = folder / name
        inside.mkdir()
        command = [python, str(HERE / "plain_peers.py"), name, bootstrap, topic, str(votes), str(inside)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        figures[f"{name}_votes_per_s"] = round(votes / float(done.stdout.splitlines()[-1]))
    return figures


def main() -> None:
    """Run all parts and print one JSON object as the last line."""
    options = parse_options(__doc__, quick="a tenth of the votes, one round, ten seconds a rate")
    votes, rounds, seconds, peer_votes = (300_000, 1, 10.0, 5_000) if options.quick else (2_000_000, 3, 45.0, 50_000)
    figures: dict[str, object] = {"votes": votes, "rounds": rounds, "envelope": ENVELOPE}
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="kwise-bench-") as name, KafkaBroker(Path(name) / "kafka") as broker:
        folder = Path(name)
        url = prepare(broker.bootstrap, "json-", votes)
        figures |= measure_job("", folder, url, votes, rounds)
        peers = measure_peers(folder, broker.bootstrap, f"json-{VOTES}", peer_votes)
        for peer, rate in peers.items():
            ratio = float(str(figures["job_votes_per_s"])) / rate
            figures[f"job_against_{peer.partition('_')[0]}"] = round(ratio, 1)
        url = prepare(broker.bootstrap, "envelopes-", votes, envelope=ENVELOPE)
        figures |= measure_job("envelopes_", folder, url, votes, rounds)
        for rate in RATES:
            log = prepare_log(open_log(f"kafka://{broker.bootstrap}/at{rate}-{VOTES}"))
            waits = measure_freshness(log, folder / f"at{rate}", rate, seconds)
            figures |= {f"freshness_at_{rate}_{what}": value for what, value in waits.items()}
    result = {
        "benchmark": "kafka",
        "figures": figures,
        "peers": {"votes": peer_votes, **peers},
        "targets": TARGETS,
        "versions": {
            **describe_versions("apache-beam", "confluent-kafka", "duckdb", "numba", "numpy", "pyarrow"),
            **dict(line.split("==") for line in (HERE / "peers.txt").read_text().splitlines()),
        },
        "machine": machine,
    }
    hand_out(result, save=options.save)


if __name__ == "__main__":
    main()
