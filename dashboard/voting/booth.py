"""One reader's vote from matchup to reveal: what the gateway is asked, and what the page shows of it.

A booth knows nothing of Streamlit or HTTP. The browser sends acts; after each the page shows `Booth.view`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import msgspec

from dashboard.voting.errors import GateError
from pipeline.contracts.gateway import Reveal, ShownMatchup, VoteReceipt, Wait

LOOK_MS: Final = 600
"""Between two looks at a board that does not have the vote yet."""
REVEAL_MS: Final = 60_000
"""Longer than that nobody waits for the board to move."""
_RETRY_MS: Final = 2_000
_LONGEST_WAIT_MS: Final = 5_000

Stage = Literal["wait", "vote", "sending", "done", "trouble"]
Mode = Literal["rank", "best", "all_bad", "skip"]


class Gate(Protocol):
    """The gateway, as one voter sees it. Every method raises `GateError`."""

    def ask(self, arena: str, prompt: str | None = None) -> ShownMatchup | Wait:
        """Return the next matchup, or how long to wait; with `prompt`, have one made."""
        ...

    def ticket(self, ticket: str) -> ShownMatchup | Wait:
        """Return the matchup of a custom prompt, or how long to wait."""
        ...

    def picture(self, path: str) -> tuple[str, bytes]:
        """Return media type and bytes of what is in a slot."""
        ...

    def vote(
        self, shown: ShownMatchup, mode: str, ranks: tuple[int | None, ...] | None, duration_ms: int
    ) -> VoteReceipt:
        """Vote. The same again is the same vote."""
        ...

    def reveal(self, matchup_id: str) -> Reveal:
        """Return what the vote revealed by now."""
        ...

    def cookie(self) -> str | None:
        """Return what the browser is to keep, so that the gateway knows its voter again."""
        ...


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What the browser says. `ranks` by slot; `matchup` is the one that it shows.

    An act may come twice: the browser sends it again when it hears nothing.
    """

    act: Literal["look", "next", "vote", "resend"]
    matchup: str | None = None
    mode: Mode = "rank"
    ranks: tuple[int | None, ...] | None = None
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A vote as it was cast."""

    mode: Mode
    ranks: tuple[int | None, ...] | None
    duration_ms: int


@dataclass(slots=True)
class Booth:
    """Where one reader votes. `arena` is set by the page; changing it asks for another matchup."""

    arena: str
    stage: Stage = "wait"
    found: ShownMatchup | None = None
    """What comes next, while its pictures are fetched: the gateway hands out a matchup once."""
    shown: ShownMatchup | None = None
    pictures: list[str | None] = field(default_factory=list)
    """Of what was found, then shown, by slot."""
    answer: Answer | None = None
    unsent: list[tuple[ShownMatchup, Answer]] = field(default_factory=list)
    """Votes of matchups that the reader has left while the gateway was away. They go before anything is asked for."""
    reveal: Reveal | None = None
    sent_at: int = 0
    wait_ms: int = 0
    ticket: str | None = None
    prompt: str | None = None
    trouble: GateError | None = None
    delivered: str | None = None
    """The matchup whose pictures the browser has."""
    taken: int = 0
    """Acts so far. It is in every view: the browser is told of views that differ only, and waits for an answer."""

    def open(self, gate: Gate, now: int) -> None:
        """Ask for a first matchup, if there is none. `now` in ms, of any clock."""
        if self.shown is None and self.wait_ms == 0 and self.trouble is None:
            self._ask(gate, now)

    def enter(self, arena: str, gate: Gate, now: int) -> None:
        """Go to another arena."""
        if arena != self.arena:
            self.arena = arena
            self._clear()
            self._ask(gate, now)

    def ask_for(self, prompt: str, gate: Gate, now: int) -> None:
        """Have a matchup made for a prompt that the reader has typed. Raises `GateError`: then all stays as it was."""
        found = gate.ask(self.arena, prompt)
        self._clear()
        self.prompt = prompt
        if isinstance(found, Wait):
            self._wait(found)
        else:
            self.found = found
            self._ask(gate, now)

    def take(self, act: Act, gate: Gate, now: int) -> None:
        """Do what the browser asks for."""
        self.taken += 1
        if act.act == "resend":
            self.delivered = None
        elif act.act == "next" and act.matchup == self._matchup_id:
            self._clear()
            self._ask(gate, now)
        elif act.act == "vote" and act.matchup == self._matchup_id:
            if self.stage == "vote":
                self.answer = Answer(act.mode, act.ranks, act.duration_ms)
                self._send(gate, now)
        elif act.act == "look":
            self._look(gate, now)

    @property
    def _matchup_id(self) -> str | None:
        return None if self.shown is None else self.shown.matchup_id

    def _clear(self) -> None:
        if self._waits_to_be_sent and self.shown is not None and self.answer is not None:
            self.unsent.append((self.shown, self.answer))
        self.found, self.shown, self.answer, self.reveal, self.trouble = None, None, None, None, None
        self.ticket, self.prompt, self.pictures, self.wait_ms = None, None, [], 0

    @property
    def _waits_to_be_sent(self) -> bool:
        return self.stage == "sending" or (self.stage == "trouble" and self.answer is not None)

    def _look(self, gate: Gate, now: int) -> None:
        if self._waits_to_be_sent:
            self._send(gate, now)
        elif self.stage == "wait" or (self.trouble is not None and self.trouble.retriable):
            self._ask(gate, now)
        elif self.stage == "done" and self.shown is not None and self.reveal is not None and not self.reveal.in_board:
            try:
                self.reveal = gate.reveal(self.shown.matchup_id)
            except GateError as error:
                if not error.retriable:
                    self.sent_at = now - REVEAL_MS  # nothing more will come

    def _wait(self, found: Wait) -> None:
        self.stage = "wait"
        self.ticket = found.ticket
        self.wait_ms = min(_LONGEST_WAIT_MS, max(200, round(1000 * found.wait_s)))

    def _ask(self, gate: Gate, now: int) -> None:
        """Go on to the next matchup, as far as it goes."""
        self.trouble = None
        try:
            self._deliver(gate)
            found = self.found or self._find(gate)
            if isinstance(found, Wait):
                self._wait(found)
                return
            self.found = found
            for slot in found.slots[len(self.pictures) :]:
                self.pictures.append(None if slot.artifact is None else _inline(*gate.picture(slot.artifact)))
        except GateError as error:
            if not error.retriable:
                self.found, self.pictures = None, []
            self._note(error)
            return
        self.found, self.shown, self.stage, self.ticket = None, found, "vote", None
        self.sent_at = now

    def _find(self, gate: Gate) -> ShownMatchup | Wait:
        return gate.ask(self.arena, self.prompt) if self.ticket is None else gate.ticket(self.ticket)

    def _deliver(self, gate: Gate) -> None:
        """Send what is unsent. Raises `GateError` while the gateway takes none; what it refuses for good is dropped."""
        while self.unsent:
            try:
                _vote(gate, *self.unsent[0])
            except GateError as error:
                if error.retriable:
                    raise
            del self.unsent[0]

    def _send(self, gate: Gate, now: int) -> None:
        assert self.shown is not None
        assert self.answer is not None
        self.trouble, self.stage = None, "sending"
        try:
            receipt = _vote(gate, self.shown, self.answer)
        except GateError as error:
            if not error.retriable:
                self.answer = None
            self._note(error)
            return
        self.reveal, self.stage, self.sent_at = receipt.reveal, "done", now

    def _note(self, error: GateError) -> None:
        self.stage, self.trouble = "trouble", error
        self.wait_ms = round(1000 * error.retry_after) if error.retry_after else _RETRY_MS

    # ------------------------------------------------------------------------------------------- what is shown

    def view(self, gate: Gate, now: int) -> dict[str, Any]:
        """Return what the browser is to show, as JSON values. Pictures go once: the browser keeps them."""
        shown = self.shown
        view: dict[str, Any] = {
            "stage": self.stage,
            "poll_ms": self._poll_ms(now),
            "cookie": gate.cookie(),
            "taken": self.taken,
        }
        if self.trouble is not None:
            view["trouble"] = {
                "title": self.trouble.title,
                "text": str(self.trouble),
                "retry": self.trouble.retriable,
            }
        if self.stage == "wait":
            view["own"] = self.prompt is not None
        if shown is not None:
            view |= {
                "matchup": shown.matchup_id,
                "prompt": None if shown.prompt is None else shown.prompt.text,
                "modes": list(shown.modes),
                "slots": [{"slot": slot.slot, "media_type": slot.media_type} for slot in shown.slots],
                "pictures": None,
            }
            if self.delivered != shown.matchup_id:
                view["pictures"] = list(self.pictures)
                self.delivered = shown.matchup_id
        if self.reveal is not None:
            view["reveal"] = msgspec.to_builtins(self.reveal)
            view["waiting"] = self._poll_ms(now) is not None
        return view

    def _poll_ms(self, now: int) -> int | None:
        """Return after how long the browser is to look again; None: when the reader does something."""
        if self.stage == "wait":
            return self.wait_ms
        if self.stage == "sending":
            return _RETRY_MS
        if self.stage == "trouble":
            return self.wait_ms if self.trouble is not None and self.trouble.retriable else None
        if self.stage == "done" and self.reveal is not None and not self.reveal.in_board:
            return LOOK_MS if now - self.sent_at < REVEAL_MS else None
        return None


def _vote(gate: Gate, shown: ShownMatchup, answer: Answer) -> VoteReceipt:
    return gate.vote(shown, answer.mode, answer.ranks, answer.duration_ms)


def read_act(message: object) -> Act | None:
    """Return what a browser has sent; None for what no page of ours sends."""
    try:
        return msgspec.convert(message, Act, strict=False)
    except msgspec.ValidationError:
        return None


def _inline(media_type: str, data: bytes) -> str:
    # An address of our own would be kept by proxies, and one made of the content would tell who made it.
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
