"""Measures matchmaking in simulated arenas: ``python -m benchmarks.matchmaking [--quick] [--save] --json``.

50 models, K = 4, ranked by the mean of the published posterior; policy, posterior and numbers are those of the product,
the same for all rows. Each run has worlds and chance of its own; figures are medians over the seeds, with quartiles.

- *settled*: votes until the mean squared rank error stays 0 (until 1,000 votes; 1,000 if it does not), noise-free and
  with 5 % of the ballots replaced by a random permutation, one matchup out at a time and 32;
- *noise*: rank error after 3,000 votes where voters see each performance with noise as wide as the skills;
- *newcomer*: matchups of a new model among 49 rated ones until its rank stays within 1.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from benchmarks.matchmaking.arena import (
    N_MODELS,
    K,
    ThurstoneWorld,
    count_to_order,
    measure_after,
    place_newcomer,
)
from benchmarks.paper.world import World
from pipeline.contracts.arena import ArenaSettings
from pipeline.matchmaking.gibbs_policy import DEFAULT_SETTINGS

TARGETS = {
    "settled_noise_free": 75,
    "settled_5_percent": 200,
    "noise_rank_error": 2.5,
    "newcomer_noise_free": 4,
    "newcomer_5_percent": 5,
    "noise_rank_error_ratio_32": 1.05,
}
HORIZON = 1_000
NOISE_VOTES = 3_000
SETTLE = {0.0: 120, 0.05: 400}
"""Votes on the 49 before the new model comes, by share of random ones."""
PLACE_HORIZON = 20
SHARES = {"noise_free": 0.0, "5_percent": 0.05}
AT_ONCE = 32

Run = Callable[[np.random.Generator], float]


def list_runs(policy: str, *, quick: bool) -> dict[str, Run]:
    """Return what is measured, by the name of its figure."""
    horizon, noise_votes = (300, 600) if quick else (HORIZON, NOISE_VOTES)

    def settle(share: float, at_once: int) -> Run:
        return lambda rng: count_to_order(World.draw(N_MODELS, share, rng), policy, at_once, horizon, rng)

    def disturb(at_once: int) -> Run:
        return lambda rng: measure_after(
            ThurstoneWorld.draw_skills(N_MODELS, 1.0, rng), policy, at_once, noise_votes, rng
        )

    def place(share: float) -> Run:
        return lambda rng: place_newcomer(World.draw(N_MODELS, share, rng), policy, SETTLE[share], PLACE_HORIZON, rng)

    runs = {f"settled_{name}": settle(share, 1) for name, share in SHARES.items()}
    runs |= {f"newcomer_{name}": place(share) for name, share in SHARES.items()}
    runs |= {"noise_rank_error": disturb(1), f"noise_rank_error_{AT_ONCE}": disturb(AT_ONCE)}
    return runs | {f"settled_{name}_{AT_ONCE}": settle(share, AT_ONCE) for name, share in SHARES.items()}


def main() -> None:
    """Run all rows and print one JSON object as the last line."""
    options = parse_options(__doc__, quick="three seeds, shorter horizons")
    seeds = 3 if options.quick else 20
    policy = ArenaSettings().policy
    figures: dict[str, object] = {"models": N_MODELS, "k": K, "seeds": seeds, "policy": policy}
    machine = describe_machine()
    for row, (name, run) in enumerate(list_runs(policy, quick=options.quick).items()):
        values = sorted(float(run(np.random.default_rng([seed, row]))) for seed in range(seeds))
        quartiles = statistics.quantiles(values, n=4, method="inclusive")
        figures[name] = quartiles[1]
        figures[f"{name}_quartiles"] = f"{quartiles[0]:g} to {quartiles[2]:g}"
        figures[f"{name}_runs"] = values
    error, error_at_once = figures["noise_rank_error"], figures[f"noise_rank_error_{AT_ONCE}"]
    figures[f"noise_rank_error_ratio_{AT_ONCE}"] = round(float(str(error_at_once)) / float(str(error)), 2)
    settings = DEFAULT_SETTINGS
    figures |= {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    result = {
        "benchmark": "matchmaking",
        "figures": figures,
        "targets": TARGETS,
        "versions": describe_versions("numba", "numpy", "scipy"),
        "machine": machine,
    }
    hand_out(result, save=options.save)


if __name__ == "__main__":
    main()
