"""What tests of the pages share: a store that has something for each, and the app on it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.live import LIVE
from pipeline.store.duck_store import DuckStore
from tests.conftest import ROOT
from tests.dashboard.rich_store import make_rich_store

OpenPage = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Put `__main__` back, which `AppTest` replaces by its script: processes that other tests start begin with it."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture(scope="module")
def rich_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckStore]:
    with make_rich_store(tmp_path_factory.mktemp("rich") / "store") as store:
        yield store


@pytest.fixture
def open_page(rich_store: DuckStore, monkeypatch: pytest.MonkeyPatch) -> OpenPage:
    """Run a page of the app: its file in screens/, and what is in its address."""
    monkeypatch.setenv("KWISE_STORE", str(rich_store.path))

    def run(screen: str, **query: str | list[str]) -> AppTest:
        app = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=30)
        if screen != "board":
            app.switch_page(f"screens/{screen}.py")
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception, app.exception
        return app

    return run


def html_of(app: AppTest) -> str:
    """Return all HTML that the page draws itself, without its style sheet."""
    still = [element.proto.body for element in app.get("html") if "<style>" not in element.proto.body]
    live = [element.proto for element in app.get("bidi_component") if element.proto.component_name == LIVE]
    return "\n".join(still + [json.loads(proto.json) for proto in live])
