"""Generation settings in arena files and events, and the recipe's hash."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.contracts.arena import ArenaError, Model, parse_arena_file
from pipeline.contracts.control import ControlEvent, ControlFault, decode_control, encode_control
from pipeline.contracts.generation import (
    ArtifactFormat,
    GenerationSettings,
    GenerationSettingsError,
    WorkJob,
    WorkPrompt,
    hash_recipe,
    seed_of,
)

FILE = """
[arena]
id = "pictures"
settings.artifact = { width = 256, height = 256 }
[[model]]
id = "sd"
generator = "diffusers:/models/sd"
[model.generation]
steps = 28
guidance = 4
extra = { max_sequence_length = 64 }
"""


def test_settings_come_from_the_arena_file() -> None:
    parsed = parse_arena_file(FILE, "arena.toml")
    settings = parsed.model[0].generation
    assert settings == GenerationSettings(steps=28, guidance=4.0, extra={"max_sequence_length": 64})
    assert parsed.arena.settings.artifact == ArtifactFormat(width=256, height=256)
    assert parse_arena_file('[arena]\nid = "x"\n[[model]]\nid = "m"', "x").model[0].generation is None


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("steps = 28", "stepps = 28", "unknown field `stepps`"),
        ("steps = 28", "steps = 0", "generation.steps = 0 must lie between 1 and 1000"),
        ("steps = 28", 'dtype = "int8"', "Invalid enum value 'int8'"),
        ("steps = 28", "max_batch = 65", "generation.max_batch = 65"),
        ("steps = 28", "width = 9000", "generation.width = 9000"),
        ("steps = 28", "frames = 1", "generation.frames = 1"),
        ("max_sequence_length", "prompt", "generation.extra has 'prompt'"),
        ("max_sequence_length", '"__class__"', "generation.extra has '__class__'"),
        ("max_sequence_length = 64", "x = [1]", "generation.extra"),
        ("width = 256", "width = 8", "artifact.width = 8 must lie between 16 and 4096"),
        ("width = 256", "widht = 256", "unknown field `widht`"),
    ],
)
def test_faults_are_named(before: str, after: str, words: str) -> None:
    assert before in FILE
    with pytest.raises(ArenaError, match=r"arena\.toml") as caught:
        parse_arena_file(FILE.replace(before, after), "arena.toml")
    assert words in str(caught.value)


def test_settings_go_through_the_log() -> None:
    model = Model(id="m", generator="demo:fjord", generation=GenerationSettings(steps=4, extra={"a": 1, "b": 0.5}))
    event = ControlEvent(schema=1, event_id="e", type="model.add", time=1, arena="pictures", model=model)
    assert decode_control(encode_control(event)).model == model
    bare = msgspec.structs.replace(event, model=Model(id="m"))
    assert b"generation" not in encode_control(bare)
    broken = encode_control(event).replace(b'"steps":4', b'"steps":0')
    with pytest.raises(ControlFault, match="steps = 0"):
        decode_control(broken)


def make_job(**changes: Any) -> WorkJob:
    plain: dict[str, Any] = {
        "job_id": "j", "fence": 1, "arena": "a", "model": "m", "generator": "demo:x",
        "prompt": WorkPrompt(id="p", text="a cat", seed=1),
    }  # fmt: skip
    return WorkJob(**{**plain, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"generator": "demo:y"},
        {"revision": "abc"},
        {"generation": GenerationSettings(steps=5)},
        {"generation": GenerationSettings(extra={"a": 1})},
        {"format": ArtifactFormat(width=64)},
        {"prompt": WorkPrompt(id="p", text="a dog", seed=1)},
        {"prompt": WorkPrompt(id="p", text="a cat", seed=2)},
        {"prompt": WorkPrompt(id="p", text="a cat")},
    ],
)
def test_recipes_differ_where_artifacts_do(changes: dict[str, Any]) -> None:
    assert hash_recipe(make_job(**changes)) != hash_recipe(make_job())


@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": "k", "fence": 2, "arena": "b", "model": "n", "attempt": 3},
        {"prompt": WorkPrompt(id="q", text="a cat", seed=1, tags=("x",))},
        {"generation": GenerationSettings()},
        {"generation": GenerationSettings(max_batch=2, offload="model", timeout_seconds=5, budget_per_day=9)},
    ],
)
def test_recipes_are_the_same_where_artifacts_are(changes: dict[str, Any]) -> None:
    assert hash_recipe(make_job(**changes)) == hash_recipe(make_job())


def test_recipes_are_the_same_in_every_process_and_version() -> None:
    """Pinned: a change would make everything anew. If it is meant, RECIPE_VERSION goes up."""
    job = make_job(generation=GenerationSettings(steps=4, extra={"b": 1, "a": "x"}), revision="r")
    same = make_job(generation=GenerationSettings(steps=4, extra={"a": "x", "b": 1}, revision="r"))
    assert hash_recipe(job) == hash_recipe(same) == PINNED


PINNED = "e52f8f5edb1a12b153f5e0e8cfc717d31e15734003d6456e71623cc409403e0a"


def test_a_prompt_without_a_seed_has_always_the_same() -> None:
    one, other = WorkPrompt(id="p", text="a cat"), WorkPrompt(id="q", text="a cat")
    assert seed_of(one) == seed_of(other) != seed_of(WorkPrompt(id="p", text="a dog"))
    assert seed_of(WorkPrompt(id="p", text="x", seed=5)) == 5
    assert seed_of(WorkPrompt(id="p", text="x", seed=-1)) >= 0


def test_errors_are_the_settings_own() -> None:
    with pytest.raises(GenerationSettingsError):
        GenerationSettings(steps=0)
