"""A board that is open for a long time, in a real browser, while the store publishes faster than any job does."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, CDPSession, Page

from dashboard.server import AppSettings, run_dashboard
from pipeline.contracts.arena import Model
from pipeline.store.duck_store import DuckStore
from tests.dashboard.made_store import make_publication, make_store, publish

REFRESH_S: Final = 0.02
"""Asked for between two drawings; machines are slower."""
_LIMIT_MS: Final = 600_000
_REST_MS: Final = 300
"""Without news, before a sample is taken: a page that is being drawn has more in use, now and then."""

# A drawing that changed the board changes its first row, once.
_COUNT = """
() => {
  window.drawn = 0;
  const board = document.querySelector('.kw-board').closest('.kw-drawn');
  const first = () => board.querySelector('tbody tr').textContent;
  let seen = first();
  new MutationObserver(() => { if (first() !== seen) { seen = first(); window.drawn += 1; } })
    .observe(board, {childList: true, characterData: true, attributes: true, subtree: true});
}
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was in use after so many drawings, garbage left out: in the page, and by the server."""

    drawings: int
    heap_mb: float
    nodes: int
    listeners: int
    server_mb: float


def soak(browser: Browser, folder: Path, drawings: int, samples: int, models: int = 12) -> Iterator[Sample]:
    """Watch a board until it has been drawn `drawings` times with other numbers; look `samples` times on the way."""
    named = [Model(id=f"m-{number}", name=f"Model {number}") for number in range(models)]
    with (
        make_store(folder, make_publication(models=named, votes=1_000)) as store,
        _publishing(store, named) as going_on,
    ):
        settings = AppSettings(refresh=REFRESH_S)
        with run_dashboard(store.path, settings) as (address, server), browser.new_context() as context:
            page = context.new_page()
            page.goto(address)
            page.locator("tr[data-model]").first.wait_for(timeout=60_000)
            page.evaluate(_COUNT)
            session = context.new_cdp_session(page)
            for sample in range(1, samples + 1):
                page.wait_for_function(
                    "count => window.drawn >= count", arg=round(drawings * sample / samples), timeout=_LIMIT_MS
                )
                going_on.clear()
                page.wait_for_timeout(_REST_MS)
                yield _take(page, session, server)
                going_on.set()


def rise(values: Sequence[float]) -> float:
    """Return by what part the least of the last quarter lies above that of the third: what comes and goes is none."""
    quarter = len(values) // 4
    return min(values[-quarter:]) / min(values[-2 * quarter : -quarter]) - 1


def _take(page: Page, session: CDPSession, server: int) -> Sample:
    session.send("HeapProfiler.collectGarbage")
    heap = session.send("Runtime.getHeapUsage")["usedSize"]
    counted = session.send("Memory.getDOMCounters")
    return Sample(
        drawings=page.evaluate("window.drawn"),
        heap_mb=heap / 1e6,
        nodes=counted["nodes"],
        listeners=counted["jsEventListeners"],
        server_mb=_resident_mb(server),
    )


def _resident_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def _publishing(store: DuckStore, models: Sequence[Model]) -> Iterator[threading.Event]:
    """Publish other numbers as often as pages look, while the block runs and the event that it yields is set."""
    ended, going_on = threading.Event(), threading.Event()
    going_on.set()

    def work() -> None:
        commit = 41
        while not ended.wait(REFRESH_S):
            going_on.wait()
            publish(store, make_publication(models=models, votes=1_000 + commit, commit=commit))
            commit += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield going_on
    finally:
        ended.set()
        going_on.set()
        thread.join()
