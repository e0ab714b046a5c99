"""Demo prompts say what is drawn, and every prompt gives a scene."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.demo.grammar import Scene, Thing, describe_scene, parse_prompt, sample_scene
from generation.demo.models import list_prompts


@pytest.mark.parametrize(
    ("text", "scene"),
    [
        ("a red circle above a blue square", Scene((Thing("red", "circle"), Thing("blue", "square")), "above")),
        ("an orange heart", Scene((Thing("orange", "heart"),))),
        ("three green crosses on grass", Scene((Thing("green", "cross", 3),), "", "grass")),
        (
            "  A small WHITE ring inside\na big black hexagon, at night! ",
            Scene((Thing("white", "ring", 1, "small"), Thing("black", "hexagon", 1, "big")), "inside", "night"),
        ),
        ("one pink moon and one grey star", Scene((Thing("pink", "moon"), Thing("grey", "star")), "next to")),
    ],
)
def test_prompts_are_read(text: str, scene: Scene) -> None:
    assert parse_prompt(text) == scene


@given(st.integers(0, 2**32))
def test_a_described_scene_is_read_back(seed: int) -> None:
    scene = sample_scene(np.random.default_rng(seed))
    assert parse_prompt(describe_scene(scene)) == scene


@given(st.text(max_size=200))
def test_any_text_gives_one_scene(text: str) -> None:
    scene = parse_prompt(text)
    assert 1 <= len(scene.things) <= 2
    assert parse_prompt(text) == scene


def test_texts_without_known_words_differ() -> None:
    scenes = {parse_prompt(f"the silence of winter {number}") for number in range(100)}
    assert len(scenes) > 40


def test_listed_prompts_are_different_and_repeatable() -> None:
    prompts = list_prompts(200)
    assert len({prompt.text for prompt in prompts}) == len({prompt.id for prompt in prompts}) == 200
    assert list_prompts(200) == prompts
    assert list_prompts(5, seed=2) != prompts[:5]
    assert all(
        len(parse_prompt(prompt.text).things) == (2 if parse_prompt(prompt.text).relation else 1) for prompt in prompts
    )
