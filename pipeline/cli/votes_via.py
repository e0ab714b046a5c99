"""`kwise votes simulate --via`: simulated people who vote through a gateway."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click

from pipeline.cli.output import note, progress
from pipeline.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from producers.simulate.world import SimulatedWorld

_COUNT: Final = 1000
_ENDLESS: Final = 2**53


@dataclass(frozen=True, slots=True)
class Via:
    """How votes go through a gateway. `worker_key`: with it the simulator draws the pictures, too."""

    url: str | None
    concurrency: int
    worker_key: str | None


def via_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--via` and what belongs to it, handed over as `via`."""

    @click.option("--via", "via_url", metavar="URL", help="Gateway to vote through, instead of --to.")
    @click.option(
        "--concurrency", type=click.IntRange(1, 10_000), default=20, show_default=True, help="People at once, by --via."
    )
    @click.option(
        "--worker-key",
        envvar="KWISE_WORKER_KEY",
        show_envvar=True,
        metavar="KEY",
        help="Draw the pictures of this arena, too, as a worker of the gateway with this key.",
    )
    @wraps(command)
    def wrapped(*, via_url: str | None, concurrency: int, worker_key: str | None, **rest: Any) -> None:
        command(via=Via(via_url, concurrency, worker_key), **rest)

    return wrapped


def vote_via(via: Via, world: SimulatedWorld, count: int | None, *, rate: float | None, first: int) -> None:
    """Let people of `world` vote through the gateway; say how many votes it took, and how quickly."""
    from producers.simulate.via_gateway import vote_via_gateway

    assert via.url is not None
    if count is None:
        count = _COUNT if rate is None else _ENDLESS
    began = time.monotonic()
    with stop_on_signals() as stop, _drawing(via, world), progress("votes", count) as advance:
        turnout = asyncio.run(
            vote_via_gateway(
                via.url,
                world,
                count,
                concurrency=via.concurrency,
                rate=rate,
                first=first,
                advance=advance,
                stopped=stop.is_set,
            )
        )
    seconds = time.monotonic() - began
    refused = f", {turnout.refused} refused" if turnout.refused else ""
    note(
        f"{turnout.votes} votes through {via.url} in {seconds:.1f} s ({turnout.votes / seconds:,.0f} a second){refused}"
    )


@contextmanager
def _drawing(via: Via, world: SimulatedWorld) -> Iterator[None]:
    """Draw pictures while the block runs, if there is a key."""
    if via.worker_key is None:
        yield
        return
    from producers.dispatcher.stand_in import StandInWorker, open_client
    from producers.simulate.pictures import WorldArtist

    assert via.url is not None
    ended = threading.Event()
    with open_client(via.url, via.worker_key) as client:
        worker = StandInWorker(client, "simulator", draw=WorldArtist(world).draw, wait_s=1.0)
        thread = threading.Thread(target=worker.run, args=(ended,), name="stand-in", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
