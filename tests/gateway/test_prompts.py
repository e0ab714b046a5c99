"""What a voter may type, and the matchup that is drawn for it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.store.reader import StoreReader
from producers.gateway.drawing import CUSTOM_PRIORITY, MatchupDrawer
from producers.gateway.errors import GatewayError
from producers.gateway.prompts import check_prompt
from tests.conftest import wait_until
from tests.gateway.systems import ARENA, OTHER_ARENA, System


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (" a fox ", "a fox"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("レモンの木, Zitronenbäume 🍋‍🟩", "レモンの木, Zitronenbäume 🍋‍🟩"),
        ("x" * 20, "x" * 20),
    ],
)
def test_prompts_are_kept_as_they_are(text: str, kept: str) -> None:
    assert check_prompt(text, 20 if len(text) <= 20 else 40) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n ",
        "x" * 21,
        "a\nb",
        "a\tb",
        "a\x00b",
        "a\x1b[31mb",
        "a\x7fb",
        "a\u202eb",
        "a\u2066b",
        "a\u2028b",
        "a\ue000b",
    ],
)
def test_prompts_that_could_do_harm_are_refused(text: str) -> None:
    with pytest.raises(GatewayError) as refused:
        check_prompt(text, 20)
    assert (refused.value.status, refused.value.code) == (422, "bad_prompt")


def test_a_matchup_is_drawn_from_the_published_state(system: System) -> None:
    drawer = MatchupDrawer(StoreReader(system.store), np.random.default_rng(1), lambda: 1_000_000)
    one, two = drawer.draw_for(ARENA, "a fox"), drawer.draw_for(ARENA, "a fox")
    assert one.matchup_id != two.matchup_id
    assert one.prompt is not None
    assert two.prompt is not None
    assert (one.prompt.text, one.priority, one.policy, one.created) == ("a fox", CUSTOM_PRIORITY, "gibbs", 1_000_000)
    assert one.prompt.id.startswith("c-")
    assert one.prompt.id != two.prompt.id
    assert one.prompt.seed != two.prompt.seed
    assert len(set(one.models)) == 4
    assert one.propensity is not None


def test_too_few_models_are_told(system: System) -> None:
    drawer = MatchupDrawer(StoreReader(system.store), np.random.default_rng(1), lambda: 1_000_000)
    wait_until(lambda: OTHER_ARENA in StoreReader(system.store).arenas())
    assert len(drawer.draw_for(OTHER_ARENA, "a fox").models) == 2
    with pytest.raises(GatewayError) as refused:
        drawer.draw("nowhere", 1)
    assert (refused.value.status, refused.value.retry) == (503, True)
