"""`http:URL`: a model behind HTTP.

A request is a POST of one JSON object: prompt, seed, width, height and what the settings say. The answer is a picture
or clip as its bytes, or JSON with base64 in ``data[0].b64_json``, ``images[0]`` or ``image``. Addresses in answers are
not followed. Status 400, 403, 422 or 451 with an error code that speaks of content or moderation is a refusal.

The key comes from the environment, by the host that it is for: ``KWISE_GENERATION_KEY_API_EXAMPLE_COM`` is sent to
``https://api.example.com`` and nowhere else, so that an arena file cannot send it to another.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import httpx

from generation.adapters.base import Adapter, Request, Surroundings
from generation.adapters.fields import request_fields
from generation.budget import Budget
from generation.errors import GenerationError, Interrupted, ModelUnavailable, Refused
from generation.frames import Frames, decode_frames
from pipeline.contracts.generation import GenerationSettings

KEY_PREFIX: Final = "KWISE_GENERATION_KEY_"

_MAX_BYTES: Final = 64 << 20
_TRIES: Final = 4
_BACKOFF_S: Final = 1.0
_LONGEST_S: Final = 30.0
_LOOK_S: Final = 0.5
_DETAIL: Final = 200
_REFUSING_STATUS: Final = frozenset({400, 403, 422, 451})
_REFUSING_WORDS: Final = ("content", "moderation", "safety", "policy", "nsfw")
_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class HttpAdapter(Adapter):
    """Asks an API for one artifact after the other."""

    def __init__(
        self,
        source: str,
        settings: GenerationSettings,
        surroundings: Surroundings,
        *,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        super().__init__(source, settings, surroundings)
        self._transport = transport
        self._pause = pause
        self._clock = clock
        self._budget: Budget | None = None
        self._client: httpx.Client | None = None

    def load(self) -> None:
        """Check address and key, and open a client."""
        try:
            url = httpx.URL(self.source)
        except httpx.InvalidURL as error:
            raise GenerationError(f"http:{self.source} is no address: {error}", retriable=False) from None
        if url.scheme not in {"http", "https"} or not url.host or url.userinfo:
            raise GenerationError(f"http:{url.host} must be an address such as https://host/path", retriable=False)
        if self.settings.budget_per_day is not None:
            if self.surroundings.state is None:
                raise ModelUnavailable("a model with a budget needs a worker that remembers it: --state DIR")
            self._budget = Budget(self.source, self.settings.budget_per_day, self.surroundings.state, self._clock)
        headers = {"accept": "image/*, application/json"}
        name = KEY_PREFIX + re.sub(r"[^A-Z0-9]", "_", url.host.upper())
        if key := self.surroundings.environment.get(name):
            if url.scheme == "http" and url.host not in _LOCAL:
                raise ModelUnavailable(f"{name} is not sent over plain http: use https")
            headers["authorization"] = f"Bearer {key.strip()}"
        timeout = httpx.Timeout(self.settings.timeout_seconds, connect=10.0)
        self._client = httpx.Client(headers=headers, timeout=timeout, transport=self._transport)

    def generate(self, requests: Sequence[Request], stop: Callable[[], bool]) -> list[Frames | Refused]:
        """Ask for one after the other; a call that was begun is awaited, because it is paid for."""
        made: list[Frames | Refused] = []
        for request in requests:
            if stop():
                raise Interrupted("the worker stops")
            try:
                made.append(self._ask(request, stop))
            except Refused as refusal:
                made.append(refusal)
        return made

    def release(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _ask(self, request: Request, stop: Callable[[], bool]) -> Frames:
        body = request_fields(request, self.settings)
        for attempt in range(1, _TRIES + 1):
            if self._budget is not None:
                self._budget.spend()
            pause = min(_BACKOFF_S * 2 ** (attempt - 1), _LONGEST_S)
            try:
                status, content_type, data, retry_after = self._post(body)
            except httpx.TransportError as error:
                complaint = f"{self.source} cannot be reached: {type(error).__name__}"
            else:
                if status == httpx.codes.OK:
                    return decode_frames(_find_picture(content_type, data))
                complaint = f"{self.source} answered {status}: {_explain(data)}"
                if status in _REFUSING_STATUS and _is_refusal(data):
                    raise Refused(_explain(data))
                if status in {401, 403, 404}:
                    raise ModelUnavailable(complaint)
                if status != httpx.codes.TOO_MANY_REQUESTS and status < 500:
                    raise GenerationError(complaint, retriable=False)
                pause = min(retry_after or pause, _LONGEST_S)
            if attempt < _TRIES:
                self._wait(pause, stop)
        raise GenerationError(f"{complaint}, {_TRIES} times")

    def _wait(self, seconds: float, stop: Callable[[], bool]) -> None:
        """Pause, in steps short enough to see that the worker stops."""
        while seconds > 0:
            if stop():
                raise Interrupted("the worker stops")
            self._pause(min(seconds, _LOOK_S))
            seconds -= _LOOK_S

    def _post(self, body: dict[str, Any]) -> tuple[int, str, bytes, float | None]:
        assert self._client is not None, "load() comes first"
        with self._client.stream("POST", self.source, json=body) as answer:
            parts, size = [], 0
            for part in answer.iter_bytes():
                size += len(part)
                if size > _MAX_BYTES:
                    raise GenerationError(f"{self.source} answered more than {_MAX_BYTES} bytes", retriable=False)
                parts.append(part)
            retry_after = answer.headers.get("retry-after", "")
            seconds = float(retry_after) if re.fullmatch(r"\d{1,6}(\.\d+)?", retry_after) else None
            return answer.status_code, answer.headers.get("content-type", ""), b"".join(parts), seconds


def _find_picture(content_type: str, data: bytes) -> bytes:
    if not content_type.startswith("application/json"):
        return data
    answer = _parse(data)
    found: Any = answer.get("image")
    if isinstance(images := answer.get("images"), list) and images:
        found = images[0]
    if isinstance(entries := answer.get("data"), list) and entries and isinstance(entries[0], dict):
        found = entries[0].get("b64_json")
    if answer.get("refused") is True:
        raise Refused(str(answer.get("reason") or "the model refused")[:_DETAIL])
    try:
        return base64.b64decode(str(found or "").partition("base64,")[2] or str(found or ""), validate=True)
    except binascii.Error:
        raise GenerationError("the answer holds no picture in base64") from None


def _parse(data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _error_of(data: bytes) -> tuple[str, str]:
    """Return code and message of an error answer, as far as there are any."""
    answer = _parse(data)
    error = answer.get("error", answer)
    if not isinstance(error, dict):
        return "", str(error)[:_DETAIL]
    code = str(error.get("code") or error.get("type") or "")
    return code, str(error.get("message") or error.get("detail") or code)[:_DETAIL]


def _explain(data: bytes) -> str:
    return _error_of(data)[1] or "no reason given"


def _is_refusal(data: bytes) -> bool:
    code, _ = _error_of(data)
    return any(word in code.lower() for word in _REFUSING_WORDS)
