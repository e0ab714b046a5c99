"""What demo models get wrong: flaws of the layout (what is drawn, and where) and of the pixels (how it looks)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from generation.demo.grammar import SHAPES
from generation.demo.paint import Canvas, Mark, make_grid
from generation.demo.shapes import Plane

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

_BEND_CELLS: Final = 9
_STAIN_CELLS: Final = 14
_FIELD_PEAK: Final = 4.0
"""Random fields stay within this many standard deviations, up to rarities that are clipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaws:
    """How badly a model does in each respect; 0 is perfect.

    Attributes
    ----------
    misplace
        Standard deviation of places, sizes and turns, and the chance of a wrong number of shapes.
    drop, swap, wrong_shape
        Chance of a thing left out, of colours exchanged between things, of another shape.
    hue
        How far colours stray.
    flat
        0: shaded bodies with shadows; 1: flat areas.
    bend
        How much outlines waver, in half widths of the picture.
    stain, noise
        Standard deviation of coloured stains and of the noise of single pixels.
    blur, pixel
        Standard deviation of the blur, and the side of visible squares, in pixels of a picture of 256.
    luck
        Spread of the quality from picture to picture: flaws are multiplied by exp(luck x standard normal).
    """

    misplace: float = 0.0
    drop: float = 0.0
    swap: float = 0.0
    wrong_shape: float = 0.0
    hue: float = 0.0
    flat: float = 0.0
    bend: float = 0.0
    stain: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    pixel: float = 0.0
    luck: float = 0.25

    def scale(self, factor: float) -> Flaws:
        """Return the flaws multiplied by `factor`, luck aside; flat areas stay what they are: a style."""
        kept = {"luck", "flat"}
        return replace(self, **{f.name: getattr(self, f.name) * factor for f in fields(self) if f.name not in kept})


def spoil_layout(things: tuple[tuple[Mark, ...], ...], flaws: Flaws, rng: Generator) -> tuple[tuple[Mark, ...], ...]:
    """Return what a model with `flaws` makes of a layout; draws the same numbers whatever the flaws are."""
    colours = [marks[0].colour for marks in things]
    if rng.random() < flaws.swap and len(things) > 1:
        colours.reverse()
    spoiled = []
    for marks, colour in zip(things, colours, strict=True):
        dropped, wrong, chosen = rng.random() < flaws.drop, rng.random() < flaws.wrong_shape, rng.random()
        shape = SHAPES[int(chosen * len(SHAPES))] if wrong else marks[0].shape
        stray = rng.random(3)
        weight = min(1.0, flaws.hue * 2 * float(rng.random()))
        drawn = (
            colour[0] + weight * (float(stray[0]) - colour[0]),
            colour[1] + weight * (float(stray[1]) - colour[1]),
            colour[2] + weight * (float(stray[2]) - colour[2]),
        )
        miscounted = len(marks) > 1 and rng.random() < flaws.misplace
        kept = [replace(_misplace(mark, flaws.misplace, rng), shape=shape, colour=drawn) for mark in marks]
        if miscounted:
            kept = kept[:-1] if rng.random() < 0.5 else [*kept, _misplace(kept[0], 0.5, rng)]
        spoiled.append(() if dropped else tuple(kept))
    return tuple(spoiled)


def _misplace(mark: Mark, amount: float, rng: Generator) -> Mark:
    x, y, size, turn = (float(each) * amount for each in rng.standard_normal(4))
    return replace(
        mark,
        x=mark.x + 0.45 * x,
        y=mark.y + 0.45 * y,
        size=mark.size * math.exp(max(-1.0, min(0.8, 0.5 * size))),
        turn=mark.turn + 0.6 * turn,
    )


def bend_grid(width: int, height: int, flaws: Flaws, rng: Generator) -> tuple[Plane, Plane, float]:
    """Return x and y of all pixels as a model with wavering outlines sees them, and the most that they are off."""
    x, y = make_grid(width, height)
    if flaws.bend == 0:
        return x, y, 0.0
    field = sample_field(rng, 2, _BEND_CELLS, width, height) * flaws.bend
    return x + field[:, :, 0], y + field[:, :, 1], _FIELD_PEAK * flaws.bend


def spoil_pixels(canvas: Canvas, flaws: Flaws, rng: Generator) -> Canvas:
    """Return `canvas`, float32 (height, width, 3), with stains, squares, blur and noise."""
    height, width = canvas.shape[:2]
    scale = min(width, height) / 256
    if flaws.stain:
        canvas = canvas + flaws.stain * sample_field(rng, 3, _STAIN_CELLS, width, height)
    if (side := round(flaws.pixel * scale)) > 1:
        canvas = _coarsen(canvas, side)
    if flaws.blur:
        canvas = _blur(canvas, max(0.3, flaws.blur * scale))
    if flaws.noise:
        canvas = canvas + flaws.noise * rng.standard_normal(canvas.shape, np.float32)
    return canvas


def sample_field(rng: Generator, channels: int, cells: int, width: int, height: int) -> Canvas:
    """Draw smooth random fields of variance about 1/2, float32 (height, width, channels)."""
    knots = np.clip(rng.standard_normal((channels, cells, cells), np.float32), -_FIELD_PEAK, _FIELD_PEAK)
    planes = [_weights(height, cells) @ plane @ _weights(width, cells).T for plane in knots]
    return np.stack(planes, axis=-1)


@lru_cache(maxsize=16)
def _weights(length: int, cells: int) -> NDArray[np.float32]:
    """Return the weights, float32 (length, cells), that bring knots to pixels along a smooth step."""
    places = np.linspace(0, cells - 1, length)
    left = np.minimum(places.astype(int), cells - 2)
    share = places - left
    share = share * share * (3 - 2 * share)
    weights = np.zeros((length, cells), np.float32)
    weights[np.arange(length), left] = 1 - share
    weights[np.arange(length), left + 1] = share
    weights.setflags(write=False)
    return weights


def _coarsen(canvas: Canvas, side: int) -> Canvas:
    height, width = canvas.shape[:2]
    rows, columns = np.arange(0, height, side), np.arange(0, width, side)
    sums = np.add.reduceat(np.add.reduceat(canvas, rows, axis=0), columns, axis=1)
    tall = np.minimum(side, height - rows).astype(np.float32)
    wide = np.minimum(side, width - columns).astype(np.float32)
    means = sums / (tall[:, None] * wide)[:, :, None]
    return np.repeat(np.repeat(means, side, axis=0)[:height], side, axis=1)[:, :width]


def _blur(canvas: Canvas, sigma: float) -> Canvas:
    reach = min(int(3 * sigma) + 1, min(canvas.shape[:2]) - 1)
    offsets = np.arange(-reach, reach + 1, dtype=np.float32)
    weights = np.exp(-0.5 * (offsets / np.float32(sigma)) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        ends = [(0, 0)] * 3
        ends[axis] = (reach, reach)
        padded = np.pad(canvas, ends, mode="reflect")
        length = canvas.shape[axis]
        canvas = np.zeros_like(canvas)
        for place, weight in enumerate(weights):
            window = padded[place : place + length] if axis == 0 else padded[:, place : place + length]
            canvas += weight * window
    return canvas
