"""Voters as one process, over plain sockets: an HTTP library would cost more than the gateway that is measured.

Each voter has one connection and one cookie, asks for a matchup, fetches its pictures, thinks, votes, and goes on.
Prints one JSON object: waits in ms and the ids of the acknowledged votes.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_RANKS = [1, 2, 3, 4]


@dataclass
class Measured:
    """Waits in ms by what was asked for, votes that were acknowledged, and what went wrong."""

    next_ms: list[float] = field(default_factory=list)
    artifact_ms: list[float] = field(default_factory=list)
    vote_ms: list[float] = field(default_factory=list)
    waited: int = 0
    votes: list[str] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)


class Voter:
    """One voter on one connection."""

    def __init__(self, url: str, arena: str, measured: Measured) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "localhost", parts.port or 80
        self._arena = arena
        self._measured = measured
        self._cookie = ""

    async def connect(self) -> None:
        """Open the connection."""
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, str], bytes, float]:
        """Send one request; return status, headers, body, and the wait in ms."""
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: gateway\r\ncontent-length: {len(data)}\r\n"
        if body is not None:
            head += "content-type: application/json\r\n"
        if self._cookie:
            head += f"cookie: {self._cookie}\r\n"
        began = time.perf_counter()
        self._writer.write(head.encode() + b"\r\n" + data)
        answered = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in answered[1:])}
        content = await self._reader.readexactly(int(headers.get("content-length", "0")))
        took = 1000 * (time.perf_counter() - began)
        if "set-cookie" in headers:
            self._cookie = headers["set-cookie"].partition(";")[0]
        return int(answered[0].split(" ")[1]), headers, content, took

    async def vote_once(self, think_s: float) -> None:
        """Ask, look, think, vote."""
        shown = await self._next()
        for slot in shown["slots"]:
            status, _, _, took = await self.ask("GET", slot["artifact"])
            self._note(self._measured.artifact_ms, status, took)
        await asyncio.sleep(think_s)
        if self._reader.at_eof():  # who thinks for long comes on a new connection, as browsers do
            await self.connect()
        ballot = {"token": shown["token"], "matchup_id": shown["matchup_id"], "ranks": random.sample(_RANKS, 4)}
        status, _, content, took = await self.ask("POST", "/v1/votes", ballot)
        self._note(self._measured.vote_ms, status, took)
        if status == 200:
            self._measured.votes.append(json.loads(content)["vote_id"])

    async def _next(self) -> Any:
        while True:
            status, headers, content, took = await self.ask("POST", f"/v1/arenas/{self._arena}/matchups", {})
            if status != 202:
                self._note(self._measured.next_ms, status, took)
                return json.loads(content)
            self._measured.next_ms.append(took)
            self._measured.waited += 1
            await asyncio.sleep(float(headers["retry-after"]))

    def _note(self, waits: list[float], status: int, took: float) -> None:
        waits.append(took)
        if status != 200:
            self._measured.failed[str(status)] = self._measured.failed.get(str(status), 0) + 1


async def run(url: str, arena: str, voters: int, seconds: float, think_s: float, spread_s: float) -> Measured:
    """Let `voters` vote for `seconds`; each begins within `spread_s` and thinks `think_s` (median)."""
    measured = Measured()
    crowd = [Voter(url, arena, measured) for _ in range(voters)]
    for voter in crowd:
        await voter.connect()
    deadline = time.monotonic() + seconds
    rng = random.Random(1)

    async def go_on(voter: Voter) -> None:
        await asyncio.sleep(rng.random() * spread_s)
        while True:
            await voter.vote_once(rng.lognormvariate(0, 0.6) * think_s)
            if time.monotonic() >= deadline:
                return

    await asyncio.gather(*map(go_on, crowd))
    return measured


def main() -> None:
    """Vote as the arguments say and print what was measured."""
    url, arena, voters, seconds, think_s, spread_s = sys.argv[1:]
    measured = asyncio.run(run(url, arena, int(voters), float(seconds), float(think_s), float(spread_s)))
    print(json.dumps(measured.__dict__))


if __name__ == "__main__":
    main()
