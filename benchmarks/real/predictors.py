"""Methods as predictors: each learns votes in order and says P(i wins), P(j wins), P(tie) of pairs.

Methods without a model of ties get the share of ties so far as P(tie), the same for all pairs, and divide the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import choix
import numpy as np
import openskill.models
import trueskill
from numpy.typing import NDArray
from scipy.special import ndtr

from pipeline.contracts.ballot import Ballots
from pipeline.rating import elo, ksort_filter
from pipeline.rating.average import AverageState, end_block, predict_pairs
from pipeline.rating.count_accumulator import CountAccumulator
from pipeline.rating.elo import EloState
from pipeline.rating.ksort_filter import PERFORMANCE_SD, KsortState
from pipeline.rating.pair_counts import PairCounts
from pipeline.rating.pair_probabilities import compare_models
from pipeline.rating.posterior import PosteriorSettings, fit_posterior

Pairs = NDArray[np.int64]
"""Model indices (p, 2) of pairs (i, j)."""


class Predictor(Protocol):
    """One method."""

    def learn(self, ballots: Ballots, rows: Sequence[tuple[list[int], list[int]]]) -> None:
        """Take votes, in order; `rows` are (models, groups) of the same ballots."""
        ...

    def predict(self, pairs: Pairs) -> NDArray[np.float64]:
        """Return P(i wins), P(j wins), P(tie), float64 (p, 3)."""
        ...


class _Counting:
    """Keeps all counts, and the share of ties."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.names = [f"m{m:04d}" for m in range(n)]
        self._accumulator = CountAccumulator(n)
        self.counts = PairCounts.empty()
        self.votes = 0

    def learn(self, ballots: Ballots, rows: Sequence[tuple[list[int], list[int]]]) -> None:  # noqa: ARG002
        """See `Predictor`."""
        self._accumulator.add_ballots(ballots)
        self.counts = self._accumulator.freeze()
        self.votes += len(ballots)

    def split(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Make three probabilities of P(i wins | no tie) (p,)."""
        pairs = self.counts.pairs(lambda k, best: 1.0)  # noqa: ARG005
        tied, total = float(pairs.ties.sum()), float((pairs.wins + pairs.losses + pairs.ties).sum())
        share = (tied + 0.5) / (total + 1.5)
        return np.stack([(1 - share) * p, (1 - share) * (1 - p), np.full(len(p), share)], axis=1)


class PosteriorPredictor(_Counting):
    """`posterior`, averaged over its uncertainty."""

    def predict(self, pairs: Pairs) -> NDArray[np.float64]:
        """See `Predictor`."""
        fit = fit_posterior(self.counts, self.names, settings=PosteriorSettings(rank_draws=0))
        found = compare_models(fit, pairs[:, 0], pairs[:, 1])
        if fit.tie_parameter == 0.0:
            return self.split(found.wins)
        return np.stack([found.wins, found.losses, found.ties], axis=1)


class AveragePredictor(_Counting):
    """`average`: each block that is learned is one of its blocks."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.state = AverageState.initial()

    def learn(self, ballots: Ballots, rows: Sequence[tuple[list[int], list[int]]]) -> None:
        """See `Predictor`."""
        super().learn(ballots, rows)
        self.state = end_block(self.state, self.counts, self.votes)

    def predict(self, pairs: Pairs) -> NDArray[np.float64]:
        """See `Predictor`."""
        return predict_pairs(self.state, pairs[:, 0], pairs[:, 1])


class KsortPredictor(_Counting):
    """The paper's filter, with the variance of its skills."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.state = KsortState.initial(n)

    def learn(self, ballots: Ballots, rows: Sequence[tuple[list[int], list[int]]]) -> None:
        """See `Predictor`."""
        super().learn(ballots, rows)
        self.state = ksort_filter.rate_ballots(self.state, ballots)

    def predict(self, pairs: Pairs) -> NDArray[np.float64]:
        """See `Predictor`."""
        i, j = pairs.T
        scale = np.sqrt(2 * PERFORMANCE_SD**2 + self.state.s2[i] + self.state.s2[j])
        return self.split(ndtr((self.state.mu[i] - self.state.mu[j]) / scale))


class EloPredictor(_Counting):
    """Elo at its published K factor."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.state = EloState.initial(n)

    def learn(self, ballots: Ballots, rows: Sequence[tuple[list[int], list[int]]]) -> None:
        """See `Predictor`."""
        super().learn(ballots, rows)
        self.state = elo.rate_ballots(self.state, ballots)

    def predict(self, pairs: Pairs) -> NDArray[np.float64]:
        """See `Predictor`."""
        i, j = pairs.T
        return self.split(1 / (1 + 10 ** ((self.state.ratings[j] - self.state.ratings[i]) / 400)))


class ChoixPredictor(_Counting):
    """Bradley-Terry by choix on all ordered pairs, barely regularised (alpha = 0.01)."""

    def predict(self, pairs: Pairs) -> NDArray[np.float64]:
        """See `Predictor`."""
        columns = self.counts.to_columns()
        kept = [
            (int(i), int(j))
            for kind, i, j, n in zip(*(columns[name] for name in ("kind", "i", "j", "n")), strict=True)
            if kind == 0
            for _ in range(int(n))
        ]
        skill = np.asarray(choix.opt_pairwise(self.n, kept, alpha=0.01), np.float64)
        return self.split(1 / (1 + np.exp(skill[pairs[:, 1]] - skill[pairs[:, 0]])))


class OpenskillPredictor(_Counting):
    """openskill's Plackett-Luce model, and its own prediction of who wins."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._model = openskill.models.PlackettLuce()
        self._ratings = [self._model.rating() for _ in range(n)]

    def learn(self, ballots: Ballots, rows: Sequence[tuple[list[int], list[int]]]) -> None:
        """See `Predictor`."""
        super().learn(ballots, rows)
        rated: Any
        for models, groups in rows:
            rated = self._model.rate([[self._ratings[m]] for m in models], ranks=[float(g) for g in groups])
            for m, (rating,) in zip(models, rated, strict=True):
                self._ratings[m] = rating

    def predict(self, pairs: Pairs) -> NDArray[np.float64]:
        """See `Predictor`."""
        found = [self._model.predict_win([[self._ratings[i]], [self._ratings[j]]])[0] for i, j in pairs.tolist()]
        return self.split(np.array(found))


class TrueskillPredictor(_Counting):
    """trueskill, and the probability that one performance is above the other."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._environment = trueskill.TrueSkill(draw_probability=0.1)
        self._ratings = [self._environment.create_rating() for _ in range(n)]

    def learn(self, ballots: Ballots, rows: Sequence[tuple[list[int], list[int]]]) -> None:
        """See `Predictor`."""
        super().learn(ballots, rows)
        rated: Any
        for models, groups in rows:
            rated = self._environment.rate([(self._ratings[m],) for m in models], ranks=groups)
            for m, (rating,) in zip(models, rated, strict=True):
                self._ratings[m] = rating

    def predict(self, pairs: Pairs) -> NDArray[np.float64]:
        """See `Predictor`."""
        beta = self._environment.beta
        found = []
        for i, j in pairs.tolist():
            one, other = self._ratings[i], self._ratings[j]
            scale = math.sqrt(2 * beta**2 + one.sigma**2 + other.sigma**2)
            found.append((one.mu - other.mu) / scale)
        return self.split(ndtr(np.array(found)))


PREDICTORS: dict[str, type[Any]] = {
    "posterior": PosteriorPredictor,
    "average": AveragePredictor,
    "ksort": KsortPredictor,
    "elo": EloPredictor,
    "choix": ChoixPredictor,
    "openskill": OpenskillPredictor,
    "trueskill": TrueskillPredictor,
}
