"""How fast the pages answer in a real browser with 200 models and a million votes, while votes come in."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from benchmarks.pages.acts import board_is_there, make_acts
from benchmarks.pages.browser import new_context, open_browser, time_act, time_first
from benchmarks.pages.world import keep_voting, run_app, run_arena

MODELS = 200
RATE = 50.0
PAUSE_MS = 1_000
TARGETS = {"first_page_ms": 2_000, "first_page_of_a_server_ms": 2_000, "interaction_ms": 200}


def measure(browser: Browser, store: Path, servers: int, rounds: int) -> dict[str, Any]:
    """Return medians in ms: of first pages, and of each act."""
    first: list[float] = []
    later: list[float] = []
    acts: dict[str, list[float]] = {}
    for _ in range(servers):
        with run_app(store) as (address, _pid):
            for place in range(3):
                context = new_context(browser)
                page = context.new_page()
                (later if place else first).append(time_first(page, address, board_is_there(MODELS)))
                if place == 2:
                    for turn in range(rounds):
                        for act in make_acts(MODELS):
                            page.wait_for_timeout(PAUSE_MS)
                            took = time_act(page, act.do, act.is_there)
                            if turn:  # the first turn is the browser's: it loads what draws charts
                                acts.setdefault(act.name, []).append(took)
                context.close()
    every = [took for tooks in acts.values() for took in tooks]
    return {
        "first_page_of_a_server_ms": round(statistics.median(first)),
        "first_page_ms": round(statistics.median(later)),
        "interaction_ms": round(statistics.median(every)),
        "interaction_p95_ms": round(statistics.quantiles(every, n=20)[-1]),
    } | {f"{name}_ms": round(statistics.median(tooks)) for name, tooks in acts.items()}


def main() -> None:
    """Measure and hand out."""
    options = parse_options(__doc__, "20,000 votes, one server, two turns")
    votes, servers, rounds = (20_000, 1, 2) if options.quick else (1_000_000, 3, 5)
    machine = describe_machine()
    figures = {"models": MODELS, "votes": votes, "votes_per_s": RATE}
    with tempfile.TemporaryDirectory() as folder, run_arena(Path(folder), MODELS, votes) as arena:
        with open_browser() as browser, keep_voting(arena, RATE):
            figures |= measure(browser, arena.store, servers, rounds)
    hand_out(
        {
            "benchmark": "pages",
            "machine": machine,
            "versions": describe_versions("streamlit", "playwright", "pyarrow", "duckdb"),
            "targets": TARGETS,
            "figures": figures,
        },
        save=options.save,
    )


if __name__ == "__main__":
    main()
