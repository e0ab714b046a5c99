"""The benchmark of generation: what it counts, in short form."""

from __future__ import annotations

from pathlib import Path

from benchmarks.generation.__main__ import LOAD_S, MAKE_S, measure_drawing, measure_swaps


def test_batches_of_one_model_swap_weights_less_than_first_come(tmp_path: Path) -> None:
    figures, peers = measure_swaps(tmp_path, models=6, total=240)
    swaps, first_come = figures["swaps_per_1000_jobs_6_models"], peers["first_come_swaps_per_1000_jobs_6_models"]
    assert 6 / 240 * 1000 <= swaps < first_come / 4
    assert figures["busy_share_6_models"] == round(MAKE_S / (MAKE_S + swaps / 1000 * LOAD_S), 3)


def test_drawing_is_measured() -> None:
    assert min(measure_drawing(1).values()) > 0
