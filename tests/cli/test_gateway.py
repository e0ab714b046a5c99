"""`kwise gateway keys`: made once, rotated, never shown."""

from __future__ import annotations

from pathlib import Path

from pipeline.contracts.keyring_file import read_keyring
from tests.end_to_end.jobs import call


def test_keys_are_created_and_rotated(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    made = call("gateway", "keys", "create", path)
    first = read_keyring(path).signing
    rotated = call("gateway", "keys", "rotate", path)
    keyring = read_keyring(path)
    assert [(key.id, key.state) for key in keyring.keys] == [("k1", "retired"), ("k2", "active")]
    assert keyring.keys[0].secret == first.secret != keyring.signing.secret
    assert "k2 signs from now on, beside 1 retired" in rotated.output
    text = path.read_text()
    secrets = [line.split('"')[1] for line in text.splitlines() if line.startswith("secret")]
    assert not any(secret in made.output + rotated.output for secret in secrets)


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    call("gateway", "keys", "create", path)
    before = path.read_text()
    assert "exists" in call("gateway", "keys", "create", path, code=1).output
    assert path.read_text() == before
    assert "does not exist" in call("gateway", "keys", "rotate", tmp_path / "other.toml", code=1).output


def test_wrong_settings_are_told(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("voter_burts = 1\n")
    options = ("--from", f"sqlite:{tmp_path / 'events.db'}", "--store", tmp_path / "store", "--settings", file)
    result = call("gateway", "serve", *options, code=1)
    assert "unknown field `voter_burts`" in result.output
    assert not (tmp_path / "events.db").exists()
