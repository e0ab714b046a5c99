"""Dead letters as Parquet: `REJECT_SCHEMA` and the commit that recorded them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.contracts.store import StoreError
from pipeline.contracts.vote import REJECT_SCHEMA
from pipeline.store.files import sync_path
from pipeline.store.manifest import StoreFile

DEAD: Final = "dead"
_BATCH_ROWS: Final = 2_000
DEAD_SCHEMA: Final = REJECT_SCHEMA.append(pa.field("commit", pa.int64()))


def write_dead(root: Path, commit: int, rows: pa.Table) -> StoreFile:
    """Write the dead letters of one commit, at least one, and flush them."""
    if not rows.schema.equals(REJECT_SCHEMA):
        raise StoreError(f"dead letters do not have REJECT_SCHEMA but {rows.schema.names}")
    table = rows.append_column(DEAD_SCHEMA.field("commit"), pa.repeat(commit, len(rows)))
    return _write(root, f"c{commit:010d}.parquet", table, commits=(commit, commit), level=0)


def merge_dead(root: Path, sources: Sequence[StoreFile], name: str) -> StoreFile:
    """Merge files in the order given."""
    table = pa.concat_tables([read_dead(root / source.path) for source in sources])
    commits = (sources[0].first_commit, sources[-1].last_commit)
    return _write(root, name, table, commits=commits, level=1 + max(source.level for source in sources))


def read_dead(path: Path, columns: Sequence[str] = DEAD_SCHEMA.names) -> pa.Table:
    """Read one file as `DEAD_SCHEMA`, or some columns of it. Raises FileNotFoundError."""
    with pq.ParquetFile(path) as file:
        return file.read(list(columns), use_threads=False).cast(
            pa.schema([DEAD_SCHEMA.field(each) for each in columns])
        )


def iter_dead(path: Path) -> Iterator[pa.Table]:
    """Iterate over one file as `DEAD_SCHEMA`, some rows at a time: payloads may be large. Raises FileNotFoundError."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
            yield pa.Table.from_batches([batch]).cast(DEAD_SCHEMA)


def choose_dead(table: pa.Table, reason: str | None, since: int | None) -> pa.Table:
    """Return the rows with `reason` that were appended from `since` (ms) on; None = any."""
    if reason is not None:
        table = table.filter(pc.equal(table["reason"], reason))
    if since is not None:
        table = table.filter(pc.greater_equal(table["appended_at"], since))
    return table


def _write(root: Path, name: str, table: pa.Table, *, commits: tuple[int, int], level: int) -> StoreFile:
    path = root / DEAD / name
    pq.write_table(table, path, compression="zstd", row_group_size=50_000)
    sync_path(path)
    times = pc.min_max(table["appended_at"])
    return StoreFile(
        path=path.relative_to(root).as_posix(),
        kind="dead",
        rows=len(table),
        bytes=path.stat().st_size,
        level=level,
        first_commit=commits[0],
        last_commit=commits[1],
        first_time=times["min"].as_py() or 0,
        last_time=times["max"].as_py() or 0,
    )
