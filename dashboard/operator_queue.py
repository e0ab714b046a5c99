"""The gateway's queue as the operator page shows it: what is proposed, made, ready and shown, by arena."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx

from dashboard.formatting import ABSENT, format_age, format_count
from dashboard.markup import TableColumn, render_legend, render_section, render_table

_TIMEOUT_S: Final = 2.0
_LINE: Final = re.compile(r"kwise_gateway_(\w+)\{([^}]*)\} ([0-9.e+-]+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_STATES: Final = ("proposed", "leased", "ready", "shown")
_EVER: Final = ("matchups_ever_total", "jobs_total")
_FIGURES: Final = {"matchups", "waiting_voters", "oldest_ready_seconds", *_EVER}


@dataclass(slots=True)
class ArenaQueue:
    """The queue of one arena.

    Attributes
    ----------
    states : dict of state to matchups
    waiting : int
        Voters told to wait.
    oldest : float or None
        Age of the matchup that is ready longest, s.
    ever : dict
        Matchups that were `made`, `voted` on, or `made_never_shown`, and artifacts (`done`), since there is a queue.
    """

    arena: str
    states: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    oldest: float | None = None
    ever: dict[str, int] = field(default_factory=dict)

    @property
    def waste(self) -> float | None:
        """Share of the matchups made that nobody was shown before they expired; None before the first."""
        made = self.ever.get("made", 0)
        return self.ever.get("made_never_shown", 0) / made if made else None

    @property
    def artifacts_a_vote(self) -> float | None:
        """What a vote costs in artifacts; None before the first."""
        voted = self.ever.get("voted", 0)
        return self.ever.get("done", 0) / voted if voted else None


def fetch_queue(url: str) -> list[ArenaQueue] | None:
    """Ask the gateway at `url` for its queue; None where it does not answer."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}/metrics", timeout=_TIMEOUT_S)
        answer.raise_for_status()
    except httpx.HTTPError:
        return None
    return read_queue(answer.text)


def read_queue(figures: str) -> list[ArenaQueue]:
    """Read the queue from the gateway's figures, arenas in order of id."""
    queues: dict[str, ArenaQueue] = {}
    for name, labels, value in _LINE.findall(figures):
        found = dict(_LABEL.findall(labels))
        if name not in _FIGURES or "arena" not in found:
            continue
        queue = queues.setdefault(found["arena"], ArenaQueue(found["arena"]))
        if name == "matchups":
            queue.states[found.get("state", "")] = round(float(value))
        elif name == "waiting_voters":
            queue.waiting = round(float(value))
        elif name in _EVER:
            queue.ever[found.get("how", "")] = round(float(value))
        else:
            queue.oldest = float(value)
    return [queue for _, queue in sorted(queues.items())]


def render_queue(queues: Sequence[ArenaQueue] | None) -> str:
    """Render the queue; what is said of it in place of figures where there are none."""
    title = render_section("Gateway", "matchups on their way to voters")
    if queues is None:
        return title + render_legend(
            "It does not answer. Votes that people send wait on their pages, and go again by themselves."
        )
    if not queues:
        return title + render_legend("It has no matchups so far.")
    columns = (
        TableColumn("Arena"),
        TableColumn("Proposed", is_number=True),
        TableColumn("Being made", is_number=True, wide_only=True),
        TableColumn("Ready", is_number=True),
        TableColumn("Shown", is_number=True, wide_only=True),
        TableColumn("Voters waiting", is_number=True),
        TableColumn("Ready longest", is_number=True, wide_only=True),
        TableColumn("Made for nobody", is_number=True, wide_only=True),
        TableColumn("Artifacts a vote", is_number=True, wide_only=True),
    )
    rows = [
        (
            queue.arena,
            *(format_count(queue.states.get(state, 0)) for state in _STATES),
            format_count(queue.waiting),
            ABSENT if queue.oldest is None else format_age(round(1000 * queue.oldest)),
            ABSENT if queue.waste is None else f"{100 * queue.waste:.1f} %",
            ABSENT if queue.artifacts_a_vote is None else f"{queue.artifacts_a_vote:.1f}",
        )
        for queue in queues
    ]
    return title + render_table(columns, rows, "The gateway's queue")
