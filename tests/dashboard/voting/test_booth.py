from __future__ import annotations

from typing import Any

import pytest

from dashboard.voting.booth import LOOK_MS, REVEAL_MS, Act, Booth, read_act
from dashboard.voting.errors import GateError
from pipeline.contracts.gateway import Reveal, RevealedModel, ShownMatchup, ShownPrompt, ShownSlot, VoteReceipt, Wait

AWAY = GateError("No answer", "Away.", retriable=True)
LATE = GateError("Too late", "Expired.", retriable=False)


def make_shown(number: int = 1) -> ShownMatchup:
    slots = [ShownSlot(slot=0, outcome="ok", media_type="image/png", artifact="/a/0")]
    slots.append(ShownSlot(slot=1, outcome="refused", media_type=None, artifact=None))
    return ShownMatchup(
        matchup_id=f"m{number}", arena="a", k=2, modes=("rank", "skip"), token="t", expires=9, slots=tuple(slots),
        prompt=ShownPrompt(id="p", text="a fox"),
    )  # fmt: skip


def make_reveal(*, in_board: bool) -> Reveal:
    rank = 1 if in_board else None
    model = RevealedModel(
        slot=0, model="x", name=None, organization=None, rank_before=2, rank_after=rank, rating_before=1.0,
        rating_after=None,
    )  # fmt: skip
    return Reveal(models=(model,), in_board=in_board)


