"""Off-policy checks over an archive: what its votes say when they are reweighted by their propensities."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.ballot import Ballots
from pipeline.operators.archive_rows import read_votes, split_events
from pipeline.operators.entrants import rows_by_word, take_ballots
from pipeline.rating.reweighting import OffPolicyCheck, OffPolicySums


def check_archive(
    archive: Iterable[pa.RecordBatch],
    arena_id: str,
    model_ids: list[str],
    *,
    choose_retracted: Callable[[pa.RecordBatch], NDArray[np.bool_]] | None = None,
) -> OffPolicyCheck:
    """Return the check of one arena.

    Parameters
    ----------
    archive
        Batches of `ARCHIVE_SCHEMA`, in order.
    arena_id, model_ids
        The arena, and its models in registry order; votes that show others are left out.
    choose_retracted
        From archive rows to whether each is retracted, bool (n,): those are left out, too.
    """
    places = {model: place for place, model in enumerate(model_ids)}
    sums = OffPolicySums(len(model_ids))
    for rows in archive:
        for kind, part in split_events(rows):
            if kind == "votes":
                _add_votes(sums, part, arena_id, places, choose_retracted)
    return sums.check()


def _add_votes(
    sums: OffPolicySums,
    rows: pa.RecordBatch,
    arena_id: str,
    places: dict[str, int],
    choose_retracted: Callable[[pa.RecordBatch], NDArray[np.bool_]] | None,
) -> None:
    columns = read_votes(rows)
    mine = dict(rows_by_word(columns.arena)).get(arena_id)
    if mine is None:
        return
    if choose_retracted is not None:
        mine = mine[~choose_retracted(rows)[mine]]
    numbers = np.array([places.get(word, -1) for word in columns.models.words], np.int32)
    ballots = Ballots(columns.offsets, numbers[columns.models.codes], columns.groups, columns.modes)
    ballots = take_ballots(ballots, mine)
    strangers = np.add.reduceat(np.append(ballots.models < 0, False), ballots.offsets[:-1]) > 0
    propensities = rows["propensity"]
    known = propensities.is_valid().to_numpy(zero_copy_only=False)[mine]
    values = propensities.fill_null(1.0).to_numpy(zero_copy_only=False)[mine]
    keep = ~strangers
    sums.add(ballots.take(keep), values[keep], known[keep] & (values[keep] > 0.0) & (values[keep] <= 1.0))
