"""What a model made of late: how the page asks the gateway, and how it draws what it gets."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from PIL.ExifTags import Base
from PIL.PngImagePlugin import PngInfo
from streamlit.testing.v1 import AppTest

from dashboard.live import LIVE
from dashboard.models import gallery, made
from dashboard.models.made import CLIPS_SHOWN, SIDE, Made, ask_made, shrink_picture
from pipeline.contracts.gateway import MadeArtifact, ShownPrompt
from producers.client import GatewayRefusal, GatewayUnreachable
from producers.client.calls import Artifact
from producers.dispatcher.plain_png import draw_png
from producers.simulate.pictures import mark_quality, read_quality
from tests.dashboard.conftest import OpenPage, html_of
from tests.dashboard.made_store import SCRIPT

GATEWAY = "http://gateway"
AWAY = GatewayUnreachable("away")
GONE = GatewayRefusal(404, "unknown_artifact", "gone", retriable=False, retry_after=None)
PICTURE = draw_png("picture", 32)
MARKDOWN = "**bold** [here](https://example.org) ![x](https://example.org/x.png) :red[x] $x$"


class FakeGateway:
    """What a gateway answers: media types and bytes, by path; `AWAY` and `GONE` are raised."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, bytes | Exception]] = {}
        self.prompt: ShownPrompt | None = ShownPrompt(id="p-1", text="a cat")
        self.refusal: Exception | None = None
        self.asked: list[str] = []

    def add(self, media_type: str, data: bytes | Exception) -> None:
        self.kept[f"/{len(self.kept)}"] = (media_type, data)

    def __call__(self, url: str, **_options: Any) -> FakeGateway:
        assert url == GATEWAY
        return self

    def model_artifacts(self, arena: str, model: str, limit: int) -> tuple[MadeArtifact, ...]:
        self.asked.append(f"{arena} {model}")
        if self.refusal is not None:
            raise self.refusal
        listed = [(path, media_type) for path, (media_type, _) in self.kept.items()]
        return tuple(
            MadeArtifact(artifact=path, media_type=media_type, prompt=self.prompt)
            for path, media_type in listed[:limit]
        )

    def artifact(self, path: str) -> Artifact:
        self.asked.append(path)
        media_type, data = self.kept[path]
        if isinstance(data, Exception):
            raise data
        return Artifact(media_type, data)


def forget() -> None:
    made.ask_made.clear()
    made._fetch.cache_clear()


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    fake = FakeGateway()
    monkeypatch.setattr(made, "Client", fake)
    monkeypatch.setenv("KWISE_GATEWAY", GATEWAY)
    forget()
    yield fake
    forget()


# ------------------------------------------------------------------------------------------------ asking


def test_gateway_is_asked_once_for_all_who_look(gateway: FakeGateway) -> None:
    gateway.add("image/png", PICTURE)
    assert ask_made(GATEWAY, "a", "m") is ask_made(GATEWAY, "a", "m")
    assert gateway.asked == ["a m", "/0"]
    ask_made.clear()  # as time does
    ask_made(GATEWAY, "a", "m")
    assert gateway.asked == ["a m", "/0", "a m"]


@pytest.mark.parametrize("refusal", [AWAY, GONE])
def test_gateway_that_does_not_say_is_told_from_one_that_has_nothing(gateway: FakeGateway, refusal: Exception) -> None:
    assert ask_made(GATEWAY, "a", "m") == []
    ask_made.clear()
    gateway.refusal = refusal
    assert ask_made(GATEWAY, "a", "m") is None


def test_what_cannot_be_had_or_shown_is_left_out(gateway: FakeGateway) -> None:
    for data in (PICTURE, GONE, b"\x89PNG\r\n\x1a\nbroken", PICTURE[:60], PICTURE, AWAY, PICTURE):
        gateway.add("image/png", data)
    found = ask_made(GATEWAY, "a", "m")
    assert found is not None
    assert len(found) == 2  # after one that was away the others are not asked for
    assert gateway.asked[-1] == "/5"


def test_clips_are_few_and_not_large(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "_LARGEST_CLIP", 4)
    gateway.add("video/mp4", b"large")
    for _ in range(CLIPS_SHOWN):
        gateway.add("video/mp4", b"clip")
    gateway.add("image/png", PICTURE)
    found = ask_made(GATEWAY, "a", "m")
    assert found is not None
    assert [each.media_type for each in found] == ["video/mp4"] * (CLIPS_SHOWN - 1) + ["image/png"]


