"""Every pair of an arena's models: what votes said of it, and what the posterior expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from pipeline.rating.errors import RatingError
from pipeline.rating.pair_counts import PairCounts
from pipeline.rating.pair_probabilities import compare_models
from pipeline.rating.posterior import PosteriorSettings, fit_posterior

MAX_FITTED: Final = 300
"""Models up to which predictions are made here: the fit takes about a second then, and grows with the cube."""
SURPRISE: Final = 2.0
"""Standard errors between what was seen and what is expected from which a pair is called a surprise."""

PAIR_SCHEMA: Final = pa.schema(
    [
        ("model", pa.string()),
        ("other", pa.string()),
        ("wins", pa.int64()),
        ("ties", pa.int64()),
        ("losses", pa.int64()),
        ("seen", pa.float64()),
        ("predicted", pa.float64()),
        ("stronger", pa.float64()),
        ("surprise", pa.float64()),
    ]
)
"""One row a pair; shares are those of `model`, ties as half."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair as its first model sees it: ballots won, tied, lost; shares with ties as half; None where unknown.

    `stronger`: the probability that the first model is the stronger one. `surprise`: how far what was seen lies above
    what is predicted, in standard errors.
    """

    first: int
    second: int
    wins: int
    ties: int
    losses: int
    predicted: float | None
    stronger: float | None
    surprise: float | None

    @property
    def votes(self) -> int:
        """Ballots that ordered or tied the two."""
        return self.wins + self.ties + self.losses

    @property
    def seen(self) -> float | None:
        """The share won."""
        return (self.wins + self.ties / 2) / self.votes if self.votes else None


@dataclass(frozen=True, slots=True, eq=False)
class PairTable:
    """All pairs of n models, in the order of the arena's registry.

    Attributes
    ----------
    commit : int
        Of the publication that they are from.
    model_ids : tuple of str, (n,)
    wins : int32 (n, n)
        Ballots in which the row's model beat the column's.
    ties : int32 (n, n)
        Ballots in which they tied; symmetric.
    shown, all_bad, skips : int64 (n,)
        Ballots that ranked something with the model shown, all-bad answers and skips with it.
    predicted : float64 (n, n) or None
        Expected share of the row's model in the next vote, ties as half; None without a fit.
    stronger : float64 (n, n) or None
        Probability that the row's model is the stronger one.
    surprise : float64 (n, n) or None
        How far the share that was seen lies above the predicted one, in standard errors of as many independent votes;
        0 without votes.
    """

    commit: int
    model_ids: tuple[str, ...]
    wins: NDArray[np.int32]
    ties: NDArray[np.int32]
    shown: NDArray[np.int64]
    all_bad: NDArray[np.int64]
    skips: NDArray[np.int64]
    predicted: NDArray[np.float64] | None
    stronger: NDArray[np.float64] | None
    surprise: NDArray[np.float64] | None

    def index(self, model: str) -> int:
        """Return the place of a model. Raises ValueError for one that is not there."""
        return self.model_ids.index(model)

    def pair(self, first: int, second: int) -> Pair:
        """Return a pair as `first` sees it."""
        return Pair(
            first,
            second,
            int(self.wins[first, second]),
            int(self.ties[first, second]),
            int(self.wins[second, first]),
            None if self.predicted is None else float(self.predicted[first, second]),
            None if self.stronger is None else float(self.stronger[first, second]),
            None if self.surprise is None else float(self.surprise[first, second]),
        )

    def votes(self) -> NDArray[np.int32]:
        """Return how many ballots ordered or tied each pair, int32 (n, n), symmetric."""
        return self.wins + self.wins.T + self.ties

    def surprises(self, limit: int) -> list[Pair]:
        """Return the pairs that differ most from what is predicted, each as the model that does better sees it."""
        if self.surprise is None:
            return []
        first, second = np.nonzero(self.surprise >= SURPRISE)
        order = np.argsort(-self.surprise[first, second], kind="stable")[:limit]
        return [self.pair(int(first[place]), int(second[place])) for place in order]


def tabulate_pairs(commit: int, model_ids: Sequence[str], columns: Mapping[str, ArrayLike]) -> PairTable:
    """Make the table of a publication's counts (`StoreReader.publication_with_counts`)."""
    counts = PairCounts.from_columns(columns)
    n = len(model_ids)
    found = counts.pairs(lambda _k, _best: 1.0)
    wins, ties = np.zeros((n, n), np.int32), np.zeros((n, n), np.int32)
    wins[found.first, found.second] = found.wins
    wins[found.second, found.first] = found.losses
    ties[found.first, found.second] = ties[found.second, found.first] = found.ties
    predicted, stronger = _predict(counts, model_ids)
    surprise = None if predicted is None else _measure_surprise(wins, ties, predicted)
    return PairTable(
        commit=commit,
        model_ids=tuple(model_ids),
        wins=wins,
        ties=ties,
        shown=counts.model_votes(n),
        all_bad=counts.all_bad(n),
        skips=counts.skips(n),
        predicted=predicted,
        stronger=stronger,
        surprise=surprise,
    )


