"""Ballots: the orderings inside votes, as flat arrays.

Data shapes used throughout the project are defined here once.

A *ballot* over K models in slot order is a list of K small integers, its *groups*: 0 for the best group, 1 for the
next, and so on; equal groups are tied; `UNRANKED` marks the unranked remainder, which is worse than every ranked
model while nothing is known inside it. `all_bad` and `skip` leave every model unranked and so order nothing.

For two models a and b of one ballot:

- ``groups[a] < groups[b]``: a beat b (an *ordered pair*);
- ``groups[a] == groups[b] != UNRANKED``: a *tied pair*;
- both `UNRANKED`: nothing is known.

The size k of a ballot is the number of its models in at least one ordered or tied pair: K, or 0 if nothing is ranked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

K_MIN = 2
K_MAX = 8
UNRANKED = 127


class Mode(IntEnum):
    """What a voter was asked for or answered. The names in lower case are those of the wire format."""

    RANK = 0
    BEST = 1
    ALL_BAD = 2
    SKIP = 3


MODE_NAMES: tuple[str, ...] = tuple(mode.name.lower() for mode in Mode)


@dataclass(frozen=True, slots=True)
class Ballots:
    """A batch of n ballots in compressed rows.

    Attributes
    ----------
    offsets : int64 (n + 1,)
        Ballot b owns the elements ``offsets[b]:offsets[b + 1]`` of `models` and `groups`; ``offsets[0]`` is 0.
    models : int32 (total,)
        Index of each model in the arena's model list, in slot order.
    groups : int8 (total,)
        Group of each model, 0 = best, `UNRANKED` = in the unranked remainder.
    modes : int8 (n,)
        `Mode` of each ballot.
    """

    offsets: NDArray[np.int64]
    models: NDArray[np.int32]
    groups: NDArray[np.int8]
    modes: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.modes)

    def take(self, keep: NDArray[np.bool_]) -> Ballots:
        """Return the ballots where `keep` (bool, (n,)) holds, in the same order."""
        sizes = np.diff(self.offsets)
        elements = np.repeat(keep, sizes)
        offsets = np.zeros(int(keep.sum()) + 1, np.int64)
        np.cumsum(sizes[keep], out=offsets[1:])
        return Ballots(offsets, self.models[elements], self.groups[elements], self.modes[keep])


def make_ballots(rows: list[tuple[list[int], list[int | None] | None, Mode]]) -> Ballots:
    """Build `Ballots` from (model indices, ranks with None for unranked, mode), one tuple a ballot.

    Ranks may be any integers: only their order counts. For tests, importers and small inputs.
    """
    sizes = [len(models) for models, _, _ in rows]
    groups: list[int] = []
    for models, ranks, _ in rows:
        values = ranks if ranks is not None else [None] * len(models)
        levels = {rank: level for level, rank in enumerate(sorted({r for r in values if r is not None}))}
        groups.extend(UNRANKED if rank is None else levels[rank] for rank in values)
    return Ballots(
        np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        np.array([m for models, _, _ in rows for m in models], np.int32),
        np.array(groups, np.int8),
        np.array([mode for _, _, mode in rows], np.int8),
    )
