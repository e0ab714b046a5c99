"""Opening event logs for the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.contracts.log import EventLog

PARTITIONS: Final = {"votes": 4, "control": 1, "matchups": 1}
"""More partitions of votes let more readers share a Kafka topic; the order of control events matters."""

to_option = click.option(
    "--to",
    "url",
    required=True,
    metavar="URL",
    help="Event log: kafka://HOST:PORT/votes, sqlite:FILE, FOLDER/, FILE.jsonl, FILE.parquet, or - for stdout.",
)
"""`--to`, handed over as `url`."""


def holds_votes_only(url: str) -> bool:
    """Whether the log at `url` has no place for control events: one file, or standard output."""
    return url == "-" or (Path(url).suffix in {".jsonl", ".parquet"} and not Path(url).is_dir())


def store_of_archive(url: str) -> Path | None:
    """Return the store whose archive `url` names, None if it is no archive."""
    path = Path(url)
    if path.name == "archive" and (path.parent / "MANIFEST.json").exists():
        return path.parent
    return None


def open_live_log(url: str, *, announce: Callable[[str], None] = lambda _: None) -> EventLog:
    """Open the log at `url`; of an embedded one, create what is missing. Raises `LogError`.

    `announce` is told of a new file: it may be a slip of the pen in the name of another.
    """
    from pipeline.eventlog import open_log
    from pipeline.eventlog.sqlite_log import SqliteLog

    log = open_log(url)
    if isinstance(log, SqliteLog):
        is_new = not Path(log.url.removeprefix("sqlite:")).exists()
        log.create_topics(PARTITIONS)
        if is_new:
            announce(f"created {log.url}, an empty log")
    return log
