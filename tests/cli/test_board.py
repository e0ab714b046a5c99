"""`kwise board`: the published board in three formats, now and in the past."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.board import tabulate_board
from pipeline.cli.main import kwise
from pipeline.store.reader import StoreReader
from tests.cli.stores import TIME, make_store

TOP_KEYS = ["arena", "method", "methodology", "as_of", "votes", "commit", "models"]
MODEL_KEYS = [
    "rank", "rank_low", "rank_high", "model", "name", "organization", "license", "mean", "sd", "low", "high",
    "score", "rating", "rating_low", "rating_high", "votes", "comparisons",
    "group", "p_best",
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("board") / "store", "pictures", commits=3)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(kwise, ["board", *(str(each) for each in arguments)])


def test_show_json_has_exactly_the_promised_keys(store: Path) -> None:
    result = invoke("show", "--store", store, "--format", "json")
    assert result.exit_code == 0, result.output
    board = json.loads(result.stdout)
    assert list(board)[: len(TOP_KEYS)] == TOP_KEYS
    assert [list(model) for model in board["models"]] == [MODEL_KEYS] * 5
    assert (board["arena"], board["method"], board["commit"], board["as_of"]) == (
        "pictures", "posterior", 3, TIME + 180_000,
    )  # fmt: skip
    assert board["models"][0]["sd"] == 0.1 + 0.2
    assert board["models"][0]["organization"] is None
    assert "NaN" not in result.stdout


def test_show_table_heads_with_what_it_is_on_stderr(store: Path) -> None:
    result = invoke("show", "--store", store)
    assert result.stderr == (
        "pictures, by posterior (posterior-1), as of 2025-11-24T16:03:00.000Z: 3 votes, commit 3\n"
    )
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "#",
        "ranks",
        "group",
        "model",
        "organization",
        "rating",
        "±",
        "interval",
        "votes",
        "comparisons",
    ]
    assert lines[2].split() == [
        "1",
        "1–2",
        "1",
        "Alpha,",
        "the",
        "first",
        "–",
        "900",
        "50",
        "850",
        "…",
        "950",
        "3",
        "6",
    ]
    assert "gamma" in lines[4]
    assert [line.split()[2] for line in lines[2:7]] == ["1", "1", "2", "2", "3"]


def test_show_by_ksort_tables_the_score_that_ranks_follow(store: Path) -> None:
    lines = invoke("show", "--store", store, "--method", "ksort").stdout.splitlines()
    assert lines[0].split()[:6] == ["#", "ranks", "model", "organization", "score", "mean"]
    assert lines[2].split()[5:8] == ["–", "-2.000", "-0.667"]


def test_show_csv_is_the_json_table(store: Path) -> None:
    read = list(csv.DictReader(io.StringIO(invoke("show", "--store", store, "--format", "csv").stdout)))
    assert list(read[0]) == MODEL_KEYS
    assert read[1]["name"] == 'Beta "B"'
    assert read[0]["organization"] == ""
    assert float(read[0]["mean"]) == 1 / 3 - 1


def test_show_at_a_past_time(store: Path) -> None:
    def commit(at: object) -> int:
        result = invoke("show", "--store", store, "--at", at, "--format", "json")
        assert result.exit_code == 0, result.output
        return int(json.loads(result.stdout)["commit"])

    assert commit(TIME + 60_000) == 1
    assert commit("2025-11-24T16:02:59") == 2
    assert commit("-1s") == 3
    before = invoke("show", "--store", store, "--at", 0)
    assert before.exit_code == 1
    assert "nothing was published" in before.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--arena", "music"], "no arena 'music'; it has pictures"),
        (["--method", "glicko"], "no board by the method 'glicko' is published; published are posterior, ksort"),
        (["--at", "soon"], "is not a time"),
    ],
)
def test_show_wrong_use_lists_what_there_is(store: Path, arguments: list[str], said: str) -> None:
    result = invoke("show", "--store", store, *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_show_asks_which_of_several_arenas(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", "videos", "pictures")
    result = invoke("show", "--store", store)
    assert result.exit_code == 2
    assert "choose one with --arena: pictures, videos" in result.stderr
    chosen = invoke("show", "--store", store, "--arena", "videos", "--format", "json")
    assert json.loads(chosen.stdout)["arena"] == "videos"


def test_show_without_a_store_or_without_arenas_fails(tmp_path: Path) -> None:
    missing = invoke("show", "--store", tmp_path / "nowhere")
    assert missing.exit_code == 1
    assert "there is no store at" in missing.stderr
    empty = invoke("show", "--store", make_store(tmp_path / "store"))
    assert empty.exit_code == 1
    assert "no arena yet" in empty.stderr


def test_history_is_one_row_a_model_and_commit(store: Path) -> None:
    result = invoke("history", "--store", store, "--format", "json")
    rows = json.loads(result.stdout)
    assert list(rows[0]) == ["time", "commit", "model", "rank", "mean", "sd", "low", "high", "rating", "votes"]
    assert [(row["commit"], row["rank"]) for row in rows] == [(c, r) for c in (1, 2, 3) for r in range(1, 6)]
    assert rows[0]["time"] == "2025-11-24T16:01:00.000Z"


def test_history_of_some_models_in_some_time(store: Path) -> None:
    result = invoke(
        "history", "--store", store, "--model", "beta", "--model", "old", "--method", "ksort",
        "--since", TIME + 61_000, "--until", TIME + 120_000, "--format", "csv",
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["commit"], row["model"], row["rating"]) for row in rows] == [("2", "beta", ""), ("2", "old", "")]


def test_history_of_an_unknown_model_is_wrong_use(store: Path) -> None:
    result = invoke("history", "--store", store, "--model", "nobody")
    assert result.exit_code == 2
    assert "no model nobody; it has alpha, beta" in result.stderr


def test_piped_board_is_whole_and_uncoloured(store: Path) -> None:
    program = Path(sys.executable).with_name("kwise")
    done = subprocess.run(
        ["bash", "-c", f"COLUMNS=20 '{program}' board show --store '{store}' | head -3"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Alpha, the first" in done.stdout.splitlines()[2]
    assert "\x1b" not in done.stdout
    assert done.stderr.startswith("pictures, by posterior")
    assert done.stderr.count("\n") == 1


def test_table_shows_no_interval_of_a_model_without_comparisons(store: Path) -> None:
    board = StoreReader(store).board("pictures")
    unplayed = msgspec.structs.replace(board.models[0], comparisons=0)
    rows, _ = tabulate_board(msgspec.structs.replace(board, models=(unplayed, *board.models[1:])))
    assert (rows[0]["margin"], rows[0]["interval"]) == (None, None)
    assert rows[0]["value"] == board.models[0].rating
    assert rows[1]["margin"] is not None