def _predict(
    counts: PairCounts, model_ids: Sequence[str]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    n = len(model_ids)
    if not 2 <= n <= MAX_FITTED:
        return None, None
    try:
        # Ranks are not asked for: without their draws a fit takes half as long.
        fit = fit_posterior(counts, model_ids, settings=PosteriorSettings(rank_draws=0))
    except RatingError:
        return None, None  # the job has said so, and the board shows its last fit
    first, second = np.triu_indices(n, 1)
    found = compare_models(fit, first, second)
    predicted, stronger = np.full((n, n), 0.5), np.full((n, n), 0.5)
    predicted[first, second] = found.wins + found.ties / 2
    predicted[second, first] = 1 - predicted[first, second]
    stronger[first, second] = found.stronger
    stronger[second, first] = 1 - found.stronger
    return predicted, stronger


def _measure_surprise(
    wins: NDArray[np.int32], ties: NDArray[np.int32], predicted: NDArray[np.float64]
) -> NDArray[np.float64]:
    votes = wins + wins.T + ties
    seen = (wins + ties / 2) / np.maximum(votes, 1)
    error = np.sqrt(np.maximum(predicted * (1 - predicted), 1e-9) / np.maximum(votes, 1))
    return np.where(votes > 0, (seen - predicted) / error, 0.0)


def write_pairs(table: PairTable, of: int | None = None) -> pa.Table:
    """Return all pairs that were voted on or predicted as `PAIR_SCHEMA`; those `of` one model as that one sees them."""
    n = len(table.model_ids)
    wanted = np.ones((n, n), np.bool_) if table.predicted is not None else table.votes() > 0
    if of is None:
        wanted = np.triu(wanted, 1)
    else:
        wanted[np.arange(n) != of] = False
        wanted[of, of] = False
    first, second = np.nonzero(wanted)
    wins, ties, losses = table.wins[first, second], table.ties[first, second], table.wins[second, first]
    votes = (wins + ties + losses).astype(np.float64)
    has_votes = votes > 0
    seen = np.where(has_votes, (wins + ties / 2) / np.maximum(votes, 1), 0.0)
    ids = np.array(table.model_ids, object)
    absent = pa.nulls(len(first), pa.float64())
    predicted, stronger, surprise = (
        absent if matrix is None else pa.array(matrix[first, second])
        for matrix in (table.predicted, table.stronger, table.surprise)
    )
    return pa.table(
        [
            pa.array(ids[first], pa.string()),
            pa.array(ids[second], pa.string()),
            *(pa.array(column.astype(np.int64)) for column in (wins, ties, losses)),
            pa.array(seen, mask=~has_votes),
            predicted,
            stronger,
            surprise,
        ],
        schema=PAIR_SCHEMA,
    )
