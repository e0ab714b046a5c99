"""What the benchmark runs, and the runs themselves: one task is one setting and one seed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper.newcomer import trace_newcomer
from benchmarks.paper.trace import RANK_BY, Setting, trace_errors

SEEDS: Final = 20
QUICK_SEEDS: Final = 2
PROCESSES: Final = 2
SETTLE_VOTES: Final = 1_000
"""Votes on 49 models before the new one enters."""
NEWCOMER_HORIZON: Final = 100
POINTS: Final = 40
"""Points of a kept curve, from 10 votes to the horizon in equal ratios."""
TAIL: Final = 0.05
"""The order has settled if the error is 0 for the last twentieth of the horizon at least."""

_OPENSKILL: Final = ("openskill-tm", "openskill-pl")


@dataclass(frozen=True, slots=True)
class Experiment:
    """A setting, and the votes before a new model enters (0: no model enters)."""

    setting: Setting
    settle: int = 0


def list_experiments(*, quick: bool) -> list[Experiment]:
    """Return all experiments; quick ones end after a tenth of the votes."""
    experiments = [
        Experiment(setting)
        for share in (0.0, 0.05)
        for setting in (
            Setting("ranking", "order-entropy", 4, share, 150 if share else 100),
            # cheap ones long, pure Python ones as long as they can be afforded
            *(Setting(f"elo-{k_factor}", "random", 2, share, 1_000_000) for k_factor in (4, 16, 32)),
            *(Setting("ksort", "random", k, share, 40_000) for k in (2, 4, 6)),
            *(
                # longer where some votes are random: an order that stood for 500 votes may still break
                Setting("ksort", "ksort", k, share, 6_000 if share else 4_000 if k == 2 else 2_000)
                for k in (2, 4, 6)
            ),
            *(Setting("trueskill", "random", k, share, {2: 4_000, 4: 1_500, 6: 800}[k]) for k in (2, 4, 6)),
            *(Setting(peer, "random", k, share, 8_000 if k == 2 else 3_000) for peer in _OPENSKILL for k in (2, 4, 6)),
        )
    ]
    experiments += [
        Experiment(Setting(method, policy, 4, share, NEWCOMER_HORIZON), SETTLE_VOTES)
        for share in (0.0, 0.05)
        for method, policy in (("ksort", "ksort"), ("ksort", "random"), ("trueskill", "random"))
    ]
    if not quick:
        return experiments
    return [
        replace(
            experiment,
            setting=replace(experiment.setting, horizon=max(experiment.setting.horizon // 10, 50)),
            settle=experiment.settle // 10,
        )
        for experiment in experiments
    ]


def run_experiment(experiment: Experiment, seed: int) -> dict[str, Any]:
    """Run one task; return, by each of `RANK_BY`, first and settled votes and the kept points of the curve."""
    setting = experiment.setting
    if experiment.settle:
        errors = trace_newcomer(setting, seed, experiment.settle).astype(np.float64)
        right = errors <= 1
    else:
        errors = trace_errors(setting, seed)
        right = errors == 0
    checks = np.array(check_votes(setting.horizon, 1 if experiment.settle else 10)) - 1
    return {
        name: {
            "first": _find_first(right[row]),
            "settled": _find_settled(right[row], setting.horizon),
            "errors": [float(f"{error:.3g}") for error in errors[row, checks].tolist()],
        }
        for row, name in enumerate(RANK_BY)
    }


def check_votes(horizon: int, first: int = 10) -> list[int]:
    """Return the votes after which a curve of `horizon` votes is kept, from `first` on (1 for a new model's curve)."""
    return np.unique(np.geomspace(min(first, horizon), horizon, POINTS).round().astype(int)).tolist()  # type: ignore[no-any-return]


def run_experiments(experiments: list[Experiment], seeds: int) -> Iterator[dict[str, Any]]:
    """Run all of them in `PROCESSES` processes at low priority; yield one row an experiment, in order."""
    with ProcessPoolExecutor(PROCESSES, initializer=_be_nice) as pool:
        running = [
            [pool.submit(run_experiment, experiment, seed) for seed in range(seeds)] for experiment in experiments
        ]
        for experiment, futures in zip(experiments, running, strict=True):
            runs = [future.result() for future in futures]
            setting = asdict(experiment.setting)
            yield {
                "experiment": "newcomer" if experiment.settle else "order",
                **setting,
                "settle": experiment.settle,
                **{name: {key: [run[name][key] for run in runs] for key in runs[0][name]} for name in RANK_BY},
            }


def _be_nice() -> None:
    os.nice(10)


def _find_first(right: NDArray[np.bool_]) -> int | None:
    return int(right.argmax()) + 1 if right.any() else None


def _find_settled(right: NDArray[np.bool_], horizon: int) -> int | None:
    wrong = np.flatnonzero(~right)
    settled = int(wrong[-1]) + 2 if len(wrong) else 1
    return settled if settled <= horizon * (1 - TAIL) else None
