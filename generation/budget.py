"""How many calls of a model were made today, for models that cost money."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from generation.errors import BudgetSpent

DAY_MS = 86_400_000


class Budget:
    """Calls a UTC day, counted before they are made.

    Parameters
    ----------
    what
        The model, as errors name it and as its file is named.
    per_day
        Most calls a day.
    folder
        Where the count is kept, so that it outlives the worker and holds for all workers that share the folder.
    clock
        Returns ms since 1970.
    """

    def __init__(self, what: str, per_day: int, folder: Path, clock: Callable[[], int]) -> None:
        self._what = what
        self._per_day = per_day
        self._path = folder / f"budget-{sha256(what.encode()).hexdigest()[:16]}.json"
        self._clock = clock

    def spend(self) -> None:
        """Count one call.

        Raises
        ------
        BudgetSpent
            Today's calls were made; says when the next day begins.
        """
        today = self._clock() // DAY_MS
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            calls = _read_calls(file.read(), today)
            if calls >= self._per_day:
                tomorrow = (today + 1) * DAY_MS
                when = datetime.fromtimestamp(tomorrow / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
                raise BudgetSpent(f"{self._what}: its {self._per_day} calls a day are spent until {when}", tomorrow)
            file.truncate(0)
            file.write(json.dumps({"model": self._what, "day": today, "calls": calls + 1}))
            file.flush()
            os.fsync(file.fileno())


def _read_calls(text: str, today: int) -> int:
    """Return today's calls; a file that was cut off by a crash counts as none."""
    try:
        kept = json.loads(text)
        return int(kept["calls"]) if kept["day"] == today else 0
    except (ValueError, KeyError, TypeError):
        return 0
