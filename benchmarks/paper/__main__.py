"""Runs the paper's experiments: ``python -m benchmarks.paper [--quick] [--only METHOD] [--save] --json``.

All of it runs in two processes at low priority. ``--save`` keeps the raw results of all seeds (raw.json) and
their summary (results.json), with ``--only`` in place of that method's earlier ones. ``python -m
benchmarks.paper.document`` and ``python -m benchmarks.paper.plots`` then make docs/reproduction.md and its pictures.
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from benchmarks.paper.experiments import QUICK_SEEDS, SEEDS, list_experiments, run_experiments
from benchmarks.paper.raw import read_raw, sum_up, write_raw
from pipeline.rating.methodology import METHODOLOGY

TARGETS = {
    "votes_to_order_elo-16_random_k2": "paper: 11692",
    "votes_to_order_ksort_ksort_k4": "paper: 716",
    "newcomer_ksort_ksort_k4": "paper: about 30",
}


def summarise_rows(rows: list[dict[str, Any]]) -> dict[str, object]:
    """Return the median of each experiment, by the better of the two rankings; text where it was not reached."""
    figures: dict[str, object] = {}
    for row in rows:
        name = "newcomer" if row["experiment"] == "newcomer" else "votes_to_order"
        noise = "_5_percent_random" if row["random_share"] else ""
        medians = [sum_up(row[by]["settled"]).median for by in ("mean", "score")]
        best = min((median for median in medians if median is not None), default=None)
        figures[f"{name}_{row['method']}_{row['policy']}_k{row['k']}{noise}"] = (
            best if best is not None else f"not within {row['horizon']}"
        )
    return figures


def main() -> None:
    """Run all experiments and print one JSON object as the last line."""
    options = parse_options(
        __doc__, quick=f"{QUICK_SEEDS} seeds, a tenth of the votes", only="run the experiments of this method only"
    )
    seeds = QUICK_SEEDS if options.quick else SEEDS
    machine = describe_machine()
    wanted = [
        experiment
        for experiment in list_experiments(quick=options.quick)
        if options.only in {None, experiment.setting.method}
    ]
    rows = []
    for row in run_experiments(wanted, seeds):
        rows.append(row)
        print(
            row["experiment"], row["method"], row["policy"], row["k"], row["random_share"], file=sys.stderr, flush=True
        )
    about = {
        "benchmark": "paper",
        "seeds": seeds,
        "versions": describe_versions("numba", "numpy", "openskill", "scipy", "trueskill"),
        "methodology": METHODOLOGY,
        "machine": machine,
    }
    save = options.save and not options.quick
    if save:
        if options.only is not None:
            rows = [row for row in read_raw()["rows"] if row["method"] != options.only] + rows
        write_raw({**about, "rows": rows})
    hand_out({**about, "figures": summarise_rows(rows), "targets": TARGETS}, save=save)


if __name__ == "__main__":
    main()
