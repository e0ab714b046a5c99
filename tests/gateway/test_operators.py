"""Health, readiness and figures; boards as the command line prints them; shortages that are filled."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from pipeline.contracts.log import MATCHUPS
from producers.gateway.server import serving
from tests.cli.stores import make_store
from tests.conftest import wait_until
from tests.end_to_end.jobs import call, make_log
from tests.gateway.systems import ARENA, System, make_settings


def test_a_gateway_without_a_store_lives_and_is_not_ready(tmp_path: Path) -> None:
    log, settings = make_log(tmp_path), make_settings(tmp_path)
    with serving(log, tmp_path / "store", settings) as server, httpx.Client(base_url=server.url) as http:
        assert http.get("/health").json() == {"status": "ok", "problems": []}
        response = http.get("/ready")
        assert response.status_code == 503
        assert "store: there is no store at" in response.json()["problems"][0]
        make_store(tmp_path / "store", ARENA)
        wait_until(lambda: http.get("/ready").status_code == 200)
        wait_until(lambda: [arena["id"] for arena in http.get("/v1/arenas").json()["arenas"]] == [ARENA])


def test_the_board_is_what_the_command_line_prints(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ARENA)
    printed = call("board", "show", "--store", store, "--format", "json").stdout
    ksort = call("board", "show", "--store", store, "--format", "json", "--method", "ksort").stdout
    log, settings = make_log(tmp_path), make_settings(tmp_path)
    with serving(log, store, settings) as server, httpx.Client(base_url=server.url) as http:
        assert http.get(f"/v1/arenas/{ARENA}/board").json() == json.loads(printed)
        assert http.get(f"/v1/arenas/{ARENA}/board?method=ksort").json() == json.loads(ksort)
        missing = http.get(f"/v1/arenas/{ARENA}/board?method=elo")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "no_board")
        detail = http.get(f"/v1/arenas/{ARENA}").json()
        assert [model["id"] for model in detail["models"] if model["retired"]] == ["old"]
        assert http.get("/v1/arenas/nowhere").status_code == 404


def test_figures_are_there(system: System) -> None:
    with system.client() as client, system.http() as http:
        client.vote(client.next_matchup(ARENA), (1, 2, 3, 4))
        text = http.get("/metrics").text
    assert 'kwise_gateway_requests_total{method="POST",route="/v1/votes",status="200"}' in text
    assert 'kwise_gateway_request_seconds_bucket{le="0.25",route="/v1/votes"}' in text
    assert f'kwise_gateway_matchups{{arena="{ARENA}",state="ready"}}' in text
    assert f'kwise_gateway_matchups_ever_total{{arena="{ARENA}",how="made_never_shown"}}' in text
    assert f'kwise_gateway_jobs_total{{arena="{ARENA}",how="done"}}' in text
    assert float(text.partition("\nkwise_gateway_votes_total ")[2].partition("\n")[0]) >= 1


def test_what_voters_used_up_is_drawn_anew_without_the_job(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    make_store(tmp_path / "store", ARENA)  # no job runs: nothing is proposed
    with serving(log, tmp_path / "store", make_settings(tmp_path)) as server, httpx.Client(base_url=server.url) as http:
        assert http.post(f"/v1/arenas/{ARENA}/matchups", json={}).status_code == 202
        wait_until(lambda: sum(log.ends(MATCHUPS).values()) > 3, 20)
