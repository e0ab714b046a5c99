"""What is forged, replayed, too late, swapped, too large or made up: refused with the right status, and not counted."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from pipeline.contracts.gateway import ShownMatchup
from pipeline.contracts.keyring_file import read_keyring, rotate_keyring, write_keyring
from pipeline.contracts.log import VOTES
from pipeline.contracts.token import Claims, TokenKey, make_token
from producers.client import GatewayRefusal
from producers.gateway.errors import SettingsError
from producers.gateway.secret_file import open_secrets
from producers.gateway.server import serving
from tests.cli.stores import make_store
from tests.conftest import wait_until
from tests.end_to_end.jobs import archived_votes, make_log
from tests.gateway.systems import ARENA, OTHER_ARENA, System, make_settings

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def http(system: System) -> Iterator[httpx.Client]:
    with system.http() as client:
        yield client


def show(http: httpx.Client, arena: str = ARENA) -> dict[str, Any]:
    """Return a matchup as a browser gets it, with its cookie kept by the client."""

    def ask() -> dict[str, Any] | None:
        response = http.post(f"/v1/arenas/{arena}/matchups", json={})
        return response.json() if response.status_code == 200 else None

    shown = wait_until(ask)
    assert shown is not None
    return shown


def ballot(shown: dict[str, Any], **changes: Any) -> dict[str, Any]:
    ranks = list(range(1, shown["k"] + 1))
    return {"token": shown["token"], "matchup_id": shown["matchup_id"], "ranks": ranks} | changes


def refused(response: httpx.Response) -> tuple[int, str]:
    """Return status and code of a refusal, whose shape is checked."""
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message", "retry"}
    return response.status_code, body["error"]["code"]


def count_votes(system: System) -> int:
    """Return how many records the votes' topic has."""
    return sum(system.log.ends(VOTES).values())


@pytest.fixture
def nothing_is_written(system: System) -> Iterator[None]:
    """Check that a test leaves nothing in the log."""
    before = count_votes(system)
    yield
    assert count_votes(system) == before


@pytest.mark.usefixtures("nothing_is_written")
def test_tokens_that_are_not_ours_are_refused(http: httpx.Client, system: System) -> None:
    shown, other = show(http), show(http)
    key_id, expiry, mac = shown["token"].split(".")
    key = read_keyring(system.keys).signing
    made_up = Claims(ARENA, shown["matchup_id"], ("model-01",) * 4, "v1.0", "gibbs", 0.1, int(expiry))
    forged = [
        other["token"],
        f"{key_id}.{int(expiry) + 60}.{mac}",
        f"{key_id}.{expiry}.{mac[::-1]}",
        f"k99.{expiry}.{mac}",
        make_token(TokenKey(key_id, b"f" * 32), made_up),
        make_token(key, made_up),
        "",
        "nonsense",
        "k1.1.x" + "y" * 100,
    ]
    for token in forged:
        assert refused(http.post("/v1/votes", json=ballot(shown, token=token))) == (403, "bad_token")
    long = ballot(shown, token="k" * 129)
    assert refused(http.post("/v1/votes", json=long)) == (422, "schema")


@pytest.mark.usefixtures("nothing_is_written")
def test_a_token_of_another_arena_is_refused(http: httpx.Client) -> None:
    here, there = show(http), show(http, OTHER_ARENA)
    crossed = ballot(here, token=there["token"])
    assert refused(http.post("/v1/votes", json=crossed)) == (403, "bad_token")
    crossed = ballot(there, token=here["token"])
    assert refused(http.post("/v1/votes", json=crossed)) == (403, "bad_token")


@pytest.mark.usefixtures("nothing_is_written")
def test_a_token_of_another_voter_is_refused(http: httpx.Client, system: System) -> None:
    shown = show(http)
    with system.http() as thief:
        assert refused(thief.post("/v1/votes", json=ballot(shown))) == (403, "unknown_voter")
        show(thief)
        assert refused(thief.post("/v1/votes", json=ballot(shown))) == (403, "bad_token")


