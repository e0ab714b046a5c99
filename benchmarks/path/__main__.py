"""Measures the embedded path: ``python -m benchmarks.path [--quick] [--save] --json``.

Parts, each in a process of its own, one after the other:

- *embedded*: JSON votes in a SQLite log -> decoded, judged, rated, archived, published; beside a bare loop;
- *replay*: the archive that this left, and the raw votes as Parquet, into new stores;
- *freshness*: from append to published board at 5,000 votes/s;
- *memory*: resident memory over 10 million votes with a window of 1 million.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options

TARGETS = {
    "embedded_votes_per_s": 350_000,
    "replay_archive_votes_per_s": 1_500_000,
    "freshness_p99_ms": 1_500,
    "memory_growth": "constant",
}


def run_part(name: str, folder: Path, *arguments: str) -> dict[str, object]:
    """Run one part in a fresh process and return the object that it prints last."""
    command = [sys.executable, "-m", f"benchmarks.path.{name}", str(folder), *arguments]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # as the command line sets it
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    figures: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Run all parts and print one JSON object as the last line."""
    options = parse_options(__doc__, quick="a tenth of the votes")
    votes = 300_000 if options.quick else 3_000_000
    figures: dict[str, object] = {"votes": votes}
    with tempfile.TemporaryDirectory(prefix="kwise-bench-") as name:
        folder = Path(name)
        figures |= run_part("throughput", folder, str(votes))
        figures |= run_part("bare_loop", folder, str(votes))
        figures |= run_part("freshness", folder, "10" if options.quick else "60")
        figures |= run_part("memory", folder, "1000000" if options.quick else "10000000")
    ratio = float(str(figures["embedded_votes_per_s"])) / float(str(figures["bare_loop_votes_per_s"]))
    figures["embedded_against_bare_loop"] = round(ratio, 2)
    result = {
        "benchmark": "path",
        "figures": figures,
        "targets": TARGETS,
        "versions": describe_versions("apache-beam", "duckdb", "numba", "numpy", "pyarrow"),
        "machine": describe_machine(),
    }
    hand_out(result, save=options.save)


if __name__ == "__main__":
    main()
