"""One reader's vote from matchup to reveal: what the gateway is asked, and what the page shows of it.

A booth knows nothing of Streamlit or HTTP. The browser sends acts; after each the page shows `Booth.view`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
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
    shown: ShownMatchup | None = None
    pictures: tuple[str | None, ...] = ()
    answer: Answer | None = None
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
        """Have a matchup made for a prompt that the reader has typed."""
        self._clear()
        self.prompt = prompt
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
        self.shown, self.answer, self.reveal, self.trouble = None, None, None, None
        self.ticket, self.prompt, self.pictures, self.wait_ms = None, None, (), 0

    def _look(self, gate: Gate, now: int) -> None:
        if self.stage == "sending" or (self.stage == "trouble" and self.answer is not None and self.shown is not None):
            self._send(gate, now)
        elif self.stage in {"wait", "trouble"}:
            self._ask(gate, now)
        elif self.stage == "done" and self.shown is not None and self.reveal is not None and not self.reveal.in_board:
            try:
                self.reveal = gate.reveal(self.shown.matchup_id)
            except GateError as error:
                if not error.retriable:
                    self.sent_at = now - REVEAL_MS  # nothing more will come

    def _ask(self, gate: Gate, now: int) -> None:
        self.trouble = None
        try:
            found = gate.ask(self.arena, self.prompt) if self.ticket is None else gate.ticket(self.ticket)
            if isinstance(found, Wait):
                self.stage = "wait"
                self.ticket = found.ticket
                self.wait_ms = min(_LONGEST_WAIT_MS, max(200, round(1000 * found.wait_s)))
                return
            self.pictures = tuple(
                None if slot.artifact is None else _inline(*gate.picture(slot.artifact)) for slot in found.slots
            )
        except GateError as error:
            self._note(error)
            return
        self.shown, self.stage, self.ticket = found, "vote", None
        self.sent_at = now

    def _send(self, gate: Gate, now: int) -> None:
        assert self.shown is not None
        assert self.answer is not None
        self.trouble, self.stage = None, "sending"
        try:
            receipt = gate.vote(self.shown, self.answer.mode, self.answer.ranks, self.answer.duration_ms)
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


def read_act(message: object) -> Act | None:
    """Return what a browser has sent; None for what no page of ours sends."""
    try:
        return msgspec.convert(message, Act, strict=False)
    except msgspec.ValidationError:
        return None


def _inline(media_type: str, data: bytes) -> str:
    # An address of our own would be kept by proxies, and one made of the content would tell who made it.
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
