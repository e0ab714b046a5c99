"""Artifacts: one encoder, one size, nothing beside the pixels; and what comes from outside is read with care."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from generation.errors import GenerationError, Refused
from generation.frames import Frames, decode_frames, encode_frames, frames_from_floats
from pipeline.contracts.generation import ArtifactFormat

FORM = ArtifactFormat(width=64, height=48)


def make_pixels(count: int = 1, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    across, down = np.meshgrid(np.arange(width) * 255 // width, np.arange(height) * 255 // height)
    frames = [np.stack([across, down, np.full_like(across, 20 * place)], axis=-1) for place in range(count)]
    return np.stack(frames).astype(np.uint8)


def save(pixels: NDArray[np.uint8], kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **more)
    return out.getvalue()


def chunks(data: bytes) -> list[bytes]:
    """Names of the chunks of a WebP file."""
    assert (data[:4], data[8:12]) == (b"RIFF", b"WEBP")
    names, place = [], 12
    while place < len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        names.append(data[place : place + 4])
        place += 8 + size + size % 2
    return names


def test_a_picture_is_webp_of_the_size_with_nothing_beside_it() -> None:
    data = encode_frames(Frames(make_pixels(width=200, height=100)), FORM)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("WEBP", (64, 48))
    assert chunks(data) == [b"VP8 "]


def test_metadata_of_a_model_do_not_survive() -> None:
    info = PngInfo()
    info.add_text("Software", "secret-model-7")
    exif = Image.Exif()
    exif[0x010E] = "secret-model-7"
    data = save(make_pixels()[0], "PNG", pnginfo=info, exif=exif, icc_profile=b"secret-model-7" * 20)
    assert b"secret-model-7" in data
    encoded = encode_frames(decode_frames(data), FORM)
    assert b"secret" not in encoded
    assert chunks(encoded) == [b"VP8 "]


def test_same_pixels_give_same_bytes_whatever_they_came_in() -> None:
    pixels = make_pixels()
    expected = encode_frames(Frames(pixels), FORM)
    assert encode_frames(decode_frames(save(pixels[0], "PNG")), FORM) == expected
    assert encode_frames(decode_frames(save(pixels[0], "WEBP", lossless=True)), FORM) == expected


def test_pictures_are_cropped_and_not_stretched() -> None:
    pixels = np.full((1, 48, 400, 3), 10, np.uint8)
    pixels[:, :, 190:210] = 200  # a bar of 20 pixels in the middle stays one of 20 pixels
    picture = decode_frames(encode_frames(Frames(pixels), FORM)).pixels[0]
    assert picture.shape == (48, 64, 3)
    assert abs(int((picture[24, :, 0] > 105).sum()) - 20) <= 2


def test_a_clip_keeps_frames_and_pace_and_is_cut_to_the_longest() -> None:
    data = encode_frames(Frames(make_pixels(12), 10.0), FORM)
    assert set(chunks(data)) == {b"VP8X", b"ANIM", b"ANMF"}
    clip = decode_frames(data)
    assert clip.pixels.shape == (12, 48, 64, 3)
    assert clip.frames_per_second == pytest.approx(10.0)
    short = ArtifactFormat(width=64, height=48, max_seconds=0.5)
    assert decode_frames(encode_frames(Frames(make_pixels(12), 10.0), short)).pixels.shape[0] == 5


@pytest.mark.parametrize("value", [0, 127, 255])
def test_a_plain_picture_is_a_refusal_and_not_a_black_square(value: int) -> None:
    with pytest.raises(Refused, match="plain"):
        encode_frames(Frames(np.full((1, 48, 64, 3), value, np.uint8)), FORM)


def test_floats_become_pixels_and_what_is_no_number_is_an_error() -> None:
    made = frames_from_floats(np.array([[[[-0.5, 0.5, 1.5]]]], np.float32))
    assert made.pixels.tolist() == [[[[0, 128, 255]]]]
    with pytest.raises(GenerationError, match=r"no numbers.*bfloat16"):
        frames_from_floats(np.array([[[[np.nan, 0, 0]]]], np.float32))


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 ", b"<svg/>"])
def test_what_is_no_picture_is_an_error(data: bytes) -> None:
    with pytest.raises(GenerationError, match="no picture"):
        decode_frames(data)


def test_a_truncated_picture_is_an_error() -> None:
    data = save(make_pixels()[0], "PNG")
    with pytest.raises(GenerationError, match="no picture"):
        decode_frames(data[: len(data) // 2])


def test_a_bomb_is_not_unpacked() -> None:
    row = b"\0" * (1 + 3 * 30_000)
    header = b"IHDR" + (30_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    body = b"IDAT" + zlib.compress(row * 4, 9)
    parts = [b"\x89PNG\r\n\x1a\n"]
    parts += [
        (len(each) - 4).to_bytes(4, "big") + each + zlib.crc32(each).to_bytes(4, "big") for each in (header, body)
    ]
    with pytest.raises(GenerationError, match=r"no picture|too large"):
        decode_frames(b"".join(parts))


def test_formats_with_dangerous_readers_are_not_read() -> None:
    with pytest.raises(GenerationError, match="no picture"):
        decode_frames(save(make_pixels()[0], "TIFF"))
