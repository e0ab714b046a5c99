from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize("refresh", ["0.05", "1.0", "60"])
def test_pages_that_are_drawn_seldom_show_nothing_older(refresh: str) -> None:
    names = ("TABLE_EVERY", "CHART_EVERY", "KEPT", "KEPT_DEAR", "KEPT_VOTES", "KEPT_ASKED", "LATE")
    code = f"import json, dashboard.pace as pace; print(json.dumps([getattr(pace, name) for name in {names}]))"
    environment = {"KWISE_APP_REFRESH": refresh, "PATH": ""}
    run = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, check=True)
    table, chart, *kept = json.loads(run.stdout)
    assert (table, chart) == (float(refresh), 5 * float(refresh))
    at_most = [part * min(1.0, table) for part in (0.4, 4.0, 10.0, 2.5, 30.0)]
    assert kept == pytest.approx(at_most)
