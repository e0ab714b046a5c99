"""Many votes in one body: the right ones are in the log when the answer comes, the others are listed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pyarrow as pa
import pytest

from pipeline.contracts.envelope import encode_envelope
from pipeline.contracts.keyring_file import read_keyring
from pipeline.contracts.token import Claims, make_token
from pipeline.contracts.vote import Vote, encode_vote
from pipeline.contracts.vote_batch import encode_rows
from producers.client import GatewayRefusal
from tests.conftest import wait_until
from tests.end_to_end.jobs import archived_votes
from tests.gateway.systems import ARENA, System

NDJSON, ARROW = "application/x-ndjson", "application/vnd.apache.arrow.stream"
MODELS = ("model-01", "model-02")


def make_vote(system: System, name: str, *, signed: bool = True, **changes: object) -> Vote:
    expiry = int(time.time()) + 600
    claims = Claims(ARENA, f"bulk-{name}", MODELS, None, None, None, expiry)
    token = make_token(read_keyring(system.keys).signing, claims) if signed else None
    fields = {
        "vote_id": f"bulk-vote-{name}",
        "matchup_id": f"bulk-{name}",
        "arena": ARENA,
        "time": time.time_ns() // 1_000_000,
        "models": MODELS,
        "ranks": (1, 2),
        "token": token,
    }
    return Vote(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def http(system: System) -> Iterator[httpx.Client]:
    with system.http(authorization=f"Bearer {system.secrets.producer_keys[0]}") as client:
        yield client


def post(http: httpx.Client, content: bytes, media_type: str) -> dict[str, object]:
    response = http.post("/v1/votes/bulk", content=content, headers={"content-type": media_type})
    assert response.status_code == 200, response.text
    receipt: dict[str, object] = response.json()
    return receipt


def test_lines_are_taken_or_listed_with_their_reason(system: System, http: httpx.Client) -> None:
    lines = [
        encode_vote(make_vote(system, "line-0")),
        b"",
        b"{",
        encode_vote(make_vote(system, "line-3", ranks=(1, 2, 3))),
        encode_vote(make_vote(system, "line-4", signed=False)),
        encode_vote(make_vote(system, "line-5", arena="nowhere")),
        encode_vote(make_vote(system, "line-6", models=("model-01", "nobody"))),
        encode_vote(make_vote(system, "line-7", matchup_id="another")),
        b'{"schema": 7}',
        encode_vote(make_vote(system, "line-9", time=time.time_ns() // 1_000_000 + 3_600_000)),
        encode_vote(make_vote(system, "line-10")) + b"\r",
    ]
    receipt = post(http, b"\n".join(lines), NDJSON)
    assert receipt["accepted"] == 2
    refused = receipt["refused"]
    assert isinstance(refused, list)
    assert [(each["line"], each["reason"]) for each in refused] == [
        (2, "not_json"),
        (3, "bad_ranks"),
        (4, "bad_token"),
        (5, "unknown_arena"),
        (6, "unknown_model"),
        (7, "bad_token"),
        (8, "schema"),
        (9, "bad_time"),
    ]
    assert refused[1]["detail"] == "3 ranks for 2 models"
    wait_until(lambda: {"bulk-vote-line-0", "bulk-vote-line-10"} <= set(archived_votes(system.store)))


def test_arrow_streams_are_taken(system: System, http: httpx.Client) -> None:
    votes = [make_vote(system, f"row-{number}") for number in range(5)]
    votes[3] = make_vote(system, "row-3", signed=False)
    receipt = post(http, encode_envelope(votes), ARROW)
    assert receipt == {
        "accepted": 4,
        "refused": [
            {"line": 3, "reason": "bad_token", "detail": "arena pictures requires a token, and this is none of ours"}
        ],
    }
    wait_until(lambda: {f"bulk-vote-row-{number}" for number in (0, 1, 2, 4)} <= set(archived_votes(system.store)))
    assert "bulk-vote-row-3" not in archived_votes(system.store)


@pytest.mark.parametrize(
    ("content", "media_type", "status", "code"),
    [
        (b"{}", "application/json", 415, "media_type"),
        (b"", "", 415, "media_type"),
        (b"no stream", ARROW, 422, "not_json"),
        (encode_rows(pa.table({"a": [1]})), ARROW, 422, "schema"),
        (b"\n" * 60_000, NDJSON, 200, None),
        (b"{}\n" * 60_000, NDJSON, 413, "too_large"),
        (b" " * (17 << 20), NDJSON, 413, "too_large"),
    ],
)
def test_bodies_that_cannot_be_read_are_refused(
    http: httpx.Client, content: bytes, media_type: str, status: int, code: str | None
) -> None:
    response = http.post("/v1/votes/bulk", content=content, headers={"content-type": media_type})
    assert response.status_code == status
    assert response.json().get("error", {}).get("code") == code


def test_the_client_writes_many(system: System) -> None:
    with system.client(producer_key=system.secrets.producer_keys[0]) as client:
        votes = [make_vote(system, f"client-{number}") for number in range(300)]
        receipt = client.write_votes([*votes, {"schema": 2}])
        assert (receipt.accepted, [each.line for each in receipt.refused]) == (300, [300])
        wait_until(lambda: {vote.vote_id for vote in votes} <= set(archived_votes(system.store)))
    with system.client() as client, pytest.raises(ValueError, match="producer's key"):
        client.write_votes(votes)
    with system.client(producer_key="wrong") as client, pytest.raises(GatewayRefusal, match="wrong_key"):
        client.write_votes(votes)
