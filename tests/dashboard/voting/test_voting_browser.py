"""People vote in a real browser: on a real gateway with log, job and store behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from dashboard.server import AppSettings, run_dashboard
from pipeline.store.reader import StoreReader
from tests.conftest import wait_until
from tests.dashboard.looks import expect_accessible, expect_no_errors, expect_no_overflow
from tests.dashboard.voting.relay import Relay, relaying
from tests.gateway.systems import ARENA, System, published_votes, running_system

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(tmp_path_factory.mktemp("voting")) as running:
        yield running


@pytest.fixture(scope="module")
def relay(system: System) -> Iterator[Relay]:
    with relaying(int(system.server.url.rpartition(":")[2])) as running:
        yield running


@pytest.fixture(scope="module")
def address(system: System, relay: Relay) -> Iterator[str]:
    with run_dashboard(system.store, AppSettings(gateway=f"http://127.0.0.1:{relay.port}")) as (running, _pid):
        yield running


@pytest.fixture(scope="module")
def desk(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        yield context


@pytest.fixture(scope="module")
def phone(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(**PHONE) as context:  # type: ignore[arg-type]
        yield context


@pytest.fixture(scope="module")
def booth_page(desk: BrowserContext, address: str) -> Iterator[Page]:
    """The booth in a tab; in the end nothing was logged as an error, and nobody else was asked anything."""
    yield from visit(desk, address)


def visit(context: BrowserContext, address: str) -> Iterator[Page]:
    expect.set_options(timeout=20_000)  # machines are shared
    page = context.new_page()
    with expect_no_errors(page, address):
        page.goto(f"{address}/vote?arena={ARENA}")
        expect(page.locator(".card .picture img")).to_have_count(4, timeout=60_000)
        yield page
    page.close()


@pytest.fixture
def page(booth_page: Page) -> Page:
    """The booth with a matchup that nothing has been done to."""
    later = booth_page.get_by_role("button", name="Next matchup")
    if later.is_visible():
        later.click()
    booth_page.get_by_role("radio", name="Rank all").check()
    expect(booth_page.locator(".card .pick")).to_have_count(4)
    return booth_page


@pytest.fixture
def small(phone: BrowserContext, address: str) -> Iterator[Page]:
    yield from visit(phone, address)


class Booth:
    """The booth on a page, as a voter sees it."""

    def __init__(self, page: Page, system: System) -> None:
        self.page = page
        self._store = system.store
        self._before = StoreReader(system.store).count_archive()

    def card(self, letter: str) -> Locator:
        return self.page.locator(f'.card[data-slot="{"ABCDEFGH".index(letter)}"]')

    def order(self) -> str:
        """The letters from the first picture to the last, as they are on the page."""
        slots = self.page.locator(".card").evaluate_all("cards => cards.map(card => card.dataset.slot)")
        return "".join("ABCDEFGH"[int(slot)] for slot in slots)

    def places(self) -> str:
        return " ".join(self.page.locator(".place").all_inner_texts())

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def expect_revealed(self) -> None:
        """Wait for names and for the board to have moved."""
        expect(self.page.locator(".reveal b")).to_have_count(4)
        # the first board with votes waits for compilers
        expect(self.page.get_by_text("Your vote is on the board.")).to_be_visible(timeout=60_000)
        expect(self.page.locator(".moved").first).to_contain_text("rank")

    def archived(self) -> dict[str, Any]:
        """The vote that was cast, as the store has it."""
        reader = StoreReader(self._store)
        wait_until(lambda: reader.count_archive() > self._before, 20)
        found: dict[str, Any] = reader.recent_votes(1).to_pylist()[0]
        return found


def centre(node: Locator, part: float = 0.5) -> tuple[float, float]:
    box = node.bounding_box()
    assert box is not None
    return box["x"] + part * box["width"], box["y"] + 0.4 * box["height"]


def drag(page: Page, source: Locator, target: Locator, part: float) -> None:
    """Drag by mouse in many small moves, to a part of the target's width."""
    (x, y), (to_x, to_y) = centre(source), centre(target, part)
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 16):
        page.mouse.move(x + (to_x - x) * step / 15, y + (to_y - y) * step / 15)
    page.mouse.up()


