"""Exports: everything that is needed to rate again, and nothing that tells who voted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.contracts.vote import VOTE_SCHEMA
from producers.export import EXPORT_SCHEMA, ExportError, export_votes
from tests.producers.archives import TIME, archive_rows, make_event, make_vote

KEY = bytes(range(32))


def export(batches: list[pa.RecordBatch], path: Path, key: bytes | None = KEY) -> list[dict[str, object]]:
    export_votes(batches, path, key=key)
    rows: list[dict[str, object]] = pq.read_table(path).to_pylist()
    return rows


def test_export_votes_keeps_all_that_rating_needs(tmp_path: Path) -> None:
    votes = [
        make_vote(1, prompt="p-0001", policy="gibbs", propensity=0.125, duration_ms=900),
        make_vote(2, mode="best", ranks=(None, 1, None)),
        make_vote(3, mode="all_bad", ranks=None),
        make_vote(4, arena="clips", models=("x", "y"), ranks=(1, 1)),
    ]
    event = make_event("model.retire", arena="pictures", model="beta")
    rows = export([archive_rows([votes[0], event, *votes[1:]])], tmp_path / "v.parquet")
    assert pq.read_schema(tmp_path / "v.parquet").equals(EXPORT_SCHEMA)
    assert EXPORT_SCHEMA.names == [*VOTE_SCHEMA.names, "appended_at"]
    assert [row["appended_at"] for row in rows] == [TIME + 1001, TIME + 1003, TIME + 1004, TIME + 1005]
    for row, vote in zip(rows, votes, strict=True):
        for name in set(VOTE_SCHEMA.names) - {"models", "ranks"}:
            assert row[name] == getattr(vote, name), name
        assert row["models"] == list(vote.models)
        assert row["ranks"] == (None if vote.ranks is None else list(vote.ranks))


def test_export_votes_leaves_out_what_is_private(tmp_path: Path) -> None:
    batch = archive_rows(
        [
            make_vote(1, voter="v3.alice", token="k1.1764003600.mac", prompt="c-5f3a"),
            make_vote(2, voter="v3.bob", prompt="p-0001"),
            make_vote(3, voter="v3.alice", prompt="cat-1"),
            make_vote(4),
        ]
    )
    rows = export([batch], tmp_path / "v.parquet")
    alice, bob, again, nobody = (row["voter"] for row in rows)
    assert alice == again != bob
    assert nobody is None
    assert str(alice).startswith("v0.")
    assert [row["prompt"] for row in rows] == [None, "p-0001", "cat-1", None]
    assert [row["token"] for row in rows] == [None] * 4
    assert not any(secret in (tmp_path / "v.parquet").read_bytes() for secret in (b"alice", b"bob", b"k1.", b"c-5"))
    other = export([batch], tmp_path / "w.parquet", key=bytes(32))
    assert other[0]["voter"] not in {alice, bob}
    dropped = export([batch], tmp_path / "x.parquet", key=None)
    assert [row["voter"] for row in dropped] == [None] * 4


def test_export_votes_gives_one_voter_one_name_in_all_batches(tmp_path: Path) -> None:
    batches = [archive_rows([make_vote(number, voter="v3.alice")]) for number in range(3)]
    rows = export(batches, tmp_path / "v.parquet")
    assert len({row["voter"] for row in rows}) == 1
    assert len(rows) == 3


def test_export_votes_leaves_out_what_is_chosen(tmp_path: Path) -> None:
    batch = archive_rows([make_vote(number) for number in range(5)])
    summary = export_votes(
        [batch],
        tmp_path / "v.parquet",
        key=KEY,
        choose_retracted=lambda rows: np.array(rows["matchup_id"].to_pylist()) == "m-3",
    )
    assert (summary.votes, summary.retracted) == (4, 1)
    assert pq.read_table(tmp_path / "v.parquet")["matchup_id"].to_pylist() == ["m-0", "m-1", "m-2", "m-4"]


def test_export_votes_of_an_empty_archive_is_an_empty_file(tmp_path: Path) -> None:
    assert export([], tmp_path / "v.parquet") == []
    events = archive_rows([make_event("model.retire", arena="pictures", model="beta")])
    assert export([events], tmp_path / "w.parquet") == []


def test_export_votes_leaves_existing_files_alone_and_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    path.write_text("mine")
    with pytest.raises(ExportError, match="exists: name a new file"):
        export_votes([], path, key=KEY)
    assert path.read_text() == "mine"

    def fail_midway() -> Iterator[pa.RecordBatch]:
        yield archive_rows([make_vote(1)])
        raise RuntimeError("the archive broke")

    with pytest.raises(RuntimeError, match="the archive broke"):
        export_votes(fail_midway(), tmp_path / "new.parquet", key=KEY)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["v.parquet"]
