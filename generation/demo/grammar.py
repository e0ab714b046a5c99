"""What demo prompts say: one or two groups of coloured shapes, how they lie, and before what.

`describe_scene` writes a scene as a prompt and `parse_prompt` reads it back. Prompts of people are read as far as they
use the same words; of a text that uses none, the letters choose a scene, so that every prompt gives a picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from numpy.random import Generator

COLOURS: Final[dict[str, tuple[float, float, float]]] = {
    "red": (0.86, 0.13, 0.13),
    "orange": (0.96, 0.52, 0.10),
    "yellow": (0.97, 0.83, 0.15),
    "green": (0.15, 0.62, 0.25),
    "blue": (0.13, 0.33, 0.85),
    "purple": (0.52, 0.20, 0.70),
    "pink": (0.96, 0.50, 0.68),
    "white": (0.95, 0.95, 0.95),
    "black": (0.10, 0.10, 0.12),
    "brown": (0.48, 0.30, 0.16),
    "cyan": (0.15, 0.75, 0.82),
    "grey": (0.55, 0.56, 0.58),
}
"""Red, green and blue from 0 to 1."""

SHAPES: Final = ("circle", "square", "triangle", "star", "heart", "ring", "hexagon", "cross", "moon", "diamond")
RELATIONS: Final = ("above", "below", "left of", "right of", "next to", "inside", "in front of")
SIZES: Final[dict[str, float]] = {"small": 0.65, "": 1.0, "big": 1.35}
"""Word -> factor of the usual size."""
BACKDROPS: Final[dict[str, str]] = {
    "": "",
    "night": " at night",
    "sunset": " at sunset",
    "grass": " on grass",
    "sand": " on sand",
}
"""Backdrop -> how a prompt says it."""

_NUMBERS: Final = ("a", "two", "three", "four", "five")
_COUNTS: Final = {**{word: count for count, word in enumerate(_NUMBERS, start=1)}, "an": 1, "one": 1}
_THING: Final = re.compile(
    rf"(?:\b({'|'.join(sorted(_COUNTS, key=len, reverse=True))})\s+)?"
    rf"(?:\b({'|'.join(size for size in SIZES if size)})\s+)?"
    rf"\b({'|'.join(COLOURS)})\s+({'|'.join(SHAPES)})(?:es|s)?\b"
)
_RELATION: Final = re.compile(rf"\b({'|'.join(RELATIONS)})\b")
_BACKDROP: Final = re.compile(rf"\b({'|'.join(backdrop for backdrop in BACKDROPS if backdrop)})\b")
_MOST_THINGS: Final = 2


@dataclass(frozen=True, slots=True)
class Thing:
    """One to five equal shapes of one colour. `size` is a word of `SIZES`."""

    colour: str
    shape: str
    count: int = 1
    size: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a prompt asks for. With two things, the first one stands in `relation` to the second."""

    things: tuple[Thing, ...]
    relation: str = ""
    backdrop: str = ""


def describe_scene(scene: Scene) -> str:
    """Return the prompt that asks for `scene`."""
    text = _describe_thing(scene.things[0])
    if len(scene.things) > 1:
        text += f" {scene.relation} {_describe_thing(scene.things[1])}"
    return text + BACKDROPS[scene.backdrop]


def parse_prompt(text: str) -> Scene:
    """Return the scene that a prompt asks for; a text without known words gets one that its letters choose."""
    lowered = " ".join(text.lower().split())
    things = tuple(
        Thing(colour, shape, _COUNTS.get(number, 1), size)
        for number, size, colour, shape in _THING.findall(lowered)[:_MOST_THINGS]
    )
    backdrop = found.group(1) if (found := _BACKDROP.search(lowered)) else ""
    if not things:
        chosen = int.from_bytes(sha256(lowered.encode()).digest()[:8], "big")
        chosen, colour = divmod(chosen, len(COLOURS))
        things = (Thing(tuple(COLOURS)[colour], SHAPES[chosen % len(SHAPES)]),)
    if len(things) == 1:
        return Scene(things, "", backdrop)
    relation = found.group(1) if (found := _RELATION.search(lowered)) else "next to"
    return Scene(things, relation, backdrop)


def sample_scene(rng: Generator) -> Scene:
    """Draw a scene: three in four have two things."""
    backdrop = str(rng.choice(list(BACKDROPS), p=[0.4, 0.15, 0.15, 0.15, 0.15]))
    first, second = (str(colour) for colour in rng.choice(list(COLOURS), 2, replace=False))
    shapes = [str(shape) for shape in rng.choice(SHAPES, 2, replace=False)]
    if rng.random() < 0.25:
        count = int(rng.choice([1, 2, 3, 4, 5]))
        return Scene((Thing(first, shapes[0], count, _sample_size(rng) if count == 1 else ""),), "", backdrop)
    relation = str(rng.choice(RELATIONS))
    if relation in {"inside", "in front of"}:
        return Scene((Thing(first, shapes[0]), Thing(second, shapes[1])), relation, backdrop)
    count = int(rng.choice([1, 1, 1, 2, 3]))
    size = _sample_size(rng) if count == 1 else ""
    return Scene((Thing(first, shapes[0], count, size), Thing(second, shapes[1])), relation, backdrop)


def _sample_size(rng: Generator) -> str:
    return str(rng.choice(list(SIZES), p=[0.2, 0.6, 0.2]))


def _describe_thing(thing: Thing) -> str:
    number = _NUMBERS[thing.count - 1]
    if thing.count == 1 and (thing.size or thing.colour)[0] in "aeiou":
        number = "an"
    words = [number, *([thing.size] if thing.size else []), thing.colour, thing.shape]
    if thing.count > 1:
        words[-1] += "es" if thing.shape.endswith("s") else "s"
    return " ".join(words)
