"""What a model made is on its page once it was voted on: in a real browser, from a real gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from dashboard.server import AppSettings, run_dashboard
from tests.conftest import wait_until
from tests.dashboard.looks import expect_accessible, expect_no_errors, expect_no_overflow
from tests.gateway.systems import ARENA, System, running_system, vote_on

PROMPT = "A *fox* [reading](https://example.org) ![x](https://example.org/x.png) <b>maps</b>"
SIZES: dict[str, ViewportSize] = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(tmp_path_factory.mktemp("gallery")) as running:
        yield running


@pytest.fixture(scope="module")
def model(system: System) -> str:
    """A model of which something was voted on."""
    _, reveal = vote_on(system, PROMPT)
    chosen = reveal.models[0].model
    with system.client() as client:
        wait_until(lambda: client.model_artifacts(ARENA, chosen))
    return chosen


@pytest.fixture(scope="module")
def address(system: System) -> Iterator[str]:
    with run_dashboard(system.store, AppSettings(gateway=system.server.url)) as (running, _pid):
        yield running


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> Literal["light", "dark"]:
    chosen: Literal["light", "dark"] = request.param
    return chosen


@pytest.fixture(params=list(SIZES))
def page(request: pytest.FixtureRequest, browser: Browser, address: str, scheme: Any) -> Iterator[Page]:
    """A tab; in the end nothing was logged as an error, and nobody but the app was asked anything."""
    expect.set_options(timeout=20_000)  # machines are shared
    with browser.new_context(viewport=SIZES[request.param], color_scheme=scheme) as context:
        page = context.new_page()
        with expect_no_errors(page, address):
            yield page


def test_pictures_are_on_the_page_of_their_model(page: Page, address: str, model: str) -> None:
    page.goto(f"{address}/model?arena={ARENA}&model={model}")
    picture = page.get_by_role("img", name=PROMPT, exact=True).first
    expect(picture).to_be_visible(timeout=60_000)
    picture.scroll_into_view_if_needed()
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=picture.element_handle())
    caption = page.locator(".st-key-made .kw-caption").first
    expect(caption).to_have_text(PROMPT)
    assert page.locator(".st-key-made :is(a, em, b)").count() == 0
    box = picture.bounding_box()
    assert box is not None
    assert box["width"] == pytest.approx(box["height"], abs=1)
    picture.hover()
    button = page.get_by_role("button", name=f"Fullscreen: {PROMPT}").first.bounding_box()
    assert button is not None
    assert box["y"] < button["y"] < button["y"] + button["height"] < box["y"] + box["height"]
    expect_no_overflow(page)
    expect_accessible(page)
