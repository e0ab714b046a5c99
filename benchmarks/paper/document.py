"""Makes docs/reproduction.md from the raw results: ``python -m benchmarks.paper.document``."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.paper.experiments import TAIL, check_votes
from benchmarks.paper.plots import ERROR_NAME, NEWCOMER_NAME
from benchmarks.paper.raw import Quartiles, find_row, read_raw, sum_up

FILE: Final = Path(__file__).parents[2] / "docs" / "reproduction.md"
PAPER_ELO: Final = 11_692
PAPER_KSORT: Final = 716
PAPER_NEWCOMER: Final = 30

Row = Mapping[str, Any]


def render_document() -> str:
    """Return the text of docs/reproduction.md."""
    raw = read_raw()
    rows = raw["rows"]
    return (
        "\n\n".join(
            [
                _introduce(raw),
                _answer(rows),
                *(_tabulate_order(rows, share) for share in (0.0, 0.05)),
                f"![Mean squared rank error over votes, medians and quartiles](images/{ERROR_NAME})",
                _tabulate_newcomer(rows),
                f"![Share of runs with the new model within one place](images/{NEWCOMER_NAME})",
                _explain(raw),
            ]
        )
        + "\n"
    )


def _introduce(raw: Row) -> str:
    return f"""\
# K-Sort Arena's experiments, again

Made by `python -m benchmarks.paper.document` from `benchmarks/paper/raw.json` (all seeds); a test compares the two.
`python -m benchmarks.paper --save` runs everything again.

The paper (arXiv 2408.14468) simulates 50 models in a known exact order and counts votes until the ranking is right, as
its mean squared rank error shows. It reports {PAPER_ELO:,} votes for Elo and {PAPER_KSORT} for its method
({PAPER_ELO / PAPER_KSORT:.1f} times fewer), and that a new model finds its place after about {PAPER_NEWCOMER} matchups.
Here are {raw["seeds"]} seeds of each setting. *First* is the first vote after which the order is exact, *settled* the
vote after which it stays exact until the horizon, and for its last {_percent(TAIL)} at least. Votes are noise-free,
or 5 % of them are a random permutation of the whole ballot. K is the number of models in a matchup. For each method
the better of the two orders counts: by mean, or by the paper's score, mean - 3 sd."""


def _answer(rows: Sequence[Row]) -> str:
    ours = _quartiles(rows, "ksort", "ksort", 4, 0.0, "settled")
    elo_first = [_quartiles(rows, f"elo-{k}", "random", 2, 0.0, "first") for k in (4, 16, 32)]
    elo_settled = [_quartiles(rows, f"elo-{k}", "random", 2, 0.0, "settled") for k in (4, 16, 32)]
    noisy = _quartiles(rows, "ksort", "ksort", 4, 0.05, "settled")
    ranking = [_quartiles(rows, "ranking", "order-entropy", 4, share, "settled") for share in (0.0, 0.05)]
    newcomers = [_newcomer(rows, "ksort", "ksort", share) for share in (0.0, 0.05)]
    first, settled = _best(elo_first), _best(elo_settled)
    bullets = [
        f"**{PAPER_KSORT} votes for K-Sort** (K = 4, noise-free): {_verdict(ours, PAPER_KSORT)}. Measured: settled "
        f"after {_text(ours)} votes.",
        f"**{PAPER_ELO:,} votes for Elo**: {_verdict(first, PAPER_ELO)} as the first exact order; "
        f"{_verdict(settled, PAPER_ELO)} as one that stays. With the best of the K factors the order from random pairs "
        f"is first exact after {_text(first)} votes, and settled after {_text(settled)}. {_elo_error(rows, PAPER_ELO)}",
        f"**{PAPER_ELO / PAPER_KSORT:.1f} times fewer votes**: {_ratio(first, settled, ours)}.",
        "**Robust against random votes**: with 5 % of them the paper's method, with its matchmaking and K = 4, "
        f"settles after {_text(noisy)} votes, in {noisy.reached if noisy else 0} of {noisy.runs if noisy else 0} runs "
        "within its horizon.",
        f"**About {PAPER_NEWCOMER} matchups for a new model**: {_verdict(newcomers[0], PAPER_NEWCOMER)}. Measured, "
        f"until its rank is within 1 and stays so: {_text(newcomers[0])} noise-free, {_text(newcomers[1])} with random "
        "votes.",
        "Beyond the paper: the engine on whole rankings (`pipeline/rating/ranking.py`), asking for the order that it "
        f"is least sure of, settles after {_text(ranking[0])} votes noise-free and {_text(ranking[1])} with random "
        "votes, and is not told which of the two it is in. 47 is the least that any method can need on average: "
        "log2(50!) bits at log2(4!) a vote.",
    ]
    filled = [textwrap.fill(f"- {text}", 120, subsequent_indent="  ", break_on_hyphens=False) for text in bullets]
    return "## What reproduces, and what does not\n\n" + "\n".join(filled)


def _verdict(measured: Quartiles | None, claimed: float) -> str:
    if measured is None or measured.median is None:
        return "does not reproduce"
    ratio = measured.median / claimed
    if measured.low is not None and measured.high is not None and measured.low <= claimed <= measured.high:
        return "reproduces (within the quartiles)"
    return (
        f"reproduces in size (median {ratio:.2f} times it)"
        if 0.5 <= ratio <= 2
        else (
            f"does not reproduce (median {ratio:.1f} times it)"
            if ratio > 2
            else f"is beaten (median {ratio:.2f} times it)"
        )
    )


