"""Makes a batch, whatever happens: fewer at once where memory is short, one by one where one of them fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from generation.adapters.base import Request
from generation.errors import GenerationError, Interrupted, ModelUnavailable, OutOfMemory, Refused, describe_error
from generation.frames import Frames
from generation.worker.residency import Residency, Resident

Outcome = Frames | Refused | GenerationError
"""Of one request; an error that is no refusal is one of this very request."""


def make_batch(
    requests: Sequence[Request],
    resident: Resident,
    residency: Residency,
    stop: Callable[[], bool],
    on_last: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Outcome]]:
    """Yield the place and the outcome of each request, in order, in as few calls of the model as memory allows.

    Where a call runs out of memory, the next one makes half as many; a single one that does not fit gets the device
    for itself, then a model whose weights stay off it. Where a call fails otherwise, its requests are made one by one,
    so that one bad prompt spoils nothing else. `on_last` is called before the last part is begun.

    Raises
    ------
    OutOfMemory
        Not even one fits; the model was released.
    Interrupted, ModelUnavailable
        From the model. What was yielded before holds.
    """
    done = 0
    alone = 0  # so many are made one by one, after a failure
    while done < len(requests):
        size = 1 if alone else min(len(requests) - done, resident.batch or len(requests))
        if done + size == len(requests):
            on_last()
        outcome = _call(requests[done : done + size], resident, stop)
        if isinstance(outcome, OutOfMemory):
            resident.adapter.free_cache()
            _retreat(size, resident, residency)
            continue
        if isinstance(outcome, GenerationError) and size > 1:
            alone = size
            continue
        alone = max(0, alone - size)
        yield from enumerate([outcome] if isinstance(outcome, GenerationError) else outcome, start=done)
        done += size


def _call(
    requests: Sequence[Request], resident: Resident, stop: Callable[[], bool]
) -> list[Frames | Refused] | GenerationError:
    """Call the model; errors are returned, so that what their tracebacks hold is free before the next call."""
    try:
        return resident.adapter.generate(requests, stop)
    except (Interrupted, ModelUnavailable):
        raise
    except GenerationError as error:
        return error.with_traceback(None)
    except Exception as error:  # the libraries behind adapters raise whatever they like
        return GenerationError(describe_error(error))


def _retreat(size: int, resident: Resident, residency: Residency) -> None:
    """Make the next try cheaper than one of `size` at once."""
    if size > 1:
        resident.batch = size // 2
    elif not residency.release_others(resident) and not resident.adapter.offload():
        residency.release(resident)
        raise OutOfMemory("a single artifact does not fit into memory: smaller width and height, or a larger device")
