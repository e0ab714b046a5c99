"""Measures methods on real votes: ``KWISE_DATA=FOLDER python -m benchmarks.real [--quick] [--save]``.

Every file below `KWISE_DATA` that an importer knows is read (`*battle*.json` as genai-arena, `*.soc` as preflib), and
of it every arena with at least `MIN_VOTES` votes that compare something.

- *log loss one block ahead*: votes in the order of their times (rankings of one time in a fixed random order), in
  blocks of 50. Each method learns a block after it has predicted its pairs; the first is learned only. Nats a pair.
- *calibration*: of all predictions of the method, in ten classes of P(i wins), the mean absolute difference between
  what was said and what happened, weighted by the size of the class.
- *order*: for PrefLib's dots, whose true order is known (alternative 1 to 4), the ranks by `posterior` on all votes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from benchmarks.real.predictors import PREDICTORS, Pairs
from pipeline.contracts.ballot import UNRANKED, Ballots, Mode, make_ballots
from pipeline.contracts.vote import Vote
from pipeline.rating.count_accumulator import CountAccumulator
from pipeline.rating.methodology import METHODOLOGY
from pipeline.rating.posterior import fit_posterior
from producers.importers.formats import FORMATS
from producers.importers.source import ImportOptions, ImportSummary

BLOCK = 50
MIN_VOTES = 200
SEED = 1
PATTERNS = {"*battle*.json": "genai-arena", "*.soc": "preflib"}
TARGETS = {"best": "posterior or average"}


@dataclass(frozen=True, slots=True)
class RealArena:
    """Votes of one arena in order: ballots of model indices, the same as rows, and the ids of the models."""

    name: str
    models: tuple[str, ...]
    ballots: Ballots
    rows: list[tuple[list[int], list[int]]]
    is_preflib: bool


def read_arenas(folder: Path) -> Iterator[RealArena]:
    """Read all files of known formats below `folder`."""
    for pattern, name in PATTERNS.items():
        for path in sorted(folder.rglob(pattern)):
            votes: dict[str, list[Vote]] = {}
            for vote in FORMATS[name].read_votes(path, ImportOptions(), ImportSummary()):
                if isinstance(vote, Vote) and vote.mode == "rank" and vote.ranks is not None:
                    votes.setdefault(vote.arena, []).append(vote)
            for arena, found in sorted(votes.items()):
                if len(found) >= MIN_VOTES:
                    yield make_arena(arena, found, is_preflib=name == "preflib")


def make_arena(name: str, votes: list[Vote], *, is_preflib: bool) -> RealArena:
    """Put votes in order."""
    shuffled = [votes[place] for place in np.random.default_rng(SEED).permutation(len(votes)).tolist()]
    ordered = sorted(shuffled, key=lambda vote: vote.time)
    models = tuple(sorted({model for vote in ordered for model in vote.models}))
    index = {model: place for place, model in enumerate(models)}
    ballots = make_ballots([([index[m] for m in vote.models], list(vote.ranks or ()), Mode.RANK) for vote in ordered])
    rows = [
        (ballots.models[low:high].tolist(), ballots.groups[low:high].tolist())
        for low, high in zip(ballots.offsets[:-1].tolist(), ballots.offsets[1:].tolist(), strict=True)
    ]
    return RealArena(name, models, ballots, rows, is_preflib)


def list_pairs(rows: list[tuple[list[int], list[int]]]) -> tuple[Pairs, NDArray[np.int64]]:
    """Return the pairs (p, 2) of ballots and their outcomes (p,): 0 the first won, 1 the second, 2 tied."""
    pairs, outcomes = [], []
    for models, groups in rows:
        for a in range(len(models)):
            for b in range(a + 1, len(models)):
                if not groups[a] == groups[b] == UNRANKED:
                    pairs.append((models[a], models[b]))
                    outcomes.append(2 if groups[a] == groups[b] else 0 if groups[a] < groups[b] else 1)
    return np.array(pairs, np.int64).reshape(-1, 2), np.array(outcomes, np.int64)


def measure_predictor(arena: RealArena, name: str) -> dict[str, float]:
    """Return log loss one block ahead and calibration of one method."""
    predictor = PREDICTORS[name](len(arena.models))
    said, happened = [], []
    for begin in range(0, len(arena.rows), BLOCK):
        rows = arena.rows[begin : begin + BLOCK]
        if begin:
            pairs, outcomes = list_pairs(rows)
            said.append(predictor.predict(pairs))
            happened.append(outcomes)
        index = np.arange(len(arena.rows))
        predictor.learn(arena.ballots.take((index >= begin) & (index < begin + BLOCK)), rows)
    p, outcome = np.concatenate(said), np.concatenate(happened)
    loss = -np.log(np.maximum(p[np.arange(len(p)), outcome], 1e-300)).mean()
    classes = np.minimum((10 * p[:, 0]).astype(int), 9)
    gaps = [
        abs(float((p[classes == c, 0] - (outcome[classes == c] == 0)).mean())) * float((classes == c).mean())
        for c in np.unique(classes).tolist()
    ]
    return {"log_loss": round(float(loss), 5), "calibration_error": round(sum(gaps), 4)}


def measure_order(arena: RealArena) -> dict[str, object]:
    """Return the ranks, intervals and groups by `posterior` on all votes, in the order of the models' ids."""
    accumulator = CountAccumulator(len(arena.models))
    accumulator.add_ballots(arena.ballots)
    fit = fit_posterior(accumulator.freeze(), arena.models)
    spans = [f"{low}-{high}" for low, high in zip(fit.rank_low.tolist(), fit.rank_high.tolist(), strict=True)]
    return {"models": arena.models, "rank": fit.rank.tolist(), "ranks": spans, "group": fit.group.tolist()}


def main() -> None:
    """Measure all arenas and print one JSON object as the last line."""
    options = parse_options(__doc__, quick="the first arena only")
    folder = os.environ.get("KWISE_DATA")
    if folder is None or not Path(folder).is_dir():
        sys.exit("set KWISE_DATA to the folder that holds real votes (docs/real-votes.md)")
    figures: dict[str, Any] = {}
    orders: dict[str, Any] = {}
    for arena in read_arenas(Path(folder)):
        found = {name: measure_predictor(arena, name) for name in PREDICTORS}
        best = min(found, key=lambda name: found[name]["log_loss"])
        figures[f"{arena.name}_votes"] = len(arena.rows)
        for name, each in found.items():
            figures |= {f"{arena.name}_{name}_{figure}": value for figure, value in each.items()}
        figures[f"{arena.name}_best"] = best
        orders[arena.name] = measure_order(arena)
        if arena.is_preflib:
            figures[f"{arena.name}_true_order_found"] = orders[arena.name]["rank"] == list(
                range(1, len(arena.models) + 1)
            )
        if options.quick:
            break
    result = {
        "benchmark": "real",
        "figures": figures,
        "targets": {name: TARGETS["best"] for name in figures if name.endswith("_best")},
        "orders": orders,
        "versions": describe_versions("choix", "numba", "numpy", "openskill", "scipy", "trueskill"),
        "methodology": METHODOLOGY,
        "machine": describe_machine(),
    }
    hand_out(result, save=options.save)


if __name__ == "__main__":
    main()
