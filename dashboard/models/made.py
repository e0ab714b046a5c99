"""What a model made of late, asked of the gateway once for all who look at its page."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Final

import httpx
import streamlit as st
from PIL import Image

from dashboard.pace import MADE_EVERY
from pipeline.contracts.gateway import MadeArtifact
from producers.client import Client, GatewayRefusal, GatewayUnreachable

SHOWN: Final = 12
"""Two rows on a desk, four on a phone."""
CLIPS_SHOWN: Final = 6
"""Among them; each is as much to load as a page of pictures."""
SIDE: Final = 512
"""Longest side of a picture as it is sent to browsers, px: sharp at its size on the page, and large enough opened."""

_TIMEOUT_S: Final = 2.0
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


@st.cache_resource(ttl=MADE_EVERY / 2, max_entries=16, show_spinner=False)
def ask_made(gateway: str, arena: str, model: str) -> list[Made] | None:
    """Return what a model made, the last shown first; None where the gateway at `gateway` does not say."""
    found: list[Made] = []
    clips = 0
    with httpx.Client(timeout=_TIMEOUT_S) as http:
        client = Client(gateway, patience=0.0, http=http)
        try:
            listed = client.model_artifacts(arena, model, SHOWN)
        except (GatewayRefusal, GatewayUnreachable):
            return None
        for each in listed:
            clips += _is_clip(each.media_type)
            if _is_clip(each.media_type) and clips > CLIPS_SHOWN:
                continue
            try:
                data = _fetch(each.artifact, each.media_type, client)
            except GatewayRefusal:  # this one is gone
                continue
            except GatewayUnreachable:
                break
            if data is not None:
                found.append(Made(each.media_type, data, _prompt_of(each)))
    return found


@st.cache_resource(max_entries=_ARTIFACTS_KEPT, show_spinner=False)
def _fetch(path: str, media_type: str, _client: Client) -> bytes | None:
    """Fetch an artifact for the page; what is at a path never changes. None for what the page cannot show."""
    data = _client.artifact(path).data
    if media_type.startswith("image/"):
        return shrink_picture(data)
    if _is_clip(media_type):
        return data if len(data) <= _LARGEST_CLIP else None
    return data.decode("utf-8", "replace")[:_TEXT_CHARACTERS].encode()


def shrink_picture(data: bytes) -> bytes | None:
    """Return a picture as a JPEG of up to `SIDE` px and nothing else that was in it; None if it cannot be read."""
    try:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            small = picture.convert("RGB")
            small.thumbnail((SIDE, SIDE))
            written = BytesIO()
            small.save(written, "JPEG", quality=_QUALITY)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return written.getvalue()


def _is_clip(media_type: str) -> bool:
    return media_type.startswith("video/")


def _prompt_of(made: MadeArtifact) -> str:
    return "" if made.prompt is None else made.prompt.text or made.prompt.id
