"""The demo models: the same picture each time, and quality in the intended order as a blind judge sees it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from generation.adapters.base import Request, Surroundings
from generation.adapters.registry import make_adapter
from generation.demo.flaws import Flaws
from generation.demo.grammar import SHAPES, parse_prompt
from generation.demo.models import DEMO_MODELS, draw_picture, draw_scene, find_flaws, list_prompts
from generation.errors import GenerationError
from generation.frames import Frames
from pipeline.contracts.generation import ArtifactFormat, GenerationSettings
from producers.simulate.catalogue import list_models
from producers.simulate.world import SimulatedWorld

SIDE = 128
FORM = ArtifactFormat(width=SIDE, height=SIDE)


def draw_ideal(text: str) -> NDArray[np.uint8]:
    return draw_scene(parse_prompt(text), Flaws(), np.random.default_rng(0), SIDE, SIDE)


def judge(picture: NDArray[np.uint8], ideal: NDArray[np.uint8]) -> float:
    """How far a picture is from the ideal: what is where (coarse blocks), and how sharp its edges are."""

    def blocks(image: NDArray[np.uint8]) -> NDArray[np.float64]:
        cells: NDArray[np.float64] = image.reshape(SIDE // 8, 8, SIDE // 8, 8, 3).mean((1, 3))
        return cells

    edges = np.abs(np.diff(picture.astype(float), axis=1) - np.diff(ideal.astype(float), axis=1)).mean()
    return float(np.abs(blocks(picture) - blocks(ideal)).mean() + edges)


def test_a_picture_is_the_same_alone_and_in_any_batch() -> None:
    requests = [Request(prompt.text, prompt.seed or 0, FORM) for prompt in list_prompts(6)]
    for name in DEMO_MODELS:
        adapter = make_adapter(f"demo:{name}", GenerationSettings(), Surroundings())
        adapter.load()
        batch = adapter.generate(requests, lambda: False)
        backwards = adapter.generate(requests[::-1], lambda: False)[::-1]
        for request, one, other in zip(requests, batch, backwards, strict=True):
            alone = draw_picture(name, request.text, request.seed, SIDE, SIDE)
            assert isinstance(one, Frames)
            assert isinstance(other, Frames)
            np.testing.assert_array_equal(one.pixels[0], alone)
            np.testing.assert_array_equal(other.pixels[0], alone)


def test_model_prompt_and_seed_decide_the_picture() -> None:
    one = draw_picture("fjord", "a red circle", 1, SIDE, SIDE)
    for other in (
        draw_picture("garnet", "a red circle", 1, SIDE, SIDE),
        draw_picture("fjord", "a red square", 1, SIDE, SIDE),
        draw_picture("fjord", "a red circle", 2, SIDE, SIDE),
        draw_picture("fjord-2", "a red circle", 1, SIDE, SIDE),
    ):
        assert (one != other).any()


def test_a_blind_judge_finds_the_intended_order() -> None:
    prompts = list_prompts(24, seed=5)
    ideals = [draw_ideal(prompt.text) for prompt in prompts]
    scores = {
        name: [
            judge(draw_picture(name, prompt.text, prompt.seed or 0, SIDE, SIDE), ideal)
            for prompt, ideal in zip(prompts, ideals, strict=True)
        ]
        for name in DEMO_MODELS
    }
    means = [float(np.mean(each)) for each in scores.values()]
    assert means == sorted(means), dict(zip(scores, means, strict=True))
    # Neighbours are told apart in most pictures and not in all: votes on them are noisy, as on real models.
    better = [float(np.mean(np.less(one, other))) for one, other in pairwise(scores.values())]
    assert min(better) > 0.5
    assert any(share < 1 for share in better)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_drawn_where_it_belongs(shape: str) -> None:
    picture = draw_ideal(f"a red {shape}").astype(int)
    red = (picture[..., 0] > 120) & (picture[..., 1] < 110)
    assert 0.03 < red.mean() < 0.4
    rows, columns = np.nonzero(red)
    assert abs(rows.mean() - SIDE / 2) < SIDE / 8
    assert abs(columns.mean() - SIDE / 2) < SIDE / 6
    assert not red[0].any()
    assert not red[:, -1].any()


def test_relations_place_the_first_thing() -> None:
    for relation, axis, sign in (("above", 0, -1), ("below", 0, 1), ("left of", 1, -1), ("right of", 1, 1)):
        picture = draw_ideal(f"a red circle {relation} a blue square").astype(int)
        red = np.argwhere((picture[..., 0] > 150) & (picture[..., 2] < 100)).mean(axis=0)
        blue = np.argwhere((picture[..., 2] > 120) & (picture[..., 0] < 100)).mean(axis=0)
        assert (red - blue)[axis] * sign > SIDE / 4


@pytest.mark.parametrize(("width", "height"), [(64, 64), (300, 200), (96, 160), (33, 47)])
def test_pictures_have_the_size_that_is_asked_for(width: int, height: int) -> None:
    for name in DEMO_MODELS:
        picture = draw_picture(name, "two blue stars above a brown square on sand", 3, width, height)
        assert picture.shape == (height, width, 3)
        assert picture.dtype == np.uint8
        assert picture.std() > 5


def test_later_generations_are_better_and_unknown_models_are_named() -> None:
    assert find_flaws("fjord-2").blur == pytest.approx(find_flaws("fjord").blur * 0.85)
    assert find_flaws("fjord-2").flat == find_flaws("fjord").flat
    for name in ("", "nobody", "fjord-0", "fjord-2-2", "Fjord", "../fjord"):
        with pytest.raises(GenerationError, match="no demo model") as caught:
            find_flaws(name)
        assert not caught.value.retriable


def test_models_of_simulated_arenas_are_demo_models_in_the_order_of_the_demo() -> None:
    models = {model.id: model for model in list_models(14)}
    for model in models.values():
        make_adapter(model.generator, GenerationSettings(), Surroundings()).load()
    assert len({model.generator for model in models.values()}) == 14
    order = [models[each].generator for each in SimulatedWorld(seed=1).truth]
    assert order == [f"demo:{name}" for name in DEMO_MODELS]