class FakeGate:
    """Answers what a test has put in; an exception is raised. Notes what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Any, ...]] = []
        self.is_without_pictures: GateError | None = None

    def _next(self, *asked: Any) -> Any:
        self.asked.append(asked)
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def ask(self, arena: str, prompt: str | None = None) -> Any:
        return self._next("ask", arena, prompt)

    def ticket(self, ticket: str) -> Any:
        return self._next("ticket", ticket)

    def picture(self, path: str) -> tuple[str, bytes]:
        assert path == "/a/0"
        if self.is_without_pictures is not None:
            raise self.is_without_pictures
        return "image/png", b"png"

    def vote(self, shown: ShownMatchup, mode: str, ranks: Any, _duration_ms: int) -> Any:
        return self._next("vote", shown.matchup_id, mode, ranks)

    def reveal(self, matchup_id: str) -> Any:
        return self._next("reveal", matchup_id)

    def cookie(self) -> str | None:
        return "c"


def receipt(*, in_board: bool) -> VoteReceipt:
    return VoteReceipt(vote_id="v", counted_at=None, reveal=make_reveal(in_board=in_board))


def opened(*answers: Any) -> tuple[Booth, FakeGate]:
    gate = FakeGate(*answers)
    booth = Booth("a")
    booth.open(gate, 0)
    return booth, gate


VOTE = Act(act="vote", matchup="m1", ranks=(1, 2))
LOOK = Act(act="look")


def test_matchup_is_shown_with_its_pictures_once() -> None:
    booth, gate = opened(make_shown())
    view = booth.view(gate, 0)
    assert (view["stage"], view["matchup"], view["prompt"], view["poll_ms"]) == ("vote", "m1", "a fox", None)
    assert view["pictures"] == ["data:image/png;base64,cG5n", None]
    assert booth.view(gate, 0)["pictures"] is None
    booth.take(Act(act="resend"), gate, 0)
    assert booth.view(gate, 0)["pictures"] is not None


def test_nothing_shown_tells_a_model_before_the_vote() -> None:
    booth, gate = opened(make_shown())
    assert "reveal" not in booth.view(gate, 0)


def test_waiting_is_looked_at_again_and_opened_once() -> None:
    booth, gate = opened(Wait(wait_s=1.5), make_shown())
    booth.open(gate, 0)
    assert booth.view(gate, 0)["poll_ms"] == 1_500
    booth.take(LOOK, gate, 0)
    assert booth.stage == "vote"
    assert gate.asked == [("ask", "a", None)] * 2


def test_every_act_is_answered_by_another_view() -> None:
    booth, gate = opened(Wait(wait_s=1.0), Wait(wait_s=1.0), AWAY, AWAY)
    views = [booth.view(gate, 0)]
    for act in (LOOK, LOOK, LOOK, Act(act="vote", matchup="another")):
        booth.take(act, gate, 0)
        views.append(booth.view(gate, 0))
        assert views[-1] != views[-2]  # the browser is told of what differs only, and would wait


def test_own_prompt_is_waited_for_by_its_ticket() -> None:
    booth, gate = opened(make_shown())
    gate.answers = [Wait(wait_s=60, ticket="T"), Wait(wait_s=1, ticket="T"), make_shown(2)]
    booth.ask_for("a fox", gate, 0)
    assert booth.view(gate, 0)["own"] is True
    assert booth.view(gate, 0)["poll_ms"] == 5_000
    booth.take(LOOK, gate, 0)
    booth.take(LOOK, gate, 0)
    assert gate.asked[1:] == [("ask", "a", "a fox"), ("ticket", "T"), ("ticket", "T")]
    assert booth.view(gate, 0)["matchup"] == "m2"


def test_own_prompt_that_is_refused_leaves_all_as_it_was() -> None:
    booth, gate = opened(make_shown(), AWAY)
    before = booth.view(gate, 0)
    with pytest.raises(GateError, match=r"Away\."):
        booth.ask_for("a fox", gate, 0)
    assert booth.view(gate, 0) == before | {"pictures": None}


def test_own_prompt_that_takes_long_can_be_left() -> None:
    booth, gate = opened(make_shown(), Wait(wait_s=60, ticket="T"), make_shown(2))
    booth.ask_for("a fox", gate, 0)
    booth.take(Act(act="next"), gate, 0)
    assert gate.asked[-1] == ("ask", "a", None)
    assert booth.view(gate, 0)["matchup"] == "m2"


def test_matchup_whose_pictures_do_not_come_is_kept_until_they_do() -> None:
    gate = FakeGate(make_shown())
    gate.is_without_pictures = AWAY
    booth = Booth("a")
    booth.open(gate, 0)
    booth.take(LOOK, gate, 0)
    assert booth.view(gate, 0)["trouble"]["retry"] is True
    gate.is_without_pictures = None
    booth.take(LOOK, gate, 0)
    view = booth.view(gate, 0)
    assert (view["matchup"], view["pictures"]) == ("m1", ["data:image/png;base64,cG5n", None])
    assert gate.asked == [("ask", "a", None)]


def test_matchup_whose_pictures_are_gone_is_given_up() -> None:
    gate = FakeGate(make_shown(), make_shown(2))
    gate.is_without_pictures = LATE
    booth = Booth("a")
    booth.open(gate, 0)
    assert booth.view(gate, 0)["trouble"]["retry"] is False
    gate.is_without_pictures = None
    booth.take(Act(act="next"), gate, 0)
    assert booth.view(gate, 0)["matchup"] == "m2"


def test_vote_is_revealed_and_the_board_is_waited_for() -> None:
    booth, gate = opened(make_shown(), receipt(in_board=False), make_reveal(in_board=True))
    booth.take(VOTE, gate, 1_000)
    assert gate.asked[-1] == ("vote", "m1", "rank", (1, 2))
    view = booth.view(gate, 1_000)
    assert (view["stage"], view["poll_ms"], view["reveal"]["in_board"]) == ("done", LOOK_MS, False)
    booth.take(LOOK, gate, 1_600)
    view = booth.view(gate, 1_600)
    assert (view["poll_ms"], view["reveal"]["in_board"], view["waiting"]) == (None, True, False)


def test_board_is_not_waited_for_longer_than_a_while() -> None:
    booth, gate = opened(make_shown(), receipt(in_board=False))
    booth.take(VOTE, gate, 0)
    assert booth.view(gate, REVEAL_MS)["poll_ms"] is None


def test_vote_on_another_matchup_or_a_second_one_is_not_sent() -> None:
    booth, gate = opened(make_shown(), receipt(in_board=True))
    booth.take(Act(act="vote", matchup="other", ranks=(1, 2)), gate, 0)
    booth.take(VOTE, gate, 0)
    booth.take(VOTE, gate, 0)
    assert [asked[0] for asked in gate.asked] == ["ask", "vote"]


def test_vote_goes_again_while_the_gateway_is_away() -> None:
    booth, gate = opened(make_shown(), AWAY, AWAY, receipt(in_board=True))
    booth.take(VOTE, gate, 0)
    view = booth.view(gate, 0)
    assert (view["stage"], view["trouble"]["retry"]) == ("trouble", True)
    assert view["poll_ms"] is not None
    booth.take(LOOK, gate, 0)
    booth.take(LOOK, gate, 0)
    assert booth.stage == "done"
    assert gate.asked[1:] == [("vote", "m1", "rank", (1, 2))] * 3


@pytest.mark.parametrize("answer", [receipt(in_board=False), LATE])
def test_vote_that_the_reader_leaves_unsent_goes_before_anything_else(answer: object) -> None:
    booth, gate = opened(make_shown(), AWAY, AWAY, answer, make_shown(2))
    booth.take(VOTE, gate, 0)
    booth.enter("b", gate, 0)
    assert booth.view(gate, 0)["trouble"]["retry"] is True
    booth.take(LOOK, gate, 0)
    assert gate.asked[1:] == [("vote", "m1", "rank", (1, 2))] * 3 + [("ask", "b", None)]
    assert booth.view(gate, 0)["matchup"] == "m2"


def test_vote_that_comes_too_late_leads_to_another_matchup() -> None:
    booth, gate = opened(make_shown(), LATE, make_shown(2))
    booth.take(VOTE, gate, 0)
    view = booth.view(gate, 0)
    assert (view["trouble"]["title"], view["trouble"]["retry"], view["poll_ms"]) == ("Too late", False, None)
    booth.take(Act(act="next", matchup="m1"), gate, 0)
    booth.take(Act(act="next", matchup="m1"), gate, 0)  # it comes again
    assert booth.view(gate, 0)["matchup"] == "m2"
    assert "trouble" not in booth.view(gate, 0)


@pytest.mark.parametrize("retry_after", [None, 7.0])
def test_refusal_for_a_while_is_waited_out(retry_after: float | None) -> None:
    booth, gate = opened(GateError("Slow", "Wait.", retriable=True, retry_after=retry_after), make_shown())
    assert booth.view(gate, 0)["poll_ms"] == (2_000 if retry_after is None else 7_000)
    booth.take(LOOK, gate, 0)
    assert booth.stage == "vote"


def test_reveal_that_fails_is_tried_again_or_given_up() -> None:
    booth, gate = opened(make_shown(), receipt(in_board=False), AWAY, LATE)
    booth.take(VOTE, gate, 0)
    booth.take(LOOK, gate, 100)
    assert booth.view(gate, 100)["poll_ms"] == LOOK_MS
    booth.take(LOOK, gate, 200)
    assert booth.view(gate, 200)["poll_ms"] is None


def test_another_arena_begins_with_another_matchup() -> None:
    booth, gate = opened(make_shown(), make_shown(2))
    booth.enter("a", gate, 0)
    booth.enter("b", gate, 0)
    assert gate.asked[-1] == ("ask", "b", None)
    assert booth.view(gate, 0)["matchup"] == "m2"


@pytest.mark.parametrize(
    ("message", "is_act"),
    [
        ({"act": "vote", "matchup": "m", "mode": "best", "ranks": [None, 1], "duration_ms": 5}, True),
        ({"act": "look"}, True),
        ({"act": "vote", "mode": "worst"}, False),
        ({"act": "vote", "ranks": ["1"]}, True),
        ({"act": "drop tables"}, False),
        ("look", False),
        (None, False),
    ],
)
def test_only_acts_of_the_page_are_read(message: object, is_act: bool) -> None:
    assert (read_act(message) is not None) == is_act


def test_looks_in_any_stage_ask_for_nothing_that_is_not_due() -> None:
    booth, gate = opened(make_shown(), LATE)
    booth.take(LOOK, gate, 0)
    assert len(gate.asked) == 1
    booth.take(VOTE, gate, 0)
    refused = booth.view(gate, 0)["trouble"]
    booth.take(LOOK, gate, 0)  # it comes late: the reader would not learn of the refusal
    assert len(gate.asked) == 2
    assert booth.view(gate, 0)["trouble"] == refused
