"""Numbers in JSON, compiled: those whose value is certain; the others are left to the reference decoder."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from pipeline.contracts.byte_strings import Pointer, byte_at

FAILED: Final = -1
"""Stands for the end of what could not be read with certainty."""

_MAX_DIGITS: Final = 18  # all of them fit 64 bits
_EXACT_DIGITS: Final = 15  # with as many, and a power of ten up to 22, one division or product rounds correctly
_EXACT_POWER: Final = 22
_MAX_POWER: Final = 250  # with 36 digits still far from overflow and from denormal numbers
_POWERS: Final = np.array([10.0**power for power in range(_EXACT_POWER + 1)])

_PLUS, _MINUS, _DOT, _ZERO, _NINE, _UPPER_E, _LOWER_E = 43, 45, 46, 48, 57, 69, 101


@njit(nogil=True, cache=True, forceinline=True)
def scan_integer(raw: Pointer, place: int) -> tuple[int, int]:
    """Return the integer at `place` and where it ends, `FAILED` if there is none that is sure to be right."""
    negative = byte_at(raw, place) == _MINUS
    if negative:
        place += 1
    first = place
    value = 0
    while _ZERO <= byte_at(raw, place) <= _NINE and place - first <= _MAX_DIGITS:
        value = value * 10 + (byte_at(raw, place) - _ZERO)
        place += 1
    digits = place - first
    if digits == 0 or digits > _MAX_DIGITS or (byte_at(raw, first) == _ZERO and (digits > 1 or negative)):
        return 0, FAILED
    return (-value if negative else value), place


@njit(nogil=True, cache=True)
def scan_number(raw: Pointer, place: int) -> tuple[float, int, bool]:
    """Return the number at `place`, where it ends (or `FAILED`), and whether it still has to be rounded.

    One that has to be rounded is certain to be a finite JSON number.
    """
    negative = byte_at(raw, place) == _MINUS
    if negative:
        place += 1
    first = place
    mantissa, digits, power = 0, 0, 0
    while _ZERO <= byte_at(raw, place) <= _NINE and digits <= 2 * _MAX_DIGITS:
        if digits < _MAX_DIGITS:
            mantissa = mantissa * 10 + (byte_at(raw, place) - _ZERO)
        digits += 1
        place += 1
    whole = place - first
    if whole == 0 or (whole > 1 and byte_at(raw, first) == _ZERO):
        return 0.0, FAILED, False
    if byte_at(raw, place) == _DOT:
        place += 1
        point = place
        while _ZERO <= byte_at(raw, place) <= _NINE and digits <= 2 * _MAX_DIGITS:
            if digits < _MAX_DIGITS:
                mantissa = mantissa * 10 + (byte_at(raw, place) - _ZERO)
            digits += 1
            place += 1
        power = point - place
        if power == 0:
            return 0.0, FAILED, False
    if byte_at(raw, place) == _LOWER_E or byte_at(raw, place) == _UPPER_E:
        exponent, after = _scan_exponent(raw, place + 1)
        if after == FAILED:
            return 0.0, FAILED, False
        power += exponent
        place = after
    if digits > 2 * _MAX_DIGITS or abs(power) > _MAX_POWER:
        return 0.0, FAILED, False
    if digits > _MAX_DIGITS or mantissa > 9007199254740992 or abs(power) > _EXACT_POWER:
        return 0.0, place, True
    value = float(mantissa)
    value = value / _POWERS[-power] if power < 0 else value * _POWERS[power]
    return (-value if negative else value), place, False


@njit(nogil=True, cache=True)
def _scan_exponent(raw: Pointer, place: int) -> tuple[int, int]:
    negative = byte_at(raw, place) == _MINUS
    if negative or byte_at(raw, place) == _PLUS:
        place += 1
    first = place
    value = 0
    while _ZERO <= byte_at(raw, place) <= _NINE and place - first < 4:
        value = value * 10 + (byte_at(raw, place) - _ZERO)
        place += 1
    if place == first or place - first == 4:
        return 0, FAILED
    return (-value if negative else value), place
