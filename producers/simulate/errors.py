"""What can go wrong in a simulation."""

from __future__ import annotations


class SimulationError(ValueError):
    """A world or a request to it makes no sense. Says what was wrong and what to do; no retry helps."""

    retriable = False
