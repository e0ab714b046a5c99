"""A breaker per model: one that keeps failing is left alone for a while, so that it does not hold up the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

THRESHOLD: Final = 3
"""Failures in a row that open a breaker."""
_FIRST_MS: Final = 30_000
_LONGEST_MS: Final = 600_000


@dataclass(slots=True)
class _State:
    failures: int = 0
    openings: int = 0
    open_until: int = 0


class Breakers:
    """Which models this worker leaves alone, and until when. Times in ms."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    def excluded(self, now: int) -> tuple[str, ...]:
        """Return the models that are left alone at `now`."""
        return tuple(sorted(model for model, state in self._states.items() if state.open_until > now))

    def note_success(self, model: str) -> None:
        """Forget earlier failures."""
        self._states.pop(model, None)

    def note_failure(self, model: str, now: int) -> int | None:
        """Count a failure; return until when the model is left alone, if this one opened its breaker.

        After a pause a single failure opens it again, for twice as long.
        """
        state = self._states.setdefault(model, _State())
        state.failures += 1
        if state.failures < THRESHOLD and not state.openings:
            return None
        return self.open(model, now)

    def open(self, model: str, now: int, until: int | None = None) -> int:
        """Leave `model` alone until `until`, or for the next pause in the row; return until when."""
        state = self._states.setdefault(model, _State())
        pause = min(_FIRST_MS << min(state.openings, 10), _LONGEST_MS)
        state.openings += 1
        state.open_until = until if until is not None else now + pause
        return state.open_until
