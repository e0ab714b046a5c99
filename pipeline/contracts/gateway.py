"""What the gateway and its voters say to each other over HTTP: JSON objects, as types that both sides use.

Times in ms since 1970 UTC. Absent values are null; unknown fields are ignored by both sides.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from pipeline.contracts.ids import ID_PATTERN

VOTER_COOKIE: Final = "kwise_voter"
VOTER_HEADER: Final = "X-Kwise-Voter"
CLIENT_SECRET_HEADER: Final = "X-Kwise-Client-Secret"
ADDRESS_HEADER: Final = "X-Kwise-Address"
PROXY_SECRET_HEADER: Final = "X-Kwise-Proxy-Secret"

Id = Annotated[str, msgspec.Meta(pattern=f"^{ID_PATTERN}$", max_length=128)]
Rank = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]


class MatchupRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a matchup; with `prompt`, for one that is made for this text."""

    prompt: str | None = None


class ShownPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """What the models were asked for."""

    id: str
    text: str | None


class ShownSlot(msgspec.Struct, frozen=True, kw_only=True):
    """One slot. `refused`: the model would not answer this prompt; then there is no artifact.

    `artifact` is a path on the gateway, made for this slot and this showing.
    """

    slot: int
    outcome: Literal["ok", "refused"]
    media_type: str | None
    artifact: str | None


class ShownMatchup(msgspec.Struct, frozen=True, kw_only=True):
    """A matchup to be voted on. `token` belongs into the vote; votes are taken until `expires`."""

    matchup_id: str
    arena: str
    k: int
    modes: tuple[str, ...]
    token: str
    expires: int
    prompt: ShownPrompt | None
    slots: tuple[ShownSlot, ...]


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is ready: ask again in `wait_s` seconds, for a custom prompt under ``/v1/tickets/{ticket}``."""

    wait_s: float
    ticket: str | None = None


class VoteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A vote. `ranks` by slot: smaller is better, equal ones tie, null is unranked; absent for all_bad and skip.

    `vote_id` tells votes on one matchup apart: the same again is the same vote. Without one, the same answer is.
    """

    token: Annotated[str, msgspec.Meta(max_length=128)]
    matchup_id: Id
    mode: Literal["rank", "best", "all_bad", "skip"] = "rank"
    ranks: Annotated[tuple[Rank | None, ...], msgspec.Meta(max_length=8)] | None = None
    duration_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    vote_id: Id | None = None


class VotePlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where the log has a vote."""

    topic: str
    partition: int
    offset: int


class RevealedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What was in a slot, and where it stood on the board before the vote and with it; null where it is on none."""

    slot: int
    model: str
    name: str | None
    organization: str | None
    rank_before: int | None
    rank_after: int | None
    rating_before: float | None
    rating_after: float | None


class Reveal(msgspec.Struct, frozen=True, kw_only=True):
    """What a vote was about. The values after it are null until the published board includes it: `in_board`."""

    models: tuple[RevealedModel, ...]
    in_board: bool


class VoteReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """The log has the vote under `vote_id`, at `counted_at` (null: it was taken before the gateway was restarted)."""

    vote_id: str
    counted_at: VotePlace | None
    reveal: Reveal


class RefusedVote(msgspec.Struct, frozen=True, kw_only=True):
    """A vote of a bulk that was not taken: its line, or row, from 0, and why, as a dead letter would say it."""

    line: int
    reason: str
    detail: str


class BulkReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """The log has `accepted` votes of a bulk; the others are listed."""

    accepted: int
    refused: tuple[RefusedVote, ...]


class ArenaSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An arena. `votes` on its published board; `custom_prompts`: whether voters may type prompts."""

    id: str
    title: str | None
    k: int
    modes: tuple[str, ...]
    require_token: bool
    custom_prompts: bool
    models: int
    votes: int


class ArenaList(msgspec.Struct, frozen=True, kw_only=True):
    """All arenas, in order of id."""

    arenas: tuple[ArenaSummary, ...]


class ArenaModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model of an arena."""

    id: str
    name: str | None
    organization: str | None
    license: str | None
    url: str | None
    access: str | None
    retired: bool


class ArenaDetail(msgspec.Struct, frozen=True, kw_only=True):
    """An arena with its models."""

    arena: ArenaSummary
    models: tuple[ArenaModel, ...]


class MadeArtifact(msgspec.Struct, frozen=True, kw_only=True):
    """What a model made, and what it was asked for. `artifact` is a path on the gateway."""

    artifact: str
    media_type: str
    prompt: ShownPrompt | None


class ModelArtifacts(msgspec.Struct, frozen=True, kw_only=True):
    """The newest artifacts of a model that were voted on, the last shown first."""

    artifacts: tuple[MadeArtifact, ...]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong. `code` is for programs; `retry`: whether the same request may succeed later."""

    code: str
    message: str
    retry: bool


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer from 400 on."""

    error: Fault


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the gateway can serve; `problems` says for people what keeps it from that."""

    status: Literal["ok", "not ready"]
    problems: tuple[str, ...] = ()
