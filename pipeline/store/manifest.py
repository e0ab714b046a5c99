"""What the writer tells readers: MANIFEST.json, HEARTBEAT.json, and one MANIFEST.json an arena."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec

from pipeline.contracts.log import Position, TopicPartition
from pipeline.contracts.snapshot import Publication
from pipeline.contracts.status import Status
from pipeline.contracts.store import StoreError

FORMAT: Final = 1
"""Layout of ledger, manifests and files. Raised when an older program could misread a newer store."""

MANIFEST_NAME: Final = "MANIFEST.json"
HEARTBEAT_NAME: Final = "HEARTBEAT.json"

Kind = Literal["archive", "dead", "window"]
PositionRow = tuple[str, int, int, int]

T = TypeVar("T")


class StoreFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One immutable file of the store.

    `path` is relative to the store. `level` counts the merges behind it. `hour` (UTC, YYYYMMDDTHH) is the
    archive's partition. Sequences are 0 where there are none; times (ms) are append times, in the window the
    votes' own times.
    """

    path: str
    kind: Kind
    rows: int
    bytes: int
    level: int = 0
    hour: str = ""
    first_sequence: int = 0
    last_sequence: int = 0
    first_commit: int
    last_commit: int
    first_time: int = 0
    last_time: int = 0


class PublishedArena(msgspec.Struct, frozen=True, kw_only=True):
    """Where an arena is published, below ``board/``, and as of which commit."""

    folder: str
    commit: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """MANIFEST.json of a store: one commit, and the files that hold it. `version` rises with every writing.

    Archive files may hold rows with a higher sequence than `sequence`: they are not part of this commit.
    `registry` is JSON of `contracts.arena.Registry`, or null; `log` says which partitions `positions` belong to, as the
    operator stored it; `filter` is JSON of `contracts.vote_filter.VoteFilter`.
    """

    format: int
    version: int
    commit: int
    log_time: int
    sequence: int
    horizon: int
    positions: tuple[PositionRow, ...]
    arenas: dict[str, PublishedArena]
    registry: msgspec.Raw
    log: msgspec.Raw = msgspec.Raw(b"[]")
    filter: msgspec.Raw = msgspec.Raw(b"{}")
    archive: tuple[StoreFile, ...]
    dead: tuple[StoreFile, ...]
    window: tuple[StoreFile, ...]


class FileTotals(msgspec.Struct, frozen=True, kw_only=True):
    """How much the live files of one kind hold."""

    files: int = 0
    rows: int = 0
    bytes: int = 0


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """HEARTBEAT.json: the job lived at `time` (ms) and had committed this much.

    `files` are the totals of live files. `status` is what a live job says of itself, None of a replay. `stopped`: the
    store was let go in order, and nobody writes to it until the next sign of life.
    """

    time: int
    commit: int
    positions: tuple[PositionRow, ...]
    files: dict[Kind, FileTotals] = {}
    status: Status | None = None
    stopped: bool = False


class HistoryFile(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable Parquet file of past boards."""

    file: str
    level: int
    rows: int
    first_commit: int
    last_commit: int
    first_log_time: int
    last_log_time: int


class SupersededFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was published, and is deleted some time after `since` (ms)."""

    file: str
    since: int


class ArenaManifest(msgspec.Struct, frozen=True, kw_only=True):
    """``board/<arena>/MANIFEST.json``: the newest publication and the files beside it.

    `recorded` holds by method the last commit that the history has.
    """

    format: int
    version: int
    publication: Publication
    counts: str
    history: tuple[HistoryFile, ...]
    recorded: dict[str, int]
    superseded: tuple[SupersededFile, ...] = ()


class DamagedManifestError(StoreError):
    """A manifest is no JSON, or not that of a manifest: what a disk or a careless hand has made of it."""


class _FormatOnly(msgspec.Struct):
    format: int


def decode_manifest(data: bytes, kind: type[T], where: Path) -> T:
    """Decode a manifest of this program's format. Raises `StoreError` for another format or a broken file.

    A broken one is a `DamagedManifestError`.
    """
    try:
        found = msgspec.json.decode(data, type=_FormatOnly).format
        if found == FORMAT:
            return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise DamagedManifestError(
            f"{where} is damaged ({error}): put it back from a copy; a store's own is rewritten by its next opening"
        ) from None
    raise StoreError(describe_format(found, where))


def describe_format(found: object, where: Path) -> str:
    """Return what to say of a store whose format this program does not know."""
    return (
        f"{where} has store format {found}, and this version of kwise-arena knows format {FORMAT}: "
        "use the version that wrote it, or replay its log into a new store"
    )


def encode_positions(positions: dict[TopicPartition, Position]) -> tuple[PositionRow, ...]:
    """Return positions as rows in a fixed order."""
    return tuple((*source, *position) for source, position in sorted(positions.items()))


def decode_positions(rows: tuple[PositionRow, ...]) -> dict[TopicPartition, Position]:
    """Undo `encode_positions`."""
    return {TopicPartition(topic, part): Position(offset, index) for topic, part, offset, index in rows}
