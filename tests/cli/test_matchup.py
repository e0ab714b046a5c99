"""`kwise matchup suggest`: repeatable, and from the published state."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import kwise
from pipeline.contracts.matchup import decode_matchup
from pipeline.matchmaking.propose import view_publication
from pipeline.rating.pair_counts import PairCounts
from tests.cli.stores import TIME, make_publication, make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("matchup") / "store", "pictures")


def suggest(store: Path, *arguments: object) -> Result:
    return CliRunner().invoke(kwise, ["matchup", "suggest", "--store", str(store), *(str(each) for each in arguments)])


def test_suggestions_are_matchups_of_active_models(store: Path) -> None:
    result = suggest(store, "--count", 20, "--format", "json")
    assert result.exit_code == 0, result.output
    matchups = [decode_matchup(json.dumps(row).encode()) for row in json.loads(result.stdout)]
    assert len({matchup.matchup_id for matchup in matchups}) == 20
    assert all(len(set(matchup.models)) == 3 and "old" not in matchup.models for matchup in matchups)
    first = matchups[0]
    assert (first.policy, first.commit, first.created) == ("gibbs", 2, TIME + 120_000)
    assert first.expires - first.created == 900_000
    assert first.prompt is not None
    assert (first.prompt.id, first.prompt.seed) == ("p1", 7)
    # delta was never compared: it goes first
    assert "delta" in first.models


def test_same_seed_same_output_and_other_seed_another(store: Path) -> None:
    for policy in ("gibbs", "ksort", "random"):
        fixed = [suggest(store, "--count", 9, "--policy", policy, "--seed", seed).stdout for seed in (1, 1, 2)]
        assert fixed[0] == fixed[1] != fixed[2]
    assert suggest(store, "--count", 9).stdout == suggest(store, "--count", 9).stdout


def test_default_seed_changes_with_the_commit(tmp_path: Path, store: Path) -> None:
    later = make_store(tmp_path / "later", "pictures", commits=3)
    assert suggest(store, "--policy", "random").stdout != suggest(later, "--policy", "random").stdout


def test_random_has_its_propensity(store: Path) -> None:
    result = suggest(store, "--policy", "random", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert float(row["propensity"]) == 0.25
    assert len(json.loads(row["models"])) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "best"], "--policy: gibbs, ksort, random"),
        (["--count", 0], "--count"),
        (["--arena", "x"], "has pictures"),
    ],
)
def test_wrong_use(store: Path, arguments: list[object], said: str) -> None:
    result = suggest(store, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_view_counts_what_is_published() -> None:
    publication, counts = make_publication("pictures", 2)
    view = view_publication(publication, PairCounts.from_columns(counts), policy="ksort")
    assert view.active.tolist() == [True, True, True, True, False]
    assert view.mu.tolist() == [30, 25, 20, 25, 25]
    assert view.s2[4] == (25 / 3) ** 2
    assert view.comparisons.tolist() == [4, 4, 4, 0, 0]
    assert view.pair_row(0).tolist() == [0, 2, 2, 0, 0]
    assert view.open_sets == ((0, 1, 2),)


def test_view_of_an_arena_without_a_filter_is_the_prior() -> None:
    publication, counts = make_publication("pictures", 1)
    bare = msgspec.structs.replace(publication, filters={})
    view = view_publication(bare, PairCounts.from_columns(counts), policy="gibbs")
    assert view.mu.tolist() == [25.0] * 5
    assert view.belief is not None
    assert len(view.belief.mean) == 5


def test_audit_tells_weights_and_slots(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    log = str(tmp_path / "votes.jsonl")
    run = CliRunner().invoke
    assert run(kwise, ["votes", "simulate", "--to", log, "--votes", "400", "--models", "6"]).exit_code == 0
    assert run(kwise, ["replay", "--from", log, "--store", str(folder)]).exit_code == 0
    result = run(kwise, ["matchup", "audit", "--store", str(folder), "--format", "json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["votes"] > 300
    assert told["without_propensity"] == 0
    assert told["effective_votes"] == pytest.approx(told["votes"])
    assert len(told["models"]) == 6
    assert all(row["win_rate"] == pytest.approx(row["reweighted"]) for row in told["models"])
    assert [row["slot"] for row in told["slots"]] == [1, 2, 3, 4]
    table = run(kwise, ["matchup", "audit", "--store", str(folder)])
    assert "votes on uniform matchups" in table.stderr
    assert "slot 1 won" in table.stderr
