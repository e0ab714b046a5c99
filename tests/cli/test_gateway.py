"""`kwise gateway keys`: made once, rotated, never shown; and what the doctor says of gateways."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from pipeline.contracts.keyring_file import read_keyring
from producers.gateway.server import serving
from tests.cli.stores import make_store
from tests.conftest import wait_until
from tests.end_to_end.jobs import call, make_log
from tests.gateway.systems import make_settings


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


def look(*arguments: object, code: int) -> dict[str, str]:
    """Return what the doctor says of gateways and keys: check and status -> detail."""
    printed = json.loads(call("doctor", *map(str, arguments), "--format", "json", code=code).stdout)
    chosen = [row for row in printed if row["check"].startswith(("gateway", "token"))]
    return {f"{row['check']} {row['status']}": row["detail"] for row in chosen}


def test_the_doctor_looks_at_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    call("gateway", "keys", "create", path)
    call("gateway", "keys", "rotate", path)
    assert look("--token-keys", path, code=0) == {"token keys ok": "k2 signs, 1 others check"}
    path.chmod(0o644)
    assert "token keys bad" in look("--token-keys", path, code=1)
    assert "does not exist" in look("--token-keys", tmp_path / "other", code=1)["token keys bad"]


def test_the_doctor_looks_at_a_gateway(tmp_path: Path) -> None:
    with serving(make_log(tmp_path), tmp_path / "store", make_settings(tmp_path)) as server:
        assert "is not ready: store: there is no store" in look("--gateway", server.url, code=1)["gateway bad"]
        make_store(tmp_path / "store", "pictures")
        wait_until(lambda: httpx.get(f"{server.url}/ready").status_code == 200)
        found = look("--gateway", server.url, code=0)
        assert found["gateway ok"] == f"{server.url} serves; arenas: pictures"
        assert found["gateway: tokens note"] == "votes on pictures count without a token of this gateway"
    assert "does not answer" in look("--gateway", server.url, code=1)["gateway bad"]
