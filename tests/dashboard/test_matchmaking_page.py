from __future__ import annotations

import math
import re
from math import comb

import msgspec
import pyarrow as pa
import pytest

from dashboard.matchmaking.html import format_ratio, render_coverage, render_proposals, render_ratios
from dashboard.matchmaking.information import describe_lately, make_information_chart, measure_information
from dashboard.matchmaking.proposals import (
    PROPOSAL_SCHEMA,
    Proposal,
    judge_proposals,
    measure_doubt,
    tabulate_proposals,
)
from dashboard.pairs.table import tabulate_pairs
from dashboard.theme import LIGHT
from pipeline.contracts.matchup import MatchupPrompt
from pipeline.store.history import PRECISION_SCHEMA
from tests.dashboard.conftest import OpenPage, html_of
from tests.dashboard.made_store import MODELS, make_counts, make_matchups

IDS = [model.id for model in MODELS]
NAMES = {model.id: model.name or model.id for model in MODELS}
TABLE = tabulate_pairs(1, IDS, make_counts(len(MODELS), 500).to_columns())
KNOWN = dict.fromkeys(IDS, 100)


def judge(known: dict[str, int] = KNOWN, **changes: object) -> Proposal:
    matchup = msgspec.structs.replace(make_matchups("a", MODELS, 1)[0], **changes)
    return judge_proposals([matchup], TABLE, len(MODELS), known, NAMES)[0]


def test_doubt_is_the_entropy_of_which_is_stronger() -> None:
    assert measure_doubt(0.5) == 1.0
    assert measure_doubt(0.0) == measure_doubt(1.0) == 0.0
    assert measure_doubt(0.11) == pytest.approx(0.5, abs=0.01)


def test_reasons_say_why_a_set_was_proposed() -> None:
    assert "which is new" in judge(known=KNOWN | {MODELS[2].id: 3}).reason
    assert MODELS[2].name is not None
    assert MODELS[2].name in judge(known=KNOWN | {MODELS[2].id: 3}).reason
    assert judge(policy="random").reason == "drawn at random"
    assert judge(prompt=MatchupPrompt(id="c-7", text="mine")).reason == "a voter's own prompt"
    assert judge(propensity=1e-9).reason == "so that no set is impossible"
    assert "least is known of their order" in judge(propensity=0.5).reason
    unknown = judge(known={"gone": 10, "too": 10}, models=("gone", "too"), propensity=None)
    assert (unknown.reason, unknown.doubt, unknown.times_chance) == ("chosen by gibbs", None, None)


def test_likelihood_is_a_multiple_of_chance() -> None:
    assert judge(propensity=1 / math.comb(12, 4)).times_chance == pytest.approx(1)
    assert [format_ratio(ratio) for ratio in (None, 0.0123, 1.0, 9.4, 1234.0)] == [
        "–", "× 0.012", "× 1.0", "× 9.4", "× 1,234",
    ]  # fmt: skip


def test_proposals_come_urgent_ones_first_and_are_written_whole() -> None:
    matchups = make_matchups("a", MODELS, 5)
    matchups = (*matchups[:4], msgspec.structs.replace(matchups[4], priority=1))
    found = judge_proposals(matchups, TABLE, len(MODELS), KNOWN, NAMES)
    assert [each.matchup.matchup_id for each in found] == ["m4", "m0", "m1", "m2", "m3"]
    table = tabulate_proposals(found)
    assert table.schema == PROPOSAL_SCHEMA
    assert table["priority"].to_pylist() == [1, 0, 0, 0, 0]


def test_who_votes_cannot_read_from_the_page_which_model_is_where() -> None:
    matchups = make_matchups("a", MODELS, 5)
    assert any(list(each.models) != sorted(each.models) for each in matchups)
    found = judge_proposals(matchups, TABLE, len(MODELS), KNOWN, NAMES)
    table = tabulate_proposals(found)
    assert not {"matchup_id", "prompt"} & set(table.column_names)
    assert all(models == sorted(models) for models in table["models"].to_pylist())
    drawn = re.findall(r">([^<>]+)</a>", render_proposals(found, NAMES, "a", 0))
    assert drawn == [name for each in found for name in sorted(NAMES[model] for model in each.matchup.models)]


def test_likelihood_is_that_of_a_draw_from_the_models_that_are_not_retired() -> None:
    matchup = msgspec.structs.replace(make_matchups("a", MODELS, 1)[0], propensity=1 / comb(5, 4))
    assert judge_proposals([matchup], TABLE, 5, KNOWN, NAMES)[0].times_chance == pytest.approx(1)


def precision_of(*boards: tuple[int, int, float]) -> pa.Table:
    """Boards as (votes, models, sum of log2 of sds)."""
    rows = [
        {"commit": place, "log_time": place, "arena_votes": votes, "models": models, "log_sd": bits * math.log(2)}
        for place, (votes, models, bits) in enumerate(boards)
    ]
    return pa.Table.from_pylist(rows, schema=PRECISION_SCHEMA)


def test_information_is_what_entropy_falls_by_a_vote() -> None:
    found = measure_information(precision_of((100, 3, 9.0), (200, 3, 4.0), (300, 4, 8.0), (400, 4, 6.0)))
    assert found.votes.tolist() == [200, 400]  # a model came between 200 and 300
    assert found.bits.tolist() == pytest.approx([0.05, 0.02])
    assert describe_lately(found) == pytest.approx(0.02)


def test_information_leaves_out_retractions_and_says_nothing_of_one_board() -> None:
    assert measure_information(precision_of((200, 3, 4.0), (100, 3, 6.0), (150, 3, 5.0))).votes.tolist() == [150]
    found = measure_information(precision_of((100, 3, 9.0), (900, 3, 1.0), (990, 3, 0.1), (200, 3, 5.0), (210, 3, 4.5)))
    assert found.votes.tolist() == [210]
    assert describe_lately(found) == pytest.approx(0.05)
    for none in (precision_of(), precision_of((100, 3, 9.0))):
        assert describe_lately(measure_information(none)) is None
        assert make_information_chart(measure_information(none), LIGHT) is None


def test_bins_hold_every_pair_and_vote() -> None:
    html = render_coverage(TABLE)
    assert html.count("<tr>") == 6
    assert ">66<" in html
    bins = render_ratios([0.05, 0.1, 1.0, 1.9, 50.0, 1000.0, None])
    assert bins.count(">1<") == 4
    assert bins.count(">2<") == 1


def test_page_shows_proposals_coverage_and_propensities(open_page: OpenPage) -> None:
    html = html_of(open_page("matchmaking"))
    for text in ("the newest 12 of 20", "Proposed now", "Coverage", "Least known", "Propensities", "Policies"):
        assert text in html
    assert "of the newest" not in html
    assert "the newest 420 votes" in html


def test_page_of_an_arena_without_proposals_says_so(open_page: OpenPage) -> None:
    html = html_of(open_page("matchmaking", arena="text-to-video"))
    assert "Nothing is proposed" in html
    assert "No votes yet." in html
