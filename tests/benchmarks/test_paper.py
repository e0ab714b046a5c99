"""The paper's experiments in short form, and what is made of their raw results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.paper import document, plots
from benchmarks.paper.__main__ import summarise_rows
from benchmarks.paper.experiments import Experiment, check_votes, list_experiments, run_experiment
from benchmarks.paper.newcomer import trace_newcomer
from benchmarks.paper.raters import make_rater
from benchmarks.paper.raw import find_row, read_raw, sum_up, write_raw
from benchmarks.paper.trace import Setting, trace_errors
from benchmarks.paper.world import World, measure_rank_error
from tests.docs.documents import ROOT


def test_voters_see_the_exact_order_but_for_random_votes() -> None:
    rng = np.random.default_rng(1)
    world = World.draw(9, 0.25, rng)
    rankings = world.draw_votes(4, 4_000, rng)
    exact = (np.diff(world.truth[rankings], axis=1) > 0).all(axis=1).mean()
    # one random permutation in 24 is the exact order
    assert exact == pytest.approx(0.75 + 0.25 / 24, abs=0.02)
    assert (np.diff(World(world.truth, 0.0).draw_votes(4, 50, rng).sum(axis=1)) != 0).any()


def test_rank_error_is_that_of_a_plain_sort() -> None:
    rng = np.random.default_rng(2)
    truth, order = rng.permutation(20), np.arange(20)
    for _ in range(30):
        values = rng.normal(size=20)
        places = np.argsort(np.argsort(-values))
        assert measure_rank_error(values, truth, order) == pytest.approx(((places - truth) ** 2).mean())
    assert measure_rank_error(-truth.astype(float), truth, order) == 0


@pytest.mark.parametrize("method", ["ksort", "elo-16"])
def test_the_compiled_loop_does_what_single_votes_do(method: str) -> None:
    setting = Setting(method, "random", 3, 0.1, 60, n_models=8)
    errors = trace_errors(setting, 3)
    rng = np.random.default_rng((3, 3, 100))
    world, rater, order = World.draw(8, 0.1, rng), make_rater(method, 8), np.arange(8)
    for vote, ranking in enumerate(world.draw_votes(3, 60, rng)):
        rater.rate(ranking)
        assert measure_rank_error(rater.mean, world.truth, order) == errors[0, vote]


@pytest.mark.parametrize(
    ("method", "policy", "horizon"),
    [
        ("ksort", "ksort", 150),
        ("ksort", "random", 800),
        ("trueskill", "random", 150),
        ("openskill-tm", "random", 300),
        ("openskill-pl", "random", 300),
        ("elo-16", "random", 20_000),
        ("ranking", "order-entropy", 14),
    ],
)
def test_every_method_finds_the_order_of_few_models(method: str, policy: str, horizon: int) -> None:
    k = 2 if method.startswith("elo") else 4
    run = run_experiment(Experiment(Setting(method, policy, k, 0.0, horizon, n_models=7)), seed=0)
    assert any(run[by]["settled"] is not None for by in ("mean", "score")), run
    assert len(run["mean"]["errors"]) == len(check_votes(horizon))


def test_a_new_model_finds_its_place() -> None:
    off = trace_newcomer(Setting("ksort", "ksort", 4, 0.0, 20, n_models=8), seed=1, settle=60)
    assert off[0, -1] <= 1


def test_quick_experiments_are_the_full_ones_cut_short() -> None:
    full, quick = list_experiments(quick=False), list_experiments(quick=True)
    assert [e.setting.method for e in full] == [e.setting.method for e in quick]
    assert all(short.setting.horizon < long.setting.horizon for short, long in zip(quick, full, strict=True))


def test_quartiles_count_runs_that_did_not_get_there_as_late() -> None:
    all_there = sum_up([10, 20, 30, 40, 50])
    assert (all_there.low, all_there.median, all_there.high) == (20, 30, 40)
    some = sum_up([10, None, 30, None, 20])
    assert (some.low, some.median, some.high, some.reached, some.runs) == (20, 30, None, 3, 5)


def test_raw_results_come_back_as_written(tmp_path: Path) -> None:
    raw = {"seeds": 2, "rows": [{"method": "ksort", "k": 4}, {"method": "elo-4", "k": 2}]}
    write_raw(raw, tmp_path / "raw.json")
    assert read_raw(tmp_path / "raw.json") == raw
    assert find_row(raw["rows"], method="elo-4") == {"method": "elo-4", "k": 2}  # type: ignore[arg-type]
    assert find_row(raw["rows"], method="elo-4", k=4) is None  # type: ignore[arg-type]


def test_summary_is_that_of_the_raw_results() -> None:
    kept = json.loads((ROOT / "benchmarks" / "paper" / "results.json").read_text())
    raw = read_raw()
    assert kept["figures"] == summarise_rows(raw["rows"])
    assert all(len(row["mean"]["settled"]) == raw["seeds"] >= 20 for row in raw["rows"])


def test_document_is_made_from_the_raw_results() -> None:
    made = document.render_document()
    assert document.FILE.read_text("utf-8") == made, "make it again: python -m benchmarks.paper.document"


def test_pictures_are_drawn_and_kept(tmp_path: Path) -> None:
    rows = read_raw()["rows"]
    for name, figure in (
        (plots.ERROR_NAME, plots.draw_rank_error(rows)),
        (plots.NEWCOMER_NAME, plots.draw_newcomer(rows)),
    ):
        figure.savefig(tmp_path / name)
        assert (plots.FOLDER / name).exists(), "draw them: python -m benchmarks.paper.plots"
        assert any(axes.lines for axes in figure.axes)
