"""The two clients: the same calls, with and without an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from http.cookiejar import DefaultCookiePolicy
from typing import Final, Self, TypeVar

import httpx

from pipeline.contracts.gateway import (
    ArenaDetail,
    ArenaSummary,
    BulkReceipt,
    Health,
    MadeArtifact,
    Reveal,
    ShownMatchup,
    ShownSlot,
    VoteReceipt,
    Wait,
)
from pipeline.contracts.snapshot import Board
from producers.client import calls
from producers.client.calls import Answer, Artifact, Call, Identity
from producers.client.errors import GatewayRefusal, GatewayUnreachable
from producers.client.patience import Patience
from producers.outgoing_vote import VoteLike

T = TypeVar("T")

_TIMEOUT_S: Final = 30.0
_BOARD_LOOK_S: Final = 0.5


class NotReady(GatewayRefusal):
    """No matchup was ready within the time."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(202, "not_ready", "no matchup was ready in time", retriable=True, retry_after=wait.wait_s)


class Client:
    """One voter, or a producer, at the gateway at `url`. Not for several threads at once.

    A request that meets a gateway that is away or busy is tried again for `patience` seconds; a vote that is sent
    twice counts once. Close it, or use it in a ``with`` block.

    Parameters
    ----------
    url : of the gateway
    patience : seconds that each call goes on trying
    producer_key : for `write_votes`
    voter, client_secret : for programs that speak for voters of their own
    cookie : what `Client.cookie` was before, to go on as the same voter
    http : shared by several clients, and not closed by this one

    Raises
    ------
    GatewayRefusal
        By all calls: the gateway refused.
    GatewayUnreachable
        By all calls: no answer came.
    """

    def __init__(
        self,
        url: str,
        *,
        patience: float = 30.0,
        producer_key: str | None = None,
        voter: str | None = None,
        client_secret: str | None = None,
        cookie: str | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._patience = patience
        self._producer_key = producer_key
        self._identity = Identity(voter, client_secret, cookie)
        self._http = http or httpx.Client(timeout=_TIMEOUT_S)
        _keep_no_cookies(self._http)
        self._is_ours = http is None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections. Idempotent."""
        if self._is_ours:
            self._http.close()

    @property
    def cookie(self) -> str | None:
        """What makes this client the same voter again later; None before the gateway has given it."""
        return self._identity.cookie

    def arenas(self) -> tuple[ArenaSummary, ...]:
        """Return all arenas."""
        return self._send(calls.list_arenas()).arenas

    def arena(self, arena: str) -> ArenaDetail:
        """Return an arena with its models."""
        return self._send(calls.show_arena(arena))

    def board(self, arena: str, method: str | None = None) -> Board:
        """Return the newest published board, by the default method if none is named."""
        return self._send(calls.show_board(arena, method))

    def model_artifacts(self, arena: str, model: str, limit: int = 12) -> tuple[MadeArtifact, ...]:
        """Return the newest artifacts of a model that were voted on, up to `limit` (1 to 48), the last shown first."""
        return self._send(calls.list_artifacts(arena, model, limit)).artifacts

    def ask(self, arena: str, prompt: str | None = None) -> ShownMatchup | Wait:
        """Return the next matchup, or how long to wait for one; with `prompt`, have one made, and return its ticket."""
        return self._send(calls.ask_matchup(arena, prompt))

    def ticket(self, ticket: str) -> ShownMatchup | Wait:
        """Return the matchup of a ticket, or how long to wait for it."""
        return self._send(calls.ask_ticket(ticket))

    def next_matchup(self, arena: str, prompt: str | None = None) -> ShownMatchup:
        """Return the next matchup, or one for `prompt`, waiting for it. Raises `NotReady` after `patience` seconds."""
        patience = Patience(self._patience, time.monotonic())
        found = self.ask(arena, prompt)
        while isinstance(found, Wait):
            pause = patience.before_look(found.wait_s, time.monotonic())
            if pause is None:
                raise NotReady(found)
            time.sleep(pause)
            found = self.ask(arena) if found.ticket is None else self.ticket(found.ticket)
        return found

    def artifact(self, place: ShownSlot | MadeArtifact | str) -> Artifact:
        """Return what a model made: in a slot, or under a path of the gateway. Raises `ValueError` if it refused."""
        return self._send(calls.fetch_artifact(place))

    def vote(
        self,
        shown: ShownMatchup,
        ranks: Sequence[int | None] | None = None,
        *,
        mode: str = "rank",
        duration_ms: int | None = None,
        vote_id: str | None = None,
    ) -> VoteReceipt:
        """Vote on what was shown; return when the log has the vote.

        Parameters
        ----------
        ranks
            By slot: smaller is better, equal ones tie, None is unranked. None for `all_bad` and `skip`.
        mode
            rank, best, all_bad or skip, as far as the arena has them.
        duration_ms
            How long the voter took.
        vote_id
            The same again is the same vote; None: the same answer is.
        """
        return self._send(calls.cast_vote(shown, ranks, mode, duration_ms, vote_id))

    def reveal(self, matchup_id: str, *, in_board: bool = False) -> Reveal:
        """Return what a vote revealed; `in_board`: wait, up to `patience` seconds, until the board includes it."""
        patience = Patience(self._patience, time.monotonic())
        found = self._send(calls.ask_reveal(matchup_id))
        while in_board and not found.in_board:
            pause = patience.before_look(_BOARD_LOOK_S, time.monotonic())
            if pause is None:
                break
            time.sleep(pause)
            found = self._send(calls.ask_reveal(matchup_id))
        return found

    def write_votes(self, votes: Iterable[VoteLike]) -> BulkReceipt:
        """Write votes of a producer; return when the log has those that are right. Sent again, they count once."""
        return self._send(calls.write_votes(votes, _require_key(self._producer_key)))

    def ready(self) -> Health:
        """Return whether the gateway can serve."""
        return self._send(calls.ask_ready())

    def _send(self, call: Call[T]) -> T:
        patience = Patience(self._patience, time.monotonic())
        while True:
            try:
                return call.parse(self._try(call))
            except (GatewayRefusal, GatewayUnreachable) as error:
                pause = patience.after_error(error, time.monotonic())
            time.sleep(pause)

    def _try(self, call: Call[T]) -> Answer:
        headers = {**call.headers, **self._identity.headers()}
        try:
            response = self._http.request(call.method, self._url + call.path, content=call.body, headers=headers)
        except httpx.HTTPError as error:
            raise _explain(self._url, error) from error
        return _note(self._identity, response)


class AsyncClient:
    """One voter, or a producer, at the gateway at `url`, in an event loop. See `Client`."""

    def __init__(
        self,
        url: str,
        *,
        patience: float = 30.0,
        producer_key: str | None = None,
        voter: str | None = None,
        client_secret: str | None = None,
        cookie: str | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._patience = patience
        self._producer_key = producer_key
        self._identity = Identity(voter, client_secret, cookie)
        self._http = http or httpx.AsyncClient(timeout=_TIMEOUT_S)
        _keep_no_cookies(self._http)
        self._is_ours = http is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        if self._is_ours:
            await self._http.aclose()

    @property
    def cookie(self) -> str | None:
        """What makes this client the same voter again; see `Client.cookie`."""
        return self._identity.cookie

    async def arenas(self) -> tuple[ArenaSummary, ...]:
        """Return all arenas."""
        return (await self._send(calls.list_arenas())).arenas

    async def arena(self, arena: str) -> ArenaDetail:
        """Return an arena with its models."""
        return await self._send(calls.show_arena(arena))

    async def board(self, arena: str, method: str | None = None) -> Board:
        """Return the newest published board; see `Client.board`."""
        return await self._send(calls.show_board(arena, method))

    async def model_artifacts(self, arena: str, model: str, limit: int = 12) -> tuple[MadeArtifact, ...]:
        """Return the newest artifacts of a model that were voted on; see `Client.model_artifacts`."""
        return (await self._send(calls.list_artifacts(arena, model, limit))).artifacts

    async def ask(self, arena: str, prompt: str | None = None) -> ShownMatchup | Wait:
        """Return the next matchup, or how long to wait; see `Client.ask`."""
        return await self._send(calls.ask_matchup(arena, prompt))

    async def ticket(self, ticket: str) -> ShownMatchup | Wait:
        """Return the matchup of a ticket, or how long to wait for it."""
        return await self._send(calls.ask_ticket(ticket))

    async def next_matchup(self, arena: str, prompt: str | None = None) -> ShownMatchup:
        """Return the next matchup, waiting for it; see `Client.next_matchup`."""
        patience = Patience(self._patience, time.monotonic())
        found = await self.ask(arena, prompt)
        while isinstance(found, Wait):
            pause = patience.before_look(found.wait_s, time.monotonic())
            if pause is None:
                raise NotReady(found)
            await asyncio.sleep(pause)
            found = await (self.ask(arena) if found.ticket is None else self.ticket(found.ticket))
        return found

    async def artifact(self, place: ShownSlot | MadeArtifact | str) -> Artifact:
        """Return what a model made; see `Client.artifact`."""
        return await self._send(calls.fetch_artifact(place))

    async def vote(
        self,
        shown: ShownMatchup,
        ranks: Sequence[int | None] | None = None,
        *,
        mode: str = "rank",
        duration_ms: int | None = None,
        vote_id: str | None = None,
    ) -> VoteReceipt:
        """Vote on what was shown; see `Client.vote`."""
        return await self._send(calls.cast_vote(shown, ranks, mode, duration_ms, vote_id))

    async def reveal(self, matchup_id: str, *, in_board: bool = False) -> Reveal:
        """Return what a vote revealed; see `Client.reveal`."""
        patience = Patience(self._patience, time.monotonic())
        found = await self._send(calls.ask_reveal(matchup_id))
        while in_board and not found.in_board:
            pause = patience.before_look(_BOARD_LOOK_S, time.monotonic())
            if pause is None:
                break
            await asyncio.sleep(pause)
            found = await self._send(calls.ask_reveal(matchup_id))
        return found

    async def write_votes(self, votes: Iterable[VoteLike]) -> BulkReceipt:
        """Write votes of a producer; see `Client.write_votes`."""
        return await self._send(calls.write_votes(votes, _require_key(self._producer_key)))

    async def ready(self) -> Health:
        """Return whether the gateway can serve."""
        return await self._send(calls.ask_ready())

    async def _send(self, call: Call[T]) -> T:
        patience = Patience(self._patience, time.monotonic())
        while True:
            try:
                return call.parse(await self._try(call))
            except (GatewayRefusal, GatewayUnreachable) as error:
                pause = patience.after_error(error, time.monotonic())
            await asyncio.sleep(pause)

    async def _try(self, call: Call[T]) -> Answer:
        headers = {**call.headers, **self._identity.headers()}
        try:
            response = await self._http.request(call.method, self._url + call.path, content=call.body, headers=headers)
        except httpx.HTTPError as error:
            raise _explain(self._url, error) from error
        return _note(self._identity, response)


def _keep_no_cookies(http: httpx.Client | httpx.AsyncClient) -> None:
    """Leave cookies to `Identity`: what several voters share must not mix them up."""
    http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))


def _note(identity: Identity, response: httpx.Response) -> Answer:
    answer = Answer(response.status_code, dict(response.headers), response.content)
    identity.note(answer)
    return answer


def _explain(url: str, error: httpx.HTTPError) -> GatewayUnreachable:
    return GatewayUnreachable(f"{url} does not answer ({error or type(error).__name__}): is the gateway running?")


def _require_key(key: str | None) -> str:
    if key is None:
        raise ValueError("writing votes needs a producer's key: Client(url, producer_key=...)")
    return key
