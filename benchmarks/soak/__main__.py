"""Memory of an open board and of its server over 30,000 drawings; rises are those of the floor, in the last half."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from benchmarks.pages.browser import open_browser
from tests.dashboard.soak import rise, soak

_MEASURED = ("heap_mb", "nodes", "listeners", "server_mb")
_MOST = 0.02
_SAMPLES = 60


def main() -> None:
    """Measure and hand out."""
    options = parse_options(__doc__, "600 drawings")
    drawings = 600 if options.quick else 30_000
    machine = describe_machine()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        samples = []
        for sample in soak(browser, Path(folder) / "store", drawings, _SAMPLES):
            print(sample, file=sys.stderr, flush=True)
            samples.append(sample)
    values = {name: [getattr(sample, name) for sample in samples] for name in _MEASURED}
    half = _SAMPLES // 2
    hand_out(
        {
            "benchmark": "soak",
            "machine": machine,
            "versions": describe_versions("streamlit", "playwright", "duckdb", "pyarrow"),
            "targets": {f"{name}_rise": _MOST for name in _MEASURED},
            "figures": {
                "drawings": drawings,
                "drawings_a_second": round(drawings / (time.monotonic() - started), 1),
                **{f"{name}_rise": round(rise(each), 4) for name, each in values.items()},
                **{f"{name}_half_way": round(min(each[half - 3 : half]), 1) for name, each in values.items()},
                **{f"{name}_at_the_end": round(min(each[-3:]), 1) for name, each in values.items()},
            },
            "samples": [asdict(sample) for sample in samples],
        },
        save=options.save,
    )


if __name__ == "__main__":
    main()