def test_texts_are_cut_without_harm(gateway: FakeGateway) -> None:
    gateway.add("text/plain", ("ä" * 1_000).encode())
    gateway.prompt = None
    assert ask_made(GATEWAY, "a", "m") == [Made("text/plain", ("ä" * 280).encode(), "")]


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("PNG", mode) for mode in ("RGB", "RGBA", "L", "P", "I;16")),
        *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
        *(("WEBP", mode) for mode in ("RGB", "RGBA")),
    ],
)
def test_pictures_become_small_and_lose_what_else_is_in_them(kind: str, mode: str) -> None:
    written = BytesIO()
    Image.new(mode, (1_000, 500)).save(written, kind)
    small = shrink_picture(written.getvalue())
    assert small is not None
    with Image.open(BytesIO(small)) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (SIDE, SIDE // 2), "RGB")
    marked = shrink_picture(mark_quality(PICTURE, 3.0))
    assert marked is not None
    assert read_quality(marked) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_comments_are_lost(kind: str) -> None:
    written, told = BytesIO(), PngInfo()
    told.add_text("comment", "made by kolors")
    Image.new("RGB", (8, 8)).save(written, kind, comment="made by kolors", pnginfo=told)
    assert b"kolors" in written.getvalue()
    small = shrink_picture(written.getvalue())
    assert small is not None
    assert b"kolors" not in small


def test_transparent_is_white_and_pictures_stand_upright() -> None:
    written = BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(written, "PNG")
    small = shrink_picture(written.getvalue())
    assert small is not None
    with Image.open(BytesIO(small)) as picture:
        assert min(picture.getextrema()[0]) > 250  # type: ignore[arg-type]
    turned, exif = BytesIO(), Image.Exif()
    exif[Base.Orientation] = 6
    Image.new("RGB", (100, 50)).save(turned, "JPEG", exif=exif)
    upright = shrink_picture(turned.getvalue())
    assert upright is not None
    with Image.open(BytesIO(upright)) as picture:
        assert picture.size == (50, 100)


def test_picture_too_large_to_unfold_is_none() -> None:
    written = BytesIO()
    Image.new("1", (6_000, 6_000)).save(written, "PNG")
    assert shrink_picture(written.getvalue()) is None


def test_picture_that_claims_to_be_huge_is_none() -> None:
    header = struct.pack(">IIBBBBB", 1 << 20, 1 << 20, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    assert shrink_picture(PICTURE[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))) is None


# ------------------------------------------------------------------------------------------------ drawing


def pictures_of(app: AppTest) -> list[Any]:
    return [image for element in app.get("image") for image in element.proto.imgs]


def captions_of(app: AppTest) -> list[str]:
    live = [element.proto for element in app.get("bidi_component") if element.proto.component_name == LIVE]
    return [html for proto in live if "kw-caption" in (html := json.loads(proto.json))]


def test_page_shows_what_the_model_made(open_page: OpenPage, gateway: FakeGateway) -> None:
    for number in range(3):
        gateway.add("image/png", draw_png(str(number), 32))
    app = open_page("model", model="kolors")
    assert gateway.asked[0] == "text-to-image kolors"
    html = html_of(app)
    assert html.index("Newest work") < html.index("Against each other model")
    assert [picture.alt for picture in pictures_of(app)] == ["a cat"] * 3
    assert len(captions_of(app)) == 3


def test_prompts_of_strangers_stay_text(open_page: OpenPage, gateway: FakeGateway) -> None:
    gateway.add("image/png", PICTURE)
    gateway.prompt = ShownPrompt(id="p-1", text=f"{MARKDOWN}{SCRIPT}\u202e")
    app = open_page("model", model="kolors")
    (picture,) = pictures_of(app)
    assert picture.caption == ""  # it would be Markdown
    assert picture.alt == f"{MARKDOWN}{SCRIPT}".strip()
    (caption,) = captions_of(app)
    assert "<script" not in caption
    assert caption.count("<") == 2
    assert MARKDOWN in caption


def test_clips_and_texts_are_shown_too(open_page: OpenPage, gateway: FakeGateway) -> None:
    gateway.add("text/plain", f"A poem {SCRIPT}\nof two lines".encode())
    gateway.add("video/mp4", b"clip")
    app = open_page("model", model="kolors")
    (video,) = [element.proto for element in app.get("video")]
    assert (video.muted, video.alt) == (True, "a cat")
    text = next(caption for caption in captions_of(app) if "kw-made-text" in caption)
    assert "A poem &lt;script" in text
    assert "<br>of two lines" in text


@pytest.mark.parametrize(("refusal", "said"), [(None, "Nothing so far"), (AWAY, "does not answer")])
def test_page_says_why_there_is_nothing(
    open_page: OpenPage, gateway: FakeGateway, refusal: Exception | None, said: str
) -> None:
    gateway.refusal = refusal
    app = open_page("model", model="kolors")
    assert said in html_of(app)
    assert pictures_of(app) == []


def test_page_of_an_app_without_a_gateway_has_no_such_section(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KWISE_GATEWAY", raising=False)
    monkeypatch.setattr(gallery, "ask_made", None)
    assert "Newest work" not in html_of(open_page("model", model="kolors"))
