"""Says when records are due: at the distances in time that they had, divided by a speed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LONGEST_WAIT: Final = 1.0


class Pacer:
    """Lets records pass when their time has come. The first one is due at once.

    Parameters
    ----------
    speed : 1 for the original speed, 10 for ten times that; None: nothing is held back
    now : seconds, monotonic
    wait : sleeps so many seconds, and returns true as soon as feeding is to stop

    Attributes
    ----------
    late : float
        Seconds by which the last records passed after their time.
    latest : float
        The most that it ever was.
    """

    def __init__(self, speed: float | None, now: Callable[[], float], wait: Callable[[float], bool]) -> None:
        self.late = 0.0
        self.latest = 0.0
        self._speed = speed
        self._now = now
        self._wait = wait
        self._start: tuple[float, int] | None = None

    def count_due(self, times: NDArray[np.int64]) -> int:
        """Wait until the first of `times` (ms, ascending, at least one) is due; return how many are. 0: stop."""
        if self._speed is None:
            return 0 if self._wait(0.0) else len(times)
        if self._start is None:
            self._start = self._now(), int(times[0])
        started, first = self._start
        while True:
            reached = first + (self._now() - started) * 1000.0 * self._speed
            ahead = (int(times[0]) - reached) / 1000.0 / self._speed
            if self._wait(max(0.0, min(ahead, _LONGEST_WAIT))):
                return 0
            if ahead <= 0:
                self.late = -ahead
                self.latest = max(self.latest, self.late)
                return int(np.searchsorted(times, reached, side="right"))
