"""What holds after a matchup has expired and after a restart, and with a clock that goes on by itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from pipeline.contracts.log import VOTES, Appended, LogUnavailable, Record
from pipeline.eventlog.sqlite_log import SqliteWriter
from producers.client import Client, GatewayRefusal
from producers.gateway.secret_file import open_secrets
from producers.gateway.server import serving
from producers.gateway.service import wall_clock
from producers.simulate.world import SimulatedWorld
from tests.cli.stores import make_store
from tests.conftest import wait_until
from tests.end_to_end.jobs import make_log
from tests.gateway.systems import ARENA, make_settings, working

HOUR_MS = 3_600_000


class Clock:
    """The wall clock, and what was put on top of it."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return wall_clock() + self.ahead


def test_a_vote_is_recalled_after_expiry_and_restart_and_others_are_too_late(tmp_path: Path) -> None:
    log, clock = make_log(tmp_path), Clock()
    make_store(tmp_path / "store", ARENA)  # no job runs: the gateway draws matchups itself
    settings, world = make_settings(tmp_path), SimulatedWorld()

    def count() -> int:
        return sum(log.ends(VOTES).values())

    with serving(log, tmp_path / "store", settings, clock=clock) as server, Client(server.url) as client:
        with working(server.url, open_secrets(tmp_path / "gateway", lambda: "never"), world):
            one, two = client.next_matchup(ARENA), client.next_matchup(ARENA)
        receipt = client.vote(one, (1, 2, 3))
        assert count() == 1
        clock.ahead = HOUR_MS
        assert client.vote(one, (1, 2, 3)) == receipt
        with pytest.raises(GatewayRefusal, match="expired"):
            client.vote(two, (1, 2, 3))
        with pytest.raises(GatewayRefusal, match="expired"):
            client.vote(one, (3, 2, 1))
        cookie = client._identity.cookie
    for ahead in (HOUR_MS, 0):
        clock.ahead = ahead
        with serving(log, tmp_path / "store", settings, clock=clock) as server, Client(server.url) as client:
            client._identity.cookie = cookie
            again = client.vote(one, (1, 2, 3))
            assert (again.vote_id, again.counted_at) == (receipt.vote_id, None)
            assert [model.model for model in client.reveal(one.matchup_id).models] == [
                model.model for model in receipt.reveal.models
            ]
            with pytest.raises(GatewayRefusal, match=r"already_voted|expired"):
                client.vote(one, (3, 2, 1))
    assert count() == 1


def test_nobody_is_shown_a_matchup_that_expires_too_soon(tmp_path: Path) -> None:
    log, clock = make_log(tmp_path), Clock()
    make_store(tmp_path / "store", ARENA)
    with serving(log, tmp_path / "store", make_settings(tmp_path), clock=clock) as server, Client(server.url) as client:
        with working(server.url, open_secrets(tmp_path / "gateway", lambda: "never"), SimulatedWorld()):
            shown = client.next_matchup(ARENA)
            wait_until(lambda: 'state="ready"} 0' not in metrics_of(server.url))
        clock.ahead = shown.expires - wall_clock() - 60_000
        assert not hasattr(client.ask(ARENA), "token")


def test_a_vote_that_the_log_did_not_take_is_no_vote_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, is_away, append = make_log(tmp_path), threading.Event(), SqliteWriter.append

    def append_unless_away(writer: SqliteWriter, topic: str, records: Sequence[Record]) -> Appended | None:
        if is_away.is_set():
            raise LogUnavailable("away")
        return append(writer, topic, records)

    monkeypatch.setattr(SqliteWriter, "append", append_unless_away)
    make_store(tmp_path / "store", ARENA)
    settings = make_settings(tmp_path, delivery_seconds=0.3)
    with serving(log, tmp_path / "store", settings) as server, Client(server.url, patience=30.0) as client:
        with working(server.url, open_secrets(tmp_path / "gateway", lambda: "never"), SimulatedWorld()):
            shown = client.next_matchup(ARENA)
        is_away.set()
        client._patience = 0.0
        with pytest.raises(GatewayRefusal, match="log_unavailable") as refused:
            client.vote(shown, (1, 2, 3))
        assert refused.value.retriable
        with pytest.raises(GatewayRefusal, match="not_voted"):
            client.reveal(shown.matchup_id)
        with pytest.raises(GatewayRefusal, match="already_voted"):
            client.vote(shown, (3, 2, 1))
        is_away.clear()
        assert client.vote(shown, (1, 2, 3)).counted_at is not None
    assert sum(log.ends(VOTES).values()) == 1


def metrics_of(url: str) -> str:
    return httpx.get(f"{url}/metrics").text
