"""All watching pages in a real browser: addresses, links, downloads, both themes, two sizes, and accessibility."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.server import AppSettings, run_dashboard
from pipeline.store.duck_store import DuckStore
from tests.dashboard.looks import expect_accessible, expect_no_errors, expect_no_overflow
from tests.dashboard.made_status import make_status
from tests.dashboard.made_store import MODELS, wall_ms

PAGES = {
    "board": ("", "tr[data-model]"),
    "side by side": ("?method=all", ".kw-scroll table"),
    "model": ("model?model=kolors", ".kw-outcomes"),
    "pairs": ("pairs", ".kw-matrix"),
    "ranks": ("ranks", "canvas"),
    "matchmaking": ("matchmaking", ".kw-amount"),
    "operator": ("operator", ".kw-panels"),
}
"""Address, and what is there when a page is drawn."""


@pytest.fixture(scope="module")
def address(rich_store: DuckStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    rich_store.heartbeat(wall_ms(), make_status())
    password = tmp_path_factory.mktemp("secret") / "password"
    password.write_text("correct horse battery", "utf-8")
    with run_dashboard(rich_store.path, AppSettings(operator_password=password)) as (running, _pid):
        yield running


@pytest.fixture(scope="module")
def shared_page(browser: Browser, address: str) -> Iterator[Page]:
    """One page for all tests that only look: a first page costs a second."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    yield page
    context.close()


@pytest.fixture
def page(shared_page: Page, address: str) -> Iterator[Page]:
    """The page; in the end nothing was logged as an error, and nobody but the app was asked anything."""
    expect.set_options(timeout=20_000)  # machines are shared
    shared_page.set_viewport_size({"width": 1280, "height": 900})
    shared_page.emulate_media(color_scheme="light")
    with expect_no_errors(shared_page, address):
        yield shared_page


def open_page(page: Page, address: str, name: str) -> None:
    path, drawn = PAGES[name]
    page.goto(f"{address}/{path}")
    expect(page.locator(drawn).first).to_be_visible(timeout=30_000)


SIZES: tuple[tuple[Literal["light", "dark"], int, int], ...] = (("light", 1280, 900), ("dark", 390, 844))


@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible_and_fits_in_both_themes_and_sizes(page: Page, address: str, name: str) -> None:
    open_page(page, address, name)
    for scheme, width, height in SIZES:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": height})
        expect_no_overflow(page)
        expect_accessible(page)


@pytest.mark.parametrize("width", [701, 761, 861, 961, 1024, 1141])
def test_board_fits_between_phone_and_desk(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    open_page(page, address, "board")
    expect_no_overflow(page)
    cut = "rows => rows.filter(row => row.scrollWidth > row.clientWidth).length"
    assert page.locator(".kw-board tr").evaluate_all(cut) == 0


def test_link_to_a_model_is_followed_within_the_session_and_back(page: Page, address: str) -> None:
    open_page(page, address, "board")
    page.evaluate("window.loaded = 1")
    page.get_by_role("link", name="Kolors").click()
    expect(page.locator("h1")).to_contain_text("Kolors")
    expect(page).to_have_url(f"{address}/model?arena=text-to-image&model=kolors&method=posterior")
    page.get_by_role("radio", name="Elo").click()
    expect(page).to_have_url(f"{address}/model?arena=text-to-image&model=kolors&method=elo")
    page.go_back()
    expect(page.locator("tr[data-model]")).not_to_have_count(0)
    expect(page).to_have_url(f"{address}/?arena=text-to-image&method=posterior")
    page.get_by_role("link", name="Kolors").click()
    page.get_by_role("link", name="Apache-2.0").click()
    expect(page.locator("tr[data-model]")).to_have_count(1)
    assert page.evaluate("window.loaded") == 1
    page.goto(f"{address}/?license=MIT&license=Apache-2.0&find=l")
    expect(page.locator("tr[data-model]")).to_have_count(2, timeout=30_000)


def test_who_comes_back_finds_what_they_looked_for(page: Page, address: str) -> None:
    page.goto(f"{address}/?method=elo&find=kol")
    expect(page.locator("tr[data-model]")).to_have_count(1, timeout=30_000)
    page.get_by_role("link", name="Pairs").click()
    expect(page.locator(".kw-matrix")).to_be_visible()
    page.go_back()
    expect(page.locator("tr[data-model]")).to_have_count(1)
    expect(page.get_by_label("Find")).to_have_value("kol")
    assert page.url.endswith("/?method=elo&find=kol&arena=text-to-image")


def test_menu_of_a_phone_closes_when_a_page_is_chosen(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_page(page, address, "board")
    page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_test_id("stSidebarNavLink").filter(has_text="Ranks").click()
    expect(page.locator("h1")).to_contain_text("Ranks")
    expect(page.get_by_test_id("stSidebar")).to_be_hidden()


def test_filters_are_kept_in_the_address(page: Page, address: str) -> None:
    open_page(page, address, "board")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("combobox", name="Access").click()
    page.get_by_role("option", name="API only").click()
    expect(page.get_by_role("dialog", name="Filter (1)")).to_be_visible()
    expect(page.get_by_role("combobox", name="License")).to_be_visible()  # it stays open
    page.keyboard.press("Escape")
    api = sum(model.access == "api" for model in MODELS)
    expect(page.locator("tr[data-model]")).to_have_count(api)
    assert "access=api" in page.url


def test_arena_stays_chosen_on_the_way_through_the_menu(page: Page, address: str) -> None:
    page.goto(f"{address}/?arena=text-to-video&method=elo")
    expect(page.locator(".kw-title")).to_have_text("Text to video", timeout=30_000)
    page.get_by_role("link", name="Ranks").click()
    expect(page.locator(".kw-title")).to_contain_text("Text to video")
    expect(page).to_have_url(f"{address}/ranks?arena=text-to-video&method=elo")


def test_ranks_are_opened_by_address(page: Page, address: str) -> None:
    page.goto(f"{address}/ranks?models=kolors&models=lcm&count=20")
    expect(page.get_by_test_id("stMultiSelect")).to_contain_text("Kolors", timeout=30_000)
    expect(page.get_by_test_id("stMultiSelect")).to_contain_text("LCM")


@pytest.mark.parametrize(("name", "key", "file"), [
    ("board", "trend-data", "text-to-image-posterior-history"),
    ("ranks", "ranks-data", "text-to-image-posterior-ranks"),
])  # fmt: skip
def test_chart_is_saved_as_picture_and_as_tables(page: Page, address: str, name: str, key: str, file: str) -> None:
    open_page(page, address, name)
    row = page.locator(f".st-key-{key}")
    expect(page.locator("canvas").first).to_be_visible()
    for label, end, magic in (
        ("Save as PNG", "png", b"\x89PNG"),
        ("Download as Parquet", "parquet", b"PAR1"),
        ("Download as CSV", "csv", b"commit,log_time"),
    ):
        with page.expect_download() as download:
            row.get_by_role("button", name=label).click()
        assert download.value.suggested_filename == f"{file}.{end}"
        assert Path(download.value.path()).read_bytes().startswith(magic)


def test_operator_logs_in_to_see_records(page: Page, address: str) -> None:
    open_page(page, address, "operator")
    expect(page.get_by_text("at byte 0")).to_have_count(0)
    page.get_by_label("Operator's password").fill("correct horse battery")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".kw-letters tbody tr")).to_have_count(2)
    expect_accessible(page)
    page.get_by_role("button", name="Log out").click()
    expect(page.locator(".kw-letters")).to_have_count(0)
