"""`kwise votes simulate --via`: people who judge pictures find the true order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from producers.dispatcher.plain_png import draw_png
from producers.simulate.pictures import mark_quality, read_quality
from tests.conftest import wait_until
from tests.end_to_end.jobs import call
from tests.gateway.systems import ARENA, System, published_votes

WORLD = (
    "--models",
    "6",
    "--seed",
    "5",
    "--arena-id",
    ARENA,
    "--skip-share",
    "0",
    "--judgement",
    "exact",
    "--noise",
    "0",
)


def test_the_quality_is_in_the_picture() -> None:
    picture = draw_png("words", 16)
    assert read_quality(mark_quality(picture, -1.25)) == -1.25
    assert read_quality(picture) is None
    assert read_quality(mark_quality(picture, 1.0)[:-20]) is None


def test_simulated_people_find_the_truth_through_the_gateway(system: System) -> None:
    before = published_votes(system)
    options = ("--via", system.server.url, "--votes", "60", "--concurrency", "12", "--format", "json")
    result = call("votes", "simulate", *options, *WORLD)
    assert "60 votes through" in result.stderr
    assert "refused" not in result.stderr
    assert [row["model"] for row in json.loads(result.stdout)] == system.world.truth
    wait_until(lambda: published_votes(system) >= before + 60)
    with system.client() as client:
        reached = [line.model for line in client.board(ARENA).models]
    # Other tests vote at random in this arena.
    assert reached[0] in system.world.truth[:3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name either --to or --via"),
        (("--via", "http://127.0.0.1:1", "--to", "x.jsonl"), "name either --to or --via"),
    ],
)
def test_one_way_is_named(arguments: tuple[str, ...], message: str) -> None:
    assert message in call("votes", "simulate", *arguments, code=2).output


def test_an_arena_that_is_not_there_is_told(system: System, tmp_path: Path) -> None:
    result = call("votes", "simulate", "--via", system.server.url, "--arena-id", "nowhere", "--votes", "1", code=1)
    assert "the gateway has no arena 'nowhere'; it has clips, pictures" in result.output
