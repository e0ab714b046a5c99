"""`kwise votes feed`: one log into another, at the speed at which it grew, faster, or as fast as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

import click

from pipeline.cli.logs import PARTITIONS, holds_votes_only, store_of_archive, to_option
from pipeline.cli.output import Format, examples, format_option, misuse, note, print_rows, progress
from pipeline.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from pipeline.contracts.log import EventLog
    from producers.feed.pacer import Pacer
    from producers.feed.portions import Portion

_POLL: Final = 10_000
_ENVELOPE: Final = 500
_LATE_SECONDS: Final = 1.0
_TELL_SECONDS: Final = 10.0


def _parse_speed(text: str) -> float | None:
    """Return the speed, None for `max`."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise click.BadParameter(f"{text!r} is no speed: give 1 for the original one, 10 for ten times it, or max")
    return speed


@click.command(
    name="feed",
    epilog=examples(
        "kwise votes feed --from sqlite:events.db --to kafka://localhost:9092/votes --speed 10",
        "kwise votes feed --from store/archive/ --to sqlite:again.db --speed max",
    ),
)
@click.option(
    "--from",
    "source",
    required=True,
    metavar="URL",
    help="Event log as for --to, - for stdin, or STORE/archive/.",
)
@to_option
@click.option(
    "--speed",
    type=_parse_speed,
    default="1",
    show_default=True,
    metavar="N|max",
    help="Times the speed at which the log grew; max: as fast as it goes.",
)
@format_option
def feed_votes(*, source: str, url: str, speed: float | None, output_format: Format) -> None:
    """Append the votes and control events of one log to another, in order, until its present end or Ctrl-C.

    They are due at the distances in time at which they were appended. Records are passed on as they are, faulty ones
    too; those of many votes are put together anew. The log that is fed dates what it takes. A store's archive
    (--from STORE/archive/) gives the votes that were accepted.
    """
    from pipeline.eventlog.urls import open_log
    from producers.feed.feeder import Feeder
    from producers.feed.pacer import Pacer
    from producers.vote_writer import VoteWriter

    if source == url:
        misuse("--from and --to name the same log: it would never end")
    target = open_log(url)
    with stop_on_signals() as stop, _open_source(source) as portions:
        target.create_topics(PARTITIONS)
        pacer = Pacer(speed, time.monotonic, stop.wait)
        started = time.monotonic()
        append = None if holds_votes_only(url) else _event_appender(target)
        envelope = None if target.row_times else _ENVELOPE
        with VoteWriter(url, envelope=envelope, check=False) as writer, progress("votes") as advance:
            feeder = Feeder(writer, append, pacer, advance=_watch_lateness(pacer, advance))
            done = feeder.feed(portions)
    seconds = time.monotonic() - started
    if done.stopped:
        note("stopped")
    if done.left_out:
        note(f"left out {done.left_out} records that {url} cannot hold")
    row = {
        "votes": done.votes,
        "events": done.events,
        "seconds": round(seconds, 1),
        "votes_per_s": round(done.votes / seconds),
        "late_s": None if speed is None else round(pacer.latest, 2),
    }
    if url != "-":
        print_rows([row], list(row), output_format)


@contextmanager
def _open_source(url: str) -> Iterator[Iterator[Portion]]:
    """Open a log, or a store's archive, from its beginning to its present end."""
    from pipeline.contracts.log import VOTES
    from pipeline.eventlog.urls import open_log
    from pipeline.store.reader import StoreReader
    from producers.feed.portions import list_archive, list_portions

    if (store := store_of_archive(url)) is not None:
        yield list_archive(StoreReader(store).read_archive(batch_rows=_POLL))
        return
    log = open_log(url)
    log.preflight([VOTES])
    with closing(log.merged_reader({})) as reader:
        yield list_portions(reader.polls(_POLL), row_times=log.row_times)


def _event_appender(log: EventLog) -> Callable[[Sequence[bytes]], None]:
    from pipeline.contracts.log import CONTROL, Record

    def append(values: Sequence[bytes]) -> None:
        with closing(log.writer()) as writer:
            writer.append(CONTROL, [Record(value) for value in values])

    return append


def _watch_lateness(pacer: Pacer, advance: Callable[[int], None]) -> Callable[[int], None]:
    """Say now and then how late the feed runs, if it does."""
    told = 0.0

    def watch(steps: int) -> None:
        nonlocal told
        advance(steps)
        now = time.monotonic()
        if pacer.late > _LATE_SECONDS and now - told > _TELL_SECONDS:
            told = now
            note(f"{pacer.late:.1f} s late: the log cannot be written, or read, as fast as that")

    return watch
