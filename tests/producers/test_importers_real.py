"""Importers on real votes (`$KWISE_DATA`): the figures that their owners state, and that were counted by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from producers.importers.formats import FORMATS
from producers.importers.source import ImportOptions, ImportSummary
from tests.producers.test_importers import read


def test_genai_arena_has_1451_blind_votes_on_text_to_image(kwise_data: Path) -> None:
    path = kwise_data / "genai-arena" / "clean_battle_20240220.json"
    votes, summary, arenas = read("genai-arena", path)
    assert summary.read == 2061
    assert summary.imported == {"text-to-image": 1451, "image-editing": 64}
    images = [vote for vote in votes if vote.arena == "text-to-image"]
    assert Counter(vote.mode for vote in images) == {"rank": 1155, "all_bad": 296}
    assert (images[0].models, images[0].ranks, images[0].time) == (("SDXLTurbo", "LCM"), (1, 2), 1707700514317)
    editing, generation = arenas
    assert (editing.arena.id, len(editing.models)) == ("image-editing", 7)
    assert [(model.id, model.organization, model.license) for model in generation.models] == [
        ("LCM", "Tsinghua University", "MIT License"),
        ("OpenJourney", "PromptHero", "creativeml-openrail-m"),
        ("PixArtAlpha", "PixArt-alpha", "openrail++"),
        ("PlayGroundV2", "Playground", "Playground v2 Community License"),
        ("SDXL", "Stability AI", "openrail++"),
        ("SDXLTurbo", "Stability AI", "sai-nc-community (other)"),
    ]
    assert all(model.url and model.url.startswith("https://") for model in generation.models)


def test_genai_arena_has_2060_votes_with_named_ones(kwise_data: Path) -> None:
    path = kwise_data / "genai-arena" / "clean_battle_20240220.json"
    summary = ImportSummary()
    options = ImportOptions(include_named=True)
    votes = list(FORMATS["genai-arena"].read_votes(path, options, summary))
    assert summary.read == 2061
    assert len(votes) == 2060
    assert summary.skipped == {"of a model with itself": 1}


@pytest.mark.parametrize(("number", "voters", "step"), [(1, 795, 3), (2, 794, 5), (3, 800, 7), (4, 794, 9)])
def test_preflib_has_all_rankings_of_the_dots(kwise_data: Path, number: int, voters: int, step: int) -> None:
    votes, _, arenas = read("preflib", kwise_data / "preflib-dots" / f"00024-0000000{number}.soc")
    assert len(votes) == voters
    assert arenas[0].arena.id == f"all_200x{step}"
    assert [model.name for model in arenas[0].models] == [str(200 + i * step) for i in range(4)]
    firsts = Counter(vote.models[(vote.ranks or ()).index(1)] for vote in votes)
    assert firsts.most_common(1)[0][0] == "200"