def test_rank_by_mouse_with_a_tie_and_undo(page: Page, system: System) -> None:
    booth = Booth(page, system)
    assert booth.order() == "ABCD"
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    drag(page, booth.card("D"), booth.card("A"), 0.05)
    expect(page.locator(".card").first).to_have_attribute("data-slot", "3")
    assert (booth.order(), booth.places()) == ("DABC", "1")  # of the others nobody has said anything
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    drag(page, booth.card("C"), booth.card("A"), 0.5)
    expect(page.locator(".place.tied")).to_have_count(2)
    assert (booth.order(), booth.places()) == ("DACB", "1 =2 =2 4")
    drag(page, booth.card("B"), booth.card("D"), 0.05)
    expect(page.locator(".card").first).to_have_attribute("data-slot", "1")
    booth.press("Undo")
    assert booth.order() == "DACB"
    booth.press("Send")
    booth.expect_revealed()
    vote = booth.archived()
    assert (vote["mode"], vote["ranks"]) == (0, [2, 4, 2, 1])
    assert vote["duration_ms"] > 0
    expect(page.locator(".reveal a")).to_have_count(4)
    expect_accessible(page)
    before = page.locator(".card img").first.get_attribute("src")
    page.keyboard.press("n")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    assert page.locator(".card img").first.get_attribute("src") != before


def test_rank_by_clicks_in_order(page: Page, system: System) -> None:
    booth = Booth(page, system)
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        expect_accessible(page)
    for letter, place in (("C", "1st"), ("A", "2nd"), ("D", "3rd")):
        booth.press(f"Make it {place}: Picture {letter}")
    assert (booth.order(), booth.places()) == ("CADB", "1 2 3 4")
    booth.press("Picture B: better")
    booth.press("Picture D: tie with the one before")
    assert (booth.order(), booth.places()) == ("CABD", "1 2 =3 =3")
    booth.press("Send")
    booth.expect_revealed()
    assert booth.archived()["ranks"] == [2, 3, 1, 3]


def test_rank_by_keyboard_alone(page: Page, system: System) -> None:
    booth = Booth(page, system)
    focus_by_tab(page, "card")
    page.keyboard.press("ArrowRight")
    expect(booth.card("A")).to_be_focused()
    assert booth.order() == "BACD"
    expect(page.locator(".live")).to_have_text("Picture A: place 2 of 4.")
    page.keyboard.press("=")
    expect(page.locator(".live")).to_have_text("Picture A: place 1 of 4, tied with B.")
    page.keyboard.press("ArrowRight")
    assert (booth.order(), booth.places()) == ("BACD", "1 2")
    focus_by_tab(page, "picture")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    for letter in "BCD":
        page.keyboard.press("ArrowRight")
        expect(dialog).to_contain_text(f"Picture {letter}")
    page.keyboard.press("ArrowLeft")
    expect(dialog).to_contain_text("Picture C")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    focus_by_tab(page, "undo")
    for places in ("=1 =1", "1 2"):
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Undo")).to_be_focused()
        assert booth.places() == places
    for _ in range(2):  # where nothing is left to undo, it does nothing
        page.keyboard.press("Enter")
        expect(page.locator(".prompt")).to_be_focused()
        assert (booth.order(), booth.places()) == ("ABCD", "")
    focus_by_tab(page, "card")
    page.keyboard.press("ArrowRight")
    focus_by_tab(page, "undo")
    page.keyboard.press("Shift+Tab")  # nothing can be sent so far
    expect(page.get_by_role("button", name="Make it 3rd: Picture D")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".live")).to_have_text("Picture D: place 3 of 4. All have a place: send it, or change it.")
    focus_by_tab(page, "send")
    page.keyboard.press("Enter")
    booth.expect_revealed()
    assert booth.archived()["ranks"] == [2, 1, 4, 3]
    expect(page.get_by_role("button", name="Next matchup")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".prompt")).to_be_focused()
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


