"""Custom prompts: what a voter may type, and the matchup that is drawn for it from the published state."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
from numpy.random import Generator

from pipeline.contracts.arena import RegisteredArena
from pipeline.contracts.ids import random_id
from pipeline.contracts.matchup import CUSTOM_PROMPT, Matchup, MatchupPrompt
from pipeline.contracts.store import StoreError
from pipeline.matchmaking.policies import POLICIES
from pipeline.matchmaking.propose import propose_matchups, view_publication
from pipeline.matchmaking.random_policy import NAME as RANDOM
from pipeline.matchmaking.view import ArenaView, describe_shortage
from pipeline.rating.errors import RatingError
from pipeline.rating.pair_counts import PairCounts
from pipeline.store.reader import StoreReader
from producers.gateway.errors import GatewayError

PRIORITY: Final = 1
"""Of matchups for custom prompts: a voter waits."""

_VIEW_MS: Final = 5_000
"""A posterior is fitted for custom prompts this often at most, an arena; open matchups change more often than it."""

_REFUSED: Final = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
_DIRECTIONS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
"""They make a text look like another one."""


def check_prompt(text: str, max_chars: int) -> str:
    """Return a custom prompt without the blanks around it. Raises `GatewayError` 422.

    Control characters, unassigned ones and marks of direction are refused: the text goes to models, into the log and
    onto pages.
    """
    stripped = text.strip()
    if not stripped:
        raise GatewayError(422, "bad_prompt", "the prompt is empty")
    if len(stripped) > max_chars:
        raise GatewayError(422, "bad_prompt", f"the prompt has {len(stripped)} characters; at most {max_chars}")
    for character in stripped:
        if unicodedata.category(character) in _REFUSED or character in _DIRECTIONS:
            raise GatewayError(
                422, "bad_prompt", f"the prompt has a character that is not taken: U+{ord(character):04X}"
            )
    return stripped


@dataclass(frozen=True, slots=True)
class _Drawn:
    registered: RegisteredArena
    view: ArenaView
    commit: int
    policy: str
    made: int


class PromptDrawer:
    """Draws matchups for custom prompts. Threads may share it; one draws at a time.

    Parameters
    ----------
    reader : of the store
    rng : decides models, slots, ids and seeds
    clock : wall clock in ms
    """

    def __init__(self, reader: StoreReader, rng: Generator, clock: Callable[[], int]) -> None:
        self._reader = reader
        self._rng = rng
        self._clock = clock
        self._lock = threading.Lock()
        self._views: dict[str, _Drawn] = {}

    def draw(self, arena_id: str, text: str) -> Matchup:
        """Return a new matchup with the prompt `text`, by the arena's policy. Raises `GatewayError` 503."""
        with self._lock:
            drawn = self._view(arena_id)
            if shortage := describe_shortage(drawn.view):
                raise GatewayError(503, "too_few_models", f"arena {arena_id}: {shortage}", retry=True, retry_after=30.0)
            (matchup,) = propose_matchups(
                drawn.registered,
                drawn.view,
                1,
                self._rng,
                now=self._clock(),
                commit=drawn.commit,
                policy=drawn.policy,
            )
            prompt = MatchupPrompt(
                id=CUSTOM_PROMPT + random_id(self._rng), text=text, seed=int(self._rng.integers(2**31))
            )
            return msgspec.structs.replace(matchup, prompt=prompt, priority=PRIORITY)

    def _view(self, arena_id: str) -> _Drawn:
        now = self._clock()
        known = self._views.get(arena_id)
        if known is not None and 0 <= now - known.made < _VIEW_MS:
            return known
        try:
            publication = self._reader.publication(arena_id)
            counts = PairCounts.from_columns(self._reader.counts(arena_id))
        except StoreError as error:
            raise GatewayError(503, "not_published", str(error), retry=True, retry_after=2.0) from error
        registered = publication.registered
        policy = registered.arena.settings.policy
        if policy not in POLICIES:
            policy = RANDOM
        try:
            view = view_publication(publication, counts, policy=policy)
        except RatingError:  # as the job does: its matchups say so
            policy = RANDOM
            view = view_publication(publication, counts, policy=policy)
        drawn = _Drawn(registered, view, publication.commit, policy, now)
        self._views[arena_id] = drawn
        return drawn
