"""Settings of a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LEASE_WAIT_S: Final = 2.0
"""How long the gateway may hold a question for work: the most by which it delays the end of a worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How one worker works.

    Attributes
    ----------
    name
        Tells workers apart; says nothing of the machine.
    models, arenas
        Ids to work for; None: all.
    max_jobs
        Most jobs of a lease.
    memory_bytes
        Bytes that loaded models may take on the device; None: what the device has, times `memory_share`.
    memory_share
        The worker's share of a device that it does not have alone.
    deliveries
        Artifacts encoded and sent at once, beside the making.
    until_idle
        End when there is nothing to do.
    """

    name: str
    models: tuple[str, ...] | None = None
    arenas: tuple[str, ...] | None = None
    max_jobs: int = 8
    memory_bytes: int | None = None
    memory_share: float = 1.0
    deliveries: int = 2
    until_idle: bool = False
