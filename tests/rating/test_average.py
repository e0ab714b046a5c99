"""Bayesian model averaging: its guarantee, its evidence against a naive one, its stored form, what it learns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.contracts.ballot import UNRANKED, Ballots, Mode, make_ballots
from pipeline.rating import average as average_module
from pipeline.rating.average import (
    LIKELIHOODS,
    AverageState,
    end_block,
    fit_average,
    is_block_end,
    next_block_end,
    predict_pairs,
)
from pipeline.rating.errors import StateError
from pipeline.rating.likelihoods import Shape, predict_differences, tie_share
from pipeline.rating.pair_counts import PairCounts
from pipeline.rating.posterior import DEFAULT_SETTINGS, fit_posterior
from tests.rating.arenas import ballot_batches, count_ballots, cut_ballots, model_names, simulate_ballots

NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(3)


def learn(blocks: Sequence[Ballots], n: int) -> list[AverageState]:
    """Return the states after each block."""
    states, counts, votes = [AverageState.initial()], PairCounts.empty(), 0
    for block in blocks:
        counts, votes = counts.merge(count_ballots(block, n)), votes + len(block)
        states.append(end_block(states[-1], counts, votes))
    return states


def predict_naive(shape: Shape, lapse: float, x: float, parameter: float, share: float) -> NDArray[np.float64]:
    if shape is Shape.DAVIDSON:
        p = np.array([math.exp(x / 2), math.exp(-x / 2), parameter])
        p /= p.sum()
    else:
        if shape is Shape.NORMAL:
            won, lost = (0.5 * math.erfc(-y / 1.702 / math.sqrt(2)) for y in (x - parameter, -x - parameter))
        else:
            won, lost = (1 / (1 + math.exp(-y)) for y in (x - parameter, -x - parameter))
        p = np.array([won, lost, 1 - won - lost])
    return (1 - lapse) * p + lapse * np.array([(1 - share) / 2, (1 - share) / 2, share])


def lose_naive(state: AverageState, m: int, block: Ballots) -> float:
    """Add up the losses of one likelihood ballot by ballot and pair by pair."""
    likelihood, total = LIKELIHOODS[m], 0.0
    before = state.counts.pairs(DEFAULT_SETTINGS.weigh_ballot)
    tied, ordered = before.ties.sum() + 0.5, (before.wins + before.losses).sum() + 1.0
    share = tied / (tied + ordered)
    place = {int(model): p for p, model in enumerate(state.models)}
    for b in range(len(block)):
        span = slice(int(block.offsets[b]), int(block.offsets[b + 1]))
        models, groups = block.models[span].tolist(), block.groups[span].tolist()
        pairs = [
            (i, j, a, c)
            for p, (i, a) in enumerate(zip(models, groups, strict=True))
            for j, c in list(zip(models, groups, strict=True))[p + 1 :]
            if block.modes[b] in (0, 1) and not (a == c == UNRANKED)
        ]
        k = len({model for i, j, _, _ in pairs for model in (i, j)})
        weight = DEFAULT_SETTINGS.weigh_ballot(k, bool(block.modes[b] == 1)) if pairs else 0.0
        for i, j, a, c in pairs:
            theta = [state.theta[m, place[q]] if q in place else 0.0 for q in (i, j)]
            variance = [state.variance[m, place[q]] if q in place else state.tau[m] ** 2 for q in (i, j)]
            p = np.zeros(3)
            for node, node_weight in zip(NODES, NODE_WEIGHTS / NODE_WEIGHTS.sum(), strict=True):
                x = theta[0] - theta[1] + math.sqrt(sum(variance)) * node
                p += node_weight * predict_naive(likelihood.shape, likelihood.lapse, x, math.exp(state.eta[m]), share)
            total -= weight * math.log(p[2 if a == c else 0 if a < c else 1])
    return total


@settings(max_examples=60, deadline=None)
@given(
    st.lists(ballot_batches(n_models=6, max_size=12), max_size=8),
)
def test_average_loses_at_most_log_m_more_than_the_best(blocks: list[Ballots]) -> None:
    final = learn(blocks, 6)[-1]
    assert final.loss <= final.losses.min() + math.log(len(LIKELIHOODS)) + 1e-9
    # and it cannot be better than all of them on average
    assert final.loss >= final.losses.min() - 1e-9
    assert math.fsum(final.weights) == pytest.approx(1)
    assert np.isfinite(final.losses).all()


@settings(max_examples=15, deadline=None)
@given(ballot_batches(n_models=6, max_size=30), ballot_batches(n_models=8, max_size=20))
def test_losses_agree_with_naive_ones(first: Ballots, second: Ballots) -> None:
    states = learn([first, second], 8)
    if states[2].blocks == 0:
        assert not states[2].losses.any()
        return
    naive = [lose_naive(states[1], m, second) for m in range(len(LIKELIHOODS))]
    np.testing.assert_allclose(states[2].losses, naive, rtol=1e-6, atol=1e-9)
    mixed = -math.log(math.fsum(math.exp(-loss) / len(naive) for loss in naive))
    assert states[2].loss == pytest.approx(mixed, rel=1e-6, abs=1e-9)


def test_the_first_block_is_learned_and_not_scored() -> None:
    rng = np.random.default_rng(1)
    first = learn([simulate_ballots(rng.normal(size=5), 80, 3, rng)], 5)[1]
    assert first.blocks == 0
    assert first.loss == 0.0
    assert first.weights == pytest.approx([1 / 6] * 6)
    assert np.abs(first.theta).max() > 0.5


def draw_votes(rng: np.random.Generator, *, lapse: float = 0.0, threshold: float | None = None) -> Ballots:
    """Draw pairs of 10 models; with `threshold` normal ones that tie below it."""
    skills = np.linspace(-4, 4, 10)
    rows = []
    for _ in range(12_000):
        i, j = rng.permutation(10)[:2].tolist()
        noise = rng.logistic() if threshold is None else rng.normal() * 1.702
        x = skills[i] - skills[j] + noise
        ranks = [1, 2] if x > 0 else [2, 1]
        if threshold is not None and abs(x) < threshold:
            ranks = [1, 1]
        if rng.random() < lapse:
            ranks = [1, 2] if rng.random() < 0.5 else [2, 1]
        rows.append(([i, j], ranks))
    return make_ballots([(models, list(ranks), Mode.RANK) for models, ranks in rows])


@pytest.mark.parametrize(
    ("world", "found"),
    [
        ({"lapse": 0.05}, {"davidson-lapse", "logistic-lapse", "normal-lapse"}),
        ({}, {"davidson", "logistic"}),
        ({"threshold": 1.0}, {"normal"}),
    ],
)
def test_the_likelihood_that_made_the_votes_gets_the_weight(world: dict[str, float], found: set[str]) -> None:
    rng = np.random.default_rng(2)
    blocks = cut_ballots(draw_votes(rng, **world), [500, 1000, 2000, 4000, 8000])
    weights = dict(zip((each.name for each in LIKELIHOODS), learn(blocks, 10)[-1].weights, strict=True))
    assert sum(weights[name] for name in found) > 0.9, weights


def test_predictions_are_the_weighted_mean_of_the_likelihoods() -> None:
    rng = np.random.default_rng(8)
    blocks = cut_ballots(simulate_ballots(np.linspace(-2, 2, 5), 900, 2, rng, tie_width=1.0), [200, 400])
    state = learn(blocks, 5)[-1]
    first, second = np.triu_indices(5, 1)
    ours = predict_pairs(state, first, second)
    np.testing.assert_allclose(ours.sum(axis=1), 1)
    np.testing.assert_allclose(predict_pairs(state, second, first), ours[:, [1, 0, 2]], atol=1e-12)
    alone = replace(state, losses=np.where(np.arange(6) == 2, 0.0, 1e4))
    share = tie_share(state.counts.pairs(DEFAULT_SETTINGS.weigh_ballot), pseudo_ties=0.5)
    sd = np.sqrt(state.variance[2][first] + state.variance[2][second])
    mean, e = state.theta[2][first] - state.theta[2][second], float(state.eta[2])
    expected = predict_differences(LIKELIHOODS[2], mean, sd, e, tie_share=share, nodes=3)
    np.testing.assert_allclose(predict_pairs(alone, first, second), expected, rtol=1e-9)
    assert predict_pairs(AverageState.initial(), first, second).tolist() == [[1 / 3] * 3] * 10


def test_states_are_stored_to_the_bit() -> None:
    rng = np.random.default_rng(3)
    ballots = simulate_ballots(rng.normal(size=7), 300, 4, rng, tie_width=0.5)
    for state in learn(cut_ballots(ballots, [100, 200]), 7):
        again = AverageState.from_bytes(state.to_bytes())
        assert again == state
        assert again.counts == state.counts
        assert again.to_bytes() == state.to_bytes()
        assert again.weights == state.weights


def test_bytes_of_something_else_are_refused() -> None:
    data = AverageState.initial().to_bytes()
    with pytest.raises(StateError, match="shorter"):
        AverageState.from_bytes(data[:8])
    with pytest.raises(StateError, match="expected b'avg1'"):
        AverageState.from_bytes(b"ksrt" + data[4:])


def test_models_that_nobody_compared_change_nothing() -> None:
    rng = np.random.default_rng(4)
    blocks = cut_ballots(simulate_ballots(rng.normal(size=6), 200, 3, rng), [90])
    assert learn(blocks, 6)[-1] == learn(blocks, 60)[-1]


def test_an_arena_that_grew_too_large_has_no_average(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(average_module, "MAX_MODELS", 5)
    rng = np.random.default_rng(5)
    states = learn([simulate_ballots(rng.normal(size=n), 100, 2, rng) for n in (5, 6)], 6)
    assert len(states[1].models) == 5
    assert states[2] == AverageState.initial()


@given(st.integers(0, 10**7))
def test_block_ends_are_fixed_sequence_numbers(sequence: int) -> None:
    end = next_block_end(sequence)
    assert sequence < end <= sequence + 16_384
    assert all(next_block_end(before) == end for before in {sequence, (sequence + end) // 2, end - 1})
    assert end - sequence <= max(256, sequence // 4 + 1)


def test_blocks_double() -> None:
    state = replace(AverageState.initial(), votes=100)
    assert [is_block_end(state, votes) for votes in (100, 199, 200, 400)] == [False, False, True, True]
    assert [is_block_end(AverageState.initial(), votes) for votes in (0, 1)] == [False, True]


def test_board_of_one_likelihood_is_its_posterior() -> None:
    rng = np.random.default_rng(6)
    counts = count_ballots(simulate_ballots(rng.normal(size=9), 300, 4, rng, tie_width=0.6), 9)
    ours = fit_average(counts, model_names(9), [1.0, 0, 0, 0, 0, 0])
    alone = fit_posterior(counts, model_names(9))
    np.testing.assert_allclose(ours.mean, alone.mean, atol=1e-6)
    np.testing.assert_allclose(ours.covariance, alone.covariance, rtol=1e-5, atol=1e-9)
    assert ours.rank.tolist() == alone.rank.tolist()


def test_board_is_the_mixture_with_its_spread() -> None:
    rng = np.random.default_rng(7)
    counts = count_ballots(simulate_ballots(rng.normal(size=6), 200, 4, rng), 6)
    parts = [fit_average(counts, model_names(6), row) for row in np.eye(6)[[0, 5]].tolist()]
    whole = fit_average(counts, model_names(6), [0.3, 0, 0, 0, 0.0005, 0.7])
    mean = 0.3 * parts[0].mean + 0.7 * parts[1].mean
    np.testing.assert_allclose(whole.mean, mean, atol=1e-10)
    second = sum(
        w * (part.covariance + np.outer(part.mean, part.mean)) for w, part in zip((0.3, 0.7), parts, strict=True)
    )
    np.testing.assert_allclose(whole.covariance, second - np.outer(mean, mean), atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(ballot_batches(n_models=7, max_size=60))
def test_every_likelihood_fits_any_votes(ballots: Ballots) -> None:
    counts = count_ballots(ballots, 7)
    for row in np.eye(6).tolist():
        ours = fit_average(counts, model_names(7), row)
        assert np.isfinite(ours.covariance).all()
        assert (ours.sd > 0).all()
