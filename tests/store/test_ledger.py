from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pipeline.contracts.log import Position
from pipeline.contracts.store import StoreError
from pipeline.store.ledger import LEDGER_NAME, Change, Head, Ledger
from pipeline.store.manifest import StoreFile
from tests.store.factory import VOTES, make_matchup


def make_file(number: int) -> StoreFile:
    return StoreFile(path=f"dead/{number}", kind="dead", rows=1, bytes=2, first_commit=number, last_commit=number)


def test_new_ledger_is_at_commit_0(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.head() == Head()
    assert (ledger.state(), ledger.counts(), ledger.files(), ledger.outbox()) == ({}, {}, [], ())


def test_half_made_ledger_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / f"{LEDGER_NAME}.tmp").write_bytes(b"half")
    ledger = Ledger(tmp_path)
    assert ledger.head().number == 0


def test_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / LEDGER_NAME).write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="cannot open"):
        Ledger(tmp_path)


def test_files_are_superseded_and_forgotten(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    files = [make_file(number) for number in range(250)]
    ledger.apply(Change(head=Head(1, created=11), files=files))
    assert ledger.files() == [(file, None) for file in files]
    ledger.apply(Change(head=Head(2, created=22), superseded=["dead/0", "dead/1"]))
    ledger.apply(Change(head=Head(3, created=33), forgotten=["dead/0"]))
    assert ledger.files() == [(files[1], 22), *((file, None) for file in files[2:])]


def test_outbox_keeps_its_order(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.apply(Change(head=Head(1), outbox=[make_matchup(number) for number in (3, 1, 2)]))
    ledger.apply(Change(head=Head(2), outbox=[make_matchup(0)], delivered=["m1", "never heard of"]))
    assert [matchup.matchup_id for matchup in ledger.outbox()] == ["m3", "m2", "m0"]


def test_head_keeps_positions(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    head = Head(1, 2, 3, 4, {VOTES: Position(5, 6)}, 7)
    ledger.apply(Change(head=head))
    ledger.close()
    assert Ledger(tmp_path).head() == head


def test_change_that_fails_leaves_the_ledger_usable(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    wrong = msgspec.structs.replace(make_file(1), rows="many")
    with pytest.raises(StoreError, match="cannot write commit 1"):
        ledger.apply(Change(head=Head(1), state={"a": b"1"}, files=[wrong]))
    assert (ledger.head(), ledger.state()) == (Head(), {})
    ledger.apply(Change(head=Head(1), state={"a": b"1"}, files=[make_file(1)]))
    assert ledger.state() == {"a": b"1"}


def test_ledger_does_not_grow_without_end(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    blob = bytes(100_000)
    for number in range(1, 151):
        change = Change(
            head=Head(number),
            state={"a": blob, f"b{number % 2}": blob, f"b{(number + 1) % 2}": b""},
            files=[make_file(number)],
            forgotten=[f"dead/{number - 1}"],
        )
        ledger.apply(change)
    ledger.close()
    assert (tmp_path / LEDGER_NAME).stat().st_size < 10_000_000
