"""What a model made of late, over HTTP: for everybody, once it was voted on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pipeline.contracts.gateway import MadeArtifact, ShownPrompt, ShownSlot
from producers.client import Client
from producers.client.calls import fetch_artifact
from producers.gateway.server import serving
from producers.simulate.pictures import read_quality
from tests.cli.stores import make_store
from tests.conftest import wait_until
from tests.end_to_end.jobs import make_log
from tests.gateway.systems import ARENA, System, make_settings, running_system, vote_on

PROMPT = "a picture that is shown *once*"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system of its own: what others have asked for would be made first."""
    with running_system(tmp_path_factory.mktemp("made")) as running:
        yield running


def test_what_was_voted_on_is_there_for_everybody(system: System) -> None:
    shown, reveal = vote_on(system, PROMPT)
    with system.client() as stranger:
        for line in reveal.models:

            def find(model: str = line.model) -> MadeArtifact | None:
                made = stranger.model_artifacts(ARENA, model, 48)
                return next((each for each in made if each.prompt == shown.prompt), None)

            found = wait_until(find)
            assert found is not None
            slot = shown.slots[line.slot]
            assert (found.artifact, found.media_type) == (slot.artifact, slot.media_type)
            picture = stranger.artifact(found)
            assert picture == stranger.artifact(found.artifact) == stranger.artifact(slot)
            skills = dict(zip(system.world.model_ids, system.world.skills.tolist(), strict=True))
            assert read_quality(picture.data) == skills[line.model]
        assert stranger.cookie is None


def test_answer_says_nothing_of_who_voted(system: System) -> None:
    vote_on(system, PROMPT)
    with system.http() as http:
        path = f"/v1/arenas/{ARENA}/models/{system.world.model_ids[0]}/artifacts"
        wait_until(lambda: http.get(path).json()["artifacts"])
        response = http.get(path)
        assert response.status_code == 200
        assert "set-cookie" not in response.headers
        (each, *_) = response.json()["artifacts"]
        assert each.keys() == {"artifact", "media_type", "prompt"}
        assert each["prompt"].keys() == {"id", "text"}


def test_no_more_is_listed_than_was_asked_for(system: System) -> None:
    model = system.world.model_ids[0]
    for number in range(2):
        vote_on(system, f"{PROMPT}, number {number}")
    with system.client() as client:
        wait_until(lambda: len(client.model_artifacts(ARENA, model)) > 1)
        assert len(client.model_artifacts(ARENA, model, 1)) == 1


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("nowhere/models/old/artifacts", 404, "unknown_arena"),
        (f"{ARENA}/models/nobody/artifacts", 404, "unknown_model"),
        (f"{ARENA}/models/old/artifacts?limit=0", 422, "bad_parameter"),
        (f"{ARENA}/models/old/artifacts?limit=49", 422, "bad_parameter"),
        (f"{ARENA}/models/old/artifacts?limit=many", 422, "bad_parameter"),
        (f"{ARENA}/models/%20/artifacts", 422, "bad_parameter"),
    ],
)
def test_what_is_not_there_is_refused(http: httpx.Client, path: str, status: int, code: str) -> None:
    response = http.get(f"/v1/arenas/{path}")
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_gateway_may_keep_it_to_itself(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ARENA)
    settings = make_settings(tmp_path, show_artifacts=False)
    with serving(make_log(tmp_path), store, settings) as server, httpx.Client(base_url=server.url) as client:
        response = client.get(f"/v1/arenas/{ARENA}/models/old/artifacts")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "not_shown")


def test_retired_model_that_made_nothing_has_nothing(http: httpx.Client) -> None:
    assert http.get(f"/v1/arenas/{ARENA}/models/old/artifacts?limit=48").json() == {"artifacts": []}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A gateway at which nothing was made."""
    folder = tmp_path_factory.mktemp("made")
    store = make_store(folder / "store", ARENA)
    with serving(make_log(folder), store, make_settings(folder)) as server, httpx.Client(base_url=server.url) as client:
        yield client


def test_client_asks_for_what_it_names() -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path.decode())
        made = {"artifact": "/v1/artifacts/x", "media_type": "text/plain", "prompt": {"id": "p", "text": None}}
        return httpx.Response(200, json={"artifacts": [made]})

    with httpx.Client(transport=httpx.MockTransport(handle)) as http:
        found = Client("http://gateway", http=http).model_artifacts("a/b", "m?", 3)
    prompt = ShownPrompt(id="p", text=None)
    assert found == (MadeArtifact(artifact="/v1/artifacts/x", media_type="text/plain", prompt=prompt),)
    assert seen == ["/v1/arenas/a%2Fb/models/m%3F/artifacts?limit=3"]


def test_slot_of_a_model_that_refused_has_nothing_to_fetch() -> None:
    with pytest.raises(ValueError, match="refused"):
        fetch_artifact(ShownSlot(slot=1, outcome="refused", media_type=None, artifact=None))
