"""What a model made of late, asked of the gateway once for all who look at its page."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import Final
from weakref import ref

import httpx
import streamlit as st
from PIL import Image, ImageOps

from dashboard.pace import KEPT_ASKED
from pipeline.contracts.gateway import MadeArtifact
from producers.client import Client, GatewayRefusal, GatewayUnreachable

SHOWN: Final = 12
"""Two rows on a desk, four on a phone."""
CLIPS_SHOWN: Final = 6
"""Among them; each is as much to load as a page of pictures."""
SIDE: Final = 512
"""Longest side of a picture as it is sent to browsers, px: sharp at its size on the page, and large enough opened."""

_TIMEOUT_S: Final = 2.0
_PATIENCE_S: Final = 4.0
"""For all of it: what has not come by then is left out this time."""
_MOST_PIXELS: Final = 24_000_000
"""A small file may unfold to more than fits into memory."""
_QUALITY: Final = 88
_LARGEST_CLIP: Final = 4 << 20
_TEXT_CHARACTERS: Final = 280
_ARTIFACTS_KEPT: Final = 96
"""Of all models. Pictures are some 40 KB each."""


@dataclass(frozen=True, slots=True)
class Made:
    """One artifact as the page shows it: pictures as small JPEGs, clips as they are, the beginnings of texts in UTF-8.

    `prompt` is what strangers may have written; empty where there was none.
    """

    media_type: str
    data: bytes
    prompt: str


@st.cache_resource(ttl=KEPT_ASKED, max_entries=16, show_spinner=False)
def ask_made(gateway: str, arena: str, model: str) -> list[Made] | None:
    """Return what a model made, the last shown first; None where the gateway at `gateway` does not say."""
    found: list[Made] = []
    clips = 0
    end = time.monotonic() + _PATIENCE_S
    with httpx.Client(timeout=_TIMEOUT_S) as http:
        client = Client(gateway, patience=0.0, http=http)
        try:
            listed = client.model_artifacts(arena, model, SHOWN)
        except (GatewayRefusal, GatewayUnreachable):
            return None
        for each in listed:
            if time.monotonic() > end:
                break
            clips += _is_clip(each.media_type)
            if _is_clip(each.media_type) and clips > CLIPS_SHOWN:
                continue
            try:
                data = _fetch(_Place(each.artifact, each.media_type, ref(client)))
            except GatewayRefusal:  # this one is gone
                continue
            except GatewayUnreachable:
                break
            if data is not None:
                found.append(Made(each.media_type, data, _prompt_of(each)))
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an artifact is; what is at a path never changes. What is kept does not keep the client."""

    path: str
    media_type: str
    client: ref[Client] = field(compare=False)


@lru_cache(maxsize=_ARTIFACTS_KEPT)
def _fetch(place: _Place) -> bytes | None:
    """Fetch an artifact for the page. None for what the page cannot show."""
    client = place.client()
    assert client is not None  # the caller's
    data = client.artifact(place.path).data
    if place.media_type.startswith("image/"):
        return shrink_picture(data)
    if _is_clip(place.media_type):
        return data if len(data) <= _LARGEST_CLIP else None
    return data.decode("utf-8", "replace")[:_TEXT_CHARACTERS].encode()


def shrink_picture(data: bytes) -> bytes | None:
    """Return a picture as a JPEG of up to `SIDE` px, on white, and nothing else that was in it.

    None if it cannot be read or is too large.
    """
    try:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                return None
            picture.draft("RGB", (SIDE, SIDE))  # of a JPEG, no more is decoded
            upright = ImageOps.exif_transpose(picture)
            small = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
            small.thumbnail((SIDE, SIDE))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    page = Image.new("RGB", small.size, "white")  # a new one: comments would be written again
    page.paste(small, mask=small.getchannel("A") if small.mode == "RGBA" else None)
    written = BytesIO()
    page.save(written, "JPEG", quality=_QUALITY)
    return written.getvalue()


def _is_clip(media_type: str) -> bool:
    return media_type.startswith("video/")


def _prompt_of(made: MadeArtifact) -> str:
    return "" if made.prompt is None else made.prompt.text or made.prompt.id