def test_models_sent_by_a_client_are_ignored(http: httpx.Client, system: System) -> None:
    shown = show(http)
    sent = ballot(shown, models=["model-01"] * 4, voter="v1.0", time=0, propensity=1.0, arena="elsewhere")
    receipt = http.post("/v1/votes", json=sent).json()
    wait_until(lambda: receipt["vote_id"] in archived_votes(system.store))


def test_a_replayed_vote_counts_once(http: httpx.Client, system: System) -> None:
    shown = show(http)
    answers = [http.post("/v1/votes", json=ballot(shown)) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    (vote_id,) = {answer.json()["vote_id"] for answer in answers}
    assert refused(http.post("/v1/votes", json=ballot(shown, ranks=[4, 3, 2, 1]))) == (409, "already_voted")
    wait_until(lambda: vote_id in archived_votes(system.store))
    assert archived_votes(system.store).count(vote_id) == 1


def test_retired_keys_are_good_and_removed_ones_are_not(http: httpx.Client, system: System) -> None:
    one, two = show(http), show(http)
    before = read_keyring(system.keys)
    write_keyring(system.keys, rotate_keyring(before, b"n" * 32), new=False)
    newest = two

    def is_newer() -> bool:
        nonlocal newest
        newest = show(http)
        return bool(newest["token"].split(".")[0] != one["token"].split(".")[0])

    wait_until(is_newer)
    for shown in (one, newest):
        receipt = http.post("/v1/votes", json=ballot(shown))
        assert receipt.status_code == 200
        wait_until(lambda: receipt.json()["vote_id"] in archived_votes(system.store))  # noqa: B023 - at once
    rotated = read_keyring(system.keys)
    write_keyring(system.keys, type(rotated)(rotated.keys[-1:]), new=False)
    wait_until(lambda: refused_or_none(http.post("/v1/votes", json=ballot(two))) == (403, "bad_token"))
    write_keyring(system.keys, rotated, new=False)
    wait_until(lambda: http.post("/v1/votes", json=ballot(two)).status_code == 200)


def refused_or_none(response: httpx.Response) -> tuple[int, str] | None:
    return None if response.status_code == 200 else refused(response)


@pytest.mark.usefixtures("nothing_is_written")
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "not_json"),
        (b"{", 400, "not_json"),
        (b"\xff\xfe", 400, "not_json"),
        (b"null", 422, "schema"),
        (b"[]", 422, "schema"),
        (b"{}", 422, "schema"),
        (b"[" * 10_000, 422, "schema"),
        (b'{"a":' * 2_000 + b"1" + b"}" * 2_000, 400, "not_json"),
        (b'{"token":1,"matchup_id":"m"}', 422, "schema"),
        (b'{"token":"k1.1.x","matchup_id":"../../etc/passwd"}', 422, "schema"),
        (b'{"token":"k1.1.x","matchup_id":"m","ranks":[1e999,2]}', 422, "schema"),
        (b'{"token":"k1.1.x","matchup_id":"m","ranks":[NaN]}', 400, "not_json"),
        (b'{"token":"k1.1.x","matchup_id":"m","ranks":[1.5,2]}', 422, "schema"),
        (b'{"token":"k1.1.x","matchup_id":"m","ranks":"1234"}', 422, "schema"),
        (b'{"token":"k1.1.x","matchup_id":"m","mode":"best of all"}', 422, "schema"),
        (b'{"token":"k1.1.x","matchup_id":"m","duration_ms":-1}', 422, "schema"),
        (b'{"token":"k1.1.x","matchup_id":"unknown"}', 404, "unknown_matchup"),
        (b" " * 20_000, 413, "too_large"),
    ],
)
def test_malformed_votes_are_refused(http: httpx.Client, body: bytes, status: int, code: str) -> None:
    show(http)
    response = http.post("/v1/votes", content=body, headers={"content-type": "application/json"})
    assert refused(response) == (status, code)


