"""The operator page: its states, figures and panels, on statuses that the real writer published."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.download import write_csv
from dashboard.job_state import judge_job
from dashboard.operator_html import SHOWN, compare_samples, render_operations, render_panels
from dashboard.operator_trend import list_rates, make_operations_trend, tabulate_samples
from dashboard.theme import LIGHT
from pipeline.contracts.status import ArenaStatus, PartitionStatus, Sample, Status, WindowStatus
from pipeline.store.manifest import Heartbeat
from tests.conftest import ROOT
from tests.dashboard.conftest import html_of
from tests.dashboard.made_status import make_status, write_recent
from tests.dashboard.made_store import SCRIPT, make_publication, make_store, wall_ms

NOW = 1_764_000_000_000
STORE = Path("store")

Start = Callable[[], str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setenv("KWISE_STORE", str(folder))

    def run() -> str:
        app = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=30)
        app.switch_page("screens/operator.py").run()
        assert not app.exception, app.exception
        return html_of(app)

    return run


def beat_of(status: Status | None, *, age: int = 1_000, stopped: bool = False) -> Heartbeat:
    return Heartbeat(time=NOW - age, commit=7, positions=(), status=status, stopped=stopped)


# ------------------------------------------------------------------------------------------------ states


def test_page_without_a_store_waits_for_one(start: Start) -> None:
    found = start()
    assert "Operations" in found
    assert "Waiting for a store" in found


def test_page_of_a_store_that_no_live_job_has_written_to_says_so(start: Start, folder: Path) -> None:
    with make_store(folder, make_publication()):
        found = start()
    assert "No job has reported" in found
    assert "kw-panels" not in found


def test_page_shows_the_job_that_runs(start: Start, folder: Path) -> None:
    status = make_status()
    write_recent(folder, status)
    with make_store(folder, make_publication()) as store:
        store.heartbeat(wall_ms(), status)
        found = start()
    for text in ("Live", "208,213", "1,467", "in the last hour", "votes/3", "text-to-video", "1.24 MB"):
        assert text in found
    assert f"kwise dead-letters list --store {folder}" in found


@pytest.mark.parametrize(
    ("beat", "label", "title"),
    [
        (None, "None", "No job has reported"),
        (beat_of(None), "None", "No job has reported"),
        (beat_of(make_status()), "Live", None),
        (beat_of(make_status(), age=-5_000), "Live", None),
        (beat_of(make_status(), age=11_000), "Silent", "No sign of life"),
        (beat_of(make_status(), age=3_600_000, stopped=True), "Stopped", "Stopped"),
        (beat_of(make_status(log_error="gone")), "Waiting", "The log is out of reach"),
        (
            beat_of(make_status(last_error="disk full", last_error_at=NOW - 60_500), age=60_000, stopped=True),
            "Failed",
            "Ended by an error",
        ),
        (
            beat_of(make_status(last_error="long ago", last_error_at=NOW - 900_000), age=60_000, stopped=True),
            "Stopped",
            "Stopped",
        ),
    ],
)
def test_state_of_the_job_is_judged(beat: Heartbeat | None, label: str, title: str | None) -> None:
    state = judge_job(NOW, beat, STORE)
    assert (state.label, None if state.notice is None else state.notice.title) == (label, title)
    assert state.runs == (label in {"Live", "Waiting"})


# ----------------------------------------------------------------------------------------------- figures


def figures_of(status: Status, *, age: int = 1_000) -> dict[str, tuple[str, str]]:
    """Return value and small print of each figure."""
    beat = beat_of(status, age=age)
    shown = render_operations(beat, status, judge_job(NOW, beat, STORE), None, NOW)
    found = {}
    for part in shown.split("<dt>")[1:]:
        name, _, rest = part.partition("</dt>")
        value, _, aside = rest.partition('<dd class="kw-aside">')
        found[name] = (_plain(value), _plain(aside.partition("</dd>")[0]))
    return found


def _plain(markup: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", markup))


def test_figures_of_a_job_that_keeps_up() -> None:
    found = figures_of(make_status())
    assert found["Lag"] == ("0", "everything is read")
    assert found["Votes a second"] == ("58", "over the last minute")
    assert found["Freshness, p99"] == ("0.91 s", "p50 0.41 s")
    assert found["Duplicates"] == ("1,467", "0.7 % of what came, dropped")


def test_figures_of_the_moment_are_absent_when_the_job_is_not_there() -> None:
    found = figures_of(make_status(lag_at=NOW - 130_000), age=120_000)
    assert found["Lag"] == ("0", "when last asked 2 min ago")
    assert found["Votes a second"] == ("–", "nothing is read")
    assert found["Freshness, p99"] == ("–", "nothing is published")


def test_lag_is_not_said_to_be_nothing_while_the_log_is_out_of_reach_or_unknown() -> None:
    assert "everything is read" not in figures_of(make_status(log_error="gone", lag_at=NOW))["Lag"]
    assert figures_of(make_status(lag=()))["Lag"] == ("–", "this log has no known end")


def test_lately_is_counted_from_the_oldest_sample() -> None:
    status = make_status()
    oldest = Sample(NOW - 600_000, status.accepted - 500, 0, status.total_dead - 7, 0, None, None)
    lately = compare_samples([oldest], NOW, status)
    assert lately is not None
    assert (lately.accepted, lately.dead, lately.words) == (500, 7, "in the last 10 min")
    assert compare_samples([], NOW, status) is None
    anew = compare_samples([msgspec.structs.replace(oldest, accepted=10**9)], NOW, status)
    assert anew is not None
    assert anew.accepted == 0


# ------------------------------------------------------------------------------------------------ panels


def panels_of(status: Status) -> str:
    beat = beat_of(status)
    return render_panels(beat, status, judge_job(NOW, beat, STORE), STORE, NOW)


def test_panels_show_the_worst_first_and_no_more_than_fit() -> None:
    lag = tuple(PartitionStatus(topic="votes", partition=n, position=0, end=n) for n in range(100))
    arenas = {f"a{n:03d}": ArenaStatus(accepted=n, votes=n, models=2, open_matchups=0) for n in range(100)}
    found = panels_of(make_status(lag=lag, arenas=arenas))
    assert f"{SHOWN} of 100 partitions" in found
    assert "votes/99<" in found
    assert "votes/75<" not in found
    assert "a099" in found
    assert "a075" not in found


def test_dead_letters_come_with_advice_and_none_is_said() -> None:
    found = panels_of(make_status(dead={"unknown_model": 3, "of_tomorrow": 1, "schema": 0}))
    assert "add the model to its arena" in found
    assert "of_tomorrow" in found
    assert ">schema<" not in found
    assert "every record could be used" in panels_of(make_status(dead={}))


def test_window_says_how_full_it_is_and_how_far_it_looks_back() -> None:
    window = WindowStatus(votes=50, limit=200, horizon=NOW, bytes=1)
    found = panels_of(make_status(window=window))
    assert "width:25.00%" in found
    assert "Votes from before 24 Nov 2025, 16:00:00 UTC are too old." in found


def test_what_others_wrote_is_escaped() -> None:
    arenas = {SCRIPT: ArenaStatus(accepted=1, votes=1, models=1, open_matchups=0)}
    status = make_status(arenas=arenas, last_error=SCRIPT, last_error_at=NOW, dead={SCRIPT: 1})
    assert "<script" not in panels_of(status)


# ------------------------------------------------------------------------------------------------- trend


def samples_of(*times: int, step: int = 50) -> list[Sample]:
    return [Sample(time, step * place, 0, 0, place, 400, 900) for place, time in enumerate(times)]


def test_rates_are_between_samples_and_absent_over_gaps() -> None:
    samples = samples_of(0, 5_000, 10_000, 70_000, 75_000)
    assert list_rates(samples) == [(5_000, 10.0), (10_000, 10.0), (70_000, None), (75_000, 10.0)]
    fallen = [samples[1], msgspec.structs.replace(samples[2], accepted=0)]
    assert list_rates(fallen) == [(10_000, None)]


def test_trend_has_three_charts_with_gaps_and_seconds() -> None:
    option = make_operations_trend(samples_of(0, 5_000, 70_000), LIGHT)
    assert option is not None
    rate, p99, p50, lag = option["series"]
    assert [series["xAxisIndex"] for series in option["series"]] == [0, 1, 1, 2]
    assert [point[1] for point in rate["data"]] == [10.0, None]
    assert [point[1] for point in p99["data"]] == [0.9, 0.9, None, 0.9]
    assert [point[1] for point in p50["data"]] == [0.4, 0.4, None, 0.4]
    assert [point[1] for point in lag["data"]] == [0, 1, None, 2]
    assert make_operations_trend(samples_of(0, 5_000), LIGHT) is None


def test_samples_are_written_as_csv() -> None:
    unknown = Sample(5, 1, 0, 0, None, None, None)
    rows = list(csv.DictReader(io.StringIO(write_csv(tabulate_samples([*samples_of(0), unknown])))))
    assert rows[0] == {
        "time": "0", "accepted": "0", "duplicates": "0", "dead": "0", "lag": "0", "p50_ms": "400", "p99_ms": "900",
    }  # fmt: skip
    assert (rows[1]["lag"], rows[1]["p99_ms"]) == ("", "")
