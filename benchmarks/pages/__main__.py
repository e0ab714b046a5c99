"""How fast the pages answer in a real browser with 200 models and a million votes; then, while votes come in."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from benchmarks.pages.acts import BOARD, make_acts
from benchmarks.pages.browser import new_context, open_browser, time_act, time_first
from benchmarks.pages.world import Arena, keep_voting, run_arena
from dashboard.server import run_dashboard
from pipeline.contracts.log import VOTES
from producers.simulate.world import SimulatedWorld

MODELS = 200
RATE = 50.0
_PAUSE_MS = 1_000
_VIEWERS = 4
_WATCHED_S = 20.0
_COUNTED = "document.querySelector('.kw-figures dd').textContent"
TARGETS = {
    "first_page_ms": 2_000,
    "first_page_of_a_server_ms": 2_000,
    "interaction_ms": 200,
    "vote_to_board_max_ms": 2_000,
}


def measure_first_pages(browser: Browser, store: Path, servers: int) -> dict[str, int]:
    """Return medians in ms until the board is there, in browsers that have seen nothing: of new servers, and later."""
    first: list[float] = []
    later: list[float] = []
    for _ in range(servers):
        with run_dashboard(store) as (address, _pid):
            for place in range(3):
                with new_context(browser) as context:
                    (later if place else first).append(time_first(context.new_page(), address, BOARD))
    return {"first_page_of_a_server_ms": _median(first), "first_page_ms": _median(later)}


def measure_acts(browser: Browser, store: Path, turns: int) -> dict[str, int]:
    """Return medians in ms of each act and of all, and the 95th percentile of all."""
    acts: dict[str, list[float]] = {}
    with run_dashboard(store) as (address, _pid), new_context(browser) as context:
        page = context.new_page()
        time_first(page, address, BOARD)
        for turn in range(turns + 1):
            for act in make_acts():
                page.wait_for_timeout(_PAUSE_MS)
                took = time_act(page, act.do, act.is_there)
                if turn:  # in the first one the browser loads what draws charts
                    acts.setdefault(act.name, []).append(took)
    every = [took for tooks in acts.values() for took in tooks]
    return {
        "interaction_ms": _median(every),
        "interaction_p95_ms": round(statistics.quantiles(every, n=20)[-1]),
    } | {f"{name.replace(' ', '_')}_ms": _median(tooks) for name, tooks in acts.items()}


def measure_moves(browser: Browser, arena: Arena, votes: int) -> dict[str, int]:
    """Return ms from a vote in the log to the board in a browser that counts it: the median and the longest."""
    took: list[float] = []
    with (
        run_dashboard(arena.store) as (address, _pid),
        new_context(browser) as context,
        closing(arena.log.writer()) as log,
    ):
        page = context.new_page()
        time_first(page, address, BOARD)
        for vote in SimulatedWorld(models=MODELS, seed=3).batches(votes, rate=1.0, batch_size=1):
            page.wait_for_timeout(_PAUSE_MS + 37 * len(took))  # at all times between two drawings
            before, started = page.evaluate(_COUNTED), time.perf_counter()
            log.append(VOTES, vote.records())
            page.wait_for_function(f"before => {_COUNTED} !== before", arg=before)
            took.append(1_000 * (time.perf_counter() - started))
    return {"vote_to_board_ms": _median(took), "vote_to_board_max_ms": round(max(took))}


def measure_viewers(browser: Browser, store: Path) -> dict[str, float]:
    """Return how much of a core the server takes for each reader who watches the board."""
    with run_dashboard(store) as (address, pid):
        contexts = [new_context(browser) for _ in range(_VIEWERS)]
        for context in contexts:
            time_first(context.new_page(), address, BOARD)
        time.sleep(_WATCHED_S / 4)
        before, started = _cpu_s(pid), time.perf_counter()
        time.sleep(_WATCHED_S)
        cores = (_cpu_s(pid) - before) / (time.perf_counter() - started)
        for context in contexts:
            context.close()
    return {"server_cores_a_viewer": round(cores / _VIEWERS, 3)}


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _median(values: list[float]) -> int:
    return round(statistics.median(values))


def main() -> None:
    """Measure and hand out."""
    options = parse_options(__doc__, "200,000 votes, one server, one turn")
    votes, servers, turns = (200_000, 1, 1) if options.quick else (1_000_000, 5, 7)
    machine = describe_machine()
    figures: dict[str, Any] = {"models": MODELS, "votes": votes}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        arena = stack.enter_context(run_arena(folder, MODELS, votes))
        browser = stack.enter_context(open_browser())
        figures |= measure_first_pages(browser, arena.store, servers)
        figures |= measure_acts(browser, arena.store, turns)
        figures |= measure_moves(browser, arena, 3 if options.quick else 30)
        stack.enter_context(keep_voting(arena, RATE))
        voted = measure_first_pages(browser, arena.store, servers) | measure_acts(browser, arena.store, turns)
        figures |= {"votes_per_s": RATE} | {f"voted_in_{name}": value for name, value in voted.items()}
        figures |= measure_viewers(browser, arena.store)
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
