"""The client: what it makes of answers, when it tries again, and that voters do not mix."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from pipeline.contracts.gateway import VOTER_COOKIE
from producers.client import AsyncClient, Client, GatewayRefusal, GatewayUnreachable
from producers.client.calls import Answer, Identity, list_arenas
from producers.client.client import NotReady
from producers.client.patience import Patience
from tests.conftest import wait_until
from tests.end_to_end.jobs import archived_votes
from tests.gateway.systems import ARENA, System


def answering(*answers: httpx.Response | Exception) -> tuple[httpx.Client, list[httpx.Request]]:
    """Return an HTTP client that gives these answers, the last one for ever, and the requests it saw."""
    left, seen = list(answers), list[httpx.Request]()

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return httpx.Client(transport=httpx.MockTransport(handle)), seen


def refusal(status: int, code: str, *, retry: bool, after: str | None = None) -> httpx.Response:
    headers = {} if after is None else {"retry-after": after}
    return httpx.Response(status, json={"error": {"code": code, "message": "no", "retry": retry}}, headers=headers)


EMPTY = httpx.Response(200, json={"arenas": []})


def test_what_may_pass_is_tried_again() -> None:
    http, seen = answering(httpx.ConnectError("away"), refusal(503, "log_unavailable", retry=True), EMPTY)
    assert Client("http://gateway", http=http).arenas() == ()
    assert len(seen) == 3


def test_what_does_not_pass_is_not() -> None:
    http, seen = answering(refusal(403, "bad_token", retry=False))
    with pytest.raises(GatewayRefusal, match=r"no \(403 bad_token\)"):
        Client("http://gateway", http=http).arenas()
    assert len(seen) == 1


def test_patience_ends() -> None:
    http, _ = answering(httpx.ConnectError("away"))
    with pytest.raises(GatewayUnreachable, match="is the gateway running"):
        Client("http://gateway", http=http, patience=0.3).arenas()
    http, seen = answering(refusal(429, "too_many", retry=True, after="3600"))
    with pytest.raises(GatewayRefusal):
        Client("http://gateway", http=http, patience=1.0).arenas()
    assert len(seen) == 1


def test_what_is_no_gateway_is_said() -> None:
    http, _ = answering(httpx.Response(200, text="<html>"))
    with pytest.raises(GatewayRefusal, match="strange"):
        Client("http://gateway", http=http).arenas()
    http, _ = answering(httpx.Response(404, text="<html>"))
    with pytest.raises(GatewayRefusal, match="is the URL right"):
        Client("http://gateway", http=http).arenas()


def test_pauses_double_up_to_a_longest_and_follow_the_gateway() -> None:
    patience = Patience(60.0, 0.0)
    away = GatewayUnreachable("away")
    assert [patience.after_error(away, 0.0) for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    busy = GatewayRefusal(429, "too_many", "no", retriable=True, retry_after=17.0)
    assert patience.after_error(busy, 0.0) == 17.0
    with pytest.raises(GatewayRefusal):
        patience.after_error(busy, 44.0)
    assert patience.before_look(2.0, 59.0) == 1.0
    assert patience.before_look(2.0, 60.0) is None


def test_a_voter_is_a_cookie_or_a_programs_word() -> None:
    voter = Identity(None, None)
    assert voter.headers() == {}
    voter.note(Answer(200, {"set-cookie": f"{VOTER_COOKIE}=abc; Path=/; HttpOnly"}, b""))
    voter.note(Answer(200, {"set-cookie": "other=x; Path=/"}, b""))
    assert voter.headers() == {"cookie": f"{VOTER_COOKIE}=abc"}
    named = Identity("ab" * 16, "secret")
    named.note(Answer(200, {"set-cookie": f"{VOTER_COOKIE}=abc"}, b""))
    assert named.headers() == {"X-Kwise-Voter": "ab" * 16, "X-Kwise-Client-Secret": "secret"}
    with pytest.raises(ValueError, match="belong together"):
        Identity("ab" * 16, None)
    assert list_arenas().path == "/v1/arenas"


def test_nothing_ready_is_said_when_patience_ends(system: System) -> None:
    with system.client(patience=0.5) as client:
        with pytest.raises(GatewayRefusal) as refused:
            client.next_matchup("clips", "something forbidden forbidden")
        assert isinstance(refused.value, NotReady) or refused.value.code == "cancelled"


def test_voters_who_share_connections_stay_apart(system: System) -> None:
    async def vote() -> list[str]:
        async with httpx.AsyncClient(timeout=20) as http:
            voters = [AsyncClient(system.server.url, http=http) for _ in range(8)]
            shown = await asyncio.gather(*(voter.next_matchup(ARENA) for voter in voters))
            assert len({voter._identity.cookie for voter in voters}) == 8
            with pytest.raises(GatewayRefusal, match="bad_token"):
                await voters[0].vote(shown[1], (1, 2, 3, 4))
            answers = (voter.vote(one, (1, 2, 3, 4)) for voter, one in zip(voters, shown, strict=True))
            receipts = await asyncio.gather(*answers)
            revealed = await voters[0].reveal(shown[0].matchup_id, in_board=True)
            assert revealed.in_board
            return [receipt.vote_id for receipt in receipts]

    votes = asyncio.run(vote())
    wait_until(lambda: set(votes) <= set(archived_votes(system.store)))


def test_the_async_client_does_what_the_other_does(system: System) -> None:
    async def look() -> None:
        async with AsyncClient(system.server.url, producer_key=system.secrets.producer_keys[0]) as client:
            assert (await client.ready()).status == "ok"
            assert {arena.id for arena in await client.arenas()} == {"clips", ARENA}
            assert len((await client.arena(ARENA)).models) == 6
            assert (await client.board(ARENA)).arena == ARENA
            shown = await client.next_matchup(ARENA, "a lighthouse at noon")
            picture = await client.artifact(shown.slots[0])
            assert picture.media_type == "image/png"
            assert await client.artifact(str(shown.slots[0].artifact)) == picture
            made = await client.model_artifacts(ARENA, system.world.model_ids[0], 2)
            assert len(made) <= 2
            assert all([(await client.artifact(each)).media_type == each.media_type for each in made])
            assert (await client.write_votes([])).accepted == 0

    asyncio.run(look())


def test_a_program_speaks_for_voters_of_its_own(system: System) -> None:
    options = {"voter": "cd" * 16, "client_secret": system.secrets.client_secret}
    with system.client(**options) as one, system.client(**options) as same:
        shown = one.next_matchup(ARENA)
        assert same.vote(shown, (1, 2, 3, 4)).vote_id
