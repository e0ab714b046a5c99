"""Makes benchmarks/README.md from the raw results beside the benchmarks: ``python -m benchmarks.report``."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
FILE = FOLDER / "README.md"

_INTRODUCTION = """\
# Benchmarks

Made by `python -m benchmarks.report` from the `results.json` files; a test compares the two. Run one with
`python -m benchmarks.NAME [--quick] [--save]`; the last line that it prints is one JSON object.

The machines differ and have noisy neighbours: trust ratios against peers of the same run more than absolute figures.
"""


def render_report() -> str:
    """Return the text of benchmarks/README.md."""
    return _INTRODUCTION + "".join(_render_result(path) for path in sorted(FOLDER.glob("*/results.json")))


def _render_result(path: Path) -> str:
    result: dict[str, Any] = json.loads(path.read_text())
    name = path.parent.name
    about = (importlib.import_module(f"benchmarks.{name}").__doc__ or "").strip().partition("\n")[0]
    peers = {f"peer: {peer}": value for peer, value in result.get("peers", {}).items()}
    rows = [
        f"| {figure} | {_text(value)} | {_text(result['targets'].get(figure, ''))} |"
        for figure, value in {**result["figures"], **peers}.items()
        if not isinstance(value, list)
    ]
    machine = result["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, load {machine['load']}, Python {machine['python']}"
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    table = "\n".join(["| figure | measured | target |", "|---|---|---|", *rows])
    return f"\n## {name}\n\n{about}\n\n{table}\n\n{where}; {versions}.\n"


def _text(value: Any) -> str:
    if isinstance(value, int | float) and abs(value) >= 10_000:
        return f"{value:,.0f}"
    return str(value)


if __name__ == "__main__":
    FILE.write_text(render_report())