def _ratio(first: Quartiles | None, settled: Quartiles | None, ours: Quartiles | None) -> str:
    if ours is None or ours.median is None:
        return "not measured"
    parts = [
        f"{elo.median / ours.median:,.0f} times, {words}"
        for elo, words in (
            (first, "if Elo may stop at its first exact order and K-Sort may not"),
            (settled, "if both must stay exact"),
        )
        if elo is not None and elo.median is not None
    ]
    return "measured " + "; ".join(parts)


def _tabulate_order(rows: Sequence[Row], share: float) -> str:
    title = "noise-free" if share == 0 else f"{_percent(share)} random votes"
    lines = [
        f"## Votes to the exact order, {title}",
        "",
        "| method | matchups | K | ranked by | first | settled | runs settled | horizon | error at the horizon |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["experiment"] != "order" or row["random_share"] != share:
            continue
        by = _better_order(row)
        first, settled = sum_up(row[by]["first"]), sum_up(row[by]["settled"])
        last = sorted(errors[-1] for errors in row[by]["errors"])
        middle = (last[len(last) // 2] + last[(len(last) - 1) // 2]) / 2
        lines.append(
            f"| {row['method']} | {row['policy']} | {row['k']} | {by} | {_text(first)} | {_text(settled)} "
            f"| {settled.reached} of {settled.runs} | {row['horizon']:,} | {middle:.3g} |"
        )
    return "\n".join(lines)


def _tabulate_newcomer(rows: Sequence[Row]) -> str:
    lines = [
        "## A new model among 49",
        "",
        "Matchups that show it until its rank is within 1 and stays so.",
        "",
        "| method | opponents | random votes | ranked by mean | ranked by score | votes before it | horizon |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['method']} | {row['policy']} | {_percent(row['random_share'])} "
        f"| {_text(sum_up(row['mean']['settled']))} | {_text(sum_up(row['score']['settled']))} "
        f"| {row['settle']:,} | {row['horizon']:,} |"
        for row in rows
        if row["experiment"] == "newcomer"
    ]
    return "\n".join(lines)


def _explain(raw: Row) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in raw["versions"].items())
    return f"""\
Cells are the median over seeds, with the quartiles in brackets; a dash where more runs than that did not get there
before the horizon. The error at the horizon is the median of the mean squared rank error.

## How it was done

- `ksort` is the paper's method as the product runs it: its filter with a floor under the variance
  (`pipeline/rating/ksort_filter.py`) and its matchmaking with the sign that its text asks for
  (`pipeline/matchmaking/ksort_policy.py`). `ksort` with `random` matchups is its filter alone.
- `elo-F` is Elo with K factor F on random pairs, one pair a vote. The paper does not say which factor it used.
- `trueskill`, `openskill-tm` (Thurstone-Mosteller, full pairing) and `openskill-pl` (Plackett-Luce) are the packages,
  with their defaults, on whole ballots of random matchups. They are pure Python: their horizons are short, and a dash
  there says no more than the horizon does. All methods see the same random matchups and votes for the same seed and K.
- `ranking` with `order-entropy` is expectation propagation on whole rankings, each time asking for the set whose order
  is least certain over 400 draws of the posterior.
- With random votes *settled* depends on the horizon: a longer one leaves more time for a vote that breaks the order
  once more. Compare such rows only where their horizons are alike; *first* does not have this fault.
- A vote shows K models: comparisons per vote grow with K, and so does a voter's work.

{versions}."""


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _elo_error(rows: Sequence[Row], votes: int) -> str:
    """Say how wrong the best Elo still was after about `votes` votes."""
    best = (float("inf"), 0)
    for k_factor in (4, 16, 32):
        row = find_row(rows, experiment="order", method=f"elo-{k_factor}", random_share=0.0)
        if row is not None:
            checks = check_votes(row["horizon"])
            place = min(range(len(checks)), key=lambda at: abs(checks[at] - votes))
            errors = sorted(errors[place] for errors in row["mean"]["errors"])
            best = min(best, (errors[len(errors) // 2], checks[place]))
    return f"After {best[1]:,} votes its mean squared rank error was {best[0]:.2g} (median)."


def _better_order(row: Row) -> str:
    def key(by: str) -> tuple[float, float]:
        settled = sum_up(row[by]["settled"])
        last = sum(errors[-1] for errors in row[by]["errors"])
        return (settled.median if settled.median is not None else float("inf"), last)

    return min(("mean", "score"), key=key)


def _quartiles(rows: Sequence[Row], method: str, policy: str, k: int, share: float, what: str) -> Quartiles | None:
    row = find_row(rows, experiment="order", method=method, policy=policy, k=k, random_share=share)
    return None if row is None else sum_up(row[_better_order(row)][what])


def _newcomer(rows: Sequence[Row], method: str, policy: str, share: float) -> Quartiles | None:
    row = find_row(rows, experiment="newcomer", method=method, policy=policy, random_share=share)
    return None if row is None else _best([sum_up(row[by]["settled"]) for by in ("mean", "score")])


def _best(several: Sequence[Quartiles | None]) -> Quartiles | None:
    reached = [one for one in several if one is not None and one.median is not None]
    return min(reached, key=lambda one: one.median or 0.0, default=None)


def _text(quartiles: Quartiles | None) -> str:
    if quartiles is None:
        return "–"

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:,.0f}"

    if quartiles.low is None:
        return "–"
    return f"{number(quartiles.median)} ({number(quartiles.low)} to {number(quartiles.high)})"


if __name__ == "__main__":
    FILE.write_text(render_document())
