"""The twelve demo models, from best to worst, and the pictures that they draw.

A picture is a function of (model, prompt, seed, size): its random numbers come from the hash of the first three, and
each picture is drawn by itself, so that it is the same alone and in any batch. Bits may differ between versions of
numpy and between processors whose vector instructions round differently.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

import numpy as np
from numpy.typing import NDArray

from generation.demo.flaws import Flaws, bend_grid, spoil_layout, spoil_pixels
from generation.demo.grammar import Scene, describe_scene, parse_prompt, sample_scene
from generation.demo.paint import lay_out, paint_backdrop, paint_mark
from generation.errors import GenerationError
from pipeline.contracts.arena import Prompt
from pipeline.contracts.generation import ArtifactFormat

SIZE: Final = 256
"""Width and height at which flaws are tuned, and at which demo arenas show pictures."""

_GENERATION_GAIN: Final = 0.85
_NAME: Final = re.compile(r"([a-z]+)(?:-([1-9][0-9]?))?")
_FIRST_SEED: Final = 1


DEMO_MODELS: Final[dict[str, Flaws]] = {
    "basalt": Flaws(),
    "juniper": Flaws(misplace=0.03, hue=0.06, blur=0.55, noise=0.008),
    "heron": Flaws(flat=0.22, misplace=0.05, hue=0.12, blur=0.65, noise=0.01),
    "aster": Flaws(flat=0.1, bend=0.014, misplace=0.09, hue=0.2, blur=1.1, noise=0.024),
    "dune": Flaws(flat=0.4, misplace=0.12, hue=0.24, blur=1.2, swap=0.05, noise=0.034),
    "kestrel": Flaws(
        flat=0.3, bend=0.024, misplace=0.15, hue=0.28, blur=1.6, noise=0.044, stain=0.034, wrong_shape=0.04, swap=0.06
    ),
    "ember": Flaws(
        flat=0.6, pixel=3, misplace=0.19, hue=0.34, bend=0.028, noise=0.035, stain=0.025, drop=0.05, swap=0.1,
        wrong_shape=0.08,
    ),
    "cirrus": Flaws(
        flat=0.4, bend=0.038, blur=2.4, noise=0.06, stain=0.055, hue=0.4, misplace=0.25, swap=0.15, wrong_shape=0.14
    ),
    "lumen": Flaws(
        flat=0.6, pixel=5, bend=0.04, hue=0.44, misplace=0.3, noise=0.07, stain=0.055, drop=0.13, swap=0.2,
        wrong_shape=0.18,
    ),
    "iris": Flaws(
        flat=0.5, blur=3.6, noise=0.085, stain=0.09, bend=0.05, hue=0.5, misplace=0.36, drop=0.19, swap=0.26,
        wrong_shape=0.25,
    ),
    "garnet": Flaws(
        flat=0.6, pixel=7, blur=1.5, noise=0.09, stain=0.11, bend=0.065, hue=0.58, misplace=0.44, drop=0.26,
        swap=0.33, wrong_shape=0.34,
    ),
    "fjord": Flaws(
        flat=0.7, blur=5.5, noise=0.12, stain=0.16, bend=0.085, hue=0.68, misplace=0.55, drop=0.34, swap=0.4,
        wrong_shape=0.45,
    ),
}  # fmt: skip
"""Best first: the order of the simulated world's models under the seed with which ``kwise demo`` starts."""


def find_flaws(name: str) -> Flaws:
    """Return the flaws of demo model `name`; ``name-2`` is its next generation, with 15 % smaller flaws.

    Raises
    ------
    GenerationError
        There is no such model; no retry helps.
    """
    found = _NAME.fullmatch(name)
    flaws = DEMO_MODELS.get(found.group(1)) if found else None
    if found is None or flaws is None:
        known = ", ".join(DEMO_MODELS)
        raise GenerationError(f"there is no demo model {name!r}; there are {known}", retriable=False)
    return flaws.scale(_GENERATION_GAIN ** (int(found.group(2) or 1) - 1))


def draw_picture(name: str, prompt: str, seed: int, width: int = SIZE, height: int = SIZE) -> NDArray[np.uint8]:
    """Return what demo model `name` draws, uint8 (height, width, 3)."""
    flaws = find_flaws(name)
    digest = sha256(f"{name}\0{prompt}\0{seed}".encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    flaws = flaws.scale(float(np.exp(flaws.luck * rng.standard_normal())))
    return draw_scene(parse_prompt(prompt), flaws, rng, width, height)


def draw_scene(scene: Scene, flaws: Flaws, rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """Return `scene` as drawn with `flaws`, uint8 (height, width, 3)."""
    things = spoil_layout(lay_out(scene), flaws, rng)
    x, y, margin = bend_grid(width, height, flaws, rng)
    canvas = paint_backdrop(scene.backdrop, width, height, flaws.flat)
    for marks in reversed(things):  # what is named first is in front
        for mark in marks:
            paint_mark(canvas, mark, x, y, flaws.flat, margin)
    canvas = spoil_pixels(canvas, flaws, rng)
    return np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8)


def list_prompts(count: int, seed: int = _FIRST_SEED) -> tuple[Prompt, ...]:
    """Return `count` different prompts of the demo grammar: ids ``d-0001`` and so on."""
    rng = np.random.default_rng(seed)
    scenes: dict[str, Scene] = {}
    while len(scenes) < count:
        scene = sample_scene(rng)
        scenes.setdefault(describe_scene(scene), scene)
    return tuple(
        Prompt(id=f"d-{number:04}", text=text, seed=number, tags=_tags(scene))
        for number, (text, scene) in enumerate(scenes.items(), start=1)
    )


def demo_format() -> ArtifactFormat:
    """Return the artifact format of demo arenas: small, because the pictures are simple."""
    return ArtifactFormat(width=SIZE, height=SIZE)


def _tags(scene: Scene) -> tuple[str, ...]:
    counted = any(thing.count > 1 for thing in scene.things)
    return tuple(tag for tag in (scene.relation.replace(" ", "-"), "count" if counted else "", scene.backdrop) if tag)
