"""How a gateway works: one frozen type, from a TOML file and ``KWISE_GATEWAY_...`` variables; variables win.

Numbers of limits are policy: their reasons stand beside them. Secrets are apart: `producers.gateway.secret_file`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from producers.dispatcher.settings import DispatcherSettings
from producers.gateway.errors import SettingsError

VARIABLE_PREFIX: Final = "KWISE_GATEWAY_"
TOKEN_KEYS_VARIABLE: Final = "KWISE_TOKEN_KEYS"

MAX_DELIVERY_SECONDS: Final = 30.0
"""Tokens outlive their matchup by a minute: the log must have taken a vote by then."""

_SECRET_VARIABLES: Final = ("VOTER_SECRET", "CLIENT_SECRET", "PROXY_SECRET", "PRODUCER_KEYS", "WORKER_KEYS")


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one gateway. Rates count up to `..._burst` at once and are refilled evenly.

    Attributes
    ----------
    state : folder
        Queue, secrets and artifacts; one gateway a folder.
    artifacts : str or None
        Folder or object store of artifacts; None: ``artifacts`` in `state`.
    token_keys : path or None
        Keys of tokens; None: ``token-keys.toml`` in `state`, made at the first start.
    origins : tuple of str
        Origins whose pages may call the gateway from a browser, e.g. ``https://vote.example.org``.
    show_artifacts : bool
        Whether anybody may see what models made of late, once it was voted on.
    custom_prompts : bool
        Whether voters may type prompts.
    max_prompt_chars : int
        Of a custom prompt.
    max_json_bytes, max_bulk_bytes, max_artifact_bytes : int
        Largest bodies: of one vote, of many, of a worker's artifact.
    max_bulk_votes : int
        In one body.
    body_seconds : float
        A body that takes longer to arrive is given up: slow clients must not pile up.
    voter_per_minute, voter_burst
        Matchups and votes of one voter: people need 7 to 20 a minute.
    address_per_minute, address_burst
        Matchups, votes and polls from one address: a class or an office behind one router.
    artifacts_per_minute, artifacts_burst
        Artifacts for one address: K times as many.
    new_voters_per_hour, new_voters_burst
        New voters at one address: cookies thrown away to vote again.
    custom_per_hour, custom_burst
        Custom prompts of one voter: each costs K new pictures.
    delivery_seconds : float
        A vote that the log has not confirmed by then is answered with 503.
    linger_seconds : float
        How long a vote may wait for others to go to the log with.
    shutdown_seconds : float
        What is under way may take so long to end at a stop.
    max_connections : int
        More are answered with 503.
    access_log : bool
        Whether each request is logged: method, route, status and time, nothing of who asked.
    queue : DispatcherSettings
        The table ``[queue]`` of the file.
    """

    state: str = "gateway"
    artifacts: str | None = None
    token_keys: str | None = None
    origins: tuple[str, ...] = ()
    show_artifacts: bool = True
    custom_prompts: bool = True
    max_prompt_chars: int = 500
    max_json_bytes: int = 16 << 10
    max_bulk_bytes: int = 16 << 20
    max_artifact_bytes: int = 64 << 20
    max_bulk_votes: int = 50_000
    body_seconds: float = 30.0
    voter_per_minute: float = 60.0
    voter_burst: float = 30.0
    address_per_minute: float = 1_200.0
    address_burst: float = 400.0
    artifacts_per_minute: float = 6_000.0
    artifacts_burst: float = 2_000.0
    new_voters_per_hour: float = 200.0
    new_voters_burst: float = 100.0
    custom_per_hour: float = 20.0
    custom_burst: float = 5.0
    delivery_seconds: float = 20.0
    linger_seconds: float = 0.004
    shutdown_seconds: float = 20.0
    max_connections: int = 4_000
    access_log: bool = False
    queue: DispatcherSettings = DispatcherSettings()

    def __post_init__(self) -> None:
        may_be_zero = {"linger_seconds"}
        for name, value in msgspec.structs.asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if value < 0 or (value == 0 and name not in may_be_zero):
                raise SettingsError(f"{name} = {value} must be positive")
        if self.delivery_seconds > MAX_DELIVERY_SECONDS:
            raise SettingsError(f"delivery_seconds = {self.delivery_seconds} must be {MAX_DELIVERY_SECONDS:g} at most")
        for origin in self.origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in {"http", "https"}
                or not parts.netloc
                or origin != f"{parts.scheme}://{parts.netloc}"
            ):
                raise SettingsError(f"origins: {origin!r} is no origin: write https://HOST or http://HOST:PORT")

    @property
    def state_folder(self) -> Path:
        """`state` as a path."""
        return Path(self.state)

    @property
    def artifacts_place(self) -> str:
        """Where artifacts are."""
        return self.artifacts or str(self.state_folder / "artifacts")

    @property
    def token_keys_path(self) -> Path:
        """Where the keys of tokens are."""
        return Path(self.token_keys) if self.token_keys else self.state_folder / "token-keys.toml"

    def describe(self) -> list[str]:
        """Return what differs from the defaults, a line each; there are no secrets in here."""
        given = msgspec.structs.asdict(self)
        usual = msgspec.structs.asdict(GatewaySettings())
        return [f"{name} = {value!r}" for name, value in given.items() if value != usual[name]]


def read_settings(path: Path | None, environment: Mapping[str, str] | None = None, **given: Any) -> GatewaySettings:
    """Return the settings of the TOML file at `path`, of `environment` (default: the process's), and `given`.

    The later win; what is given as None is not given.

    Raises
    ------
    SettingsError
        An unknown or wrong setting; says which, and where it stands.
    """
    raw: dict[str, Any] = {}
    if path is not None:
        raw |= _read_file(path)
        _convert(raw, str(path), strict=True)
    env = os.environ if environment is None else environment
    if keys := env.get(TOKEN_KEYS_VARIABLE):
        raw["token_keys"] = keys
    named = _read_variables(env)
    _convert(named, f"a variable {VARIABLE_PREFIX}...", strict=False)
    raw |= named | {name: value for name, value in given.items() if value is not None}
    return _convert(raw, "settings", strict=False)


def _read_variables(environment: Mapping[str, str]) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    for variable, value in environment.items():
        name = variable.removeprefix(VARIABLE_PREFIX)
        if name == variable or not value or name.removesuffix("_FILE") in _SECRET_VARIABLES:
            continue
        raw[name.lower()] = value.split(",") if name == "ORIGINS" else value
    return raw


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error


def _convert(raw: dict[str, Any], where: str, *, strict: bool) -> GatewaySettings:
    try:
        return msgspec.convert(raw, GatewaySettings, strict=strict)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from None
    except msgspec.ValidationError as error:
        known = ", ".join(GatewaySettings.__struct_fields__)
        raise SettingsError(f"{where}: {error}; settings are {known}") from None
