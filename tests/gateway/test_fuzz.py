"""Whatever the API's description allows, and much that it does not, is answered as the description says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipeline.contracts.gateway import VOTER_COOKIE
from pipeline.contracts.log import VOTES
from tests.gateway.systems import ARENA, System, running_system

OPERATIONS = (
    "POST /v1/arenas/{arena}/matchups",
    "GET /v1/tickets/{ticket}",
    "POST /v1/votes",
    "GET /v1/matchups/{matchup_id}/reveal",
    "GET /v1/artifacts/{address}",
    "GET /v1/arenas",
    "GET /v1/arenas/{arena}",
    "GET /v1/arenas/{arena}/board",
    "GET /v1/arenas/{arena}/models/{model}/artifacts",
    "POST /v1/votes/bulk",
    "GET /health",
    "GET /ready",
    "GET /metrics",
    "POST /v1/work/lease",
    "POST /v1/work/heartbeat",
    "PUT /v1/work/jobs/{job_id}/artifact",
    "POST /v1/work/jobs/{job_id}/outcome",
    "POST /v1/work/jobs/{job_id}/release",
)
WITHOUT_INPUT = ("GET /v1/arenas", "GET /health", "GET /ready", "GET /metrics")
EXAMPLES = 25

# Hypothesis sees the system's threads draw random numbers, and takes it for the strategies.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")


@schemathesis.serializer("application/x-ndjson", "application/vnd.apache.arrow.stream")
def serialize_text(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system of its own: what is made up for workers takes jobs away."""
    with running_system(tmp_path_factory.mktemp("fuzzed")) as running:
        yield running


@pytest.fixture(scope="module")
def description(fuzzed: System) -> dict[str, Any]:
    with fuzzed.http() as http:
        found: dict[str, Any] = http.get("/openapi.json").json()
        return found


def list_operations(description: dict[str, Any]) -> dict[str, Any]:
    schema = schemathesis.openapi.from_dict(description)
    operations: list[Any] = list(schema.get_all_operations())
    return {found.label: found for found in (operation.ok() for operation in operations)}


def test_all_operations_are_tried(description: dict[str, Any]) -> None:
    assert sorted(list_operations(description)) == sorted(OPERATIONS)


@pytest.mark.parametrize(
    ("label", "mode"),
    [
        pytest.param(label, mode, id=f"{mode.value} {label}")
        for label in OPERATIONS
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or label not in WITHOUT_INPUT
    ],
)
def test_answers_are_as_described(
    fuzzed: System, description: dict[str, Any], label: str, mode: GenerationMode
) -> None:
    """With what the description allows (positive), and with what it does not (negative)."""
    operation = list_operations(description)[label]
    before = sum(fuzzed.log.ends(VOTES).values())
    with ExitStack() as stack:
        http = stack.enter_context(fuzzed.http())
        http.post(f"/v1/arenas/{ARENA}/matchups", json={})
        key = fuzzed.secrets.worker_keys[0] if "work" in label else fuzzed.secrets.producer_keys[0]
        headers = {"authorization": f"Bearer {key}", "cookie": f"{VOTER_COOKIE}={http.cookies[VOTER_COOKIE]}"}

        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def try_case(case: Any) -> None:
            if isinstance(case.body, dict) and "wait_s" in case.body:
                case.body["wait_s"] = 0
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                case.call_and_validate(base_url=fuzzed.server.url, headers=headers, checks=CHECKS)

        try_case()
    assert sum(fuzzed.log.ends(VOTES).values()) == before


@pytest.mark.parametrize("label", OPERATIONS)
def test_strangers_get_nothing_but_refusals(fuzzed: System, description: dict[str, Any], label: str) -> None:
    """Without cookie and keys: public routes answer, all others say what is missing."""
    operation = list_operations(description)[label]
    secured = bool(description["paths"][operation.path][operation.method].get("security"))

    @settings(max_examples=5, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def try_case(case: Any) -> None:
        case.headers = {name: value for name, value in (case.headers or {}).items() if name.lower() != "authorization"}
        case.cookies = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            response = case.call(base_url=fuzzed.server.url)
        assert response.status_code < 500 or response.status_code == 503
        if secured:
            assert response.status_code in {400, 401, 403, 404, 405, 413, 415, 422}

    try_case()


@pytest.mark.parametrize("method", ["TRACE", "PATCH", "DELETE", "CONNECT", "NONSENSE"])
def test_other_methods_are_refused(fuzzed: System, method: str) -> None:
    with fuzzed.http() as http:
        for path in ("/v1/votes", "/v1/arenas", "/v1/artifacts/" + "A" * 22, "/health", "/"):
            try:
                response = http.request(method, path)
            except httpx.RemoteProtocolError:  # the parser hangs up
                continue
            assert response.status_code in {400, 404, 405}
