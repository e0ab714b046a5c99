"""Matchups out: the next one that is ready, with the token that lets its voter vote on it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from pipeline.contracts.gateway import ShownMatchup, ShownPrompt, ShownSlot, Wait
from pipeline.contracts.keyring_file import KeyringFile
from pipeline.contracts.log import MATCHUPS, LogError, LogWriter, Record
from pipeline.contracts.matchup import Matchup, encode_matchup
from pipeline.contracts.token import make_token
from producers.dispatcher import types as queue
from producers.dispatcher.dispatcher import Dispatcher
from producers.gateway.batches import Batches
from producers.gateway.claims import claim_of
from producers.gateway.drawing import MatchupDrawer
from producers.gateway.errors import GatewayError
from producers.gateway.prompts import check_prompt
from producers.gateway.published import PublishedWatch
from producers.gateway.threads import Threads
from producers.gateway.voters import Voters

ARTIFACTS_PATH: Final = "/v1/artifacts/"

_REMEMBERED: Final = 20_000
"""Showings: some 2 KB each."""


class RecentShowings:
    """What was shown of late, by matchup: what a showing is does not change any more. For one event loop."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, queue.Showing] = OrderedDict()

    def note(self, showing: queue.Showing) -> None:
        """Keep a showing for a while."""
        self._by_id[showing.matchup.matchup_id] = showing
        if len(self._by_id) > _REMEMBERED:
            self._by_id.popitem(last=False)

    def get(self, matchup_id: str) -> queue.Showing | None:
        """Return a showing that is kept. Its state and vote are those of when it was shown."""
        return self._by_id.get(matchup_id)


class ShowingDesk:
    """Hands out matchups. For one event loop.

    Parameters
    ----------
    dispatcher, keys, voters, watch
    drawer : None where voters may type no prompts
    max_prompt_chars : int
    writer : of the log, for custom matchups
    shown : where what is shown is noted
    threads : where what waits for a disk is done
    clock : wall clock in ms since 1970 UTC
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        keys: KeyringFile,
        voters: Voters,
        watch: PublishedWatch,
        drawer: MatchupDrawer | None,
        max_prompt_chars: int,
        writer: LogWriter,
        shown: RecentShowings,
        threads: Threads,
        clock: Callable[[], int],
    ) -> None:
        self._dispatcher = dispatcher
        self._keys = keys
        self._voters = voters
        self._watch = watch
        self._drawer = drawer
        self._max_prompt_chars = max_prompt_chars
        self._writer = writer
        self._shown = shown
        self._threads = threads
        self._clock = clock
        self._asked: Batches[tuple[str, str], queue.Showing | queue.Wait] = Batches(
            lambda asked: dispatcher.show_all(asked, clock()), threads
        )

    async def show_next(self, arena_id: str, identity: str) -> ShownMatchup | Wait:
        """Show the next matchup of an arena. Raises `GatewayError`."""
        self.require_arena(arena_id)
        if not self._keys.current().signs:  # before a matchup is used up
            raise GatewayError(503, "no_key", "the gateway has no key to sign with", retry=True, retry_after=10.0)
        voter = self._voters.voter_id(identity, self._clock())
        return self._answer(await self._asked.ask((arena_id, voter)), None)

    async def show_ticket(self, ticket: str, identity: str) -> ShownMatchup | Wait:
        """Show the matchup of a custom prompt, if it is ready. Raises `GatewayError`."""
        now = self._clock()
        voter = self._voters.voter_id(identity, now)
        return self._answer(await self._threads.run(self._dispatcher.show_ticket, ticket, voter, now), ticket)

    async def ask_for(self, arena_id: str, text: str, identity: str) -> Wait:
        """Have a matchup made for a prompt that the voter typed: it is in the log when this returns.

        Raises `GatewayError`.
        """
        self.require_arena(arena_id)
        if self._drawer is None:
            raise GatewayError(403, "no_custom_prompts", "this gateway takes no prompts of voters' own")
        prompt = check_prompt(text, self._max_prompt_chars)
        voter = self._voters.voter_id(identity, self._clock())
        matchup = await self._threads.run(self._drawer.draw_for, arena_id, prompt)
        ticket = await self._threads.run(self._announce, matchup, voter)
        return Wait(wait_s=1.0, ticket=ticket)

    def require_arena(self, arena_id: str) -> None:
        """Raise `GatewayError` 404 for an arena that is not known, 503 while none can be."""
        published = self._watch.now
        if published.arena(arena_id) is not None:
            return
        if published.problem is not None:
            raise GatewayError(503, "not_published", "no arena is published yet", retry=True, retry_after=2.0)
        raise GatewayError(404, "unknown_arena", f"there is no arena {arena_id}")

    def _announce(self, matchup: Matchup, voter: str) -> str:
        """Append a custom matchup to the log, then to the queue; return its ticket."""
        try:
            self._writer.append(MATCHUPS, [Record(encode_matchup(matchup), matchup.matchup_id)])
        except LogError as error:
            raise GatewayError(
                503, "log_unavailable", "the log is out of reach: try again", retry=True, retry_after=2.0
            ) from error
        return self._dispatcher.add_custom(matchup, voter)

    def _answer(self, found: queue.Showing | queue.Wait, ticket: str | None) -> ShownMatchup | Wait:
        if isinstance(found, queue.Wait):
            return Wait(wait_s=float(found.wait_s), ticket=ticket)
        self._shown.note(found)
        matchup = found.matchup
        arena = self._watch.now.arena(matchup.arena)
        return ShownMatchup(
            matchup_id=matchup.matchup_id,
            arena=matchup.arena,
            k=len(matchup.models),
            modes=() if arena is None else arena.arena.modes,
            token=make_token(self._keys.current().signing, claim_of(matchup, found.voter)),
            expires=matchup.expires,
            prompt=None if matchup.prompt is None else ShownPrompt(id=matchup.prompt.id, text=matchup.prompt.text),
            slots=tuple(_describe(number, slot) for number, slot in enumerate(found.slots)),
        )


def _describe(number: int, slot: queue.ShownSlot) -> ShownSlot:
    return ShownSlot(
        slot=number,
        outcome="refused" if slot.address is None else "ok",
        media_type=slot.media_type,
        artifact=None if slot.address is None else ARTIFACTS_PATH + slot.address,
    )
