"""The operator page's HTML: figures, and panels of tables. Shows counts only, never what a record holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dashboard.formatting import (
    ABSENT,
    format_age,
    format_ago,
    format_bytes,
    format_clock,
    format_count,
    format_day,
    format_plural,
    format_rate,
    format_seconds,
)
from dashboard.job_state import JobState
from dashboard.markup import Figure, TableColumn, escape_text, render_figures, render_section, render_table
from pipeline.contracts.reasons import ADVICE
from pipeline.contracts.status import FRESHNESS_TARGET_MS, PartitionStatus, Sample, Status, WindowStatus
from pipeline.store.manifest import Heartbeat

SHOWN: Final = 24
"""Partitions and arenas shown at most, those with the most first."""

_FILES: Final = {"archive": "Archive", "dead": "Dead letters", "window": "Window, on disk"}


@dataclass(frozen=True, slots=True)
class Lately:
    """What has changed over the last `span` ms, an hour at most."""

    span: int
    accepted: int
    dead: int

    @property
    def words(self) -> str:
        """The span in words."""
        return "in the last hour" if self.span >= 3_540_000 else f"in the last {format_age(self.span)}"


def compare_samples(samples: Sequence[Sample], time: int, status: Status) -> Lately | None:
    """Compare a status of `time` (ms) with the oldest sample; None where there is none."""
    if not samples or samples[0].time >= time:
        return None
    first = samples[0]
    # A store that was made anew has smaller totals than its samples.
    return Lately(time - first.time, max(0, status.accepted - first.accepted), max(0, status.total_dead - first.dead))


def render_operations(beat: Heartbeat, status: Status, state: JobState, lately: Lately | None, now: int) -> str:
    """Render the figures."""
    came = status.accepted + status.duplicates + status.total_dead
    started = f"since it started, {format_plural(status.restarts, 'restart')}"
    figures = [
        Figure("Job", state.label, state.reason, kind=state.kind),
        _lag_figure(status, state, now),
        Figure(
            "Votes a second",
            format_rate(status.votes_per_s) if state.runs else ABSENT,
            "over the last minute" if state.runs else "nothing is read",
        ),
        _freshness_figure(status, state),
        Figure(
            "Accepted",
            format_count(status.accepted),
            "since the store began" if lately is None else f"{format_count(lately.accepted)} {lately.words}",
        ),
        Figure(
            "Duplicates", format_count(status.duplicates), f"{_share(status.duplicates, came)} of what came, dropped"
        ),
        Figure(
            "Dead letters",
            format_count(status.total_dead),
            f"{_share(status.total_dead, came)} of what came"
            if lately is None
            else f"{format_count(lately.dead)} {lately.words}",
        ),
        Figure("Commit", format_count(beat.commit), f"{format_count(status.commits)} {started}"),
    ]
    return render_figures(figures)


def _lag_figure(status: Status, state: JobState, now: int) -> Figure:
    if (lag := status.total_lag) is None or status.lag_at is None:
        return Figure("Lag", ABSENT, "this log has no known end")
    asked = f"asked {format_ago(max(0, now - status.lag_at))}"
    if state.runs and status.log_error is None:
        return Figure("Lag", format_count(lag), f"records wait, {asked}" if lag else "everything is read")
    return Figure("Lag", format_count(lag), f"when last {asked}")


def _freshness_figure(status: Status, state: JobState) -> Figure:
    name, fresh = "Freshness, p99", status.freshness
    if fresh is None:
        return Figure(name, ABSENT, "files say nothing of now")
    if not state.runs or fresh.p99_ms is None:
        return Figure(name, ABSENT, "no votes in the last minute" if state.runs else "nothing is published")
    kind = "" if fresh.p99_ms <= FRESHNESS_TARGET_MS else "late"
    return Figure(name, format_seconds(fresh.p99_ms), f"p50 {format_seconds(fresh.p50_ms)} s", "s", kind)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"


def render_panels(beat: Heartbeat, status: Status, state: JobState, store: Path, now: int) -> str:
    """Render what is below the chart, in two columns where there is room. `store` is named in a command."""
    left = _dead_panel(status, store) + _arena_panel(status) + _job_panel(status, state, now)
    right = _log_panel(status) + _window_panel(status.window) + _store_panel(beat, status)
    return f'<div class="kw-panels"><div>{left}</div><div>{right}</div></div>'


def _dead_panel(status: Status, store: Path) -> str:
    title = render_section("Dead letters", "over the life of the store")
    counted = sorted(((count, reason) for reason, count in status.dead.items() if count), reverse=True)
    if not counted:
        return title + '<p class="kw-legend">None: every record could be used.</p>'
    known = {reason.value: text for reason, text in ADVICE.items()}
    columns = (TableColumn("Reason"), TableColumn("Records", is_number=True), TableColumn("What to do"))
    rows = [(reason, format_count(count), known.get(reason, ABSENT)) for count, reason in counted]
    command = f"kwise dead-letters list --store {store}"
    said = f'<p class="kw-legend">What they held: <code>{escape_text(command)}</code></p>'
    return title + render_table(columns, rows, "Dead letters by reason") + said


def _arena_panel(status: Status) -> str:
    title = render_section("Arenas", _cut(len(status.arenas), "arena"))
    if not status.arenas:
        return title + '<p class="kw-legend">None yet.</p>'
    columns = (
        TableColumn("Arena"),
        TableColumn("Accepted", is_number=True),
        TableColumn("Counted", is_number=True),
        TableColumn("Models", is_number=True, wide_only=True),
        TableColumn("Open matchups", is_number=True, wide_only=True),
    )
    most = sorted(status.arenas.items(), key=lambda item: (-item[1].accepted, item[0]))[:SHOWN]
    rows = [
        (arena, *(format_count(n) for n in (each.accepted, each.votes, each.models, each.open_matchups)))
        for arena, each in most
    ]
    return title + render_table(columns, rows, "Arenas")


def _log_panel(status: Status) -> str:
    title = render_section("Event log", _cut(len(status.lag), "partition"))
    if not status.lag:
        return title + '<p class="kw-legend">This log does not say where it ends.</p>'
    columns = (
        TableColumn("Partition"),
        TableColumn("Read up to", is_number=True),
        TableColumn("End", is_number=True, wide_only=True),
        TableColumn("Waiting", is_number=True),
    )

    def order(each: PartitionStatus) -> tuple[int, str, int]:
        return -each.lag, each.topic, each.partition

    rows = [
        (
            f"{each.topic}/{each.partition}",
            format_count(each.position),
            format_count(max(each.position, each.end)),  # the end was looked up before the rest was read
            format_count(each.lag),
        )
        for each in sorted(status.lag, key=order)[:SHOWN]
    ]
    return title + render_table(columns, rows, "Partitions of the event log")


def _cut(count: int, noun: str) -> str:
    return format_plural(count, noun) if count <= SHOWN else f"{SHOWN} of {format_plural(count, noun)}"


def _window_panel(window: WindowStatus) -> str:
    share = min(1.0, window.votes / window.limit) if window.limit else 0.0
    reach = (
        f"Votes from before {format_day(window.horizon)}, {format_clock(window.horizon)} UTC are too old."
        if window.horizon > 0
        else "No vote is too old so far."
    )
    said = f"{format_count(window.votes)} of {format_count(window.limit)} votes"
    return (
        render_section("De-duplication window", said)
        + f'<div class="kw-meter" role="img" aria-label="{escape_text(said)}">'
        + f'<i style="width:{100 * share:.2f}%"></i></div>'
        + f'<p class="kw-legend">{reach} When it is full, the oldest tenth goes.</p>'
    )


def _store_panel(beat: Heartbeat, status: Status) -> str:
    columns = (
        TableColumn("Sizes"),
        TableColumn("Rows", is_number=True),
        TableColumn("Files", is_number=True, wide_only=True),
        TableColumn("Bytes", is_number=True),
    )
    rows = [
        (_FILES.get(kind, kind), format_count(each.rows), format_count(each.files), format_bytes(each.bytes))
        for kind, each in beat.files.items()
    ]
    rows += [
        ("Window, in memory", format_count(status.window.votes), ABSENT, format_bytes(status.window.bytes)),
        ("Pair counts, in memory", ABSENT, ABSENT, format_bytes(status.counts_bytes)),
    ]
    return render_table(columns, rows, "Sizes")


def _job_panel(status: Status, state: JobState, now: int) -> str:
    began = f"{format_day(status.started)}, {format_clock(status.started)} UTC"
    rows = [
        ("Started", began),
        ("Commits", format_count(status.commits)),
        ("Restarts after a failure", format_count(status.restarts)),
    ]
    if status.last_error is not None and status.last_error_at is not None:
        rows.append((f"Last failure, {format_ago(max(0, now - status.last_error_at))}", status.last_error))
    columns = (TableColumn("Process"), TableColumn(state.label))
    return render_section("Job", "since it was started") + render_table(columns, rows, "Job")
