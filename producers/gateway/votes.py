"""Votes: checked against what was shown, claimed, written to the log, and only then acknowledged.

The order is what keeps promises through a kill at any moment. The claim says, durably, which vote a matchup will have;
then the log takes it. A kill in between leaves a claim without a vote: the same answer again goes to the log then, and
any other is refused. So no second vote on a matchup is ever acknowledged, and of a vote that is sent again the log
counts one, because its vote_id is the same.

The vote_id on the wire is made from the matchup and what the client sent: the vote_id it chose, else its answer. A
client that does not hear from us sends the same again and gets the same receipt; and nobody can take the id of
somebody else's vote first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import msgspec

from pipeline.contracts.gateway import Reveal, VotePlace, VoteReceipt, VoteRequest
from pipeline.contracts.keyring_file import KeyringFile
from pipeline.contracts.log import LogError
from pipeline.contracts.token import is_genuine, read_expiry
from pipeline.contracts.vote import Vote, encode_vote
from producers.async_vote_writer import AsyncVoteWriter
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.types import MatchupState, Showing
from producers.errors import VoteFault
from producers.gateway.batches import Batches
from producers.gateway.claims import claim_with_expiry
from producers.gateway.errors import GatewayError
from producers.gateway.published import PublishedWatch
from producers.gateway.reveal import VotedMatchup, find_standings
from producers.gateway.showings import RecentShowings
from producers.gateway.threads import Threads
from producers.gateway.voters import Voters
from producers.vote_check import check_vote

_REMEMBERED: Final = 50_000
"""Voted matchups whose place in the log and board before the vote are remembered: some 2 KB each."""


class VoteDesk:
    """Takes votes. For one event loop.

    Parameters
    ----------
    dispatcher, keys, voters, watch
    writer : open; its votes are checked here
    shown : what was shown of late, so that most votes need no look into the queue
    threads : where what waits for a disk is done
    clock : wall clock in ms since 1970 UTC
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        keys: KeyringFile,
        voters: Voters,
        watch: PublishedWatch,
        writer: AsyncVoteWriter,
        shown: RecentShowings,
        threads: Threads,
        clock: Callable[[], int],
    ) -> None:
        self._dispatcher = dispatcher
        self._keys = keys
        self._voters = voters
        self._watch = watch
        self._writer = writer
        self._threads = threads
        self._clock = clock
        self._shown = shown
        self._claims: Batches[tuple[str, str], Showing] = Batches(
            lambda asked: dispatcher.claim_votes(asked, clock()), threads
        )
        self._notes: Batches[tuple[str, str], None] = Batches(
            lambda asked: dispatcher.note_all_voted(asked, clock()), threads
        )
        self._noting: set[asyncio.Task[None]] = set()
        self._voted: OrderedDict[str, VotedMatchup] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[VotedMatchup]] = {}

    async def take(self, request: VoteRequest, identity: str) -> VoteReceipt:
        """Return when the log has the vote. Raises `GatewayError`."""
        showing = self._shown.get(request.matchup_id) or await self._find_showing(request.matchup_id)
        self._check_token(request, showing, identity)
        vote = self._make_vote(request, showing)
        voted = self._voted.get(vote.matchup_id)
        if voted is None or voted.vote_id != vote.vote_id:
            if self._clock() > showing.matchup.expires:
                voted = await self._recall(vote)
            else:
                voted = await self._write_once(vote)
        return VoteReceipt(vote_id=voted.vote_id, counted_at=voted.place, reveal=voted.reveal(self._watch.now))

    async def reveal(self, matchup_id: str, identity: str) -> Reveal:
        """Return what the voter's own vote on a matchup revealed. Raises `GatewayError`."""
        showing = await self._find_showing(matchup_id)
        if not self._voters.is_voter(identity, showing.voter):
            raise _unknown(matchup_id)
        voted = self._voted.get(matchup_id)
        if voted is None:
            # A claim is no vote yet: whoever sees it as one would acknowledge what the log never got.
            if showing.state is not MatchupState.VOTED or showing.vote_id is None:
                raise GatewayError(409, "not_voted", "vote on this matchup first: it is revealed afterwards")
            matchup = showing.matchup
            voted = self._remember(matchup_id, VotedMatchup(matchup.arena, matchup.models, showing.vote_id, None, {}))
        return voted.reveal(self._watch.now)

    async def _find_showing(self, matchup_id: str) -> Showing:
        showing = await self._threads.run(self._dispatcher.showing, matchup_id)
        if showing is None:
            raise _unknown(matchup_id)
        return showing

    def _check_token(self, request: VoteRequest, showing: Showing, identity: str) -> None:
        expiry = read_expiry(request.token)
        genuine = expiry is not None and is_genuine(
            self._keys.current(), request.token, claim_with_expiry(showing.matchup, showing.voter, expiry)
        )
        if not genuine or not self._voters.is_voter(identity, showing.voter):
            raise GatewayError(403, "bad_token", "this token is not of this matchup and voter")

    def _make_vote(self, request: VoteRequest, showing: Showing) -> Vote:
        matchup = showing.matchup
        arena = self._watch.now.arena(matchup.arena)
        if arena is not None and request.mode not in arena.arena.modes:
            raise GatewayError(
                422, "bad_ranks", f"mode {request.mode} is not of this arena: {', '.join(arena.arena.modes)}"
            )
        vote = Vote(
            vote_id=_name_vote(request),
            matchup_id=matchup.matchup_id,
            arena=matchup.arena,
            time=self._clock(),
            voter=showing.voter,
            mode=request.mode,
            models=matchup.models,
            ranks=request.ranks,
            prompt=None if matchup.prompt is None else matchup.prompt.id,
            policy=matchup.policy,
            propensity=matchup.propensity,
            duration_ms=request.duration_ms,
            token=request.token,
        )
        try:
            check_vote(encode_vote(vote))
        except VoteFault as fault:
            raise GatewayError(422, fault.reason.value, fault.detail) from None
        return vote

    async def _recall(self, vote: Vote) -> VotedMatchup:
        """Return a vote that was taken before its matchup expired. Raises `GatewayError` 410 for another."""
        showing = await self._find_showing(vote.matchup_id)
        if showing.state is not MatchupState.VOTED or showing.vote_id != vote.vote_id:
            raise GatewayError(410, "expired", "this matchup can no longer be voted on: ask for another")
        return self._remember(vote.matchup_id, VotedMatchup(vote.arena, vote.models, vote.vote_id, None, {}))

    async def _write_once(self, vote: Vote) -> VotedMatchup:
        """Claim and write a vote; the same vote that comes again meanwhile waits for the first."""
        key = f"{vote.matchup_id} {vote.vote_id}"
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._write(vote))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return await asyncio.shield(task)  # whoever gives up waiting leaves it to the others

    async def _write(self, vote: Vote) -> VotedMatchup:
        claimed = await self._claims.ask((vote.matchup_id, vote.vote_id))
        if claimed.state is MatchupState.VOTED:  # before a restart: the log has it
            return self._remember(vote.matchup_id, VotedMatchup(vote.arena, vote.models, vote.vote_id, None, {}))
        before = find_standings(self._watch.now, vote.arena, vote.models)
        try:
            delivered = await self._writer.write(encode_vote(vote))
        except LogError as error:
            # Whether the log has it is not known; the same answer may be sent again, and counts once.
            raise GatewayError(
                503, "log_unavailable", "the vote is not confirmed: send it again", retry=True, retry_after=2.0
            ) from error
        place = None
        if delivered.source is not None and delivered.offset is not None:
            topic, partition = delivered.source
            place = VotePlace(topic=topic, partition=partition, offset=delivered.offset)
        # The claim holds already: nobody waits for the queue to hear of it.
        noting = asyncio.get_running_loop().create_task(self._notes.ask((vote.matchup_id, vote.vote_id)))
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)
        return self._remember(vote.matchup_id, VotedMatchup(vote.arena, vote.models, vote.vote_id, place, before))

    def _remember(self, matchup_id: str, voted: VotedMatchup) -> VotedMatchup:
        self._voted[matchup_id] = voted
        if len(self._voted) > _REMEMBERED:
            self._voted.popitem(last=False)
        return voted


def _name_vote(request: VoteRequest) -> str:
    """Return the id of a vote on the wire: 32 hex digits."""
    chosen = ["id", request.vote_id] if request.vote_id is not None else ["answer", request.mode, request.ranks]
    return sha256(msgspec.msgpack.encode([request.matchup_id, *chosen])).hexdigest()[:32]


def _unknown(matchup_id: str) -> GatewayError:
    return GatewayError(404, "unknown_matchup", f"matchup {matchup_id} was not shown to you")
