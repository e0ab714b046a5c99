from __future__ import annotations

import json
import subprocess
import sys

import pytest

from dashboard.freshness import STALLED_AFTER
from tests.conftest import ROOT


@pytest.mark.parametrize("refresh", ["0.05", "1.0", "60"])
def test_pages_that_are_drawn_seldom_show_nothing_older(refresh: str) -> None:
    code = "import json, dashboard.pace as pace; print(json.dumps([pace.TABLE_EVERY, pace.CHART_EVERY, pace.KEPT]))"
    environment = {"KWISE_APP_REFRESH": refresh, "PATH": ""}
    run = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, check=True)
    table, chart, kept = json.loads(run.stdout)
    assert (table, chart) == (float(refresh), 5 * float(refresh))
    assert kept <= min(0.4, 0.4 * table)
    assert 1_000 * kept < STALLED_AFTER
