"""The pages in a real browser, on a store that is published to while they are open."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.formatting import format_value
from dashboard.server import run_dashboard
from dashboard.theme import DARK, LIGHT
from pipeline.contracts.arena import Model
from pipeline.store.duck_store import DuckStore
from pipeline.store.reader import StoreReader
from tests.conftest import wait_until
from tests.dashboard.made_status import make_status
from tests.dashboard.made_store import MODELS, SCRIPT, make_publication, make_store, publish, wall_ms

ALL = (*MODELS, Model(id="nasty", name=SCRIPT, organization="<img src=x onerror='window.hacked=1'>"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckStore]:
    folder: Path = tmp_path_factory.mktemp("browser") / "store"
    video = make_publication("text-to-video", title="Text to video", votes=0, commit=1)
    with make_store(folder, make_publication(models=ALL, votes=200, commit=2), video) as made:
        publish(made, make_publication(models=ALL, votes=1_000, commit=3))
        yield made


@pytest.fixture(scope="module")
def address(store: DuckStore) -> Iterator[str]:
    with run_dashboard(store.path) as (running, _pid):
        yield running


@pytest.fixture
def board(page: Page, address: str) -> Iterator[Page]:
    """The page, open; in the end nothing was logged as an error and nothing asked of other machines."""
    expect.set_options(timeout=20_000)  # machines are shared
    errors: list[str] = []
    ours = (address, address.replace("http", "ws"), "data:", "blob:")
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: errors.append(request.url) if not request.url.startswith(ours) else None)
    page.goto(f"{address}/?arena=text-to-image")
    expect(page.locator("tr[data-model]")).to_have_count(len(ALL), timeout=30_000)
    yield page
    assert errors == []


def test_board_follows_the_store_and_shows_scripts_as_text(board: Page, store: DuckStore) -> None:
    expect(board.locator('tr[data-model="nasty"] .kw-name')).to_contain_text(SCRIPT)
    assert board.locator(".kw-board img, .kw-board script").count() == 0
    board.evaluate("window.loaded = 1")
    publish(store, make_publication(models=ALL[1:], votes=54_321, commit=4))
    expect(board.locator(".kw-figures")).to_contain_text("54,321", timeout=10_000)
    expect(board.locator("tr[data-model]")).to_have_count(len(ALL) - 1, timeout=10_000)
    expect(board.locator("canvas").first).to_be_visible(timeout=15_000)
    assert board.evaluate("[window.loaded, window.hacked]") == [1, None]
    publish(store, make_publication(models=ALL, votes=60_000, commit=5))
    expect(board.locator("tr[data-model]")).to_have_count(len(ALL), timeout=10_000)


def test_two_browsers_see_the_same_board(board: Page, browser: Browser, store: DuckStore, address: str) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}) as other:
        phone = other.new_page()
        phone.goto(f"{address}/?arena=text-to-image")
        publish(store, make_publication(models=ALL, votes=77_001, commit=6))
        published = StoreReader(store.path).board("text-to-image", "posterior")
        wanted = [[rating.model, format_value(rating.rating, "points")] for rating in published.models]
        cells = "rows => rows.map(row => [row.dataset.model, row.cells[4].textContent])"

        def has_it(page: Page) -> bool:  # the rows are drawn by another fragment than the figures, maybe later
            return bool(page.locator("tr[data-model]").evaluate_all(cells) == wanted)

        for page in (board, phone):
            expect(page.locator(".kw-figures")).to_contain_text("77,001", timeout=30_000)
            wait_until(partial(has_it, page))
        ranks = "rows => rows.map(row => row.cells[0].textContent)"
        seen = [page.locator("tr[data-model]").evaluate_all(ranks) for page in (board, phone)]
    assert seen[0] == seen[1]


def test_rows_that_move_stay_what_they_are(board: Page, store: DuckStore) -> None:
    order = "rows => rows.map(row => row.dataset.model)"
    rows = board.locator("tr[data-model]")
    before = rows.evaluate_all(order)
    rows.evaluate_all("rows => rows.forEach(row => { row.mark = row.dataset.model; })")
    rows.nth(3).locator("a").focus()
    focused = before[3]
    publish(store, make_publication(models=ALL[::-1], votes=78_002, commit=7))
    expect(board.locator(".kw-figures")).to_contain_text("78,002", timeout=10_000)
    wait_until(lambda: rows.evaluate_all(order) != before)
    assert sorted(rows.evaluate_all(order)) == sorted(before)
    assert rows.evaluate_all("rows => rows.every(row => row.mark === row.dataset.model)")
    assert board.evaluate("document.activeElement.closest('tr')?.dataset.model") == focused
    publish(store, make_publication(models=ALL, votes=79_003, commit=8))
    expect(rows.first).to_have_attribute("data-model", before[0], timeout=10_000)


def test_long_board_fills_after_its_first_rows(board: Page, store: DuckStore, address: str) -> None:
    many = [Model(id=f"m-{number}", name=f"Model {number}") for number in range(120)]
    publish(store, make_publication("many", title="Many", models=many, votes=5_000, commit=9))
    board.goto(f"{address}/?arena=many")
    expect(board.locator("tr[data-model]")).to_have_count(120, timeout=30_000)
    rows = board.locator("tr[data-model]")
    order = "rows => rows.map(row => row.dataset.model)"
    published = [rating.model for rating in StoreReader(store.path).board("many", "posterior").models]
    assert rows.evaluate_all(order) == published
    publish(store, make_publication("many", title="Many", models=many[99:19:-1], votes=6_000, commit=10))
    expect(rows).to_have_count(80, timeout=10_000)
    published = [rating.model for rating in StoreReader(store.path).board("many", "posterior").models]
    wait_until(lambda: rows.evaluate_all(order) == published)


def test_hidden_tab_has_all_rows_although_it_has_no_frames(board: Page, store: DuckStore, address: str) -> None:
    board.add_init_script(
        "Object.defineProperty(document, 'hidden', {get: () => true}); window.requestAnimationFrame = () => 0;"
    )
    many = [Model(id=f"m-{number}", name=f"Model {number}") for number in range(90)]
    publish(store, make_publication("many", title="Many", models=many, votes=7_000, commit=11))
    board.goto(f"{address}/?arena=many")
    expect(board.locator("tr[data-model]")).to_have_count(90, timeout=30_000)


def test_method_arena_and_words_are_chosen_and_kept_in_the_address(board: Page, address: str) -> None:
    # To and fro with ticks between: Streamlit's message cache, which is switched off, lost a table in this.
    for method, legend in (("Elo", "Elo states no interval"), ("Posterior", "credible"), ("Elo", "no interval")):
        board.get_by_role("radio", name=method, exact=True).click()
        expect(board.locator(".kw-legend")).to_contain_text(legend)
        expect(board.locator(".kw-figures")).not_to_have_text(board.locator(".kw-figures").inner_text())
    expect(board).to_have_url(f"{address}/?arena=text-to-image&method=elo")
    board.get_by_label("Find").fill("openrail")
    expect(board.locator("tr[data-model]")).to_have_count(2)
    board.goto(f"{address}/?arena=text-to-video&method=win_rate")
    expect(board.locator(".kw-title")).to_have_text("Text to video", timeout=30_000)
    expect(board.get_by_role("heading", name="No votes yet")).to_be_visible()
    expect(board.locator(".kw-figures")).to_contain_text("no votes yet")


def test_table_is_downloaded_and_page_fits_a_phone_in_both_themes(board: Page) -> None:
    with board.expect_download() as download:
        board.get_by_role("button", name="Download as CSV").first.click()
    assert download.value.suggested_filename == "text-to-image-posterior.csv"
    text = Path(download.value.path()).read_text("utf-8")
    assert text.startswith("rank,rank_low,rank_high,model,")
    assert len(text.splitlines()) == 1 + len(ALL)
    expect_to_fit_a_phone(board)


def expect_to_fit_a_phone(page: Page) -> None:
    """Expect our colours in both themes, and nothing that a phone would have to scroll sideways for."""
    page.set_viewport_size({"width": 390, "height": 844})
    for scheme, palette in (("light", LIGHT), ("dark", DARK)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        expect(page.locator(".stApp")).to_have_css("background-color", _rgb(palette.background))
        expect(page.locator(".kw-title")).to_have_css("color", _rgb(palette.text))
        overflow = "e => Math.max(e.scrollWidth - e.clientWidth, document.documentElement.scrollWidth - innerWidth)"
        assert page.get_by_test_id("stMain").evaluate(overflow) == 0


def test_operator_page_follows_the_job_through_its_states(board: Page, store: DuckStore, address: str) -> None:
    status = make_status()
    store.heartbeat(wall_ms(), status)
    board.get_by_role("link", name="Operations").click()
    expect(board).to_have_url(f"{address}/operator")
    figures = board.locator(".kw-figures")
    expect(figures).to_contain_text("208,213", timeout=30_000)
    board.evaluate("window.loaded = 1")

    def say(text: str, **changes: Any) -> None:
        """Say that the job lives, again and again as jobs do, until the page shows it."""
        deadline = time.monotonic() + 30
        while text not in (shown := board.get_by_test_id("stMain").inner_text()):
            assert time.monotonic() < deadline, shown
            store.heartbeat(wall_ms(), make_status(**changes))
            board.wait_for_timeout(200)

    say("987,654", accepted=987_654)
    say("Live")
    say("not_json", dead={"not_json": 5})
    say("The log is out of reach", log_error="no route")
    store.heartbeat(wall_ms() - 600_000, status)
    expect(figures).to_contain_text("Silent")
    expect(board.get_by_role("heading", name="No sign of life")).to_be_visible()
    assert board.evaluate("window.loaded") == 1
    expect_to_fit_a_phone(board)


def test_last_hour_is_drawn_and_downloaded_and_the_page_has_an_address(
    page: Page, store: DuckStore, address: str
) -> None:
    expect.set_options(timeout=20_000)
    for back in range(6, -1, -1):
        store.heartbeat(wall_ms() + back - 6_000 * back, make_status(accepted=10_000 - 100 * back))
    page.goto(f"{address}/operator")
    expect(page.locator(".kw-title")).to_have_text("Operations", timeout=30_000)
    expect(page.locator("canvas").first).to_be_visible(timeout=30_000)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").first.click()
    assert download.value.suggested_filename == "operations.csv"
    text = Path(download.value.path()).read_text("utf-8")
    assert text.startswith("time,accepted,duplicates,dead,lag,p50_ms,p99_ms")
    assert len(text.splitlines()) >= 7


def _rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"