def focus_by_tab(page: Page, kind: str) -> None:
    """Press Tab until something of this class has the focus."""
    script = (
        "() => { let node = document.activeElement; while (node?.shadowRoot?.activeElement)"
        " node = node.shadowRoot.activeElement; return node?.className ?? '' }"
    )
    for _ in range(60):
        page.keyboard.press("Tab")
        if kind in str(page.evaluate(script)).split():
            return
    raise AssertionError(f"no {kind} can be reached")


def test_best_by_one_click_that_can_be_taken_back(page: Page, system: System) -> None:
    booth = Booth(page, system)
    page.get_by_role("radio", name="Best only").check()
    booth.press("Picture C is best")
    expect(page.get_by_text("Best: C")).to_be_visible()
    booth.press("Undo")
    expect(page.get_by_text("Best: C")).to_be_hidden()
    booth.press("Picture B is best")
    booth.expect_revealed()
    vote = booth.archived()
    assert (vote["mode"], vote["ranks"]) == (1, [None, 1, None, None])
    page.get_by_role("button", name="Next matchup").click()
    expect(page.get_by_role("radio", name="Best only")).to_be_checked()
    page.get_by_role("radio", name="Rank all").check()


def test_click_is_taken_back_by_going_on(page: Page, system: System) -> None:
    booth = Booth(page, system)
    page.locator(".card .picture").evaluate_all("pictures => pictures.forEach(each => { each.isKept = true })")
    booth.press("Skip")
    expect(page.get_by_role("button", name="Send now")).to_be_visible()
    booth.press("Make it 1st: Picture B")
    expect(page.get_by_role("button", name="Send now")).to_be_hidden()
    page.wait_for_timeout(2_500)  # longer than a click can be taken back
    assert (booth.order(), booth.places()) == ("BACD", "1")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    # Films go on, and texts stay where they were scrolled to, because their nodes are the same.
    assert page.locator(".card .picture").evaluate_all("pictures => pictures.every(each => each.isKept)")
    booth.press("Undo")


def test_click_that_could_be_taken_back_is_when_the_page_is_left(page: Page, system: System) -> None:
    booth = Booth(page, system)
    page.get_by_role("radio", name="Best only").check()
    shown = page.locator(".card img").first.get_attribute("src")
    booth.press("Picture B is best")
    page.get_by_role("link", name="Board", exact=True).click()
    expect(page.locator("tr[data-model]")).not_to_have_count(0)
    page.wait_for_timeout(3_000)  # longer than a click can be taken back, and than an act without an answer waits
    page.get_by_role("link", name="Vote", exact=True).click()
    page.get_by_role("radio", name="Rank all").check()
    expect(page.locator(".card .pick")).to_have_count(4)
    page.wait_for_timeout(3_000)
    assert page.locator(".card img").first.get_attribute("src") == shown
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


@pytest.mark.parametrize(("name", "mode"), [("All bad", 2), ("Skip", 3)])
def test_one_answer_to_all(page: Page, system: System, name: str, mode: int) -> None:
    booth = Booth(page, system)
    page.get_by_role("button", name=name, exact=True).focus()
    page.keyboard.press("Enter")  # by keyboard it waits until it is sent
    expect(page.get_by_role("button", name="Send now")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".reveal b")).to_have_count(4)
    expect(page.get_by_text("You have passed on this one.")).to_be_visible(visible=name == "Skip")
    vote = booth.archived()
    assert (vote["mode"], vote["ranks"]) == (mode, None)


def test_rank_by_touch_on_a_phone(small: Page, system: System) -> None:
    booth = Booth(small, system)
    expect_no_overflow(small)
    for scheme in ("dark", "light"):
        small.emulate_media(color_scheme=scheme)
        expect_accessible(small)
    touch_drag(small, booth.card("B").locator(".grip"), booth.card("A"), 0.05)
    expect(small.locator(".card").first).to_have_attribute("data-slot", "1")
    touch_drag(small, booth.card("D").locator(".grip"), booth.card("C"), 0.5)
    expect(small.locator(".place.tied")).to_have_count(2)
    assert (booth.order(), booth.places()) == ("BACD", "1 2 =3 =3")
    small.locator(".picture").first.tap()
    expect(small.get_by_role("dialog")).to_be_visible()
    small.get_by_role("button", name="Close").tap()
    small.get_by_role("button", name="Send", exact=True).tap()
    booth.expect_revealed()
    assert booth.archived()["ranks"] == [2, 1, 3, 3]
    expect_no_overflow(small)


