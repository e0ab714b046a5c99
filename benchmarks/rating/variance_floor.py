"""Why `ksort_filter` has its floor: ``python -m benchmarks.rating.variance_floor`` writes variance_floor.json.

50 models, random matchups of K, noise-free votes and votes of which 5 % are random; the mean squared rank error of the
paper's score after some votes, with the floor b^2/(b^2 + s^2) and with constant ones. Mean of several seeds.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.machine import describe_machine, describe_versions
from pipeline.contracts.ballot import Mode, make_ballots
from pipeline.rating.ksort_filter import KsortState, rate_ballots_naive

RESULTS = Path(__file__).parent / "variance_floor.json"
N_MODELS = 50
CHECKS = (300, 1000, 3000)
SEEDS = range(4)
FLOORS: dict[str, float | None] = {"b2/(b2+s2)": None, "1e-2": 1e-2, "1e-4": 1e-4}


def measure_errors(k: int, noise: float, floor: float | None, seed: int) -> list[float]:
    """Return the mean squared rank error after each of `CHECKS` votes."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(N_MODELS)
    state, done, errors = KsortState.initial(N_MODELS), 0, []
    for check in CHECKS:
        rows: list[tuple[list[int], list[int | None] | None, Mode]] = []
        for _ in range(check - done):
            models = rng.permutation(N_MODELS)[:k]
            ranks = rng.permutation(k) if rng.random() < noise else truth[models]
            rows.append((models.tolist(), ranks.tolist(), Mode.RANK))
        done = check
        state = rate_ballots_naive(state, make_ballots(rows), constant_floor=floor)
        place = np.argsort(np.argsort(-state.score, kind="stable"), kind="stable")
        errors.append(float(((place - truth) ** 2).mean()))
    return errors


def main() -> None:
    """Measure all settings and write the raw result."""
    rows = []
    for k in (2, 4, 6, 8):
        for noise in (0.0, 0.05):
            for name, floor in FLOORS.items():
                runs = [measure_errors(k, noise, floor, seed) for seed in SEEDS]
                means = [round(sum(errors) / len(runs), 3) for errors in zip(*runs, strict=True)]
                error = {str(check): mean for check, mean in zip(CHECKS, means, strict=True)}
                rows.append({"k": k, "random_votes": noise, "floor": name, "mean_squared_rank_error": error})
                print(rows[-1], flush=True)
    result = {
        "benchmark": "rating.variance_floor",
        "models": N_MODELS,
        "seeds": len(SEEDS),
        "rows": rows,
        "versions": describe_versions("numpy", "scipy"),
        "machine": describe_machine(),
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
