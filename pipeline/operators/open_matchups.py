"""Open matchups by the hash that votes are recognised by, so that an answer closes its matchup."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.operators.hashing import hash_strings, seed_strings

_LOW_BITS = np.uint64(0xFFFF)
"""Most votes answer no open matchup: a look at these bits of their keys sorts them out."""


class OpenMatchups:
    """The open matchups of all arenas of one owner.

    A key is half of the hash under which the de-duplication window knows a matchup (`Judged.matchup_keys`).
    """

    def __init__(self) -> None:
        self._places: dict[int, tuple[str, str]] = {}
        self._maybe: NDArray[np.bool_] | None = None

    def add(self, arena_id: str, matchup_ids: Iterable[str]) -> None:
        """Note matchups of one arena as open."""
        listed = list(matchup_ids)
        if listed:
            self._places |= zip(_keys_of(arena_id, listed), ((arena_id, each) for each in listed), strict=True)
            self._maybe = None

    def remove(self, arena_id: str, matchup_ids: Iterable[str]) -> None:
        """Forget matchups of one arena."""
        if listed := list(matchup_ids):
            for key in _keys_of(arena_id, listed):
                self._places.pop(key, None)
            self._maybe = None

    def take_answered(self, keys: NDArray[np.uint64]) -> list[tuple[str, str]]:
        """Return (arena id, matchup id) of those among `keys`, and forget them."""
        if not self._places or not len(keys):
            return []
        if self._maybe is None:
            self._maybe = np.zeros(int(_LOW_BITS) + 1, np.bool_)
            self._maybe[np.fromiter(self._places, np.uint64, len(self._places)) & _LOW_BITS] = True
        candidates = keys[self._maybe[keys & _LOW_BITS]].tolist()
        answered = [place for key in candidates if (place := self._places.pop(key, None))]
        if answered:
            self._maybe = None
        return answered


def _keys_of(arena_id: str, matchup_ids: list[str]) -> list[int]:
    seeds = np.repeat(seed_strings([arena_id]), len(matchup_ids))
    _, low = hash_strings(pa.array(matchup_ids, pa.string()), seeds)
    keys: list[int] = low.tolist()
    return keys
