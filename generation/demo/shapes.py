"""Signed distances to the demo shapes, in units where a shape's half width is about 1: negative inside."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]
"""float32 (height, width); annotated as what numpy's stubs make of float32 times a Python float."""

_SIDES: Final = {"triangle": (3, 0.55), "hexagon": (6, 0.88)}
"""Regular polygons: number of sides, distance of a side from the centre."""
_STAR_POINTS: Final = 5
_STAR_INNER: Final = 0.45
_HEART_SCALE: Final = 0.62
_RING: Final = (0.74, 0.26)
_CROSS_ARM: Final = 0.34


def measure_distance(shape: str, x: Plane, y: Plane) -> Plane:
    """Return the distance of each point to the edge of `shape`; y grows downwards.

    Exact for the round shapes and the heart, a lower bound near corners of the others: enough for smooth edges.
    """
    distance: Plane
    match shape:
        case "circle":
            distance = np.hypot(x, y) - 1
        case "ring":
            distance = np.abs(np.hypot(x, y) - _RING[0]) - _RING[1]
        case "moon":
            bite = 0.82 - np.hypot(x - 0.45, y + 0.12)
            distance = np.maximum(np.hypot(x, y) - 1, bite)
        case "square":
            distance = np.maximum(np.abs(x), np.abs(y)) - 0.86
        case "diamond":
            distance = (np.abs(x) * 1.25 + np.abs(y)) * 0.72 - 0.76
        case "cross":
            across = np.maximum(np.abs(x) - 1, np.abs(y) - _CROSS_ARM)
            along = np.maximum(np.abs(x) - _CROSS_ARM, np.abs(y) - 1)
            distance = np.minimum(across, along)
        case "heart":
            distance = _measure_heart(x, y)
        case "star":
            distance = _measure_star(x, y)
        case _:
            sides, inner = _SIDES[shape]
            distance = _measure_polygon(x, y, sides, inner)
    return distance


def _measure_heart(x: Plane, y: Plane) -> Plane:
    # The exact distance to a heart of height 1 with its tip at the origin.
    across = np.abs(x) * _HEART_SCALE
    up = (0.88 - y) * _HEART_SCALE
    lobe = np.hypot(across - 0.25, up - 0.75) - math.sqrt(2) / 4
    middle = np.maximum(across + up, 0) * 0.5
    side = np.minimum(np.hypot(across, up - 1), np.hypot(across - middle, up - middle))
    side *= np.sign(across - up)
    distance: Plane = np.where(across + up > 1, lobe, side) / _HEART_SCALE
    return distance


def _measure_star(x: Plane, y: Plane) -> Plane:
    # Folded to one half of one point: the edge runs from its tip at radius 1 to the inner corner.
    wedge = math.pi / _STAR_POINTS
    radius, angle = np.hypot(x, y), _fold(np.arctan2(x, -y), wedge)
    along, across = radius * np.cos(angle), radius * np.abs(np.sin(angle))
    corner = (_STAR_INNER * math.cos(wedge), _STAR_INNER * math.sin(wedge))
    normal = (corner[1], 1 - corner[0])
    length = math.hypot(*normal)
    return (along * normal[0] + across * normal[1] - normal[0]) / length


def _measure_polygon(x: Plane, y: Plane, sides: int, inner: float) -> Plane:
    angle = _fold(np.arctan2(x, y), math.pi / sides)
    distance: Plane = np.hypot(x, y) * np.cos(angle) - inner
    return distance


def _fold(angle: Plane, half: float) -> Plane:
    folded: Plane = np.remainder(angle + half, 2 * half) - half
    return folded
