"""The newest votes of an arena, from the archive: which policies proposed them, and on which prompts a model loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.contracts.ballot import MODE_NAMES
from pipeline.contracts.matchup import CUSTOM_PROMPT

_UNRANKED: Final = int(np.iinfo(np.int32).max) + 1
"""In place of the rank of an unranked model: below all ranks, and level with other unranked models."""


@dataclass(frozen=True, slots=True)
class PromptRecord:
    """How a model did on a prompt: votes, and pairs won, tied and lost. `prompt` is None for typed ones together."""

    prompt: str | None
    votes: int
    wins: int
    ties: int
    losses: int

    @property
    def share(self) -> float:
        """The share of pairs won, ties as half."""
        return (self.wins + self.ties / 2) / (self.wins + self.ties + self.losses)


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """The votes on matchups of one policy: all, those with a propensity, and how many uniform ones these are worth."""

    policy: str | None
    votes: int
    with_propensity: int
    effective: float


PROMPT_SCHEMA: Final = pa.schema(
    [
        ("prompt", pa.string()),
        ("text", pa.string()),
        ("votes", pa.int64()),
        ("wins", pa.int64()),
        ("ties", pa.int64()),
        ("losses", pa.int64()),
        ("share", pa.float64()),
    ]
)
"""One row a prompt; typed ones are one row together, without prompt and text. `share` of pairs won, ties as half."""

POLICY_SCHEMA: Final = pa.schema(
    [
        ("policy", pa.string()),
        ("votes", pa.int64()),
        ("with_propensity", pa.int64()),
        ("effective", pa.float64()),
    ]
)
"""One row a policy (`PolicyRecord`)."""


@dataclass(frozen=True, slots=True, eq=False)
class RecentAnswers:
    """The newest n votes of an arena, oldest first; m slots of those that rank.

    Attributes
    ----------
    modes : dict of str to int
        How many votes there are of each mode.
    sizes : int64 (n,)
        Models shown.
    prompts, policies : list of str or None, (n,)
    propensities : list of float or None, (n,)
    vote : int64 (m,)
        The vote of a slot, ascending.
    models : str (m,)
        Its model.
    ranks : int64 (m,)
        Its rank; smaller is better.
    """

    modes: dict[str, int]
    sizes: NDArray[np.int64]
    prompts: list[str | None]
    policies: list[str | None]
    propensities: list[float | None]
    vote: NDArray[np.int64]
    models: NDArray[np.object_]
    ranks: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes)


def choose_answers(rows: pa.Table, arena: str) -> RecentAnswers:
    """Take the votes of an arena from archived rows (`ARCHIVE_SCHEMA`)."""
    rows = rows.filter(pc.fill_null(pc.equal(rows["arena"].cast(pa.string()), arena), False))
    counted = {each["values"]: each["counts"] for each in rows["mode"].value_counts().to_pylist()}
    # Chunks have dictionaries of their own.
    names = pa.list_(pa.string())
    sets = pa.chunked_array([chunk.cast(names) for chunk in rows["models"].chunks], names)
    ranked = np.flatnonzero(pc.is_valid(rows["ranks"]).to_numpy())
    sets_ranked, ranks = sets.take(ranked).combine_chunks(), rows["ranks"].take(ranked).combine_chunks()
    return RecentAnswers(
        modes={name: counted.get(code, 0) for code, name in enumerate(MODE_NAMES)},
        sizes=pc.fill_null(pc.list_value_length(sets), 0).to_numpy().astype(np.int64),
        prompts=rows["prompt"].cast(pa.string()).to_pylist(),
        policies=rows["policy"].cast(pa.string()).to_pylist(),
        propensities=rows["propensity"].to_pylist(),
        vote=ranked[pc.list_parent_indices(sets_ranked).to_numpy()],
        models=pc.list_flatten(sets_ranked).to_numpy(zero_copy_only=False),
        ranks=pc.fill_null(pc.list_flatten(ranks).cast(pa.int64()), _UNRANKED).to_numpy(),
    )


def record_prompts(answers: RecentAnswers, model: str) -> list[PromptRecord]:
    """Return how a model did on each prompt; prompts without an ordered or tied pair of it are left out."""
    own = answers.models == model
    of_vote = np.full(len(answers), -1, np.int64)
    of_vote[answers.vote[own]] = answers.ranks[own]
    rank_of_model = of_vote[answers.vote]
    both_unranked = (rank_of_model == _UNRANKED) & (answers.ranks == _UNRANKED)
    pairs = np.flatnonzero((rank_of_model >= 0) & ~own & ~both_unranked)
    found: dict[str, list[int]] = {}
    votes: dict[str, set[int]] = {}
    for vote, outcome in zip(
        answers.vote[pairs].tolist(), np.sign(answers.ranks[pairs] - rank_of_model[pairs]).tolist(), strict=True
    ):
        if (prompt := answers.prompts[vote]) is not None:
            prompt = CUSTOM_PROMPT if prompt.startswith(CUSTOM_PROMPT) else prompt
            found.setdefault(prompt, [0, 0, 0])[1 - outcome] += 1
            votes.setdefault(prompt, set()).add(vote)
    return [
        PromptRecord(None if prompt == CUSTOM_PROMPT else prompt, len(votes[prompt]), *counts)
        for prompt, counts in sorted(found.items())
    ]


def tabulate_prompts(records: Sequence[PromptRecord], texts: Mapping[str, str]) -> pa.Table:
    """Return records as `PROMPT_SCHEMA`; `texts` by prompt id."""
    rows = [
        {**asdict(record), "text": None if record.prompt is None else texts.get(record.prompt), "share": record.share}
        for record in records
    ]
    return pa.Table.from_pylist(rows, schema=PROMPT_SCHEMA)


def tabulate_policies(records: Sequence[PolicyRecord]) -> pa.Table:
    """Return records as `POLICY_SCHEMA`."""
    return pa.Table.from_pylist([asdict(record) for record in records], schema=POLICY_SCHEMA)


def record_policies(answers: RecentAnswers, models: int) -> list[PolicyRecord]:
    """Return the votes by policy, those of most votes first; `models`: how many are drawn from now.

    What votes on k of n models are worth that had propensity p is (sum w)^2 / sum w^2, w = 1 / (p C(n, k)).
    """
    ratios = compare_with_chance(answers.sizes.tolist(), answers.propensities, models)
    by_policy: dict[str | None, list[float | None]] = {}
    for policy, ratio in zip(answers.policies, ratios, strict=True):
        by_policy.setdefault(policy, []).append(ratio)
    records = []
    for policy, of_policy in by_policy.items():
        weights = [1 / ratio for ratio in of_policy if ratio is not None]
        effective = sum(weights) ** 2 / sum(weight * weight for weight in weights) if weights else 0.0
        records.append(PolicyRecord(policy, len(of_policy), len(weights), effective))
    return sorted(records, key=lambda record: -record.votes)


def compare_with_chance(sizes: Sequence[int], propensities: Sequence[float | None], models: int) -> list[float | None]:
    """Return how many times as likely as by chance sets of so many of `models` models were; None where unknown."""
    chances = {size: comb(models, size) for size in set(sizes)}
    return [
        propensity * chances[size] if propensity and chances[size] else None
        for size, propensity in zip(sizes, propensities, strict=True)
    ]
