"""The event log in files: one JSON-lines or Parquet file, a folder of them, or a glob; a file is a partition.

A file whose name starts with ``control`` or ``matchups`` is a partition of that topic, any other one of
``votes``; files are numbered in the order of their names. A file that is added to a log in use must therefore
sort behind those of its topic: name files by time, or by number.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from pipeline.contracts.log import CONTROL, MATCHUPS, VOTES, LogError, LogWriter, Position, TopicPartition
from pipeline.eventlog.blocks import Block, wall_clock_ms
from pipeline.eventlog.file_writer import JsonLinesWriter, ParquetWriter
from pipeline.eventlog.jsonl import read_lines
from pipeline.eventlog.merge import BlockMerger
from pipeline.eventlog.parquet_file import ParquetSlices, count_rows
from pipeline.eventlog.reader import PartitionReader

JSON_LINES = ".jsonl"
PARQUET = ".parquet"
_LOOK_SECONDS = 0.025
_LOOK_SHARE = 20  # a look at a folder of many files takes at most 1/20 of the time
_FIRST_LINE = 4096  # bytes of the first line that tell a file from others
_OPEN_PARQUET = 64  # files kept open between reads


def topic_of_file(path: Path) -> str:
    """Return the topic that a file belongs to by its name."""
    return next((topic for topic in (CONTROL, MATCHUPS) if path.name.startswith(topic)), VOTES)


class FileLog:
    """An `EventLog` in files.

    Parameters
    ----------
    url : a file, a folder, or a glob; a folder need not exist before `create_topics`
    clock : returns the wall clock in ms since 1970 UTC

    Attributes
    ----------
    row_times : True: records of many votes state the append time of each, and may be large (`parquet_file`)
    """

    def __init__(self, url: str, *, clock: Callable[[], int] = wall_clock_ms) -> None:
        self.url = url
        self.row_times = True
        self._clock = clock
        self._path = Path(url)
        self._is_folder = self._path.is_dir() or url.endswith("/")
        self._is_glob = not self._path.exists() and glob.has_magic(url)

    def preflight(self, topics: Sequence[str]) -> None:
        """Check that there are files, of votes if these are asked for; control files may be absent."""
        paths = self._list_paths()
        if not paths:
            raise LogError(f"{self.url}: no {JSON_LINES} or {PARQUET} file there; check the path.")
        for path in paths:
            if path.suffix == PARQUET:
                count_rows(path)
            elif not os.access(path, os.R_OK):
                raise LogError(f"{path} cannot be read: mend its permissions.")
        if VOTES in topics and not any(topic_of_file(path) == VOTES for path in paths):
            raise LogError(f"{self.url}: holds no votes, only {', '.join(path.name for path in paths[:5])}.")

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create what is missing: ``TOPIC-N.jsonl`` for each partition in a folder; else the one file."""
        if self._is_glob:
            raise LogError(f"{self.url}: a glob can be read, not written; name a folder or a file.")
        if not self._is_folder:
            if self._path.suffix == JSON_LINES and not self._path.exists():
                _make_folder(self._path.parent)
                self._path.touch()
            return
        _make_folder(self._path)
        present = {topic_of_file(path) for path in self._list_paths()}
        for topic, count in partitions.items():
            if topic_of_file(Path(topic)) != topic and topic != VOTES:
                raise LogError(f"{self.url}: files hold the topics {VOTES}, {CONTROL} and {MATCHUPS}, not {topic}.")
            for number in range(count if topic not in present else 0):
                (self._path / f"{topic}-{number:05d}{JSON_LINES}").touch()

    def reader(self, positions: Mapping[TopicPartition, Position], *, live: bool) -> PartitionReader:
        """Open a reader at `positions`."""
        return PartitionReader(self.url, FileSource(self._list_paths, live=live), positions)

    def merged_reader(self, positions: Mapping[TopicPartition, Position], *, until: int | None = None) -> BlockMerger:
        """Open a finite reader that merges votes and control by append time."""
        source = FileSource(self._list_paths, live=False)
        return BlockMerger(self.url, source, positions, until=until, clock=self._clock)

    def writer(self, *, patience_s: float | None = None) -> LogWriter:  # noqa: ARG002 - the protocol's
        """Open a writer: to one file of votes, or to a folder by topic and key."""
        if self._is_glob:
            raise LogError(f"{self.url}: a glob can be read, not written; name a folder or a file.")
        if self._is_folder:
            return JsonLinesWriter(self.url, self._list_topic)
        if self._path.suffix == PARQUET:
            return ParquetWriter(self._path)
        _make_folder(self._path.parent)
        return JsonLinesWriter(self.url, self._only_file)

    def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Next offset of each partition of `topic`: bytes of JSON lines, rows of Parquet."""
        return FileSource(self._list_paths, live=True).ends(topic)

    def identities(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, str]:
        """Tell the file's name, and the hash of its first line or, of Parquet, its size."""
        source = FileSource(self._list_paths, live=True)
        return {each: identity for each in partitions if (identity := source.identity(each)) is not None}

    def _list_paths(self) -> list[Path]:
        if self._is_folder:
            found = [path for path in self._path.iterdir() if path.is_file()] if self._path.is_dir() else []
        elif self._is_glob:
            names = glob.glob(self.url, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
            found = [path for path in map(Path, names) if path.is_file()]
        else:
            found = [self._path] if self._path.is_file() else []
        kept = [path for path in found if path.suffix in {JSON_LINES, PARQUET} and not path.name.startswith(".")]
        return sorted(kept, key=lambda path: (path.name, path))

    def _list_topic(self, topic: str) -> list[Path]:
        paths = [path for path in self._list_paths() if topic_of_file(path) == topic]
        return [path for path in paths if path.suffix == JSON_LINES]

    def _only_file(self, topic: str) -> list[Path]:
        return [self._path] if topic_of_file(self._path) == topic else []


class FileSource:
    """A `BlockSource` over the files that `list_paths` finds; ``live=False``: over what they hold now."""

    def __init__(self, list_paths: Callable[[], list[Path]], *, live: bool) -> None:
        self._list_paths = list_paths
        self._live = live
        self._paths: dict[TopicPartition, Path] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._inodes: dict[TopicPartition, int] = {}
        self._checked: set[TopicPartition] = set()
        self._parquet: dict[TopicPartition, ParquetSlices] = {}
        self._look_cost = 0.0
        self._look()

    def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Return the size of each file of `topic`, in bytes or rows."""
        if self._live:
            self._look()
        return {source: end for source, end in self._ends.items() if source.topic == topic}

    def read(
        self, source: TopicPartition, start: Position, end: int, limit: int, max_bytes: int, *, by_row: bool
    ) -> Block:
        """Return the records of one file in ``[start, end)``."""
        path = self._paths[source]
        if path.suffix == PARQUET:
            return self._open_parquet(source, path).read(start, end, limit, by_row=by_row)
        try:
            fd = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise LogError(f"{path} cannot be opened: {error.strerror}.") from error
        try:
            if source not in self._checked:
                _check_line_start(path, fd, start.offset, end)
                self._checked.add(source)
            return read_lines(source, fd, start, end, limit, max_bytes, last=not self._live)
        finally:
            os.close(fd)

    def identity(self, source: TopicPartition) -> str | None:
        """Return what tells the file of a partition from others; None if there is none."""
        if (path := self._paths.get(source)) is None:
            return None
        try:
            if path.suffix == PARQUET:  # never appended to
                return f"{path.name} of {path.stat().st_size} bytes"
            with path.open("rb") as file:
                return f"{path.name} #{blake2b(file.readline(_FIRST_LINE), digest_size=8).hexdigest()}"
        except OSError as error:
            raise LogError(f"{path} cannot be read: {error.strerror}.") from error

    def complete(self) -> bool:
        """Whether `ends` are final."""
        return not self._live

    def wait(self, timeout: float) -> None:
        """Sleep for a moment."""
        time.sleep(max(0.0, min(timeout, max(_LOOK_SECONDS, _LOOK_SHARE * self._look_cost))))

    def close(self) -> None:
        """Close what is open."""
        for slices in self._parquet.values():
            slices.close()
        self._parquet.clear()

    def _look(self) -> None:
        """Number the files and note their ends; refuse when a number no longer names the same file."""
        began = time.monotonic()
        counts: dict[str, int] = {}
        paths: dict[TopicPartition, Path] = {}
        for path in self._list_paths():
            topic = topic_of_file(path)
            source = TopicPartition(topic, counts.get(topic, 0))
            counts[topic] = source.partition + 1
            paths[source] = path
        for source, path in self._paths.items():
            if paths.get(source) != path:
                raise LogError(
                    f"{path} was partition {source.topic}/{source.partition} and is not any more: a file was "
                    "deleted, or added before it by name. Put things back; add files that sort last."
                )
        self._paths = paths
        for source, path in paths.items():
            self._look_at(source, path)
        self._look_cost = time.monotonic() - began

    def _look_at(self, source: TopicPartition, path: Path) -> None:
        try:
            found = path.stat()
        except OSError as error:
            raise LogError(f"{path} cannot be read: {error.strerror}.") from error
        if self._inodes.setdefault(source, found.st_ino) != found.st_ino:
            raise LogError(f"{path} was replaced while it was read; put the old file back, or start again.")
        if path.suffix != PARQUET:
            self._ends[source] = found.st_size
            return
        if source.topic != VOTES:
            raise LogError(f"{path}: Parquet files hold votes; {source.topic} events are JSON lines.")
        if source not in self._ends:  # a Parquet file is complete when it is there
            self._ends[source] = count_rows(path)

    def _open_parquet(self, source: TopicPartition, path: Path) -> ParquetSlices:
        slices = self._parquet.pop(source, None) or ParquetSlices(source, path)
        self._parquet[source] = slices  # the last one used comes last
        if len(self._parquet) > _OPEN_PARQUET:
            self._parquet.pop(next(iter(self._parquet))).close()
        return slices


def _check_line_start(path: Path, fd: int, at: int, end: int) -> None:
    """Raise `LogError` if a line is read from its middle: the file is not the one that was read before."""
    if 0 < at < end and b"\n" not in os.pread(fd, 2, at - 1):
        raise LogError(
            f"{path}: byte {at}, where reading is to go on, lies inside a line: this is not the file that "
            "the store has read. Put the right file back, or start a new store on this one."
        )


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LogError(f"{path} cannot be created: {error.strerror}.") from error
