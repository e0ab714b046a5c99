"""Skills without their uncertainty: the mode at one prior scale, for who needs an order or a warm start, quickly.

The likelihood is that of `posterior` (weighted pairs, logistic with Davidson's ties), the prior N(0, tau^2) with tau
given. It costs no dense matrix beyond `mode.DENSE_MODELS` models: a million votes over 2,000 models are fitted in less
time than they are counted in. Boards are not published from it: they are averaged over prior scales and come with a
covariance (module `posterior`).

A `start` makes it quicker still, and the last bits depend on it: for proposals, never for what is published.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.rating.blas_threads import single_blas_thread
from pipeline.rating.mode import Fitting, Start, find_mode, start_fit
from pipeline.rating.pair_counts import PairCounts
from pipeline.rating.posterior import DEFAULT_SETTINGS, PosteriorSettings
from pipeline.rating.sorted_pairs import sort_pairs

SCALE: Final = 2.0
_TOLERANCE: Final = 1e-4  # Newton's error is squared by the step that follows: 1e-8 standard deviations


@dataclass(frozen=True, slots=True)
class PointFit:
    """Skills of n models in the order of `model_ids`.

    Attributes
    ----------
    model_ids : tuple of str, (n,)
    skill : float64 (n,)
        Mode in logits; the mean over the reference set is 0.
    tie_parameter : float
        nu of Davidson's model; 0 without ties.
    scale : float
        Prior scale tau.
    iterations : int
        Newton steps.
    """

    model_ids: tuple[str, ...]
    skill: NDArray[np.float64]
    tie_parameter: float
    scale: float
    iterations: int


def fit_point(
    counts: PairCounts,
    model_ids: Sequence[str],
    *,
    scale: float = SCALE,
    start: PointFit | None = None,
    settings: PosteriorSettings = DEFAULT_SETTINGS,
) -> PointFit:
    """Fit the skills of an arena at prior scale `scale`; arguments as in `posterior.fit_posterior`.

    With `start`, an earlier fit of some of the models, Newton's method begins there.

    Raises
    ------
    FitError
        If it does not converge, or if the counts cannot be those of votes.
    """
    fitting = Fitting(tolerance=_TOLERANCE, max_iterations=settings.max_iterations)
    with single_blas_thread():
        sorted_pairs = sort_pairs(counts, model_ids, settings.weigh_ballot)
        n, pairs, reference = sorted_pairs.n, sorted_pairs.pairs, sorted_pairs.reference
        if not n:
            return PointFit((), np.zeros(0), 0.0, scale, 0)
        begin = start_fit(pairs, n, fitting)
        if start is not None:
            begin = _warm_up(begin, start, sorted(model_ids))
        mode = find_mode(pairs, n, scale, begin, fitting, with_factor=False)
    skill = mode.theta - float(mode.theta[reference].mean())
    nu = 0.0 if mode.eta is None else math.exp(mode.eta)
    return PointFit(tuple(model_ids), skill[sorted_pairs.position], nu, scale, mode.iterations)


def _warm_up(cold: Start, fit: PointFit, sorted_ids: Sequence[str]) -> Start:
    known = dict(zip(fit.model_ids, fit.skill.tolist(), strict=True))
    theta = np.array([known.get(model_id, 0.0) for model_id in sorted_ids])
    has_ties = cold.eta is not None and fit.tie_parameter > 0.0
    return Start(theta, math.log(fit.tie_parameter) if has_ties else cold.eta)
