"""The tables of the benchmarks are what their raw results say."""

from __future__ import annotations

from benchmarks.report import FILE, render_report


def test_tables_are_made_from_the_raw_results() -> None:
    assert FILE.read_text("utf-8") == render_report(), "make it again: python -m benchmarks.report"
