"""Bayesian model averaging over likelihoods, method `average`.

Likelihoods
    `LIKELIHOODS`: the three models of a pair of module `likelihoods`, each without lapses and with 5 %; M = 6, equally
    probable beforehand. `posterior` is the first of them.

Evidence
    Votes come in blocks. At the end of a block each likelihood is asked how probable the block was, given what it had
    learned before: skills at their mode with the variances of their Laplace posterior, P(i wins), P(j wins), P(tie)
    averaged over theta_i - theta_j ~ N(m, v_i + v_j) by Gauss-Hermite quadrature. Its loss is

        L_m(block) = - sum over the block's pairs of w(k) log P_m(what happened),

    w(k) the weight of a pair in a ballot of k models, as in `posterior`: pairs of one ballot are correlated, and
    unweighted they would overstate the evidence. Weights p_m are proportional to exp(- sum of L_m so far). Then the
    likelihood learns the block: mode on all votes so far from its last mode, and its prior scale by MacKay's rule,
    tau^2 = sum theta^2 / (n - 1 - sum v/tau^2), one step a block.

Guarantee
    The loss of the average on a block is -log sum_m p_m exp(-L_m(block)), and these add up to
    -log sum_m exp(-sum of L_m)/M. So on any votes, in any order, the average has lost at most ln M more than the best
    likelihood, which nobody could name beforehand (arXiv 2305.19420 for its part in in-context learning). A property
    test holds it to that.

Blocks
    end at fixed sequence numbers (`next_block_end`): at multiples of 256, later of a quarter of the power of two below,
    from 65,536 on of 16,384; of these, an arena takes those at which it has at least twice as many votes as at its
    last. So blocks grow as the arena does, and a million votes have 13 of them. Nothing is predicted of the
    first block, from which the likelihoods learn first.

Board
    The posterior under each likelihood on all votes, exactly as in `posterior` (evidence over the grid of prior scales,
    centred moments), averaged with the weights as a mixture; likelihoods below `NEGLIGIBLE` are left out, and so is one
    whose fit does not converge.

Order
    The evidence depends on the order of votes, the state is that of a filter: it is rebuilt from the archive after a
    retraction. Models that nobody compared are not in it, so that it does not matter when they registered.

Limits
    Arenas of up to `MAX_MODELS` models: a board of 2,000 would need minutes for six fits. Skills are in logits under
    each likelihood; with lapses they are those of voters who look, and lie further apart.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.rating.blas_threads import single_blas_thread
from pipeline.rating.errors import FitError, StateError
from pipeline.rating.likelihoods import Likelihood, Shape, predict_differences, tie_share
from pipeline.rating.mixture import average_gaussians, normalise_log_weights
from pipeline.rating.mode import Fitting, Start, find_mode, start_fit
from pipeline.rating.pair_counts import PairCounts, WeightedPairs
from pipeline.rating.posterior import (
    DEFAULT_SETTINGS,
    Moments,
    PosteriorFit,
    PosteriorSettings,
    finish_fit,
    fit_moments,
)
from pipeline.rating.reference_set import centre_moments
from pipeline.rating.sorted_pairs import sort_pairs

LIKELIHOODS: Final = (
    Likelihood("davidson", Shape.DAVIDSON, 0.0),
    Likelihood("davidson-lapse", Shape.DAVIDSON, 0.05),
    Likelihood("logistic", Shape.LOGISTIC, 0.0),
    Likelihood("logistic-lapse", Shape.LOGISTIC, 0.05),
    Likelihood("normal", Shape.NORMAL, 0.0),
    Likelihood("normal-lapse", Shape.NORMAL, 0.05),
)
MAX_MODELS: Final = 500
NEGLIGIBLE: Final = 1e-3

_MIN_STEP: Final = 256
_MAX_STEP: Final = 16_384
_STEPS_A_DOUBLING: Final = 4
_PSEUDO_TIES: Final = 0.5  # ties may come for the first time in any block: half a tie, as Krichevsky and Trofimov
_TOLERANCE: Final = 1e-4  # Fisher steps converge by a factor each: what is left is about as many standard deviations
_LEARNING_TOLERANCE: Final = 1e-2  # the next block begins where this one ended, and no loss feels a hundredth of an sd
_MAX_ITERATIONS: Final = 500  # two votes at a wide prior need some hundred
_LEAST_P: Final = 1e-300
_TAU_RANGE: Final = (0.5, 128.0)
_FIRST_TAU: Final = 1.0
_NODES: Final = 3
_HEADER: Final = struct.Struct("<4sIQQQQd")
_NAME: Final = b"avg1"


@dataclass(frozen=True, slots=True, eq=False)
class AverageState:
    """What M likelihoods have learned of p models, and how well each predicted.

    Attributes
    ----------
    votes : int
        The arena's votes at the end of the last block.
    blocks : int
        Blocks that were predicted.
    loss : float
        Sum of the average's losses on them, nats.
    losses : float64 (M,)
        Sum of each likelihood's.
    tau, eta : float64 (M,)
        Prior scale and log of the tie parameter for the next block.
    models : int64 (p,)
        Indices of the models that have been compared, ascending.
    theta, variance : float64 (M, p)
        Skills in logits and their variances, centred.
    counts : PairCounts
        The arena's counts at the end of the last block.
    """

    votes: int
    blocks: int
    loss: float
    losses: NDArray[np.float64]
    tau: NDArray[np.float64]
    eta: NDArray[np.float64]
    models: NDArray[np.int64]
    theta: NDArray[np.float64]
    variance: NDArray[np.float64]
    counts: PairCounts

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AverageState):
            return NotImplemented
        return self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def initial(cls) -> AverageState:
        """Return the state before any vote."""
        m = len(LIKELIHOODS)
        nothing = np.zeros((m, 0))
        return cls(
            0, 0, 0.0, np.zeros(m), np.full(m, _FIRST_TAU), np.zeros(m),
            np.zeros(0, np.int64), nothing, nothing, PairCounts.empty(),
        )  # fmt: skip

    @property
    def weights(self) -> tuple[float, ...]:
        """Probability of each likelihood given the blocks so far."""
        return tuple(normalise_log_weights((-self.losses).tolist()))

    def to_bytes(self) -> bytes:
        """Return the stored form, exact to the bit."""
        counts, p = self.counts, len(self.models)
        header = _HEADER.pack(_NAME, len(self.losses), p, len(counts), self.votes, self.blocks, self.loss)
        numbers = (self.losses, self.tau, self.eta, self.theta, self.variance)
        body = [array.astype("<f8").tobytes() for array in numbers]
        # differences of sorted codes and small counts are mostly zero bytes
        body += [array.astype("<i8").tobytes() for array in (self.models, np.diff(counts.codes, prepend=0))]
        return header + zlib.compress(b"".join([*body, counts.counts.astype("<i8").tobytes()]), 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> AverageState:
        """Read what `to_bytes` wrote.

        Raises
        ------
        StateError
            If it is something else, or of other likelihoods.
        """
        if len(data) < _HEADER.size:
            raise StateError(f"state of {_NAME!r}: {len(data)} bytes are shorter than its header")
        name, m, p, n_counts, votes, blocks, loss = _HEADER.unpack_from(data)
        if name != _NAME or m != len(LIKELIHOODS):
            raise StateError(f"state of {name!r} with {m} likelihoods; expected {_NAME!r} with {len(LIKELIHOODS)}")
        body = zlib.decompress(data[_HEADER.size :])
        n_floats, n_integers = m * (3 + 2 * p), p + 2 * n_counts
        if len(body) != 8 * (n_floats + n_integers):
            raise StateError(f"state of {_NAME!r}: {len(body)} bytes do not hold {p} models and {n_counts} counts")
        floats = np.frombuffer(body, "<f8", n_floats).astype(np.float64)
        integers = np.frombuffer(body, "<i8", n_integers, 8 * n_floats).astype(np.int64)
        theta, variance = floats[3 * m :].reshape(2, m, p)
        counts = PairCounts(np.cumsum(integers[p : p + n_counts]), integers[p + n_counts :].copy())
        return cls(
            votes, blocks, loss, floats[:m], floats[m : 2 * m], floats[2 * m : 3 * m], integers[:p], theta, variance,
            counts,
        )  # fmt: skip


def next_block_end(sequence: int) -> int:
    """Return the first sequence number after `sequence` at which blocks may end."""
    step = max(_MIN_STEP, min(_MAX_STEP, (1 << max(sequence.bit_length() - 1, 0)) // _STEPS_A_DOUBLING))
    return (sequence // step + 1) * step


def is_block_end(state: AverageState, votes: int) -> bool:
    """Whether an arena with `votes` votes takes this sequence number for the end of a block."""
    return votes >= 2 * state.votes and votes > 0


def end_block(
    state: AverageState, counts: PairCounts, votes: int, *, settings: PosteriorSettings = DEFAULT_SETTINGS
) -> AverageState:
    """Score the block that ends here and learn it.

    Parameters
    ----------
    state : AverageState
        As of the end of the last block.
    counts : PairCounts
        All counts of the arena.
    votes : int
        All its votes.

    An arena with more than `MAX_MODELS` compared models goes back to the initial state.
    """
    block = counts.subtract(state.counts).pairs(settings.weigh_ballot)
    if not len(block.first):
        return replace(state, votes=votes, counts=counts)
    pairs = counts.pairs(settings.weigh_ballot)
    models = np.union1d(pairs.first, pairs.second)
    if len(models) > MAX_MODELS:
        return AverageState.initial()
    if len(state.models):
        state = _score_block(
            state, block, tie_share(state.counts.pairs(settings.weigh_ballot), pseudo_ties=_PSEUDO_TIES)
        )
    with single_blas_thread():
        return _learn_block(state, counts, votes, pairs, models)


def fit_average(
    counts: PairCounts,
    model_ids: Sequence[str],
    weights: Sequence[float],
    *,
    settings: PosteriorSettings = DEFAULT_SETTINGS,
) -> PosteriorFit:
    """Fit the posterior under each likelihood and average them with `weights` (M,).

    `tie_parameter` and `prior_weights` of the fit are averages too.

    Raises
    ------
    FitError
        If no likelihood that counts can be fitted.
    """
    looser = replace(settings, tolerance=_TOLERANCE, max_iterations=_MAX_ITERATIONS)
    with single_blas_thread():
        sorted_pairs = sort_pairs(counts, model_ids, settings.weigh_ballot)
        fitted: list[tuple[float, Moments]] = []
        for likelihood, weight in zip(LIKELIHOODS, weights, strict=True):
            if weight >= NEGLIGIBLE:
                try:
                    fitted.append((weight, fit_moments(sorted_pairs, looser, likelihood)))
                except FitError:
                    continue
        if not fitted:
            raise FitError("average: no likelihood with a weight above 0.001 could be fitted")
        total = math.fsum(weight for weight, _ in fitted)
        parts = [(weight / total, each) for weight, each in fitted]
        mean, covariance = average_gaussians([(w, m.mean, m.covariance) for w, m in parts], len(model_ids))
        averaged = Moments(
            mean=mean,
            covariance=covariance,
            prior_weights=tuple(
                math.fsum(w * scale for (w, _), scale in zip(parts, scales, strict=True))
                for scales in zip(*(m.prior_weights for _, m in parts), strict=True)
            ),
            tie_parameter=math.fsum(w * m.tie_parameter for w, m in parts),
            iterations=sum(m.iterations for _, m in parts),
        )
        return finish_fit(sorted_pairs, averaged, settings)


def predict_pairs(
    state: AverageState,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    *,
    settings: PosteriorSettings = DEFAULT_SETTINGS,
) -> NDArray[np.float64]:
    """Return the average's P(i wins), P(j wins), P(tie) of pairs of model indices (p,), float64 (p, 3).

    As the state stands, that is from the votes up to its last block.
    """
    if not len(state.models):
        return np.full((len(first), 3), 1.0 / 3.0)
    share = tie_share(state.counts.pairs(settings.weigh_ballot), pseudo_ties=_PSEUDO_TIES)
    parts = [_predict(state, m, first, second, share) for m in range(len(LIKELIHOODS))]
    return np.asarray(np.tensordot(state.weights, np.array(parts), axes=1), np.float64)


def _score_block(state: AverageState, block: WeightedPairs, share: float) -> AverageState:
    """Add each likelihood's loss on `block`, and the average's."""
    losses = np.array([_lose_block(state, m, block, share) for m in range(len(LIKELIHOODS))])
    before, after = -state.losses, -(state.losses + losses)
    loss = _log_sum_exp(before) - _log_sum_exp(after)
    return replace(state, blocks=state.blocks + 1, losses=state.losses + losses, loss=state.loss + loss)


def _lose_block(state: AverageState, m: int, block: WeightedPairs, share: float) -> float:
    logs = np.log(np.maximum(_predict(state, m, block.first, block.second, share), _LEAST_P))
    return -float(np.add.reduce(block.wins * logs[:, 0] + block.losses * logs[:, 1] + block.ties * logs[:, 2]))


def _predict(
    state: AverageState, m: int, first: NDArray[np.int64], second: NDArray[np.int64], share: float
) -> NDArray[np.float64]:
    theta_i, variance_i = _look_up(state, m, first)
    theta_j, variance_j = _look_up(state, m, second)
    return predict_differences(
        LIKELIHOODS[m],
        theta_i - theta_j,
        np.sqrt(variance_i + variance_j),
        float(state.eta[m]),
        tie_share=share,
        nodes=_NODES,
    )


def _look_up(state: AverageState, m: int, models: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return skill and variance of models; one that was never compared is at its prior."""
    place = np.minimum(np.searchsorted(state.models, models), len(state.models) - 1)
    known = state.models[place] == models
    theta = np.where(known, state.theta[m, place], 0.0)
    return theta, np.where(known, state.variance[m, place], state.tau[m] ** 2)


