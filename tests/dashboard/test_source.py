"""What pages read is kept for a while, and asked for once for all who look."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from dashboard.notices import no_models
from dashboard.pace import KEPT
from dashboard.source import Source, UnavailableError, _Kept
from pipeline.contracts.snapshot import Publication
from pipeline.contracts.store import Commit
from pipeline.contracts.vote_filter import VoteFilter
from pipeline.store.errors import ReaderError
from pipeline.store.manifest import Heartbeat, Manifest
from pipeline.store.reader import StoreReader
from tests.conftest import wait_until
from tests.dashboard.made_store import MODELS, make_archive, make_publication, make_store, publish, wall_ms


class FakeReader:
    """Answers like `StoreReader`, counts how often it is asked, and can be told to fail."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    def manifest(self) -> Manifest:
        raise AssertionError

    def heartbeat(self) -> Heartbeat | None:
        if self.error:
            raise self.error
        return None

    def publication(self, arena: str) -> Publication:
        self.asked += 1
        if self.error:
            raise self.error
        return make_publication(arena)

    recent = StoreReader.recent
    history = StoreReader.history
    precision = StoreReader.precision
    publication_with_counts = StoreReader.publication_with_counts
    recent_votes = StoreReader.recent_votes
    retractions = StoreReader.retractions
    dead_letters = StoreReader.dead_letters


def test_source_reads_once_for_all_who_ask_at_the_same_time(tmp_path: Path) -> None:
    reader = FakeReader()
    source = Source(tmp_path, reader)
    assert source.publication("a") is source.publication("a")
    assert reader.asked == 1
    wait_until(lambda: source.publication("a") and reader.asked == 2, timeout=10 * KEPT + 5)


def test_arena_that_was_published_a_moment_ago_is_found(tmp_path: Path) -> None:
    with make_store(tmp_path / "store", make_publication("old")) as store:
        source = Source(store.path)
        assert list(source.overview().titles) == ["old"]
        publish(store, make_publication("new", commit=2))
        assert list(source.overview(wanted="new").titles) == ["new", "old"]


def test_votes_that_do_not_count_are_left_out_of_the_newest(tmp_path: Path) -> None:
    rows = make_archive("a", MODELS, 6)
    voters = pa.array(["good", "bad", "good", "bad", "bad", "good"])
    rows = rows.set_column(rows.schema.get_field_index("voter"), "voter", voters)
    with make_store(tmp_path / "store", make_publication("a"), archive=rows) as store:
        assert len(Source(store.path).answers("a")) == 6
        state = {"filter": msgspec.json.encode(VoteFilter(voters=("bad",)))}
        store.commit(Commit(number=2, log_time=wall_ms(), sequence=6, positions={}, state=state))
        store.heartbeat(wall_ms())
        assert len(Source(store.path).answers("a")) == 3


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (ReaderError("no store", retriable=True), "Waiting for a store"),
        (ReaderError("a file is missing"), "The store cannot be read"),
        (PermissionError(13, "Permission denied"), "The store cannot be read"),
        (msgspec.DecodeError("truncated"), "The store cannot be read"),
    ],
)
def test_source_puts_errors_into_words(tmp_path: Path, error: Exception, title: str) -> None:
    reader = FakeReader()
    reader.error = error
    source = Source(tmp_path, reader)
    for read in (source.heartbeat, lambda: source.publication("a")):
        with pytest.raises(UnavailableError) as caught:
            read()
        assert caught.value.notice.title == title


class Helper(Executor):
    """Does what it was asked for when it is told to."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], Any]] = []

    def submit(self, work: Callable[..., Any], /, *given: Any, **_named: Any) -> Future[Any]:
        self.asked.append(partial(work, *given))
        return Future()

    def work(self) -> None:
        self.asked.pop()()


def test_answer_that_is_due_is_given_while_a_helper_asks_again() -> None:
    answers, helper = iter(range(1, 9)), Helper()
    kept = _Kept(lambda: next(answers), 0.0, helper)
    assert kept.get() == 1  # there is none to be given meanwhile
    assert [kept.get(), kept.get()] == [1, 1]
    assert len(helper.asked) == 1
    helper.work()
    assert kept.get() == 2


def test_answer_that_is_too_old_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, helper = iter(range(1, 9)), Helper()
    kept = _Kept(lambda: next(answers), 0.0, helper)
    assert kept.get() == 1
    monkeypatch.setattr("dashboard.source.LATE", 0.0)
    assert kept.get() == 2
    assert helper.asked == []


def test_older_answer_does_not_take_the_place_of_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, helper = iter(range(1, 9)), Helper()
    kept = _Kept(lambda: next(answers), 0.0, helper)
    assert kept.get() == kept.get() == 1
    with monkeypatch.context() as patch:
        patch.setattr("dashboard.source.LATE", 0.0)
        assert kept.get() == 2
    helper.work()  # asked before
    assert kept.get() == 2


def test_helper_that_fails_is_asked_again_and_what_is_missing_is_looked_for(caplog: pytest.LogCaptureFixture) -> None:
    outcomes: list[int | Exception] = [1, ZeroDivisionError("once"), UnavailableError(no_models()), 4]
    helper = Helper()

    def ask() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    kept = _Kept(ask, 0.0, helper)
    assert kept.get() == kept.get() == 1
    helper.work()
    assert "could not be found out" in caplog.text
    assert kept.get() == 1
    helper.work()
    assert kept.get() == 4  # what is missing is not told for longer than it is so
    assert helper.asked == []
