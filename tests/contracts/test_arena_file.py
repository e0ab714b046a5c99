"""Arena files: TOML with the names of the types."""

from __future__ import annotations

import pytest

from pipeline.contracts.arena import ArenaError, parse_arena_file

TEXT = """
[arena]
id = "text-to-image"
title = "Text to image"
k = 4
modes = ["rank", "best"]
settings = { open_min = 8, open_max = 64 }

[[model]]
id = "sd-3.5"
organization = "Stability AI"
access = "open"
tags = ["fast"]

[[model]]
id = "flux-dev"

[[prompt]]
id = "p-1"
text = "a cat on a mat"
seed = 7
"""


def test_arena_files_are_parsed() -> None:
    parsed = parse_arena_file(TEXT, "arena.toml")
    assert (parsed.arena.id, parsed.arena.k, parsed.arena.settings.open_min) == ("text-to-image", 4, 8)
    assert [model.id for model in parsed.model] == ["sd-3.5", "flux-dev"]
    assert parsed.model[0].tags == ("fast",)
    assert parsed.prompt[0].seed == 7


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[arena]", "[arena", "TOML"),
        ("k = 4", "k = 9", "between 2 and 8"),
        ("k = 4", "k = '4'", "int"),
        ("k = 4", "colour = 4", "colour"),
        ('"best"', '"worst"', "worst"),
        ("open_min = 8", "open_min = 80", "open_min"),
        ('id = "flux-dev"', 'id = "sd-3.5"', "more than once"),
        ('id = "flux-dev"', 'id = "flux dev"', "not valid"),
        ('id = "flux-dev"', 'name = "flux-dev"', "id"),
        ('access = "open"', 'access = "free"', "free"),
        ('id = "p-1"', 'id = ""', "not valid"),
        ('text = "a cat on a mat"', "", "text"),
        ("[[model]]", "[[models]]", "models"),
    ],
)
def test_errors_say_where_and_what(old: str, new: str, says: str) -> None:
    assert old in TEXT
    with pytest.raises(ArenaError, match=r"arena\.toml") as caught:
        parse_arena_file(TEXT.replace(old, new), "arena.toml")
    assert says in str(caught.value)


def test_errors_of_ours_have_no_path_behind_them() -> None:
    with pytest.raises(ArenaError) as caught:
        parse_arena_file(TEXT.replace('id = "flux-dev"', 'id = "flux dev"'), "arena.toml")
    assert str(caught.value).endswith("letters, digits and . _ : -")
