"""What is proposed and why: the open matchups of an arena, judged by what the board does not know yet."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from dashboard.pairs.table import PairTable
from dashboard.recent_answers import compare_with_chance
from pipeline.contracts.matchup import CUSTOM_PROMPT, Matchup

NEW: Final = 10
"""Comparisons below which a model is new: it does not count for the board's reference set yet."""

PROPOSAL_SCHEMA: Final = pa.schema(
    [
        ("models", pa.list_(pa.string())),
        ("policy", pa.string()),
        ("propensity", pa.float64()),
        ("times_chance", pa.float64()),
        ("doubt_bits", pa.float64()),
        ("reason", pa.string()),
        ("priority", pa.int64()),
    ]
)
"""One row an open matchup.

Somebody may have it before them: nothing here tells them which of its models is in which slot, and no id which row is
theirs.
"""


@dataclass(frozen=True, slots=True)
class Proposal:
    """An open matchup, and what speaks for it.

    `times_chance`: its propensity as a multiple of what a uniform draw would give its set. `doubt`: bits, the sum over
    its pairs of how much is not known of which model is the stronger one. Both None where unknown.
    """

    matchup: Matchup
    times_chance: float | None
    doubt: float | None
    reason: str


def judge_proposals(
    matchups: Sequence[Matchup], table: PairTable, models: int, comparisons: Mapping[str, int], names: Mapping[str, str]
) -> list[Proposal]:
    """Judge open matchups, newest first; `models`: how many are drawn from."""
    places = {model: place for place, model in enumerate(table.model_ids)}
    ratios = compare_with_chance(
        [len(matchup.models) for matchup in matchups],
        [matchup.propensity for matchup in matchups],
        models,
    )
    found = []
    for matchup, ratio in zip(matchups, ratios, strict=True):
        pairs = [
            (measure_doubt(float(table.stronger[places[a], places[b]])), a, b)
            for a, b in itertools.combinations(matchup.models, 2)
            if table.stronger is not None and a in places and b in places
        ]
        doubt = sum(bits for bits, _, _ in pairs) if pairs else None
        found.append(Proposal(matchup, ratio, doubt, _explain(matchup, ratio, pairs, comparisons, names)))
    return sorted(found, key=lambda each: (-each.matchup.priority, -each.matchup.created, each.matchup.matchup_id))


def measure_doubt(stronger: float) -> float:
    """Return the entropy in bits of which of two models is stronger, given the probability that one is."""
    if not 0.0 < stronger < 1.0:
        return 0.0
    return float(-(stronger * np.log2(stronger) + (1 - stronger) * np.log2(1 - stronger)))


def _explain(
    matchup: Matchup,
    ratio: float | None,
    pairs: Sequence[tuple[float, str, str]],
    comparisons: Mapping[str, int],
    names: Mapping[str, str],
) -> str:
    if matchup.prompt is not None and matchup.prompt.id.startswith(CUSTOM_PROMPT):
        return "a voter's own prompt"
    new = [model for model in matchup.models if comparisons.get(model, 0) < NEW]
    if new:
        fewest = min(new, key=lambda model: comparisons.get(model, 0))
        return f"places {names.get(fewest, fewest)}, which is new"
    if matchup.policy == "random":
        return "drawn at random"
    if not pairs:
        return f"chosen by {matchup.policy}"
    if ratio is not None and ratio < 1:
        return "so that no set is impossible"
    doubted = sorted(names.get(model, model) for model in max(pairs)[1:])  # not in the order of the slots
    return f"{' or '.join(doubted)}: least is known of their order"


def tabulate_proposals(proposals: Sequence[Proposal]) -> pa.Table:
    """Return proposals as `PROPOSAL_SCHEMA`."""
    rows = [
        {
            **{name: getattr(each.matchup, name) for name in ("policy", "propensity", "priority")},
            "models": sorted(each.matchup.models),
            "times_chance": each.times_chance,
            "doubt_bits": each.doubt,
            "reason": each.reason,
        }
        for each in proposals
    ]
    return pa.Table.from_pylist(rows, schema=PROPOSAL_SCHEMA)
