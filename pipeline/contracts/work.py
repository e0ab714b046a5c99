"""What a worker asks of the gateway over HTTP: JSON objects. What it is lent is in `contracts.generation`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from pipeline.contracts.ids import ID_PATTERN

RECIPE_HEADER: Final = "X-Kwise-Recipe"
MOST_JOBS: Final = 64
"""Jobs of one lease at most."""
MOST_WAIT_S: Final = 20.0
"""A request for jobs waits at the gateway at most so long."""
FENCE_MAX: Final = (1 << 63) - 1

_Id = Annotated[str, msgspec.Meta(pattern=f"^{ID_PATTERN}$", max_length=128)]
_Ids = Annotated[tuple[_Id, ...], msgspec.Meta(max_length=10_000)]
_Worker = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Fence = Annotated[int, msgspec.Meta(ge=1, le=FENCE_MAX)]


class LeaseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for jobs: of any model and arena where null, but of none in `exclude`; of `resident` models rather.

    Where there are none, the answer waits up to `wait_s` seconds.
    """

    worker: _Worker
    resident: _Ids = ()
    max_jobs: Annotated[int, msgspec.Meta(ge=1, le=MOST_JOBS)] = 8
    models: _Ids | None = None
    exclude: _Ids = ()
    arenas: _Ids | None = None
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=MOST_WAIT_S)] = 0.0


class HeldJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a worker has, and the fence that proves it."""

    job_id: Annotated[str, msgspec.Meta(max_length=128)]
    fence: _Fence


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs that a worker still has, those that wait for their turn included."""

    worker: _Worker
    jobs: Annotated[tuple[HeldJob, ...], msgspec.Meta(max_length=1_000)]


class HeartbeatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The loans last `lease_seconds` from now, but for those of `lost`: drop them."""

    lease_seconds: float
    lost: tuple[str, ...] = ()


class OutcomeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Tells why there is no artifact: the model refused the prompt, which voters are shown, or something failed."""

    fence: _Fence
    outcome: Literal["refused", "failed"]
    reason: Annotated[str, msgspec.Meta(max_length=10_000)] = ""
    retriable: bool = True


class OutcomeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the job: refused, tried again later, or given up."""

    state: Literal["refused", "waiting", "dead"]


class ReleaseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Gives a job back unharmed."""

    fence: _Fence


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """It was done; there is nothing to say about it."""


MESSAGES: Final = (
    LeaseRequest,
    Heartbeat,
    HeartbeatAnswer,
    OutcomeRequest,
    OutcomeAnswer,
    ReleaseRequest,
    Done,
)