def touch_drag(page: Page, source: Locator, target: Locator, part: float) -> None:
    """Drag by a finger in many small moves."""
    source.scroll_into_view_if_needed()
    (x, y), (to_x, to_y) = centre(source), centre(target, part)
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        session.send(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": left, "y": top} for left, top in points]}
        )

    touch("touchStart", (x, y))
    for step in range(1, 13):
        touch("touchMove", (x + (to_x - x) * step / 12, y + (to_y - y) * step / 12))
    page.wait_for_timeout(300)  # a finger that does not rest makes Chromium swallow the next tap
    touch("touchEnd")


def test_own_prompt_is_made_and_voted_on(page: Page, system: System) -> None:
    booth = Booth(page, system)
    page.get_by_label("Or with a prompt of your own").fill("A fox <b>reading</b> a map")
    page.get_by_role("button", name="Have it made").click()
    expect(page.locator(".prompt")).to_contain_text("A fox <b>reading</b> a map", timeout=60_000)
    page.get_by_role("radio", name="Best only").check()
    booth.press("Picture A is best")
    booth.press("Send now")
    booth.expect_revealed()
    assert booth.archived()["prompt"].startswith("c-")


def test_board_moves_in_another_browser(page: Page, phone: BrowserContext, address: str, system: System) -> None:
    watcher = phone.new_page()
    watcher.goto(f"{address}/?arena={ARENA}")
    votes = published_votes(system)
    expect(watcher.locator(".kw-figures")).to_contain_text(f"{votes:,}", timeout=30_000)
    booth = Booth(page, system)
    page.get_by_role("radio", name="Best only").check()
    booth.press("Picture A is best")
    booth.press("Send now")
    expect(page.locator(".reveal b")).to_have_count(4)
    expect(watcher.locator(".kw-figures dd").first).to_have_text(f"{votes + 1:,}", timeout=20_000)
    expect(page.get_by_text("Your vote is on the board.")).to_be_visible()
    watcher.close()


def test_vote_cast_while_the_job_is_away_counts_when_it_is_back(
    page: Page, phone: BrowserContext, address: str, system: System
) -> None:
    watcher = phone.new_page()
    watcher.goto(f"{address}/?arena={ARENA}")
    votes = published_votes(system)
    expect(watcher.locator(".kw-figures")).to_contain_text(f"{votes:,}", timeout=30_000)
    watcher.evaluate("window.loaded = 1")
    system.job.stop()
    page.get_by_role("radio", name="Best only").check()
    Booth(page, system).press("Picture A is best")
    Booth(page, system).press("Send now")
    expect(page.locator(".reveal b")).to_have_count(4)
    expect(page.get_by_text("Your vote is on the board.")).to_be_hidden()
    system.job.start()
    expect(page.get_by_text("Your vote is on the board.")).to_be_visible(timeout=45_000)
    expect(watcher.locator(".kw-figures dd").first).to_have_text(f"{votes + 1:,}")
    assert watcher.evaluate("window.loaded") == 1
    watcher.close()


def test_voter_stays_the_same_and_the_page_survives_a_gateway_that_is_away(
    page: Page, system: System, relay: Relay
) -> None:
    booth = Booth(page, system)
    cookies = {each["name"]: each["value"] for each in page.context.cookies()}
    page.get_by_role("radio", name="Rank all").check()
    for letter, place in (("A", "1st"), ("B", "2nd"), ("C", "3rd")):
        booth.press(f"Make it {place}: Picture {letter}")
    relay.cut()
    booth.press("Send")
    expect(page.get_by_role("heading", name="No answer")).to_be_visible()
    relay.mend()
    booth.expect_revealed()
    assert booth.archived()["ranks"] == [1, 2, 3, 4]
    page.reload()
    expect(page.locator(".card .picture img")).to_have_count(4, timeout=60_000)
    assert {each["name"]: each["value"] for each in page.context.cookies()}["kwise_voter"] == cookies["kwise_voter"]
