"""Simulated people who vote through a gateway: they ask for a matchup, look at the pictures, and answer.

They know nothing of models: they judge the quality that is in each picture (`producers.simulate.pictures`), with the
habits of their world. Many come at once, each as a voter with a cookie of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import httpx
import numpy as np
from numpy.random import Generator

from pipeline.contracts.ballot import MODE_NAMES
from pipeline.contracts.gateway import ShownMatchup
from producers.client.client import AsyncClient
from producers.client.errors import GatewayRefusal
from producers.simulate.ballots import NO_RANK
from producers.simulate.errors import SimulationError
from producers.simulate.pictures import read_quality
from producers.simulate.world import SimulatedWorld

_REFUSED_PICTURE: Final = -10.0
"""How good an answer is where a model refused: worse than any picture."""

_TIMEOUT_S: Final = 60.0


@dataclass(slots=True)
class Turnout:
    """What came of it: votes that the gateway acknowledged, and answers that it refused."""

    votes: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class _Person:
    """A voter with a cookie of its own, who does one thing at a time."""

    client: AsyncClient
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


async def vote_via_gateway(
    url: str,
    world: SimulatedWorld,
    count: int,
    *,
    concurrency: int,
    rate: float | None = None,
    first: int = 0,
    patience: float = 120.0,
    advance: Callable[[int], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Turnout:
    """Let people of `world` vote `count` times at the gateway at `url`, `concurrency` of them at once.

    Parameters
    ----------
    rate
        Votes a second; None: as fast as it goes.
    first
        Number of the first vote: what is decided by chance depends on the number, the world, and what is shown.
    patience
        Seconds that each waits for a matchup.
    advance
        Told of each vote.
    stopped
        Whether to begin no further vote.

    Raises
    ------
    SimulationError
        The arena is not there, or its pictures carry no quality.
    GatewayRefusal, GatewayUnreachable
        The gateway does not answer as it should.
    """
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(timeout=_TIMEOUT_S, limits=limits) as http:
        await _require_arena(AsyncClient(url, http=http), world.arena_id)
        voters: dict[int, _Person] = {}
        numbers = iter(range(first, first + count))
        turnout, began = Turnout(), time.monotonic()

        async def vote_on_and_on() -> None:
            for number in numbers:
                if stopped():
                    return
                if rate is not None:
                    await asyncio.sleep(max(0.0, began + (number - first) / rate - time.monotonic()))
                rng = world.voting_rng(number)
                voter, is_bot = world.draw_voter(rng)
                person = voters.setdefault(voter, _Person(AsyncClient(url, patience=patience, http=http)))
                async with person.busy:
                    await _vote_once(person.client, world, rng, turnout, is_bot=is_bot)
                advance(1)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(concurrency, count)):
                tasks.create_task(vote_on_and_on())
    return turnout


async def _vote_once(
    client: AsyncClient, world: SimulatedWorld, rng: Generator, turnout: Turnout, *, is_bot: bool
) -> None:
    shown = await client.next_matchup(world.arena_id)
    qualities = await asyncio.gather(*(_look(client, shown, slot) for slot in range(shown.k)))
    answers = world.answer_qualities(np.array([qualities]), rng, by_bot=np.array([is_bot]))
    ranks = tuple(None if rank == NO_RANK else rank for rank in answers.ranks[0].tolist())
    mode = MODE_NAMES[answers.modes[0]]
    duration = int(np.rint(rng.lognormal(np.log(9_000.0), 0.6)))
    try:
        await client.vote(shown, ranks if mode in {"rank", "best"} else None, mode=mode, duration_ms=duration)
        turnout.votes += 1
    except GatewayRefusal as refusal:
        if refusal.retriable:
            raise
        turnout.refused += 1


async def _look(client: AsyncClient, shown: ShownMatchup, slot: int) -> float:
    if shown.slots[slot].artifact is None:
        return _REFUSED_PICTURE
    quality = read_quality((await client.artifact(shown.slots[slot])).data)
    if quality is None:
        raise SimulationError(
            "simulated voters cannot judge these pictures: only those of the stand-in worker say how good they are"
        )
    return quality


async def _require_arena(client: AsyncClient, arena_id: str) -> None:
    known = [arena.id for arena in await client.arenas()]
    if arena_id not in known:
        raise SimulationError(
            f"the gateway has no arena {arena_id!r}; it has {', '.join(known) or 'none'}: make it with "
            "`kwise votes simulate --to URL --votes 0` and the same options"
        )
