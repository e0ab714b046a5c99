"""Identifiers: what they may look like, how they are made, and how a folder is named after one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from numpy.random import Generator

ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"
_ID = re.compile(ID_PATTERN)
_FOLDER_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")


def is_id(text: str) -> bool:
    """Whether `text` is a valid identifier."""
    return _ID.fullmatch(text) is not None


def folder_name(identifier: str) -> str:
    """Percent-encode everything outside ``[a-z0-9_-]``, so that names differ on file systems that ignore case."""
    return "".join(chr(byte) if byte in _FOLDER_SAFE else f"%{byte:02X}" for byte in identifier.encode())


def random_id(rng: Generator) -> str:
    """Return 128 random bits as 32 hex digits."""
    return rng.bytes(16).hex()
