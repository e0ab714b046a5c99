"""Control events as they come: what is asked of them beyond their form, so that none can stop the job later.

These are rules of acceptance. They are applied once, before an event is archived; a replay of the archive asks no more.
"""

from __future__ import annotations

from typing import Final

from pipeline.contracts.arena import ArenaSettings, Prompt
from pipeline.contracts.control import ControlEvent, ControlFault, decode_control
from pipeline.contracts.reasons import Reason
from pipeline.matchmaking.policies import POLICIES

MAX_OPEN: Final = 4096
"""Open matchups are part of what an arena writes at each commit, and proposing so many at once takes a second."""
MAX_LEAD_S: Final = 3600.0
MIN_TTL_S: Final = 1.0
"""A shorter life would have all matchups replaced at each commit."""
MAX_TTL_S: Final = 30 * 86400.0

_INT64 = range(-(2**63), 2**63)


def read_event(payload: bytes) -> ControlEvent:
    """Decode a control record and check all that does not depend on what is known. Raises `ControlFault`."""
    try:
        event = decode_control(payload)
    except RecursionError:
        raise ControlFault(Reason.NOT_JSON, "nested too deep") from None
    if event.time not in _INT64:
        raise ControlFault(Reason.SCHEMA, f"time {event.time:.3g} does not fit into 64 bits")
    if event.type == "arena.upsert":
        _check_settings(event.settings or ArenaSettings())
        for prompt in event.prompts or ():
            _check_prompt(prompt)
    return event


def _check_settings(settings: ArenaSettings) -> None:
    if settings.policy not in POLICIES:
        known = ", ".join(sorted(POLICIES))
        raise ControlFault(Reason.SCHEMA, f"settings.policy {settings.policy!r} is unknown; known are {known}")
    if settings.open_max > MAX_OPEN:
        raise ControlFault(Reason.SCHEMA, f"settings.open_max must be at most {MAX_OPEN}")
    if not 0 <= settings.lead_seconds <= MAX_LEAD_S:
        raise ControlFault(Reason.SCHEMA, f"settings.lead_seconds must lie between 0 and {MAX_LEAD_S:g}")
    if not MIN_TTL_S <= settings.matchup_ttl_seconds <= MAX_TTL_S:
        bounds = f"{MIN_TTL_S:g} and {MAX_TTL_S:g}"
        raise ControlFault(Reason.SCHEMA, f"settings.matchup_ttl_seconds must lie between {bounds}")


def _check_prompt(prompt: Prompt) -> None:
    if prompt.seed is not None and prompt.seed not in _INT64:
        raise ControlFault(Reason.SCHEMA, f"the seed of prompt {prompt.id} does not fit into 64 bits")
