from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from dashboard import notices
from dashboard.board_html import render_board, render_heading, render_keys, render_legend
from dashboard.board_view import find_rows, join_rows, view_board
from dashboard.freshness import judge_freshness
from dashboard.markup import render_notice
from dashboard.methods import describe_method
from pipeline.contracts.arena import Model
from pipeline.contracts.snapshot import METHODS, Publication
from tests.dashboard.made_store import MODELS, SCRIPT, make_publication, wall_ms

NASTY = (
    Model(
        id="a", name=SCRIPT, organization='"><img src=x onerror=alert(1)>', license="'&<b>", url="javascript:alert(1)"
    ),
    Model(id="b", name='" onmouseover="alert(1)', url='https://example.org/"onclick="alert(1)'),
    Model(id="c", name="\u202egnp.exe\x00\n", url="JaVaScRiPt:alert(1)"),
)


class Tags(HTMLParser):
    """Collects elements, attributes and text, and checks that elements are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def board_html(publication: Publication, method: str = "posterior", words: str = "") -> Tags:
    note = describe_method(method)
    view = view_board(publication, method, note.unit)
    return Tags(render_legend(note, view) + render_board(view, join_rows(find_rows(view, words)), note))


def heading_html(publication: Publication) -> Tags:
    board = publication.boards["posterior"]
    return Tags(render_heading(publication.registered, board, judge_freshness(wall_ms(), wall_ms(), board.as_of)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("votes", [0, 1_240])
def test_board_never_says_none_or_nan(method: str, votes: int) -> None:
    publication = make_publication(votes=votes, models=[*MODELS, Model(id="bare")])
    page = board_html(publication, method)
    shown = page.text + " ".join(str(value) for _, attrs in page.tags for value in attrs.values())
    assert not re.search(r"\b(None|nan|inf|null)\b", shown)
    assert sum(tag == "tr" for tag, _ in page.tags) == len(MODELS) + 2


def test_text_from_data_is_text_only() -> None:
    page = board_html(make_publication(models=NASTY))
    assert {tag for tag, _ in page.tags} == {
        "p", "span", "i", "table", "thead", "tbody", "tr", "th", "td", "b", "small", "div", "a",
    }  # fmt: skip
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    links = [attrs["href"] or "" for tag, attrs in page.tags if tag == "a"]
    assert sorted(links) == [f"model?arena=text-to-image&model={model}" for model in "abc"]
    assert SCRIPT in page.text
    assert "\u202e" not in page.text


def test_heading_and_notices_escape_as_well() -> None:
    publication = make_publication(title=SCRIPT)
    assert not [tag for tag, _ in heading_html(publication).tags if tag == "script"]
    page = Tags(
        render_notice(notices.unknown_arena(SCRIPT, SCRIPT))
        + render_notice(notices.no_match(SCRIPT))
        + render_notice(notices.no_store(Path(SCRIPT)))
        + render_keys([SCRIPT])
    )
    assert not [tag for tag, _ in page.tags if tag == "script"]


def test_rank_shows_its_interval_and_what_it_cannot_be_told_apart_from() -> None:
    page = board_html(make_publication(votes=40))
    assert re.search(r"\d \(\d+–\d+\)", page.text)
    assert "cannot be told apart from the line above" in page.text


def test_prior_shows_no_ranks() -> None:
    page = board_html(make_publication(votes=0))
    assert page.text.count("– (1–12)") == len(MODELS)
    assert "told apart" not in page.text


def test_elo_states_that_it_has_no_interval_and_draws_dots() -> None:
    page = board_html(make_publication(), "elo")
    assert "Elo states no interval" in page.text
    classes = [attrs.get("class") for _, attrs in page.tags]
    assert classes.count("kw-dot") == len(MODELS)
    assert "kw-span" not in classes


def test_bars_share_one_scale_also_when_rows_are_filtered() -> None:
    def left(words: str) -> str | None:
        tags = board_html(make_publication(as_of=1), words=words).tags
        row = next(place for place, (tag, attrs) in enumerate(tags) if attrs.get("data-model") == "kolors")
        return next(attrs["style"] for _, attrs in tags[row:] if attrs.get("class") == "kw-tick")

    assert left("") == left("kolors")


def test_interval_that_leaves_the_scale_is_shown_to_be_cut() -> None:
    publication = make_publication()
    board = publication.boards["posterior"]
    wide = msgspec.structs.replace(board.models[4], rating_low=-9e5, rating_high=9e5)
    models = (*board.models[:4], wide, *board.models[5:])
    boards = {"posterior": msgspec.structs.replace(board, models=models)}
    page = board_html(msgspec.structs.replace(publication, boards=boards))
    cut = [attrs for _, attrs in page.tags if "kw-cut-left" in (attrs.get("class") or "")]
    assert [attrs["style"] for attrs in cut] == ["left:0.00%;width:100.00%"]


def test_columns_that_nobody_filled_in_are_hidden() -> None:
    bare = board_html(make_publication(models=[Model(id="a"), Model(id="b")]))
    table = next(attrs for tag, attrs in bare.tags if tag == "table")
    assert table["class"] == "kw-board kw-no-organizations kw-no-licenses"


def test_retired_models_are_marked() -> None:
    models = [*MODELS[:3], msgspec.structs.replace(MODELS[3], retired=True)]
    publication = make_publication(models=models)
    assert board_html(publication).text.count("retired") == 1
    assert "1 retired" in heading_html(publication).text


def test_heading_says_how_fresh_the_board_is() -> None:
    assert re.search(r"State\s*Live\s*job seen just now", heading_html(make_publication()).text)
    empty = heading_html(make_publication(votes=0)).text
    assert "no votes yet" in empty
    assert "As of–" in empty
