"""What all benchmarks share: their options, what a raw result says of machine and versions, where it is kept."""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, object]:
    """Return processor, cores, memory in GiB, load before the run, and the Python version."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def describe_versions(*distributions: str) -> dict[str, str]:
    """Return the installed version of each distribution."""
    return {name: version(name) for name in distributions}


def parse_options(about: str | None, quick: str, only: str | None = None) -> argparse.Namespace:
    """Parse ``--quick`` (`quick` says what it leaves out), ``--save`` and ``--json``; `about` is the module's text.

    With `only`, a text that says what NAME is, also ``--only NAME``.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line (always so)")
    parser.add_argument("--save", action="store_true", help="keep the result beside the benchmark")
    if only is not None:
        parser.add_argument("--only", metavar="NAME", help=only)
    return parser.parse_args()


def hand_out(result: dict[str, Any], *, save: bool) -> None:
    """Print a raw result as one JSON object on the last line, and keep it in ``benchmarks/NAME/results.json``."""
    if save:
        folder = Path(__file__).parent / result["benchmark"]
        (folder / "results.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))
