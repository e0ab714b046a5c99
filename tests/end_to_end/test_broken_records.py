"""Promise 3: one bad record never stops the stream; it is kept with its reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipeline.contracts.arena import Model
from pipeline.contracts.log import VOTES, Record
from pipeline.contracts.reasons import MAX_RECORD_BYTES, MAX_VOTE_BYTES, Reason
from pipeline.eventlog import open_log
from pipeline.store.reader import StoreReader
from tests.broken_records import APPENDED_AT, ARENA, BROKEN_RECORDS, REGISTERED, good_record
from tests.end_to_end.jobs import (
    append,
    append_events,
    archived_votes,
    count_naively,
    dead_letters,
    make_event,
    make_log,
    published_counts,
    run_to_end,
)

pytestmark = pytest.mark.timeout(60)


def kept_of(payload: bytes, reason: str) -> bytes:
    """Return what is kept of a record: the head of one that is too large."""
    return payload[: MAX_VOTE_BYTES if reason == Reason.TOO_LARGE else MAX_RECORD_BYTES]


@pytest.mark.parametrize("poll_records", [40_000, 7])
def test_each_broken_record_is_one_dead_letter_and_harms_no_good_vote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poll_records: int
) -> None:
    monkeypatch.setattr("pipeline.streaming.owner.POLL_RECORDS", poll_records)
    assert len(BROKEN_RECORDS) >= 60
    log, folder = make_log(tmp_path, partitions=2, clock=lambda: APPENDED_AT), tmp_path / "store"
    append_events(
        log,
        [
            make_event("arena.upsert", arena=ARENA),
            *(make_event("model.add", arena=ARENA, model=Model(id=model)) for model in REGISTERED),
        ],
    )
    good = [good_record(1000 + number) for number in range(len(BROKEN_RECORDS) + 1)]
    records = [good[0]]
    for broken, vote in zip(BROKEN_RECORDS, good[1:], strict=True):
        records += [broken.payload, vote]
    append(log, VOTES, [Record(value, key=f"key-{number}") for number, value in enumerate(records)])
    assert run_to_end(log, folder) == []

    found = Counter(dead_letters(folder))
    expected = Counter((broken.reason.value, kept_of(broken.payload, broken.reason)) for broken in BROKEN_RECORDS)
    assert found - expected == Counter()
    assert expected - found == Counter()
    assert len(archived_votes(folder)) == len(good)
    assert published_counts(folder, ARENA) == count_naively(good)
    table = StoreReader(folder).dead_letters()
    places = set(zip(table["partition"].to_pylist(), table["offset"].to_pylist(), strict=True))
    assert len(places) == len(BROKEN_RECORDS)
    assert set(table["appended_at"].to_pylist()) == {APPENDED_AT}


def test_dead_letter_that_was_mended_counts(tmp_path: Path) -> None:
    """It does not use up its vote_id, nor its matchup."""
    log, folder = make_log(tmp_path, clock=lambda: APPENDED_AT), tmp_path / "store"
    append(log, VOTES, [Record(good_record(1, ranks=[1, 2, 3])), Record(good_record(1))])
    run_to_end(log, folder)
    append(log, VOTES, [Record(good_record(1)), Record(good_record(2, matchup_id=f"m{1:031x}"))])
    run_to_end(log, folder)
    assert archived_votes(folder) == [f"{1:032x}"]
    assert [reason for reason, _ in dead_letters(folder).elements()] == ["bad_ranks", "already_voted"]


def test_times_that_no_log_has_do_not_stop_a_file(tmp_path: Path) -> None:
    far = 9 * 10**18
    records = [
        good_record(1),
        good_record(2, appended_at=far),  # a wrong append time is none: the vote's own holds
        good_record(3, time=far),
        good_record(4, time=far, appended_at=far),
        good_record(5),
    ]
    path, folder = tmp_path / "votes.jsonl", tmp_path / "store"
    path.write_bytes(b"\n".join(records) + b"\n")
    run_to_end(open_log(str(path)), folder)
    assert archived_votes(folder) == [f"{number:032x}" for number in (1, 2, 5)]
    assert [reason for reason, _ in dead_letters(folder).elements()] == ["bad_time", "bad_time"]
    assert StoreReader(folder).manifest().log_time < APPENDED_AT + 86_400_000
