"""Matchups: K models in slot order with one prompt, proposed by the matchmaker, to be shown to one voter."""

from __future__ import annotations

from typing import Final

import msgspec

CUSTOM_PROMPT: Final = "c-"
"""Start of the ids of prompts that voters typed."""


class MatchupPrompt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The prompt of a matchup."""

    id: str
    text: str | None = None
    seed: int | None = None
    tags: tuple[str, ...] = ()


class Matchup(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the topic `matchups`. Times in ms since 1970 UTC.

    `propensity` is the exact probability of the *unordered* set of models under the policy, null where the policy
    has none. `commit` is the commit whose state the proposal was made from.
    """

    schema: int = 1
    matchup_id: str
    arena: str
    models: tuple[str, ...]
    prompt: MatchupPrompt | None = None
    policy: str
    propensity: float | None = None
    commit: int
    created: int
    expires: int
    priority: int = 0


def encode_matchup(matchup: Matchup) -> bytes:
    """Encode as a wire record."""
    return msgspec.json.encode(matchup)


def decode_matchup(payload: bytes) -> Matchup:
    """Decode a wire record; raises `msgspec.ValidationError` or `msgspec.DecodeError`."""
    return msgspec.json.decode(payload, type=Matchup)