def _learn_block(
    state: AverageState, counts: PairCounts, votes: int, pairs: WeightedPairs, models: NDArray[np.int64]
) -> AverageState:
    n, m_all = len(models), len(LIKELIHOODS)
    compact = replace(pairs, first=np.searchsorted(models, pairs.first), second=np.searchsorted(models, pairs.second))
    tau, eta = state.tau.copy(), state.eta.copy()
    theta, variance = np.zeros((m_all, n)), np.zeros((m_all, n))
    everyone = np.ones(n, np.bool_)
    for m, likelihood in enumerate(LIKELIHOODS):
        theta[m], variance[m] = _look_up(state, m, models) if len(state.models) else (0.0, tau[m] ** 2)
        fitting = Fitting(likelihood, _LEARNING_TOLERANCE, pseudo_ties=_PSEUDO_TIES)
        known = len(state.models) > 0
        start = Start(theta[m].copy(), float(eta[m])) if known else start_fit(compact, n, fitting)
        try:
            mode = find_mode(compact, n, float(tau[m]), start, fitting)
        except FitError:
            continue  # it goes on with what it knew, and its losses tell
        theta[m], covariance = centre_moments(mode.theta, mode.take_covariance(), everyone)
        variance[m] = np.maximum(np.diagonal(covariance), 0.0)
        eta[m] = mode.eta
        determined = n - 1 - float(np.add.reduce(variance[m])) / tau[m] ** 2  # the common shift is not
        spread = float(np.add.reduce(theta[m] ** 2)) / max(determined, 1e-3)
        tau[m] = min(max(math.sqrt(spread), _TAU_RANGE[0]), _TAU_RANGE[1])
    return replace(state, votes=votes, tau=tau, eta=eta, models=models, theta=theta, variance=variance, counts=counts)


def _log_sum_exp(values: NDArray[np.float64]) -> float:
    top = float(values.max())
    return top + math.log(math.fsum(np.exp(values - top).tolist()))
