"""Requests to the gateway and what their answers mean, without any network: what both clients share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

import msgspec

from pipeline.contracts.gateway import (
    CLIENT_SECRET_HEADER,
    VOTER_COOKIE,
    VOTER_HEADER,
    ArenaDetail,
    ArenaList,
    BulkReceipt,
    ErrorAnswer,
    Health,
    MadeArtifact,
    MatchupRequest,
    ModelArtifacts,
    Reveal,
    ShownMatchup,
    ShownSlot,
    VoteReceipt,
    Wait,
)
from pipeline.contracts.snapshot import Board
from producers.client.errors import GatewayRefusal
from producers.outgoing_vote import VoteLike, encode_vote_like

T = TypeVar("T")

_JSON: Final = "application/json"
_NDJSON: Final = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a model made."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: status, headers with names in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and how its answer is read.

    Attributes
    ----------
    method, path
    read : makes the result of a good answer
    body, headers
    good : statuses of a good answer
    """

    method: str
    path: str
    read: Callable[[Answer], T]
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    good: tuple[int, ...] = (200,)

    def parse(self, answer: Answer) -> T:
        """Return what the answer says. Raises `GatewayRefusal`."""
        if answer.status in self.good:
            return self.read(answer)
        raise _read_refusal(answer)


def list_arenas() -> Call[ArenaList]:
    """All arenas."""
    return Call("GET", "/v1/arenas", _reader(ArenaList))


def show_arena(arena: str) -> Call[ArenaDetail]:
    """One arena."""
    return Call("GET", f"/v1/arenas/{_quote(arena)}", _reader(ArenaDetail))


def show_board(arena: str, method: str | None) -> Call[Board]:
    """The board of an arena."""
    query = "" if method is None else f"?method={_quote(method)}"
    return Call("GET", f"/v1/arenas/{_quote(arena)}/board{query}", _reader(Board))


def list_artifacts(arena: str, model: str, limit: int) -> Call[ModelArtifacts]:
    """What a model of an arena made of late."""
    path = f"/v1/arenas/{_quote(arena)}/models/{_quote(model)}/artifacts?limit={limit}"
    return Call("GET", path, _reader(ModelArtifacts))


def ask_matchup(arena: str, prompt: str | None) -> Call[ShownMatchup | Wait]:
    """The next matchup of an arena, or one for a prompt."""
    path = f"/v1/arenas/{_quote(arena)}/matchups"
    return _post(path, MatchupRequest(prompt=prompt), _read_shown, good=(200, 202))


def ask_ticket(ticket: str) -> Call[ShownMatchup | Wait]:
    """The matchup of a ticket."""
    return Call("GET", f"/v1/tickets/{_quote(ticket)}", _read_shown, good=(200, 202))


def cast_vote(
    shown: ShownMatchup, ranks: Sequence[int | None] | None, mode: str, duration_ms: int | None, vote_id: str | None
) -> Call[VoteReceipt]:
    """A vote on what was shown."""
    fields = {
        "token": shown.token,
        "matchup_id": shown.matchup_id,
        "mode": mode,
        "ranks": None if ranks is None else tuple(ranks),
        "duration_ms": duration_ms,
        "vote_id": vote_id,
    }
    return _post("/v1/votes", fields, _reader(VoteReceipt))


def ask_reveal(matchup_id: str) -> Call[Reveal]:
    """What a vote revealed."""
    return Call("GET", f"/v1/matchups/{_quote(matchup_id)}/reveal", _reader(Reveal))


def fetch_artifact(place: ShownSlot | MadeArtifact | str) -> Call[Artifact]:
    """What is in a slot, or under a path that the gateway named. Raises `ValueError` for a model that refused."""
    path = place if isinstance(place, str) else place.artifact
    if path is None:
        raise ValueError("the model in this slot refused: there is no artifact")
    return Call("GET", path, lambda answer: Artifact(answer.headers.get("content-type", ""), answer.body))


def write_votes(votes: Iterable[VoteLike], key: str) -> Call[BulkReceipt]:
    """Many votes of a producer."""
    body = b"".join(encode_vote_like(vote).replace(b"\n", b" ") + b"\n" for vote in votes)
    headers = {"content-type": _NDJSON, "authorization": f"Bearer {key}"}
    return Call("POST", "/v1/votes/bulk", _reader(BulkReceipt), body, headers)


def ask_ready() -> Call[Health]:
    """Whether the gateway can serve."""
    return Call("GET", "/ready", _reader(Health), good=(200, 503))


class Identity:
    """Who the voter of a client is: the cookie that the gateway gave, or a program's own word.

    Parameters
    ----------
    voter, client_secret
        32 hex digits that stand for a voter, from a program that may speak for voters.
    cookie
        Of a voter that the gateway has met.
    """

    def __init__(self, voter: str | None, client_secret: str | None, cookie: str | None = None) -> None:
        if (voter is None) != (client_secret is None):
            raise ValueError("voter and client_secret belong together: name both, or neither")
        self._named = {} if voter is None else {VOTER_HEADER: voter, CLIENT_SECRET_HEADER: str(client_secret)}
        self.cookie = cookie

    def headers(self) -> dict[str, str]:
        """Return what a request says of its voter."""
        if self.cookie is not None:
            return {"cookie": f"{VOTER_COOKIE}={self.cookie}"}
        return self._named

    def note(self, answer: Answer) -> None:
        """Keep the cookie that an answer sets."""
        name, _, rest = answer.headers.get("set-cookie", "").partition("=")
        if name == VOTER_COOKIE and not self._named:
            self.cookie = rest.partition(";")[0]


def _post(path: str, body: object, read: Callable[[Answer], T], *, good: tuple[int, ...] = (200,)) -> Call[T]:
    return Call("POST", path, read, msgspec.json.encode(body), {"content-type": _JSON}, good)


def _reader(kind: type[T]) -> Callable[[Answer], T]:
    decoder = msgspec.json.Decoder(kind)

    def read(answer: Answer) -> T:
        try:
            return decoder.decode(answer.body)
        except msgspec.DecodeError as error:
            raise _strange(answer, str(error)) from None

    return read


_read_matchup = _reader(ShownMatchup)
_read_wait = _reader(Wait)


def _read_shown(answer: Answer) -> ShownMatchup | Wait:
    return _read_matchup(answer) if answer.status == 200 else _read_wait(answer)


def _read_refusal(answer: Answer) -> GatewayRefusal:
    try:
        fault = msgspec.json.decode(answer.body, type=ErrorAnswer).error
    except msgspec.DecodeError:
        return _strange(answer, "no gateway answers like this: is the URL right?")
    after = answer.headers.get("retry-after", "")
    return GatewayRefusal(
        answer.status,
        fault.code,
        fault.message,
        retriable=fault.retry,
        retry_after=float(after) if after.isdecimal() else None,
    )


def _strange(answer: Answer, why: str) -> GatewayRefusal:
    # What stands before a gateway answers so, too, while it is away.
    return GatewayRefusal(answer.status, "strange", why, retriable=answer.status >= 500, retry_after=None)


def _quote(text: Any) -> str:
    return quote(str(text), safe="")
