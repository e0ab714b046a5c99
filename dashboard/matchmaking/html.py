"""The HTML of the page of matchmaking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from dashboard.formatting import ABSENT, MINUS, format_age, format_count, format_plural, format_share
from dashboard.links import link_model
from dashboard.markup import Figure, Markup, TableColumn, escape_text, render_figures, render_table
from dashboard.matchmaking.proposals import NEW, Proposal
from dashboard.pairs.table import PairTable
from dashboard.recent_answers import PolicyRecord
from pipeline.contracts.arena import ArenaSettings

SHOWN: Final = 12
"""Open matchups, and models with the fewest votes, drawn at most."""
_BINS: Final = ((0, 0), (1, 4), (5, 19), (20, 99), (100, None))
"""Votes on a pair: bins of the table of coverage, both ends included."""
_RATIO_BINS: Final = ((0.0, 0.1), (0.1, 0.5), (0.5, 2.0), (2.0, 10.0), (10.0, 100.0), (100.0, None))
"""Multiples of chance, upper ends excluded."""


def render_summary(
    proposals: Sequence[Proposal], table: PairTable, settings: ArenaSettings, bits: float | None, skipped: float | None
) -> str:
    """Render the figures."""
    n = len(table.model_ids)
    possible = n * (n - 1) // 2
    votes = table.votes()[np.triu_indices(n, 1)]
    voted = int((votes > 0).sum())
    figures = [
        Figure(
            "Open matchups",
            format_count(len(proposals)),
            f"to vote on; {format_count(settings.open_min)} to {format_count(settings.open_max)} votes are awaited",
        ),
        Figure("Policy", settings.policy, _POLICIES.get(settings.policy, "chosen by the arena")),
        Figure(
            "Pairs voted on",
            format_share(voted / possible) if possible else ABSENT,
            f"{format_count(voted)} of {format_plural(possible, 'pair')}",
        ),
        Figure(
            "A vote tells",
            ABSENT if bits is None else _format_bits(bits),
            "lately, of the ratings" if skipped is None else f"lately; {format_share(skipped)} of votes order nothing",
            unit="" if bits is None else "bits",
        ),
    ]
    return render_figures(figures)


def _format_bits(bits: float) -> str:
    return f"{bits:.{2 if abs(bits) >= 0.095 else 4}f}".replace("-", MINUS)


_POLICIES: Final = {
    "gibbs": "by expected information, no set excluded",
    "ksort": "the paper's: pivot and upper bound",
    "random": "every set is as likely",
}


def render_proposals(proposals: Sequence[Proposal], names: Mapping[str, str], arena: str, now: int) -> str:
    """Render the newest open matchups."""
    columns = (
        TableColumn("Models"),
        TableColumn("Why", wide_only=True),
        TableColumn("In doubt", is_number=True),
        TableColumn("Likelihood", is_number=True),
        TableColumn("Expires in", is_number=True, wide_only=True),
    )
    rows: list[list[str | Markup]] = [
        [
            _render_set(each, names, arena),
            each.reason,
            ABSENT if each.doubt is None else _format_doubt(each.doubt),
            format_ratio(each.times_chance),
            format_age(max(0, each.matchup.expires - now)),
        ]
        for each in proposals[:SHOWN]
    ]
    return render_table(columns, rows, "Open matchups")


def _render_set(proposal: Proposal, names: Mapping[str, str], arena: str) -> Markup:
    # Not in the order of the slots: somebody may have the matchup before them.
    models = sorted(proposal.matchup.models, key=lambda model: names.get(model, model))
    links = ", ".join(link_model(names.get(model, model), arena, model).html for model in models)
    return Markup(f'{links}<small class="kw-sub">{escape_text(proposal.reason)}</small>')


def _format_doubt(bits: float) -> str:
    return "< 0.01 bits" if bits < 0.01 else f"{bits:.{1 if bits >= 0.95 else 2}f} bits"


def format_ratio(ratio: float | None) -> str:
    """Return a multiple of chance: ``× 31``, ``× 0.4``."""
    if ratio is None:
        return ABSENT
    return f"× {ratio:,.0f}" if ratio >= 9.5 else f"× {ratio:.1f}" if ratio >= 0.95 else f"× {ratio:.2g}"


def render_coverage(table: PairTable) -> str:
    """Render how many pairs have how many votes."""
    n = len(table.model_ids)
    votes = table.votes()[np.triu_indices(n, 1)]
    rows = []
    for low, high in _BINS:
        count = int(((votes >= low) & (votes <= (np.iinfo(np.int32).max if high is None else high))).sum())
        label = "none" if high == 0 else f"{low} or more" if high is None else f"{low}–{high}"
        rows.append((label, count))
    return _render_bars("Votes on a pair", "Pairs", rows, "Pairs by votes")


def render_least_known(table: PairTable, comparisons: Mapping[str, int], names: Mapping[str, str], arena: str) -> str:
    """Render the models with the fewest comparisons."""
    fewest = sorted(table.model_ids, key=lambda model: (comparisons.get(model, 0), model))[:SHOWN]
    met = (table.votes() > 0).sum(axis=1)
    others = len(table.model_ids) - 1
    columns = (
        TableColumn("Model"),
        TableColumn("Comparisons", is_number=True),
        TableColumn("Models met", is_number=True),
    )
    rows: list[list[str | Markup]] = []
    for model in fewest:
        name = link_model(names.get(model, model), arena, model)
        tag = ' <span class="kw-tag">new</span>' if comparisons.get(model, 0) < NEW else ""
        rows.append(
            [
                Markup(name.html + tag),
                format_count(comparisons.get(model, 0)),
                f"{int(met[table.index(model)])} of {others}",
            ]
        )
    return render_table(columns, rows, "Models with the fewest comparisons")


def render_ratios(ratios: Sequence[float | None]) -> str:
    """Render how often votes were on sets that the policy favours."""
    known = [ratio for ratio in ratios if ratio is not None]
    rows = []
    for low, high in _RATIO_BINS:
        count = sum(low <= ratio < (float("inf") if high is None else high) for ratio in known)
        label = f"× {low:g} or more" if high is None else f"less than × {high:g}" if low == 0 else f"× {low:g}–{high:g}"
        rows.append((label, count))
    return _render_bars("Likelihood against chance", "Votes", rows, "Votes by the likelihood of their sets")


def render_policies(records: Sequence[PolicyRecord]) -> str:
    """Render which policies proposed the newest votes."""
    columns = (
        TableColumn("Policy"),
        TableColumn("Votes", is_number=True),
        TableColumn("With propensity", is_number=True, wide_only=True),
        TableColumn("Worth", is_number=True),
    )
    rows = [
        (
            record.policy or "not stated",
            format_count(record.votes),
            format_share(record.with_propensity / record.votes),
            format_count(round(record.effective)) if record.with_propensity else ABSENT,
        )
        for record in records
    ]
    return render_table(columns, rows, "Votes by policy")


def _render_bars(heading: str, counted: str, rows: Sequence[tuple[str, int]], label: str) -> str:
    most = max((count for _, count in rows), default=0)
    columns = (TableColumn(heading), TableColumn(counted, is_number=True), TableColumn(""))
    cells: list[list[str | Markup]] = [
        [
            name,
            format_count(count),
            Markup(f'<div class="kw-amount"><i style="width:{100 * count / most if most else 0:.1f}%"></i></div>'),
        ]
        for name, count in rows
    ]
    return render_table(columns, cells, label)
