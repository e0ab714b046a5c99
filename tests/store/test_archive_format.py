from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.contracts.store import ARCHIVE_SCHEMA, StoreError
from pipeline.store.archive_format import GroupWriter, check_rows, pack_rows, read_rows
from pipeline.store.manifest import StoreFile
from tests.store.factory import make_batch, make_row, make_rows

VOTE_FIELDS = ["vote_id", "matchup_id", "arena", "time", "voter", "mode", "models", "ranks", "prompt", "policy"]
VOTE_FIELDS += ["propensity", "duration_ms", "token"]
CONTROL = dict.fromkeys(VOTE_FIELDS) | {"topic": "control", "event": b'{"type":"model.add"}'}

ODD_ROWS: list[dict[str, Any]] = [
    {},
    {"vote_id": f"{10**30:032X}", "matchup_id": "a"},
    {"vote_id": "x" * 128, "matchup_id": f"{3:032x}"},
    CONTROL,
    {"ranks": None, "mode": 2},
    {"ranks": [None, None, 1, None], "mode": 1},
    {"models": ["one", "two"], "ranks": [1, 1]},
    {"models": [f"model-{place}" for place in range(8)], "ranks": [-(2**31), 2**31 - 1, 0, 1, 2, 3, 4, 5]},
    {"voter": None, "prompt": None, "policy": None, "propensity": None, "duration_ms": None},
    {"token": "k1.1.mac", "prompt": "c-1", "policy": "gibbs", "propensity": 4.2e-300, "duration_ms": -1},
    {"arena": "größe", "index": 2**31 - 1, "partition": 63, "offset": 2**62, "time": -1},
    CONTROL,
]


def write_file(path: Path, batches: list[pa.RecordBatch]) -> StoreFile:
    writer = GroupWriter(path)
    for batch in batches:
        writer.write(pack_rows(batch))
    writer.close()
    first, last = batches[0]["sequence"][0].as_py(), batches[-1]["sequence"][-1].as_py()
    return StoreFile(
        path=path.name,
        kind="archive",
        rows=sum(map(len, batches)),
        bytes=path.stat().st_size,
        first_sequence=first,
        last_sequence=last,
        first_commit=1,
        last_commit=1,
    )


def read_back(root: Path, files: list[StoreFile], **bounds: int) -> list[dict[str, Any]]:
    bounds = {"after": 0, "until": 2**62, "batch_rows": 1000} | bounds
    return [row for batch in read_rows(root, lambda: files, **bounds) for row in batch.to_pylist()]


def test_rows_of_every_kind_come_back(tmp_path: Path) -> None:
    rows = [make_row(sequence, 1, **changes) for sequence, changes in enumerate(ODD_ROWS, 1)]
    file = write_file(tmp_path / "a.parquet", [make_batch(rows)])
    assert read_back(tmp_path, [file]) == rows


@pytest.mark.parametrize("seed", range(5))
def test_rows_come_back_from_batches_of_any_mixture(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    rows = [make_row(sequence, 1, **rng.choice(ODD_ROWS)) for sequence in range(1, 200)]
    cuts = sorted({0, len(rows), *(rng.randrange(len(rows)) for _ in range(9))})
    batches = [make_batch(rows[start:end]) for start, end in pairwise(cuts)]
    file = write_file(tmp_path / "a.parquet", [batch.slice(0) for batch in batches])
    assert read_back(tmp_path, [file], batch_rows=rng.randrange(1, 50)) == rows


def test_rows_come_back_when_sliced(tmp_path: Path) -> None:
    rows = [make_row(sequence, 1, **changes) for sequence, changes in enumerate(ODD_ROWS, 1)]
    file = write_file(tmp_path / "a.parquet", [make_batch(rows).slice(3, 6)])
    assert read_back(tmp_path, [file]) == rows[3:9]


def test_rows_have_the_archive_schema(tmp_path: Path) -> None:
    file = write_file(tmp_path / "a.parquet", [make_rows(1, 5, 1)])
    (batch,) = read_rows(tmp_path, lambda: [file], after=0, until=9, batch_rows=9)
    assert batch.schema.equals(ARCHIVE_SCHEMA)


def test_hex_ids_take_sixteen_bytes(tmp_path: Path) -> None:
    write_file(tmp_path / "a.parquet", [make_rows(1, 5, 1)])
    table = pq.read_table(tmp_path / "a.parquet")
    assert table["vote_id"].null_count == 5
    assert table["vote_id_16"][4].as_py() == (5).to_bytes(16, "big")


def test_more_models_than_a_dictionary_page_holds(tmp_path: Path) -> None:
    names = [f"a-model-with-quite-a-long-name-{place:06d}" for place in range(30_000)]
    rows = [make_row(place, 1, models=names[place * 8 : place * 8 + 8], ranks=[1] * 8) for place in range(1, 3_750)]
    file = write_file(tmp_path / "a.parquet", [make_batch(rows)])
    assert read_back(tmp_path, [file]) == rows


@pytest.mark.parametrize(("after", "until"), [(0, 30), (0, 7), (9, 12), (10, 10), (14, 30), (30, 40)])
def test_rows_between_two_sequences(tmp_path: Path, after: int, until: int) -> None:
    files = [write_file(tmp_path / f"{at}.parquet", [make_rows(at + 1, at + 10, 1)]) for at in (20, 0, 10)]
    sequences = [row["sequence"] for row in read_back(tmp_path, files, after=after, until=until)]
    assert sequences == list(range(after + 1, min(until, 30) + 1))


def test_files_merged_while_they_are_read(tmp_path: Path) -> None:
    small = [write_file(tmp_path / f"{at}.parquet", [make_rows(at + 1, at + 10, 1)]) for at in (0, 10, 20)]
    merged = write_file(tmp_path / "m.parquet", [make_rows(1, 30, 1)])
    lists: Iterator[list[StoreFile]] = iter([small, [merged]])
    batches = read_rows(tmp_path, lambda: next(lists), after=0, until=30, batch_rows=100)
    first = next(batches)
    for file in small:
        (tmp_path / file.path).unlink()
    sequences = [row["sequence"] for batch in (first, *batches) for row in batch.to_pylist()]
    assert sequences == list(range(1, 31))


def test_a_file_that_is_named_twice_and_missing_is_an_error(tmp_path: Path) -> None:
    file = write_file(tmp_path / "a.parquet", [make_rows(1, 3, 1)])
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(FileNotFoundError):
        read_back(tmp_path, [file])


def test_rows_of_another_schema_are_refused() -> None:
    with pytest.raises(StoreError, match="voter"):
        check_rows(make_rows(1, 2, 1).drop_columns(["voter"]))


def test_rows_out_of_order_are_refused() -> None:
    with pytest.raises(StoreError, match="ascend"):
        check_rows(make_batch([make_row(2, 1), make_row(1, 1)]))


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    file = write_file(tmp_path / "a.parquet", [make_batch([make_row(sequence, 1) for sequence in range(1, 500)])])
    data = (tmp_path / "a.parquet").read_bytes()
    damaged = data[: len(data) // 2] if damage == "cut" else data[:4] + b"\xff" * 2000 + data[2004:]
    (tmp_path / "a.parquet").write_bytes(damaged)
    with pytest.raises(StoreError, match=r"a\.parquet is damaged .* put it back"):
        read_back(tmp_path, [file])
