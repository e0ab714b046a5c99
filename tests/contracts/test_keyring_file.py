"""Files of keys: read, written, rotated, and read again when they change."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from pipeline.contracts.keyring_file import KeyringFile, parse_keyring, read_keyring, rotate_keyring, write_keyring
from pipeline.contracts.token import Claims, Keyring, TokenKey, TokenKeyError, make_token
from pipeline.contracts.vote import encode_vote
from pipeline.operators.ingest import ingest_batch
from tests.contracts.test_token import CLAIMS, vote_of
from tests.decoding import make_batch

SECRET = b64encode(b"s" * 32).decode()
KEY = TokenKey("k1", b"s" * 32)


def row(key_id: str = "k1", secret: str = SECRET, state: str = "active") -> str:
    return f'[[key]]\nid = "{key_id}"\nsecret = "{secret}"\nstate = "{state}"\n'


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys.toml"
    write_keyring(path, Keyring((TokenKey("k0", b"r" * 40, "retired"), KEY)), new=True)
    assert read_keyring(path).keys == (TokenKey("k0", b"r" * 40, "retired"), KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(TokenKeyError, match="exists: `kwise gateway keys rotate"):
        write_keyring(path, Keyring((KEY,)), new=True)
    assert [each.name for each in path.parent.iterdir()] == ["keys.toml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing required field `key`"),
        ("key = []", "it has no key"),
        ("key = 1", "Expected `array`"),
        ("[[key]", "not valid TOML"),
        (row(secret="***"), "a secret is not base64"),
        (row(secret="c2hvcnQ="), "32 or more"),
        (row(state="new"), "Invalid enum value 'new'"),
        (row() + row(), "share an id"),
        (row() + "colour = 1\n", "unknown field `colour`"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_shows_no_secret(text: str, message: str) -> None:
    with pytest.raises(TokenKeyError, match=message) as refused:
        parse_keyring(text, "keys.toml")
    assert str(refused.value).startswith("keys.toml")
    assert SECRET not in str(refused.value)


def test_a_missing_file_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(TokenKeyError, match="`kwise gateway keys create"):
        read_keyring(tmp_path / "keys.toml")


def test_rotation_retires_what_signed_and_numbers_on() -> None:
    rotated = rotate_keyring(rotate_keyring(Keyring((KEY,)), b"t" * 32), b"u" * 32)
    assert [(key.id, key.state) for key in rotated.keys] == [("k1", "retired"), ("k2", "retired"), ("k3", "active")]
    assert rotated.signing.secret == b"u" * 32


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_changed_file_is_noticed_within_a_second_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    path, clock, said = tmp_path / "keys.toml", Clock(), list[str]()
    write_keyring(path, Keyring((KEY,)), new=True)
    keys = KeyringFile(path, complain=said.append, clock=clock)
    write_keyring(path, rotate_keyring(keys.current(), b"t" * 32), new=False)
    assert keys.current().signing.id == "k1"
    clock.now = 1.0
    assert keys.current().signing.id == "k2"
    path.write_text("[[key]")
    clock.now = 2.0
    assert keys.current().signing.id == "k2"
    clock.now = 3.0
    keys.current()
    assert len(said) == 1
    assert "stay in force" in said[0]
    path.unlink()
    clock.now = 4.0
    assert keys.current().signing.id == "k2"
    assert len(said) == 2
    write_keyring(path, Keyring((KEY,)), new=True)
    clock.now = 5.0
    assert keys.current().signing.id == "k1"


def test_a_vote_under_a_key_of_this_moment_is_right(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    write_keyring(path, Keyring((KEY,)), new=True)
    keys = KeyringFile(path, complain=pytest.fail, clock=Clock())
    rotated = rotate_keyring(keys.current(), b"t" * 32)
    write_keyring(path, rotated, new=False)

    def judge(claims: Claims, key: TokenKey) -> list[bool | None]:
        vote = vote_of(claims, make_token(key, claims))
        votes = ingest_batch(make_batch([encode_vote(vote)])).votes
        found: list[bool | None] = keys.check(votes).to_pylist()
        return found

    assert judge(CLAIMS, KEY) == [True]
    assert judge(CLAIMS, rotated.signing) == [True]
    assert judge(CLAIMS, TokenKey("k7", b"t" * 32)) == [False]
