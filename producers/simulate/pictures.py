"""Pictures that simulated voters can judge: plain ones, each with its true quality in a chunk of its own.

The gateway hides which model made what, so whoever simulates people has to look at the picture, as people do. The
quality is in a private, ancillary chunk of the PNG (``kwQu``), which viewers pass over.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from pipeline.contracts.generation import WorkJob
from producers.dispatcher.plain_png import draw_png
from producers.dispatcher.stand_in import describe_job
from producers.simulate.world import SimulatedWorld

_CHUNK: Final = b"kwQu"
_END_BYTES: Final = 12
_SIDE: Final = 32


def mark_quality(png: bytes, quality: float) -> bytes:
    """Return the PNG with its quality in it, before its last chunk."""
    data = struct.pack(">d", quality)
    chunk = struct.pack(">I", len(data)) + _CHUNK + data + struct.pack(">I", zlib.crc32(_CHUNK + data))
    return png[:-_END_BYTES] + chunk + png[-_END_BYTES:]


def read_quality(png: bytes) -> float | None:
    """Return the quality that is in a PNG; None if there is none."""
    place = png.rfind(_CHUNK)
    if place < 0 or len(png) < place + 12:
        return None
    quality: float
    (quality,) = struct.unpack_from(">d", png, place + 4)
    return quality


class WorldArtist:
    """Draws what the models of a simulated world would: for `StandInWorker`."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._skills = dict(zip(world.model_ids, world.skills.tolist(), strict=True))

    def draw(self, job: WorkJob) -> bytes:
        """Return a picture whose quality is the true skill of its model, 0 for a model of another world."""
        return mark_quality(draw_png(describe_job(job), _SIDE), self._skills.get(job.model, 0.0))
