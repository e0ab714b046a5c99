"""Real votes through the whole path, against what their publishers found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.jobs import call, call_json

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("named", [False, True], ids=["blind votes", "all votes"])
def test_genai_arena_comes_out_in_its_published_order(tmp_path: Path, kwise_data: Path, named: bool) -> None:
    url = f"sqlite:{tmp_path / 'events.db'}"
    file = kwise_data / "genai-arena" / "clean_battle_20240220.json"
    call("votes", "import", "genai-arena", file, "--to", url, *(["--include-named"] if named else []))
    call("replay", "--from", url, "--store", tmp_path / "store")
    board = call_json("board", "show", "--store", tmp_path / "store", "--arena", "text-to-image")
    assert [row["model"] for row in board["models"]] == [
        "PlayGroundV2", "PixArtAlpha", "SDXL", "SDXLTurbo", "OpenJourney", "LCM",
    ]  # fmt: skip


def test_preflib_dots_come_out_in_their_true_order(tmp_path: Path, kwise_data: Path) -> None:
    """Pictures are named after their number of dots; the fewer, the better."""
    for file in sorted((kwise_data / "preflib-dots").glob("*.soc")):
        url, store = f"sqlite:{tmp_path / file.stem}.db", tmp_path / file.stem
        imported = call_json("votes", "import", "preflib", file, "--to", url)
        call("replay", "--from", url, "--store", store)
        board = call_json("board", "show", "--store", store)
        assert board["votes"] == sum(row["votes"] for row in imported) > 700
        dots = [int(row["name"]) for row in board["models"]]
        assert dots == sorted(dots), file.name
        assert len(dots) == 4