def test_other_media_types_are_refused(http: httpx.Client) -> None:
    shown = show(http)
    content = json.dumps(ballot(shown)).encode()
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        response = http.post("/v1/votes", content=content, headers={"content-type": media_type})
        assert refused(response) == (415, "media_type")


@pytest.mark.parametrize("how", ["content-length: 1099511627776", "transfer-encoding: chunked"])
@pytest.mark.parametrize("path", ["/v1/votes", f"/v1/arenas/{ARENA}/matchups", "/v1/votes/bulk", "/v1/work/lease"])
def test_large_bodies_are_cut_off(http: httpx.Client, system: System, path: str, how: str) -> None:
    """The gateway answers and hangs up while the body is still coming."""
    show(http)
    key = system.secrets.worker_keys[0] if "work" in path else system.secrets.producer_keys[0]
    media_type = "application/x-ndjson" if "bulk" in path else "application/json"
    head = [
        f"POST {path} HTTP/1.1",
        "host: gateway",
        f"cookie: kwise_voter={http.cookies['kwise_voter']}",
        f"authorization: Bearer {key}",
        f"content-type: {media_type}",
        how,
    ]
    parts = urlsplit(system.server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        blanks = b" " * 65_536
        chunk = b"10000\r\n" + blanks + b"\r\n" if "chunked" in how else blanks
        sent = 0
        with suppress(ConnectionError):
            while sent < 64 << 20 and not select.select([connection], [], [], 0)[0]:
                sent += connection.send(chunk[sent % len(chunk) :])
        answer = connection.recv(65_536)
        assert answer[:12] == b"HTTP/1.1 413"
        assert b"connection: close" in answer.lower()
    assert sent < 64 << 20


@pytest.mark.parametrize(
    "path",
    [
        "/v1/artifacts/..%2f..%2f..%2fetc%2fpasswd",
        "/v1/artifacts/../../queue.db",
        "/v1/artifacts/%2e%2e/%2e%2e/secrets.toml",
        "/v1/artifacts/objects/ab/" + "a" * 64 + ".png",
        "/v1/artifacts/" + "a" * 64,
        "/v1/artifacts/" + "a" * 21 + "%00",
        "/v1/artifacts/" + "A" * 22,
        "/v1/artifacts/" + "A" * 22 + "%0a",
        "/v1/artifacts/" + "%41" * 22,
        "/v1/artifacts/",
        "/v1/artifacts",
    ],
)
def test_artifacts_are_found_by_their_address_only(http: httpx.Client, path: str) -> None:
    assert refused(http.get(path))[0] in {404, 422}


def test_an_artifact_cannot_run_as_a_page(http: httpx.Client) -> None:
    for slot in show(http)["slots"]:
        response = http.get(slot["artifact"])
        assert response.headers["content-type"] == "image/png"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert "etag" not in response.headers


def test_scripts_stay_texts(http: httpx.Client, system: System) -> None:
    arenas = http.get("/v1/arenas")
    assert arenas.headers["content-type"] == "application/json"
    assert arenas.headers["x-content-type-options"] == "nosniff"
    assert SCRIPT in {arena["title"] for arena in arenas.json()["arenas"]}
    with system.client() as client:
        shown = client.next_matchup(ARENA, SCRIPT)
        assert isinstance(shown, ShownMatchup)
        assert shown.prompt is not None
        assert shown.prompt.text == SCRIPT
    response = http.get(f"/v1/arenas/{SCRIPT}/board")
    assert refused(response)[0] in {404, 422}
    assert "<script>" not in response.text
    method = http.get(f"/v1/arenas/{ARENA}/board", params={"method": SCRIPT})
    assert refused(method) == (422, "bad_parameter")
    assert "<script>" not in method.text


@pytest.mark.parametrize("prompt", ["", "a\nb", "\x00", "x" * 501, "\u202etxt", 5, None, ["x"]])
def test_prompts_that_could_do_harm_are_refused(http: httpx.Client, prompt: Any) -> None:
    response = http.post(f"/v1/arenas/{ARENA}/matchups", json={"prompt": prompt})
    if prompt is None:
        assert response.status_code in {200, 202}
    else:
        assert refused(response)[0] == 422


def test_nobody_speaks_for_voters_without_the_secret(http: httpx.Client, system: System) -> None:
    path, voter = f"/v1/arenas/{ARENA}/matchups", "ab" * 16
    for headers in ({}, {"X-Kwise-Client-Secret": "x" * 64}, {"X-Kwise-Client-Secret": system.secrets.proxy_secret}):
        response = http.post(path, json={}, headers={"X-Kwise-Voter": voter, **headers})
        assert refused(response) == (403, "wrong_secret")
    trusted = {"X-Kwise-Voter": voter, "X-Kwise-Client-Secret": system.secrets.client_secret}
    assert http.post(path, json={}, headers=trusted).status_code in {200, 202}
    wrong = {**trusted, "X-Kwise-Voter": "../../x"}
    assert refused(http.post(path, json={}, headers=wrong)) == (400, "bad_voter")


def test_a_cookie_that_was_made_up_is_nobodys(system: System) -> None:
    for cookie in ("0" * 32, f"{'0' * 32}.{'0' * 16}", "x", '"; DROP TABLE votes'):
        with system.http(cookie=f"kwise_voter={cookie}") as http:
            response = http.post(f"/v1/arenas/{ARENA}/matchups", json={})
            assert "kwise_voter" in response.cookies
            assert response.cookies["kwise_voter"][:32] != "0" * 32


@pytest.mark.parametrize("route", ["/v1/votes/bulk", "/v1/work/lease", "/v1/work/heartbeat"])
def test_keys_are_asked_for_and_are_not_each_others(http: httpx.Client, system: System, route: str) -> None:
    right = system.secrets.producer_keys if "bulk" in route else system.secrets.worker_keys
    wrong = system.secrets.worker_keys if "bulk" in route else system.secrets.producer_keys
    for value in (None, "", "Bearer", f"Bearer {wrong[0]}", f"Basic {right[0]}", f"Bearer {right[0]}x"):
        headers = {} if value is None else {"authorization": value}
        response = http.post(route, json={"worker": "w", "jobs": []}, headers=headers)
        assert refused(response) == (401, "wrong_key")
        assert response.headers["www-authenticate"] == "Bearer"


# ------------------------------------------------------------------------------ limits: a gateway with small ones


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[System]:
    """A gateway without job and worker whose limits are met at once; nothing is ever ready."""
    log = make_log(tmp_path)
    make_store(tmp_path / "store", ARENA)
    small = {
        "voter_per_minute": 1,
        "voter_burst": 3,
        "address_per_minute": 1,
        "address_burst": 8,
        "new_voters_per_hour": 1,
        "new_voters_burst": 2,
        "artifacts_per_minute": 1,
        "artifacts_burst": 2,
    }
    with serving(log, tmp_path / "store", make_settings(tmp_path, **small)) as server:
        secrets = open_secrets(tmp_path / "gateway", lambda: "never")
        yield System(tmp_path, log, server, secrets, None, None)  # type: ignore[arg-type]  # no world, no job


PATH = f"/v1/arenas/{ARENA}/matchups"


def test_a_flood_of_one_voter_is_dammed(strict: System) -> None:
    with strict.http() as http:
        statuses = [http.post(PATH, json={}).status_code for _ in range(10)]
        assert statuses[:4] == [202] * 4  # the first made the voter
        assert set(statuses[4:]) == {429}
        answer = http.post(PATH, json={})
        assert refused(answer) == (429, "too_many")
        assert int(answer.headers["retry-after"]) > 1


def test_a_flood_of_new_voters_at_one_address_is_dammed(strict: System) -> None:
    with strict.http() as http:
        statuses = []
        for _ in range(5):
            http.cookies.clear()
            statuses.append(http.post(PATH, json={}).status_code)
        assert statuses == [202, 202, 429, 429, 429]


def test_addresses_are_taken_from_a_proxy_with_the_secret_only(strict: System) -> None:
    secret = strict.secrets.proxy_secret

    def statuses(count: int, **headers: str) -> set[int]:
        found = set()
        with strict.http() as http:
            for number in range(count):
                named = {name.replace("_", "-"): value.format(number) for name, value in headers.items()}
                found.add(http.get("/v1/arenas", headers=named).status_code)
        return found

    assert statuses(8, x_forwarded_for="192.0.2.{}") == {200}
    # The header alone changes nothing: all came from one address.
    assert statuses(3, x_forwarded_for="192.0.2.{}") == {429}
    assert statuses(3, x_kwise_address="192.0.2.{}") == {429}
    assert statuses(3, x_kwise_address="192.0.2.{}", x_kwise_proxy_secret="x" * 64) == {403}
    assert statuses(20, x_kwise_address="192.0.2.{}", x_kwise_proxy_secret=secret) == {200}
    # What a client wrote in front of what the proxy saw is not believed.
    assert statuses(20, x_forwarded_for="10.0.0.{}, 198.51.100.7", x_kwise_proxy_secret=secret) == {200, 429}


def test_artifacts_have_a_limit_of_their_own(strict: System) -> None:
    with strict.http() as http:
        found = [http.get("/v1/artifacts/" + "A" * 22).status_code for _ in range(4)]
    assert found == [404, 404, 429, 429]


def test_pages_of_other_sites_are_let_in_by_list(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, origins=("https://vote.example",))
    with serving(make_log(tmp_path), tmp_path / "store", settings) as server, httpx.Client(base_url=server.url) as http:
        ask = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        let = http.options("/v1/votes", headers={"origin": "https://vote.example", **ask})
        assert let.headers["access-control-allow-origin"] == "https://vote.example"
        assert let.headers["access-control-allow-credentials"] == "true"
        other = http.options("/v1/votes", headers={"origin": "https://evil.example", **ask})
        assert "access-control-allow-origin" not in other.headers
        plain = http.get("/v1/arenas", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in plain.headers


def test_the_access_log_says_nothing_of_who_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="kwise.gateway.access")
    settings = make_settings(tmp_path, access_log=True)
    with serving(make_log(tmp_path), tmp_path / "store", settings) as server, httpx.Client(base_url=server.url) as http:
        http.get("/v1/arenas/pictures?secret=1", headers={"user-agent": "me", "x-forwarded-for": "192.0.2.1"})
        http.get("/nowhere/my-name")
    lines = [record.getMessage() for record in caplog.records if record.name == "kwise.gateway.access"]
    assert lines[0].startswith("GET /v1/arenas/{arena} 404 ")
    assert lines[1].startswith("other other 404 ")
    assert not [
        line for line in lines if "192.0.2.1" in line or "127.0.0.1" in line or "name" in line or "secret" in line
    ]


def test_a_second_gateway_on_the_same_state_is_refused(system: System) -> None:
    with (
        pytest.raises(SettingsError, match="another gateway uses this folder"),
        serving(system.log, system.store, make_settings(system.folder)),
    ):
        pass


def test_a_refusal_tells_clients_whether_to_try_again(system: System) -> None:
    with system.client(patience=0.0) as client, pytest.raises(GatewayRefusal) as unknown:
        client.board("nowhere")
    assert (unknown.value.status, unknown.value.code, unknown.value.retriable) == (404, "unknown_arena", False)
