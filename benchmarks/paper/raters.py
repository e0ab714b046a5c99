"""The methods under comparison, each rating one whole ballot at a time.

Peers are the packages `trueskill` and `openskill` with their default settings (trueskill with a draw probability of 0:
these ballots have no ties). They get whole ballots of k models, as free-for-all games.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import openskill.models
import trueskill
from numpy.typing import NDArray

from benchmarks.paper.world import make_rankings
from pipeline.rating.elo import BASE_RATING
from pipeline.rating.ksort_filter import SCORE_SDS, KsortState
from pipeline.rating.ksort_filter import rate_ballots as rate_ksort
from pipeline.rating.ranking import RankingFit, RankingSettings, fit_ranking
from pipeline.rating.scalar_kernels import update_elo

_FOR_PROPOSALS = RankingSettings(scales=(0.5, 2.0, 8.0, 32.0, 128.0), tolerance=0.02, rank_draws=0)


class Rater(Protocol):
    """Rates models from ballots, one by one."""

    @property
    def mean(self) -> NDArray[np.float64]:
        """Means, float64 (n,)."""
        ...

    @property
    def score(self) -> NDArray[np.float64]:
        """Means minus three standard deviations, float64 (n,)."""
        ...

    def rate(self, ranking: NDArray[np.int64]) -> None:
        """Take in a ballot: models, best first, int64 (k,)."""
        ...


class KsortRater:
    """The paper's filter, as the product runs it."""

    def __init__(self, n_models: int) -> None:
        self.state = KsortState.initial(n_models)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Means."""
        return self.state.mu

    @property
    def score(self) -> NDArray[np.float64]:
        """The paper's conservative score."""
        return self.state.score

    def rate(self, ranking: NDArray[np.int64]) -> None:
        """Apply eqs 9-10."""
        self.state = rate_ksort(self.state, make_rankings(ranking[None, :]))


class TrueskillRater:
    """The package `trueskill`."""

    def __init__(self, n_models: int) -> None:
        self._environment = trueskill.TrueSkill(draw_probability=0.0)
        self._ratings = [self._environment.create_rating() for _ in range(n_models)]
        self.mean = np.full(n_models, self._environment.mu)
        self.score = self.mean - SCORE_SDS * self._environment.sigma

    def rate(self, ranking: NDArray[np.int64]) -> None:
        """Rate one free-for-all game."""
        models = ranking.tolist()
        rated: Any = self._environment.rate([(self._ratings[model],) for model in models])
        for model, (rating,) in zip(models, rated, strict=True):
            self._ratings[model] = rating
            self.mean[model], self.score[model] = rating.mu, rating.mu - SCORE_SDS * rating.sigma


class OpenskillRater:
    """A model of the package `openskill`."""

    def __init__(self, n_models: int, model: Any) -> None:
        self._model = model
        self._ratings = [model.rating() for _ in range(n_models)]
        self.mean = np.array([rating.mu for rating in self._ratings])
        self.score = self.mean - SCORE_SDS * np.array([rating.sigma for rating in self._ratings])

    def rate(self, ranking: NDArray[np.int64]) -> None:
        """Rate one free-for-all game."""
        models = ranking.tolist()
        for model, (rating,) in zip(models, self._model.rate([[self._ratings[m]] for m in models]), strict=True):
            self._ratings[model] = rating
            self.mean[model], self.score[model] = rating.mu, rating.mu - SCORE_SDS * rating.sigma


class RankingRater:
    """The product's engine on whole rankings, each fit going on from the one before."""

    def __init__(self, n_models: int) -> None:
        self._ids = [f"m{model:03d}" for model in range(n_models)]
        self._rankings: list[NDArray[np.int64]] = []
        self.fit = self._fit(None)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Posterior means."""
        return self.fit.mean

    @property
    def score(self) -> NDArray[np.float64]:
        """Means minus three standard deviations."""
        return self.fit.mean - SCORE_SDS * self.fit.sd

    def rate(self, ranking: NDArray[np.int64]) -> None:
        """Fit all ballots so far."""
        self._rankings.append(ranking)
        self.fit = self._fit(self.fit)

    def _fit(self, start: RankingFit | None) -> RankingFit:
        rankings = np.array(self._rankings) if self._rankings else np.empty((0, 2), np.int64)
        return fit_ranking(make_rankings(rankings), self._ids, settings=_FOR_PROPOSALS, start=start)


class EloRater:
    """Elo on pairs, with a K factor of its own (the product's is fixed)."""

    def __init__(self, n_models: int, k_factor: float) -> None:
        self.mean = np.full(n_models, BASE_RATING)
        self.k_factor = k_factor

    @property
    def score(self) -> NDArray[np.float64]:
        """The ratings: Elo knows no uncertainty."""
        return self.mean

    def rate(self, ranking: NDArray[np.int64]) -> None:
        """Apply Elo's update to all pairs of the ballot."""
        ballots = make_rankings(ranking[None, :])
        update_elo(self.mean, self.k_factor, ballots.offsets, ballots.models, ballots.groups)


def make_rater(method: str, n_models: int) -> Rater:
    """Make the rater of a method: `ksort`, `elo-KFACTOR`, `trueskill`, `openskill-tm`, `openskill-pl` or `ranking`."""
    name, _, variant = method.partition("-")
    match name:
        case "ksort":
            return KsortRater(n_models)
        case "elo":
            return EloRater(n_models, float(variant))
        case "ranking":
            return RankingRater(n_models)
        case "trueskill":
            return TrueskillRater(n_models)
        case "openskill":
            models = {"tm": openskill.models.ThurstoneMostellerFull, "pl": openskill.models.PlackettLuce}
            return OpenskillRater(n_models, models[variant]())
    raise ValueError(f"unknown method {method!r}")
