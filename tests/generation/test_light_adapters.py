"""Commands and models behind HTTP: what they are asked, what their answers mean, and what they cannot reach."""

from __future__ import annotations

import base64
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from generation.adapters.base import Request, Surroundings
from generation.adapters.http_api import HttpAdapter
from generation.adapters.registry import make_adapter
from generation.budget import DAY_MS, Budget
from generation.errors import BudgetSpent, GenerationError, Interrupted, ModelUnavailable, Refused
from generation.frames import Frames
from pipeline.contracts.generation import ArtifactFormat, GenerationSettings
from tests.generation.test_frames import make_pixels, save

FORM = ArtifactFormat(width=64, height=48)
REQUEST = Request("a red circle; $(touch owned) `id` 'quoted' && rm -rf ../x", 7, FORM)
PNG = save(make_pixels()[0], "PNG")
URL = "https://api.example.com/v1/images"


def generate(adapter: Any, request: Request = REQUEST) -> Frames | Refused:
    adapter.load()
    try:
        (made,) = adapter.generate([request], lambda: False)
    finally:
        adapter.release()
    assert isinstance(made, Frames | Refused)
    return made


# ------------------------------------------------------------------------------------------------ commands


def make_command(tmp_path: Path, code: str, *arguments: str, **more: Any) -> Any:
    script = tmp_path / "model.py"
    script.write_text(code)
    command = shlex.join([sys.executable, str(script), *arguments])
    environment = {"PATH": "/usr/bin:/bin", "KWISE_WORKER_KEY": "secret", "VISIBLE": "yes"}
    settings = GenerationSettings(**more)
    return make_adapter(f"command:{command}", settings, Surroundings(allow_commands=True, environment=environment))


