"""The page's logic, run by Streamlit's own test runner on stores that the real writer published."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from streamlit.testing.v1 import AppTest

from pipeline.contracts.arena import Model
from pipeline.store.duck_store import DuckStore
from tests.conftest import ROOT, wait_until
from tests.dashboard.conftest import html_of
from tests.dashboard.made_store import MODELS, SCRIPT, make_publication, make_store, publish, wall_ms

VIDEO = make_publication("text-to-video", title="Text to video", votes=0, commit=1)

Start = Callable[..., AppTest]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setenv("KWISE_STORE", str(folder))

    def run(**query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=30)
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception, app.exception
        return app

    return run


@pytest.fixture
def store(folder: Path) -> Iterator[DuckStore]:
    with make_store(folder, make_publication(), VIDEO) as made:
        yield made


def test_page_without_a_store_waits_for_one(start: Start, folder: Path) -> None:
    app = start()
    assert "Waiting for a store" in html_of(app)
    assert f"kwise pipeline run --from LOG --store {folder.name}" in html_of(app)
    assert str(folder.parent) not in html_of(app)  # anybody may read the page


def test_page_of_a_store_without_arenas_says_so(start: Start, folder: Path) -> None:
    with make_store(folder):
        assert "No arenas yet" in html_of(start())


def test_page_of_a_damaged_store_says_why(start: Start, folder: Path) -> None:
    folder.mkdir()
    (folder / "MANIFEST.json").write_text("{")
    assert "The store cannot be read" in html_of(start())


def test_page_opens_with_the_first_arena_and_the_default_method(start: Start, store: DuckStore) -> None:
    app = start()
    assert app.selectbox("arena").options == ["Text to image", "Text to video"]
    assert (app.selectbox("arena").value, app.session_state["method"]) == ("text-to-image", "posterior")
    assert app.query_params == {"arena": "text-to-image", "method": "posterior"}
    html = html_of(app)
    assert '<h1 class="kw-title">Text to image</h1>' in html
    assert html.count("data-model=") == len(MODELS)
    assert "Live" in html


def test_link_chooses_arena_and_method(start: Start, store: DuckStore) -> None:
    html = html_of(start(arena="text-to-video", method="elo"))
    assert '<h1 class="kw-title">Text to video</h1>' in html
    assert "Elo states no interval" in html


def test_arena_without_votes_shows_the_prior_and_says_so(start: Start, store: DuckStore) -> None:
    html = html_of(start(arena="text-to-video"))
    assert "No votes yet" in html
    assert "all 12 models are taken to be average" in html


def test_link_to_an_unknown_arena_says_so_until_one_is_chosen(start: Start, store: DuckStore) -> None:
    app = start(arena="<b>nowhere", method="no-such")
    assert "There is no arena &lt;b&gt;nowhere in this store. You see Text to image." in html_of(app)
    app.run()
    assert "nowhere" in html_of(app)
    app.selectbox("arena").select("text-to-video").run()
    assert "nowhere" not in html_of(app)
    assert app.query_params == {"arena": "text-to-video", "method": "posterior"}


def test_find_narrows_the_rows(start: Start, store: DuckStore) -> None:
    app = start()
    app.text_input("find").input("openrail").run()
    assert html_of(app).count("data-model=") == 2
    app.text_input("find").input("nobody <b>").run()
    assert "No model, organization or license matches nobody &lt;b&gt;." in html_of(app)


def test_one_arena_needs_no_choice(start: Start, folder: Path) -> None:
    with make_store(folder, make_publication()):
        app = start()
    assert not app.selectbox
    assert app.query_params["arena"] == "text-to-image"


def test_job_that_does_not_report_is_said_to_be_stalled(start: Start, folder: Path) -> None:
    with make_store(folder, make_publication()) as store:
        store.heartbeat(wall_ms() - 125_000)
        htmls = [html_of(start()), html_of(start())]
    assert "Stalled" in htmls[0]
    warnings = {html[html.index('role="alert"') :].partition("</section>")[0] for html in htmls}
    assert len(warnings) == 1  # or screen readers would say it each time that the page is drawn
    assert "The job that counts votes was last seen on " in warnings.pop()


def test_arena_that_cannot_be_read_says_so_and_another_can_be_chosen(start: Start, store: DuckStore) -> None:
    (store.path / "board" / "text-to-video" / "MANIFEST.json").write_bytes(b"{}")
    app = start(arena="text-to-video")
    assert "The store cannot be read" in html_of(app)
    app.selectbox("arena").set_value("text-to-image").run()
    assert "FLUX.1 [dev]" in html_of(app)


def test_arena_without_models_says_so(start: Start, folder: Path) -> None:
    with make_store(folder, make_publication(models=[], votes=0)):
        assert "No models yet" in html_of(start())


def test_publication_without_boards_says_that_one_is_coming(start: Start, folder: Path) -> None:
    with make_store(folder, msgspec.structs.replace(make_publication(), boards={})):
        assert "The first board is being computed" in html_of(start())


def test_board_that_is_rebuilt_says_so(start: Start, folder: Path) -> None:
    publication = make_publication()
    boards = {**publication.boards, "elo": msgspec.structs.replace(publication.boards["elo"], rebuilding=True)}
    with make_store(folder, msgspec.structs.replace(publication, boards=boards)):
        assert "Being rebuilt" in html_of(start(method="elo"))
        assert "Being rebuilt" not in html_of(start(method="posterior"))


def test_rerun_shows_what_has_been_published_since(start: Start, store: DuckStore) -> None:
    app = start()
    publish(store, make_publication(votes=98_765, commit=41), make_publication("zoo", commit=41))
    wait_until(lambda: "98,765" in html_of(app.run()), timeout=10)
    assert app.selectbox("arena").options == ["Text to image", "Text to video", "zoo"]


def test_names_are_escaped(start: Start, folder: Path) -> None:
    with make_store(folder, make_publication(title=SCRIPT, models=[Model(id="a", name=SCRIPT), Model(id="b")])):
        html = html_of(start())
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_board_of_many_models_is_cut_and_says_so(start: Start, folder: Path) -> None:
    many = [Model(id=f"m{place:04d}") for place in range(230)]
    with make_store(folder, make_publication(models=many)):
        html = html_of(start())
    assert html.count("data-model=") == 200
    assert "30 more models below" in html


def test_chart_can_be_saved_once_there_is_one(start: Start, store: DuckStore) -> None:
    app = start(arena="text-to-image")
    assert not app.get("echarts_chart")
    assert not pictures_offered(app)
    publish(store, make_publication(votes=2_000, commit=41))
    wait_until(lambda: app.run().get("echarts_chart"))
    assert pictures_offered(app) == ["text-to-image-posterior-history.png"]


def pictures_offered(app: AppTest) -> list[str]:
    """Return the names of the files that charts may be saved as."""
    rows = [each.proto for each in app.get("bidi_component") if each.proto.component_name == "kwise_downloads"]
    pictures = [json.loads(row.json)["picture"] for row in rows]
    return [picture["name"] for picture in pictures if picture is not None]
