"""Draws laid-out shapes as shaded, round-looking bodies with soft shadows.

Coordinates: the origin is the middle of the picture, 1 is half its shorter side, y grows downwards. Light comes from
the upper left. Edges are smoothed by the signed distance, so nothing is drawn larger than it is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from generation.demo.grammar import COLOURS, SIZES, Scene, Thing
from generation.demo.shapes import Plane, measure_distance

Canvas = NDArray[np.floating[Any]]
"""float32 (height, width, 3), 0 to 1; annotated like `Plane`."""

_SKIES: Final[dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]] = {
    "": ((0.93, 0.94, 0.97), (0.78, 0.81, 0.87)),
    "night": ((0.03, 0.04, 0.12), (0.13, 0.14, 0.30)),
    "sunset": ((0.35, 0.20, 0.48), (0.98, 0.62, 0.35)),
    "grass": ((0.62, 0.82, 0.96), (0.38, 0.66, 0.30)),
    "sand": ((0.70, 0.86, 0.97), (0.90, 0.80, 0.58)),
}
"""Backdrop -> colours at the top and at the bottom."""
_HORIZON: Final = 0.62
_PLACES: Final[dict[str, tuple[tuple[float, float], tuple[float, float]]]] = {
    "above": ((0.0, -0.44), (0.0, 0.44)),
    "below": ((0.0, 0.44), (0.0, -0.44)),
    "left of": ((-0.46, 0.0), (0.46, 0.0)),
    "right of": ((0.46, 0.0), (-0.46, 0.0)),
    "next to": ((-0.46, 0.0), (0.46, 0.0)),
    "inside": ((0.0, 0.0), (0.0, 0.0)),
    "in front of": ((-0.12, 0.16), (0.14, -0.16)),
}
_SIZE: Final = 0.34
_ALONE: Final = 1.5
_SHADOW: Final = (0.14, 0.18)
_SHADOW_DEPTH: Final = 0.45
_BEVEL: Final = 0.45
_REACH: Final = 2.0
"""Beyond this many half widths from its middle a shape leaves no trace, its shadow included."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One shape at its place: middle, half width and turn (radians), all in picture coordinates."""

    shape: str
    colour: tuple[float, float, float]
    x: float
    y: float
    size: float
    turn: float = 0.0


def lay_out(scene: Scene) -> tuple[tuple[Mark, ...], ...]:
    """Return the marks of each thing of `scene` in its order, as a perfect model places them."""
    if len(scene.things) == 1:
        thing = scene.things[0]
        return (_spread(thing, (0.0, 0.0), _SIZE * (_ALONE if thing.count == 1 else 1.0), 0.5, 1.0),)
    sizes = (0.26, 0.62) if scene.relation == "inside" else (_SIZE, _SIZE)
    places = _PLACES[scene.relation]
    return tuple(
        _spread(thing, place, size, 0.24, 0.62) for thing, place, size in zip(scene.things, places, sizes, strict=True)
    )


def _spread(thing: Thing, place: tuple[float, float], size: float, radius: float, shrink: float) -> tuple[Mark, ...]:
    size, colour = size * SIZES[thing.size], COLOURS[thing.colour]
    if thing.count == 1:
        return (Mark(thing.shape, colour, *place, size),)
    size *= (0.8 if thing.count < 4 else 0.62) * shrink
    angles = [2 * math.pi * number / thing.count + 0.6 for number in range(thing.count)]
    return tuple(
        Mark(thing.shape, colour, place[0] + radius * math.cos(angle), place[1] + radius * math.sin(angle), size)
        for angle in angles
    )


@lru_cache(maxsize=8)
def make_grid(width: int, height: int) -> tuple[Plane, Plane]:
    """Return x and y of all pixels; not to be written to."""
    unit = 2 / min(width, height)
    xs = (np.arange(width, dtype=np.float32) - (width - 1) / 2) * unit
    ys = (np.arange(height, dtype=np.float32) - (height - 1) / 2) * unit
    x, y = np.meshgrid(xs, ys)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


def paint_backdrop(backdrop: str, width: int, height: int, flat: float) -> Canvas:
    """Return an empty canvas, darker towards its corners unless `flat` is 1."""
    x, y = make_grid(width, height)
    top, bottom = (np.asarray(colour, np.float32) for colour in _SKIES[backdrop])
    down = np.linspace(0, 1, height, dtype=np.float32)
    if backdrop in {"grass", "sand"}:
        down = 1 / (1 + np.exp((_HORIZON - down) * 40))
    colours = top + (bottom - top) * down[:, None]
    shade = 1 - 0.12 * (1 - flat) * np.minimum(x * x + y * y, 2)
    return colours[:, None, :] * shade[:, :, None]


def paint_mark(canvas: Canvas, mark: Mark, x: Plane, y: Plane, flat: float, margin: float) -> None:
    """Paint `mark` onto `canvas` where it is; `x` and `y` may be bent by up to `margin`."""
    height, width = x.shape
    pixel = 2 / min(width, height)
    reach = _REACH * mark.size + margin
    rows = _clip_range(mark.y, reach, height, pixel)
    columns = _clip_range(mark.x, reach, width, pixel)
    part = canvas[rows, columns]
    if part.size == 0:
        return
    cosine, sine = math.cos(mark.turn) / mark.size, math.sin(mark.turn) / mark.size
    dx, dy = x[rows, columns] - mark.x, y[rows, columns] - mark.y
    across, down = cosine * dx + sine * dy, cosine * dy - sine * dx
    if flat < 1:
        behind = measure_distance(mark.shape, across - _SHADOW[0], down - _SHADOW[1])
        part *= 1 - _SHADOW_DEPTH * (1 - flat) * np.exp(np.maximum(behind, 0) * -6)[:, :, None]
    distance = measure_distance(mark.shape, across, down)
    cover = np.clip(0.5 - distance * (mark.size / pixel), 0, 1)[:, :, None]
    part += cover * (_shade(mark, distance, pixel, flat) - part)


def _shade(mark: Mark, distance: Plane, pixel: float, flat: float) -> Canvas:
    """Return the colours of a body that is as high as it is far from its edge, up to a bevel."""
    colour = np.asarray(mark.colour, np.float32)
    if flat >= 1:
        return colour
    slope = 1 - np.clip(distance * (-1 / _BEVEL), 0, 1)
    rise = np.sqrt(np.maximum(1 - slope * slope, 0)) * (_BEVEL * mark.size)
    dy, dx = np.gradient(rise, pixel) if min(rise.shape) > 1 else (rise * 0, rise * 0)
    light = np.clip((dx * 0.45 + dy * 0.6 + 0.66) / np.sqrt(dx * dx + dy * dy + 1), 0, 1)
    gleam = light**24 * 0.55
    body = np.clip(colour * (0.38 + 0.75 * light)[:, :, None] + gleam[:, :, None], 0, 1)
    mixed: Canvas = body + flat * (colour - body)
    return mixed


def _clip_range(middle: float, reach: float, length: int, pixel: float) -> slice:
    first = (middle - reach) / pixel + (length - 1) / 2
    last = (middle + reach) / pixel + (length - 1) / 2
    return slice(max(0, math.floor(first)), max(0, min(length, math.ceil(last) + 1)))
