"""Identifiers: what they may look like, how they are made, and how a folder is named after one."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from numpy.random import Generator

ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"
_ID = re.compile(ID_PATTERN)
_NAME_MAX: Final = 255  # bytes in a file's name, on every common file system
_PREFIX: Final = 150
_FOLDER_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")


def is_id(text: str) -> bool:
    """Whether `text` is a valid identifier."""
    return _ID.fullmatch(text) is not None


def folder_name(identifier: str) -> str:
    """Percent-encode everything outside ``[a-z0-9_-]``, so that names differ on file systems that ignore case.

    A name that would be longer than file systems allow (255 bytes) is cut to its first 150, ``%-`` (which no other
    name has in it), and the first 128 bits of the identifier's SHA-256.
    """
    data = identifier.encode()
    name = "".join(chr(byte) if byte in _FOLDER_SAFE else f"%{byte:02X}" for byte in data)
    return name if len(name) <= _NAME_MAX else f"{name[:_PREFIX]}%-{sha256(data).hexdigest()[:32]}"


def random_id(rng: Generator) -> str:
    """Return 128 random bits as 32 hex digits."""
    return rng.bytes(16).hex()
