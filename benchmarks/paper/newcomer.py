"""A new model enters a settled board: how many matchups until its rank is right, within one place.

49 models are rated first, by the same method and policy, until the end of `settle` votes. Then the 50th enters with the
prior, and every matchup shows it, as the paper's policy has it (a model with fewest comparisons is the pivot): its
opponents are the policy's, or random ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper.matchmakers import PolicyMatchmaker
from benchmarks.paper.raters import make_rater
from benchmarks.paper.trace import RANK_BY, Setting
from benchmarks.paper.world import World
from pipeline.matchmaking.random_policy import sample_sets


def trace_newcomer(setting: Setting, seed: int, settle: int) -> NDArray[np.int64]:
    """Return how many places the new model is off after each matchup that shows it, int64 (2, horizon).

    Rows are those of `RANK_BY`; `setting.horizon` counts the matchups with the new model.
    """
    rng = np.random.default_rng((seed, 49, setting.k, round(1000 * setting.random_share)))
    world = World.draw(setting.n_models, setting.random_share, rng)
    rater = make_rater(setting.method, setting.n_models)
    new = setting.n_models - 1
    matchmaker = PolicyMatchmaker(setting.policy, setting.n_models, setting.k)
    matchmaker.active[new] = False
    for _ in range(settle):
        rater.rate(world.answer(matchmaker.propose(rater, rng)[None, :], rng)[0])
    matchmaker.active[new] = True
    off = np.empty((len(RANK_BY), setting.horizon), np.int64)
    for matchup in range(setting.horizon):
        if setting.policy == "random":
            models = np.append(sample_sets(new, setting.k - 1, 1, rng)[0], new)
        else:
            models = matchmaker.propose(rater, rng)
        rater.rate(world.answer(models[None, :], rng)[0])
        for row, values in enumerate((rater.mean, rater.score)):
            off[row, matchup] = abs(int((values > values[new]).sum()) - int(world.truth[new]))
    return off
