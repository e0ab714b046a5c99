"""What a URL names."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.contracts.log import EventLog, LogError, LogReader, LogWriter, MergedReader
from pipeline.eventlog import open_log
from pipeline.eventlog.file_log import FileLog
from pipeline.eventlog.kafka.log import KafkaLog
from pipeline.eventlog.sqlite_log import SqliteLog
from pipeline.eventlog.stdio_log import StdioLog


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:events.db", SqliteLog),
        ("sqlite:/var/lib/events", SqliteLog),
        ("sqlite:///var/lib/events.db", SqliteLog),
        ("events.db", SqliteLog),
        ("votes.jsonl", FileLog),
        ("some/votes.parquet", FileLog),
        ("some/*.parquet", FileLog),
        ("votes/", FileLog),
        ("-", StdioLog),
    ],
)
def test_urls_name_logs(url: str, kind: type) -> None:
    assert isinstance(open_log(url), kind)


def test_an_existing_folder_needs_no_slash(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    for folder in (tmp_path, tmp_path / "archive"):
        assert isinstance(open_log(str(folder)), FileLog)


@pytest.mark.parametrize("url", ["", "votes.csv", "ftp://host/votes", "sqlite:", "sqlite://host/x", "nowhere"])
def test_wrong_urls_name_the_right_forms(url: str) -> None:
    with pytest.raises(LogError, match="sqlite:"):
        open_log(url)


def test_kafka_is_opened_without_being_asked() -> None:
    log = open_log("kafka://nowhere.invalid:9092/site.votes")
    assert isinstance(log, KafkaLog)
    assert log.url == "kafka://nowhere.invalid:9092/site.votes"


def test_a_stores_archive_is_for_replay(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    (archive / "appended_hour=1").mkdir(parents=True)
    urls = [f"{archive}/"]
    (tmp_path / "MANIFEST.json").touch()
    urls += [str(archive), f"{archive}/*/*.parquet", f"{archive}/appended_hour=1"]
    for url in urls:
        with pytest.raises(LogError, match="kwise replay"):
            open_log(url)


def test_the_protocols_are_kept(tmp_path: Path) -> None:
    """For the type checker, and for the names of what is there."""
    for url in (f"sqlite:{tmp_path}/events.db", f"{tmp_path}/votes.jsonl"):
        log: EventLog = open_log(url)
        log.create_topics({"votes": 1})
        reader: LogReader = log.reader({}, live=True)
        merged: MergedReader = log.merged_reader({})
        writer: LogWriter = log.writer()
        for opened in (reader, merged, writer):
            opened.close()
            opened.close()
