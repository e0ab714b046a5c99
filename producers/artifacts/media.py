"""Media types of artifacts: which are taken, how their files are named, and what their bytes begin with.

The list is closed: an artifact is served to browsers, so HTML or SVG would be a script on our own site. The first bytes
are looked at for the same reason: a browser may believe them more than the media type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from producers.artifacts.errors import WrongMedia

PNG: Final = "image/png"
TEXT: Final = "text/plain"


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


_KINDS: Final[dict[str, tuple[str, Callable[[bytes], bool]]]] = {
    PNG: ("png", lambda data: data.startswith(b"\x89PNG\r\n\x1a\n")),
    "image/jpeg": ("jpg", lambda data: data.startswith(b"\xff\xd8\xff")),
    "image/webp": ("webp", lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP"),
    "video/mp4": ("mp4", lambda data: data[4:8] == b"ftyp"),
    "video/webm": ("webm", lambda data: data.startswith(b"\x1a\x45\xdf\xa3")),
    TEXT: ("txt", _is_text),
}

MEDIA_TYPES: Final = tuple(_KINDS)


def normalize_media_type(header: str) -> str:
    """Return the media type of a Content-Type header, without parameters; raises `WrongMedia` unless it is taken."""
    media_type = header.partition(";")[0].strip().lower()
    if media_type not in _KINDS:
        raise WrongMedia(f"media type {media_type[:100]!r} is not taken; artifacts are {', '.join(MEDIA_TYPES)}")
    return media_type


def extension_of(media_type: str) -> str:
    """Return how files of a media type end; raises `WrongMedia`."""
    return _KINDS[normalize_media_type(media_type)][0]


def check_media(data: bytes, media_type: str) -> None:
    """Raise `WrongMedia` unless `data` begins as `media_type` does."""
    if not data:
        raise WrongMedia("an artifact has at least one byte; this one is empty")
    if not _KINDS[normalize_media_type(media_type)][1](data):
        raise WrongMedia(f"the bytes are no {media_type}: they begin with {data[:8].hex(' ')}")
