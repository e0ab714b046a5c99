"""The file that tokens' keys are kept in, and that programs read again when it has changed.

TOML, oldest key first: ``[[key]]`` with `id`, `secret` (base64 of 32 bytes or more) and `state`, "active" or
"retired". The newest active key signs; the others check what they signed. A key that is taken out of the file makes
every vote that it vouched for a `bad_token`, in a replay of the raw log too: keep retired ones, unless they leaked.
"""

from __future__ import annotations

import binascii
import os
import threading
import time
import tomllib
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec
import pyarrow as pa

from pipeline.contracts.token import Keyring, TokenKey, TokenKeyError, check_tokens, find_key_ids

_LOOK_SECONDS: Final = 1.0

_HEADER: Final = """\
# Keys of matchup tokens, oldest first: the newest active one signs, retired ones only check.
# Whoever can read this file can make tokens. Programs that use it notice a change within a second.
"""


class _KeyRow(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    secret: str
    state: Literal["active", "retired"]


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    key: list[_KeyRow]


def parse_keyring(text: str, where: str) -> Keyring:
    """Parse the TOML `text` of a file of keys; `where` names it in errors. Raises `TokenKeyError`."""
    try:
        rows = msgspec.convert(tomllib.loads(text), _KeyFile).key
        if not rows:
            raise TokenKeyError("it has no key")
        return Keyring(tuple(TokenKey(row.id, b64decode(row.secret, validate=True), row.state) for row in rows))
    except tomllib.TOMLDecodeError as error:
        # Its text quotes no line of the file, which holds secrets.
        raise TokenKeyError(f"{where} is not valid TOML: {error}") from None
    except binascii.Error:
        raise TokenKeyError(f"{where}: a secret is not base64") from None
    except (msgspec.ValidationError, TokenKeyError) as error:
        raise TokenKeyError(f"{where}: {error}") from None


def read_keyring(path: Path) -> Keyring:
    """Read a file of keys. Raises `TokenKeyError`."""
    try:
        return parse_keyring(path.read_text("utf-8"), str(path))
    except FileNotFoundError:
        raise TokenKeyError(f"{path} does not exist: `kwise gateway keys create {path}` makes it") from None
    except OSError as error:
        raise TokenKeyError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise TokenKeyError(f"{path} is not UTF-8 text") from None


def write_keyring(path: Path, keyring: Keyring, *, new: bool) -> None:
    """Write a file of keys that only its owner can read, all of it or nothing.

    Raises `TokenKeyError` if it cannot be written, or is to be `new` and exists.
    """
    rows = (
        f'\n[[key]]\nid = "{key.id}"\nsecret = "{b64encode(key.secret).decode()}"\nstate = "{key.state}"\n'
        for key in keyring.keys
    )
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if new and path.exists():
            raise TokenKeyError(f"{path} exists: `kwise gateway keys rotate {path}` adds a key to it")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(_HEADER + "".join(rows))
            file.flush()
            os.fsync(file.fileno())
        if new:
            os.link(partial, path)  # fails if somebody else was quicker
            partial.unlink()
        else:
            partial.replace(path)
    except FileExistsError:
        raise TokenKeyError(f"{path} exists: somebody else makes it at this moment") from None
    except OSError as error:
        raise TokenKeyError(f"{path} cannot be written: {error.strerror}") from error


def rotate_keyring(keyring: Keyring, secret: bytes) -> Keyring:
    """Return the keyring with a new key that signs from now on; those that did are retired."""
    retired = tuple(TokenKey(key.id, key.secret, "retired") for key in keyring.keys)
    numbers = [int(key.id[1:]) for key in keyring.keys if key.id[0] == "k" and key.id[1:].isdecimal()]
    return Keyring((*retired, TokenKey(f"k{max(numbers, default=0) + 1}", secret)))


class KeyringFile:
    """The keys in a file as they are now. Threads may share it.

    The file is looked at once a second at most, and read if it was written or replaced. One that cannot be read
    leaves the keys as they were, which is complained about once.

    Parameters
    ----------
    path : file
    complain : takes one line for people
    clock : seconds, monotonic

    Raises
    ------
    TokenKeyError
        The file cannot be read to begin with.
    """

    def __init__(
        self, path: Path, *, complain: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = path
        self._complain = complain
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = self._look()
        self._keyring = read_keyring(path)
        self._looked = clock()

    def current(self, *, at_once: bool = False) -> Keyring:
        """Return the keys; `at_once`: even if the file was looked at a moment ago."""
        with self._lock:
            now = self._clock()
            if at_once or now - self._looked >= _LOOK_SECONDS:
                self._looked = now
                self._refresh()
            return self._keyring

    def check(self, votes: pa.RecordBatch) -> pa.BooleanArray:
        """Judge the tokens of votes (`DECODED_SCHEMA`), as `token.check_tokens`.

        A key that is not known may have come this very moment: then the file is looked at before the verdict.
        """
        keyring = self.current()
        if any(keyring.find(key_id) is None for key_id in find_key_ids(votes)):
            keyring = self.current(at_once=True)
        return check_tokens(votes, keyring)

    def _refresh(self) -> None:
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keyring = read_keyring(self.path)
        except TokenKeyError as error:
            self._complain(f"{error}; the keys that were read before stay in force")

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