def test_a_command_gets_its_request_on_standard_input_and_no_shell(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(PNG)
    adapter = make_command(
        tmp_path,
        "import json, os, sys, pathlib\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "seen = {'line': sys.stdin.read(), 'argv': sys.argv[2:], 'environment': dict(os.environ),"
        " 'folder': os.listdir('.')}\n"
        "(here / 'seen.json').write_text(json.dumps(seen))\n"
        "sys.stdout.buffer.write((here / 'picture.png').read_bytes())\n",
        str(tmp_path),
        "two words",
        "$HOME; ls",
        steps=4,
        extra={"style": "oil"},
    )
    made = generate(adapter)
    assert isinstance(made, Frames)
    np.testing.assert_array_equal(made.pixels, make_pixels())
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert json.loads(seen["line"]) == {
        "prompt": REQUEST.text, "seed": 7, "width": 64, "height": 48, "steps": 4, "style": "oil",
    }  # fmt: skip
    assert seen["argv"] == ["two words", "$HOME; ls"]
    assert seen["environment"]["VISIBLE"] == "yes"
    assert "KWISE_WORKER_KEY" not in seen["environment"]
    assert seen["folder"] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.py", "picture.png", "seen.json"]


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("import sys; print('first\\nno nudes', file=sys.stderr); sys.exit(3)", Refused, "no nudes"),
        ("import sys; sys.exit(3)", Refused, "the model refused"),
        ("import sys; print('boom', file=sys.stderr); sys.exit(1)", GenerationError, "ended with 1: boom"),
        ("print('hello')", GenerationError, "no picture"),
        ("import os\nwhile True: os.write(1, bytes(1 << 20))", GenerationError, "wrote more than"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", GenerationError, "ended with -9: it said nothing"),
    ],
)
def test_ends_of_a_command(tmp_path: Path, code: str, error: type[Exception], words: str) -> None:
    adapter = make_command(tmp_path, code)
    if error is Refused:
        made = generate(adapter)
        assert isinstance(made, Refused)
        assert str(made) == words
    else:
        with pytest.raises(error, match=words):
            generate(adapter)


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    adapter = make_command(
        tmp_path,
        "import os, sys, time, pathlib\n"
        "child = os.fork()\n"
        "if child: pathlib.Path(sys.argv[1]).write_text(str(child))\n"
        "time.sleep(60)\n",
        str(tmp_path / "child"),
        timeout_seconds=1,
    )
    with pytest.raises(GenerationError, match="took longer than 1 s"):
        generate(adapter)
    child = Path("/proc") / (tmp_path / "child").read_text() / "stat"
    assert not child.exists() or child.read_text().split(") ")[1].startswith("Z")


def test_a_command_is_ended_when_the_worker_stops(tmp_path: Path) -> None:
    adapter = make_command(tmp_path, "import time; time.sleep(60)")
    adapter.load()
    looks = iter([False, False, True])
    with pytest.raises(Interrupted):
        adapter.generate([REQUEST], lambda: next(looks))


def test_a_long_request_and_a_long_complaint_block_nothing(tmp_path: Path) -> None:
    adapter = make_command(tmp_path, "import sys; sys.stderr.write('x' * 300_000 + '\\nlast'); sys.exit(1)")
    with pytest.raises(GenerationError, match="ended with 1: last"):
        generate(adapter, Request("y" * 200_000, 1, FORM))


def test_commands_are_run_only_where_that_was_allowed() -> None:
    with pytest.raises(ModelUnavailable, match="--allow-commands"):
        make_adapter("command:true", GenerationSettings(), Surroundings()).load()
    allowed = Surroundings(allow_commands=True)
    with pytest.raises(GenerationError, match="cannot be read"):
        make_adapter("command:'open", GenerationSettings(), allowed).load()
    with pytest.raises(GenerationError, match="no program"):
        make_adapter("command:", GenerationSettings(), allowed).load()
    with pytest.raises(ModelUnavailable, match="cannot be started"):
        generate(make_adapter("command:/nowhere/at-all", GenerationSettings(), allowed))


# ---------------------------------------------------------------------------------------------------- HTTP


class Api:
    """An API that answers as it is told to."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def adapter(
        self, source: str = URL, clock: Callable[[], int] = lambda: 0, state: Path | None = None, **settings: Any
    ) -> HttpAdapter:
        environment = {
            "KWISE_GENERATION_KEY_API_EXAMPLE_COM": "key-1\n",
            "KWISE_GENERATION_KEY_EVIL_EXAMPLE_COM": "key-2",
        }
        return HttpAdapter(
            source,
            GenerationSettings(**settings),
            Surroundings(environment=environment, state=state),
            transport=httpx.MockTransport(self.handle),
            pause=self.pauses.append,
            clock=clock,
        )


def answer_png(**headers: str) -> httpx.Response:
    return httpx.Response(200, content=PNG, headers={"content-type": "image/png", **headers})


def test_an_api_gets_the_request_and_the_key_of_its_host() -> None:
    api = Api(answer_png())
    made = generate(api.adapter(guidance=3.5, width=128, extra={"model": "big"}))
    assert isinstance(made, Frames)
    np.testing.assert_array_equal(made.pixels, make_pixels())
    (request,) = api.requests
    assert str(request.url) == URL
    assert request.headers["authorization"] == "Bearer key-1"
    assert json.loads(request.content) == {
        "prompt": REQUEST.text, "seed": 7, "width": 128, "height": 48, "guidance": 3.5, "model": "big",
    }  # fmt: skip


def test_a_key_is_sent_to_its_host_alone_and_not_in_the_clear() -> None:
    api = Api(answer_png())
    generate(api.adapter("https://other.example.com/"))
    assert "authorization" not in api.requests[0].headers
    with pytest.raises(ModelUnavailable, match="use https"):
        api.adapter("http://api.example.com/v1").load()


@pytest.mark.parametrize("shape", ["data", "images", "image", "url"])
def test_pictures_in_json_are_found(shape: str) -> None:
    text = base64.b64encode(PNG).decode()
    answers: dict[str, Any] = {
        "data": {"data": [{"b64_json": text}]},
        "images": {"images": [text]},
        "image": {"image": text},
        "url": {"image": f"data:image/png;base64,{text}"},
    }
    made = generate(Api(httpx.Response(200, json=answers[shape])).adapter())
    assert isinstance(made, Frames)
    np.testing.assert_array_equal(made.pixels, make_pixels())


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(400, json={"error": {"code": "content_policy_violation", "message": "not allowed"}}),
        httpx.Response(422, json={"error": {"type": "moderation_blocked", "message": "not allowed"}}),
        httpx.Response(200, json={"refused": True, "reason": "not allowed"}),
    ],
)
def test_refusals_of_an_api_are_outcomes(response: httpx.Response) -> None:
    api = Api(response)
    made = generate(api.adapter())
    assert isinstance(made, Refused)
    assert str(made) == "not allowed"
    assert len(api.requests) == 1


def test_an_api_that_is_busy_is_asked_again_and_then_not() -> None:
    busy = httpx.Response(429, headers={"retry-after": "7"})
    api = Api(busy, httpx.ConnectError("no"), httpx.Response(500), answer_png())
    assert isinstance(generate(api.adapter()), Frames)
    assert sum(api.pauses) == 7.0 + 2.0 + 4.0
    api = Api(httpx.Response(503, json={"error": {"message": "overloaded"}}))
    with pytest.raises(GenerationError, match="answered 503: overloaded, 4 times") as caught:
        generate(api.adapter())
    assert caught.value.retriable
    assert len(api.requests) == 4


@pytest.mark.parametrize(
    ("response", "error", "retriable"),
    [
        (httpx.Response(401), ModelUnavailable, True),
        (httpx.Response(404), ModelUnavailable, True),
        (httpx.Response(400, json={"error": {"code": "bad_size", "message": "no such size"}}), GenerationError, False),
        (httpx.Response(302, headers={"location": "http://169.254.169.254/"}), GenerationError, False),
        (httpx.Response(200, json={"image": "***"}), GenerationError, True),
        (httpx.Response(200, json={}), GenerationError, True),
        (httpx.Response(200, json=[]), GenerationError, True),
        (httpx.Response(200, content=b"{", headers={"content-type": "application/json"}), GenerationError, True),
    ],
)
def test_other_answers_are_errors(response: httpx.Response, error: type[GenerationError], retriable: bool) -> None:
    api = Api(response)
    with pytest.raises(error) as caught:
        generate(api.adapter())
    assert (type(caught.value), caught.value.retriable) == (error, retriable)
    assert "key-1" not in str(caught.value)
    assert len(api.requests) == 1


@pytest.mark.parametrize("source", ["ftp://x/y", "https://", "//host/path", "https://user:pw@host/", "nonsense"])
def test_addresses_are_checked(source: str) -> None:
    with pytest.raises(GenerationError, match="must be an address") as caught:
        Api(answer_png()).adapter(source).load()
    assert "pw" not in str(caught.value)


def test_generators_that_are_addresses_are_understood() -> None:
    for generator in (f"http:{URL}", URL):
        assert make_adapter(generator, GenerationSettings(), Surroundings(environment={})).source == URL


def test_a_stop_ends_the_pause_of_a_busy_api() -> None:
    api = Api(httpx.Response(429, headers={"retry-after": "30"}))
    adapter = api.adapter()
    adapter.load()
    with pytest.raises(Interrupted):
        adapter.generate([REQUEST], lambda: len(api.pauses) == 3)
    assert (len(api.requests), sum(api.pauses)) == (1, 1.5)


def test_a_stop_comes_between_calls() -> None:
    adapter = Api(answer_png()).adapter()
    adapter.load()
    answers = iter([False, True])
    with pytest.raises(Interrupted):
        adapter.generate([REQUEST, REQUEST], lambda: next(answers))


# -------------------------------------------------------------------------------------------------- budgets


def test_a_budget_is_spent_and_renewed_each_day_and_kept_over_restarts(tmp_path: Path) -> None:
    now = [5 * DAY_MS + 1000]
    budget = Budget("model", 3, tmp_path / "state", lambda: now[0])
    budget.spend()
    Budget("model", 3, tmp_path / "state", lambda: now[0]).spend()
    Budget("another", 1, tmp_path / "state", lambda: now[0]).spend()
    budget.spend()
    with pytest.raises(BudgetSpent, match="3 calls a day are spent until 1970-01-07T00:00Z") as caught:
        budget.spend()
    assert caught.value.until == 6 * DAY_MS
    now[0] = 6 * DAY_MS
    budget.spend()
    for file in (tmp_path / "state").iterdir():
        file.write_text('{"day": 6, "cal')  # as a power cut leaves it
    budget.spend()


def test_every_try_of_an_api_is_paid_for(tmp_path: Path) -> None:
    api = Api(httpx.Response(500))
    with pytest.raises(BudgetSpent):
        generate(api.adapter(state=tmp_path, budget_per_day=3))
    assert len(api.requests) == 3
    with pytest.raises(ModelUnavailable, match="--state"):
        api.adapter(budget_per_day=3).load()
