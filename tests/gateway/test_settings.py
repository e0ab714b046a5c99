"""Settings and secrets: where they come from, what is refused, and that secrets are not shown."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest

from producers.gateway.errors import SettingsError
from producers.gateway.secret_file import SECRETS_NAME, matches, open_secrets
from producers.gateway.settings import GatewaySettings, read_settings


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text)
    return path


def test_variables_win_over_the_file_and_options_over_both(tmp_path: Path) -> None:
    path = write(tmp_path, 'state = "a"\nvoter_per_minute = 5\naccess_log = true\n[queue]\nready_min = 7\n')
    settings = read_settings(path, {"KWISE_GATEWAY_VOTER_PER_MINUTE": "9", "KWISE_GATEWAY_STATE": "b"}, state="c")
    assert (settings.state, settings.voter_per_minute, settings.access_log) == ("c", 9.0, True)
    assert settings.queue.ready_min == 7
    named = read_settings(None, {"KWISE_GATEWAY_ORIGINS": "https://a.example,http://b.example:8080"})
    assert named.origins == ("https://a.example", "http://b.example:8080")
    assert read_settings(None, {"KWISE_TOKEN_KEYS": "keys.toml"}).token_keys_path == Path("keys.toml")
    assert read_settings(None, {}).token_keys_path == Path("gateway/token-keys.toml")
    assert read_settings(None, {"KWISE_GATEWAY_VOTER_SECRET_FILE": "x"}) == GatewaySettings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "unknown field `colour`"),
        ("voter_burst = -1", "voter_burst = -1.0 must be positive"),
        ("delivery_seconds = 40", "delivery_seconds = 40.0 must be 30 at most"),
        ('origins = ["https://a.example/path"]', "is no origin"),
        ('origins = ["*"]', "is no origin"),
        ("state = 1", "Expected `str`, got `int`"),
        ("[queue]\nlease_s = 0", "lease_s is 0"),
        ("state = ", "is not TOML"),
    ],
)
def test_wrong_settings_say_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_settings(write(tmp_path, text), {})


def test_unknown_variables_are_refused() -> None:
    with pytest.raises(SettingsError, match="unknown field `colour`"):
        read_settings(None, {"KWISE_GATEWAY_COLOUR": "1"})


def test_what_differs_is_shown(tmp_path: Path) -> None:
    assert GatewaySettings().describe() == []
    assert GatewaySettings(access_log=True).describe() == ["access_log = True"]


def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    numbers = count()

    def make() -> str:
        return f"{next(numbers):032d}"

    first = open_secrets(tmp_path / "state", make, {})
    path = tmp_path / "state" / SECRETS_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_secrets(tmp_path / "state", make, {}) == first
    assert (
        len({first.voter_secret, first.client_secret, first.proxy_secret, *first.producer_keys, *first.worker_keys})
        == 5
    )
    assert first.voter_secret not in repr(first)


def test_variables_and_their_files_win(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("f" * 40 + "\n")
    environment = {
        "KWISE_GATEWAY_WORKER_KEYS": "a" * 32 + "," + "b" * 32,
        "KWISE_GATEWAY_PROXY_SECRET": "c" * 32,
        "KWISE_GATEWAY_PROXY_SECRET_FILE": str(tmp_path / "key"),
    }
    found = open_secrets(tmp_path, lambda: "m" * 32, environment)
    assert found.worker_keys == ("a" * 32, "b" * 32)
    assert found.proxy_secret == "f" * 40
    assert found.voter_secret == "m" * 32


@pytest.mark.parametrize("content", ["voter_secret = 'secretsecret'", "= 'secretsecret'", "more = 'secretsecret'"])
def test_broken_secrets_are_told_and_not_quoted(tmp_path: Path, content: str) -> None:
    (tmp_path / SECRETS_NAME).write_text(content)
    with pytest.raises(SettingsError) as refused:
        open_secrets(tmp_path, os.devnull.upper, {})
    assert "secretsecret" not in str(refused.value)


def test_secrets_match_whole_or_not_at_all() -> None:
    assert matches("b" * 32, "a" * 32, "b" * 32)
    assert not matches("b" * 31, "a" * 32, "b" * 32)
    assert not matches(None, "a" * 32)
    assert not matches("é" * 32, "a" * 32)
    assert not matches("a" * 32)
