"""How many matchups to keep ready, and how long a voter has to wait when none is.

Voters who come within the lead time (as long as it takes to make a matchup, or more) are about Poisson with mean
``L = rate * lead``, so ``L + z sqrt(L)`` matchups serve nearly all of them at once; those who wait now come on top.
The rate is the larger of a quick mean, which sees a burst within seconds, and a slow one, which does not forget the
traffic of the last minutes because of a short lull. Matchups that are too many after a burst are not lost: they are
shown before they expire, and meanwhile nothing is made.

All of it is in memory and a guess: a restart begins with what was shown in the last minutes.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict

from producers.dispatcher.settings import DispatcherSettings

_QUICK_S = 15.0
_SLOW_S = 120.0
REMEMBERED_MS = int(5 * _SLOW_S * 1000)
"""Voters who came longer ago than this count for nothing."""
_LONGEST_WAIT_S = 30
_UNKNOWN_S = 5.0  # that making takes, before anything was made
_LOOK_MS = 250  # between two looks for voters who wait no longer
_MOST_WAITING = 100_000  # voters remembered as waiting: more than any arena can serve within the longest wait


class Meter:
    """Events a second, as an exponentially weighted mean over `tau_s` seconds."""

    def __init__(self, tau_s: float) -> None:
        self._tau_ms = tau_s * 1000
        self._weight = 0.0
        self._last = 0

    def note(self, now: int) -> None:
        """Count one event at `now`, ms. Events may come somewhat out of order."""
        self._weight = self._decayed(now) + 1000 / self._tau_ms
        self._last = max(self._last, now)

    def rate(self, now: int) -> float:
        """Return events a second at `now`, ms."""
        return self._decayed(now)

    def _decayed(self, now: int) -> float:
        return self._weight * math.exp(-max(now - self._last, 0) / self._tau_ms)


class ArenaDemand:
    """What one arena's voters ask for. Not for several threads at once."""

    def __init__(self, settings: DispatcherSettings) -> None:
        self._settings = settings
        self._quick = Meter(_QUICK_S)
        self._slow = Meter(_SLOW_S)
        self._made = Meter(_QUICK_S)
        self._make_s = 0.0
        self._until: OrderedDict[str, int] = OrderedDict()  # who waits, and until when we believe it
        self._looked = 0
        self._filling = False

    def note_served(self, voter: str, now: int) -> None:
        """Note that a voter got a matchup."""
        if self._until.pop(voter, None) is None:
            self._note_request(now)

    def note_waiting(self, voter: str, now: int) -> int:
        """Note that a voter found nothing ready; return in how many seconds to ask again."""
        if voter not in self._until:
            self._note_request(now)
        wait_s = self._estimate_wait(now)
        self._until[voter] = now + round((wait_s + self._settings.patience_s) * 1000)
        while len(self._until) > _MOST_WAITING:
            self._until.popitem(last=False)
        return wait_s

    def note_made(self, took_ms: int | None, now: int) -> None:
        """Note that a matchup became ready, and how long it took from its first lease; None: nothing was to make."""
        self._made.note(now)
        if took_ms is not None:
            seconds = took_ms / 1000
            self._make_s += (seconds - self._make_s) * (0.1 if self._make_s else 1.0)

    def estimate_making(self) -> int:
        """Return in how many seconds to look whether one matchup that is in the making is ready."""
        return max(1, math.ceil(min((self._make_s or _UNKNOWN_S) / 2, _LONGEST_WAIT_S)))

    def rate(self, now: int) -> float:
        """Return voters a second who ask for a matchup, repeated questions of one who waits left out."""
        one_voter = 1 / _QUICK_S  # no burst: without this, each voter of a quiet night has a burst made for them
        return max(self._quick.rate(now) - one_voter, self._slow.rate(now))

    def waiting(self, now: int) -> int:
        """Return how many voters wait."""
        if abs(now - self._looked) >= _LOOK_MS:
            self._looked = now
            for voter in [voter for voter, until in self._until.items() if until <= now]:
                del self._until[voter]
        return len(self._until)

    def lead_s(self) -> float:
        """Return the seconds that matchups are made ahead: twice what making takes, within the settings."""
        return min(max(self._settings.lead_s, 2 * self._make_s), self._settings.lead_max_s)

    def target(self, now: int) -> int:
        """Return how many matchups should be ready or in the making."""
        settings = self._settings
        mean = self.rate(now) * self.lead_s()
        coming = math.ceil(mean + settings.spread * math.sqrt(mean))
        return min(max(coming, settings.ready_min) + self.waiting(now), settings.ready_max)

    def missing(self, supply: int, now: int) -> int:
        """Return how many matchups to begin, when `supply` are ready or in the making; 0 within the hysteresis."""
        target = self.target(now)
        if supply >= target:
            self._filling = False
        elif self.waiting(now) or supply < target * (1 - self._settings.hysteresis):
            self._filling = True
        return target - supply if self._filling else 0

    def _note_request(self, now: int) -> None:
        self._quick.note(now)
        self._slow.note(now)

    def _estimate_wait(self, now: int) -> int:
        """Return seconds until it is the turn of one more voter, as matchups were made of late.

        But no longer than making one takes: where there are workers enough, those of all who wait are made at once,
        and where there are not, making takes long. Asking too early costs little, asking too late a voter.
        """
        made = self._made.rate(now)
        seconds = self._make_s or _UNKNOWN_S
        if made > 0:
            seconds = min(seconds, (self.waiting(now) + 1) / made)
        return max(1, math.ceil(min(seconds, _LONGEST_WAIT_S)))


class Demand:
    """The demand of all arenas. For any number of threads."""

    def __init__(self, settings: DispatcherSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._arenas: dict[str, ArenaDemand] = {}

    def note_served(self, arena: str, voter: str, now: int) -> None:
        """See `ArenaDemand.note_served`."""
        with self._lock:
            self._arena(arena).note_served(voter, now)

    def note_waiting(self, arena: str, voter: str, now: int) -> int:
        """See `ArenaDemand.note_waiting`."""
        with self._lock:
            return self._arena(arena).note_waiting(voter, now)

    def note_made(self, arena: str, took_ms: int | None, now: int) -> None:
        """See `ArenaDemand.note_made`."""
        with self._lock:
            self._arena(arena).note_made(took_ms, now)

    def missing(self, arena: str, supply: int, now: int) -> int:
        """See `ArenaDemand.missing`."""
        with self._lock:
            return self._arena(arena).missing(supply, now)

    def lead_s(self, arena: str) -> float:
        """See `ArenaDemand.lead_s`."""
        with self._lock:
            return self._arena(arena).lead_s()

    def estimate_making(self, arena: str) -> int:
        """See `ArenaDemand.estimate_making`."""
        with self._lock:
            return self._arena(arena).estimate_making()

    def describe(self, arena: str, now: int) -> tuple[int, int, float]:
        """Return target, voters waiting, and rate of an arena."""
        with self._lock:
            demand = self._arena(arena)
            return demand.target(now), demand.waiting(now), demand.rate(now)

    def _arena(self, arena: str) -> ArenaDemand:
        if arena not in self._arenas:
            self._arenas[arena] = ArenaDemand(self._settings)
        return self._arenas[arena]
