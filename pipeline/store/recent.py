"""RECENT.json: the last hour of a job's figures, a sample every few seconds, for pages that draw them over time.

It is no truth, only a memory of what HEARTBEAT.json said: written without a flush, and begun anew if it is damaged.
A job that starts again goes on with it, so that a page shows the gap that the restart left.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Final

import msgspec

from pipeline.contracts.status import Sample, Status, make_sample
from pipeline.store.files import replace_file

RECENT_NAME: Final = "RECENT.json"

EVERY_MS: Final = 5_000
KEPT_MS: Final = 3_600_000


class Recent:
    """The samples of a store's last hour, in memory and in its folder. Not for two threads at once."""

    def __init__(self, root: Path) -> None:
        self._path = root / RECENT_NAME
        self._samples = deque(read_recent(self._path))

    def note(self, now: int, status: Status) -> None:
        """Add a sample if one is due, and write the file. Raises OSError."""
        while self._samples and self._samples[-1].time > now:  # the clock was put back
            self._samples.pop()
        if self._samples and now - self._samples[-1].time < EVERY_MS:
            return
        self._samples.append(make_sample(now, status))
        while self._samples[0].time <= now - KEPT_MS:
            self._samples.popleft()
        replace_file(self._path, msgspec.json.encode(tuple(self._samples)), durable=False)


def read_recent(path: Path) -> tuple[Sample, ...]:
    """Return the samples in the file, oldest first; none if there is no file or it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Sample, ...])
    except (OSError, msgspec.DecodeError):
        return ()
