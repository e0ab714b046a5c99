from __future__ import annotations

import msgspec
import pytest

from dashboard.models.html import describe_losses, list_losses, render_facts
from dashboard.pairs.table import Pair
from pipeline.contracts.arena import Model
from tests.dashboard.conftest import OpenPage, html_of
from tests.dashboard.made_store import MODELS, SCRIPT, make_publication


def test_page_opens_with_the_best_model_and_a_link_chooses_another(open_page: OpenPage) -> None:
    app = open_page("model")
    first = app.selectbox("model").value
    assert app.query_params["model"] == first
    html = html_of(open_page("model", model="kolors", method="elo"))
    assert '<h1 class="kw-title">Kolors <small>Text to image</small></h1>' in html
    assert "not said by this method" in html
    for text in ("Over time", "Against each other model", "Falls short against", "Weak prompts", "lanterns"):
        assert text in html


def test_page_names_each_opponent_once_in_its_table(open_page: OpenPage) -> None:
    html = html_of(open_page("model", model="kolors"))
    table = html[html.index("Kolors against each other model") :].split("</table>")[0]
    assert table.count("<tr>") == len(MODELS)
    assert "won " in table


def test_link_to_an_unknown_model_says_so_until_one_is_chosen(open_page: OpenPage) -> None:
    app = open_page("model", model="<b>nobody")
    assert "There is no model &lt;b&gt;nobody in this arena." in html_of(app)
    app.selectbox("model").select("kolors").run()
    assert "nobody" not in html_of(app)


def test_model_of_an_arena_without_votes_has_no_rank(open_page: OpenPage) -> None:
    html = html_of(open_page("model", arena="text-to-video"))
    assert "It has not been shown so far." in html
    assert "A line begins with the second board." in html


@pytest.mark.parametrize("url", ["javascript:alert(1)", None, "data:text/html,x"])
def test_only_web_addresses_become_links(url: str | None) -> None:
    assert "Website" not in render_facts(Model(id="a", url=url), "arena")


def test_facts_lead_to_the_board_of_like_models_and_are_escaped() -> None:
    model = Model(id="a", organization=SCRIPT, license="MIT", access="open", tags=("x&y",), url="https://e.org/\"'")
    html = render_facts(msgspec.structs.replace(model, retired=True), "arena")
    assert "./?arena=arena&amp;license=MIT" in html
    assert "tag=x%26y" in html
    assert "retired" in html
    assert "<script" not in html
    assert 'href="https://e.org/&quot;&#x27;"' in html


def pair(wins: int, losses: int, surprise: float | None) -> Pair:
    return Pair(0, 1, wins, 0, losses, None if surprise is None else 0.5, None, surprise)


def test_losses_are_what_lies_below_the_prediction() -> None:
    ratings = make_publication().boards["posterior"].models
    opponents = [(ratings[1], pair(1, 9, -3.0)), (ratings[2], pair(5, 5, -1.0)), (ratings[3], pair(1, 9, -4.0))]
    assert [rating.rank for rating, _ in list_losses(opponents, 1, 5)] == [4, 2]
    assert len(list_losses(opponents, 1, 1)) == 1
    assert "less than predicted" in describe_losses(opponents)[0]


def test_losses_without_predictions_are_to_models_ranked_below() -> None:
    ratings = make_publication().boards["posterior"].models
    opponents = [(ratings[0], pair(1, 9, None)), (ratings[5], pair(1, 9, None)), (ratings[6], pair(9, 1, None))]
    assert [rating.rank for rating, _ in list_losses(opponents, 3, 5)] == [6]
    assert not any("predicted" in words for words in describe_losses(opponents))
    assert describe_losses([(ratings[0], pair(0, 0, 0.0))]) == ("no votes so far", "It has met no other model so far.")
