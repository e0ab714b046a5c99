"""Opens an event log by its URL."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from pathlib import Path

from pipeline.contracts.log import EventLog, LogError
from pipeline.eventlog.blocks import wall_clock_ms
from pipeline.eventlog.file_log import JSON_LINES, PARQUET, FileLog
from pipeline.eventlog.sqlite_log import SqliteLog
from pipeline.eventlog.stdio_log import StdioLog

FORMS = (
    "kafka://HOST:PORT/votes, sqlite:PATH (or PATH ending in .db), a file ending in .jsonl or .parquet, "
    "a folder or glob of them, or - for JSON lines on standard input or output"
)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)


def open_log(url: str, *, clock: Callable[[], int] = wall_clock_ms) -> EventLog:
    """Return the event log that `url` names, without touching it; raise `LogError` for a URL that names none.

    `clock` returns the wall clock in ms since 1970 UTC.
    """
    scheme = _SCHEME.match(url)
    if url == "-":
        return StdioLog(clock=clock)
    if scheme and scheme[1].lower() == "kafka":
        from pipeline.eventlog.kafka.settings import parse_kafka_url

        settings = parse_kafka_url(url)
        from pipeline.eventlog.kafka.log import KafkaLog

        return KafkaLog(settings, clock=clock)
    if scheme and scheme[1].lower() == "sqlite":
        return SqliteLog(_sqlite_path(url), clock=clock)
    if scheme and not Path(url).exists():
        raise LogError(f"{url}: {scheme[1]}: is not known here. Give {FORMS}.")
    if Path(url).suffix == ".db" and not Path(url).is_dir():
        return SqliteLog(url, clock=clock)
    if _is_archive(url):
        raise LogError(
            f"{url} is the archive of a store, not an event log: replay it with `kwise replay --from {url}`."
        )
    is_file = Path(url).suffix in {JSON_LINES, PARQUET}
    if url and (is_file or Path(url).is_dir() or url.endswith("/") or glob.has_magic(url)):
        return FileLog(url, clock=clock)
    raise LogError(f"{url!r} names no event log. Give {FORMS}; a folder that does not exist yet ends in /.")


def _sqlite_path(url: str) -> str:
    path = url.split(":", 1)[1]
    if path.startswith("///"):
        path = path[2:]  # sqlite:///var/log.db, as other programs write it
    if path.startswith("//") or not path:
        raise LogError(f"{url}: give the path of the file: sqlite:events.db or sqlite:/var/lib/kwise/events.db")
    return path


def _is_archive(url: str) -> bool:
    """Whether the path lies in the archive of a store; one that ends in ``archive/`` always does."""
    if url.endswith("archive/") and Path(url).name == "archive":
        return True
    path = Path(url).absolute()
    return any(part.name == "archive" and (part.parent / "MANIFEST.json").exists() for part in (path, *path.parents))
