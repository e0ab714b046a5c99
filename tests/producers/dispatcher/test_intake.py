"""Proposals come in from the event log, from where the last run ended, whatever is in the topic."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from pipeline.contracts.log import MATCHUPS, LogError, LogUnavailable, Position, Record, TopicPartition
from pipeline.contracts.matchup import Matchup, encode_matchup
from pipeline.eventlog.reader import PartitionReader
from pipeline.eventlog.sqlite_log import SqliteLog
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.intake import Intake, parse_matchup
from tests.conftest import wait_until
from tests.producers.dispatcher.queues import ARENA, START, make_matchup


@pytest.fixture
def log(tmp_path: Path) -> SqliteLog:
    made = SqliteLog(tmp_path / "log.db")
    made.create_topics({MATCHUPS: 3})
    return made


@pytest.fixture
def open_intake(log: SqliteLog, dispatcher: Dispatcher) -> Iterator[Callable[[], Intake]]:
    opened: list[Intake] = []

    def open_one() -> Intake:
        opened.append(Intake(log, dispatcher))
        return opened[-1]

    yield open_one
    for intake in opened:
        intake.close()


def append(log: SqliteLog, *matchups: Matchup | bytes) -> None:
    values = [each if isinstance(each, bytes) else encode_matchup(each) for each in matchups]
    writer = log.writer()
    writer.append(MATCHUPS, [Record(value, str(number)) for number, value in enumerate(values)])
    writer.close()


def taken(dispatcher: Dispatcher) -> int:
    arenas = dispatcher.counts(START).arenas
    return arenas[ARENA].taken if ARENA in arenas else 0


def test_proposals_come_in_as_they_are_appended(
    log: SqliteLog, dispatcher: Dispatcher, open_intake: Callable[[], Intake]
) -> None:
    append(log, make_matchup(1))
    open_intake()
    wait_until(lambda: taken(dispatcher) == 1)
    append(log, make_matchup(2), make_matchup(1))
    wait_until(lambda: taken(dispatcher) == 2)


def test_a_restart_goes_on_where_the_last_run_ended(
    log: SqliteLog, dispatcher: Dispatcher, open_intake: Callable[[], Intake], monkeypatch: pytest.MonkeyPatch
) -> None:
    append(log, *[make_matchup(number) for number in range(1, 251)])
    first = open_intake()
    wait_until(lambda: taken(dispatcher) == 250)
    first.close()
    positions = dispatcher.position()
    assert sum(position.offset for position in positions.values()) == 250
    starts: list[Mapping[TopicPartition, Position]] = []
    reader = log.reader

    def note_start(given: Mapping[TopicPartition, Position], *, live: bool) -> PartitionReader:
        starts.append(given)
        return reader(given, live=live)

    monkeypatch.setattr(log, "reader", note_start)
    append(log, make_matchup(251))
    open_intake()
    wait_until(lambda: taken(dispatcher) == 251)
    assert starts == [positions]


def test_another_log_is_refused(
    tmp_path: Path, log: SqliteLog, dispatcher: Dispatcher, open_intake: Callable[[], Intake]
) -> None:
    append(log, make_matchup(1))
    intake = open_intake()
    wait_until(lambda: taken(dispatcher) == 1)
    intake.close()
    other = SqliteLog(tmp_path / "other.db")
    other.create_topics({MATCHUPS: 3})
    with pytest.raises(LogError, match="not the log that the queue"):
        Intake(other, dispatcher)


def test_trouble_with_the_log_is_told_once_and_passes(
    log: SqliteLog,
    dispatcher: Dispatcher,
    open_intake: Callable[[], Intake],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("producers.dispatcher.intake._FIRST_PAUSE_S", 0.01)
    failures = 0

    def fail(*_args: object, **_more: object) -> object:
        nonlocal failures
        failures += 1
        raise LogUnavailable("the log is away")

    with monkeypatch.context() as away, caplog.at_level(logging.WARNING):
        away.setattr(log, "reader", fail)
        intake = open_intake()
        wait_until(lambda: failures > 2)
        assert intake.problem == "the log is away"
    assert [record.getMessage() for record in caplog.records] == ["no proposals come in: the log is away"]
    append(log, make_matchup(1))
    wait_until(lambda: taken(dispatcher) == 1)
    wait_until(lambda: intake.problem is None)


def test_records_that_are_no_matchups_are_passed_over(
    log: SqliteLog, dispatcher: Dispatcher, open_intake: Callable[[], Intake]
) -> None:
    append(log, b"", b"{}", b"\xff", make_matchup(1), b'{"x":' + b"[" * 100_000)
    intake = open_intake()
    wait_until(lambda: taken(dispatcher) == 1)
    wait_until(lambda: intake.unusable == 4)


@pytest.mark.parametrize(
    "fault",
    [
        {"schema": 2},
        {"matchup_id": "../x"},
        {"arena": ""},
        {"models": ("alpha",)},
        {"models": ("alpha", "alpha")},
        {"models": ("alpha", "")},
        {"models": tuple(f"m{number}" for number in range(9))},
        {"expires": 1 << 70},
        {"priority": -(1 << 70)},
    ],
)
def test_what_could_not_be_shown_is_no_matchup(fault: dict[str, object]) -> None:
    assert parse_matchup(encode_matchup(make_matchup(1))) == make_matchup(1)
    assert parse_matchup(encode_matchup(msgspec.structs.replace(make_matchup(1), **fault))) is None
