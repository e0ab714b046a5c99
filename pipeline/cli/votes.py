"""`kwise votes`: bring votes into an event log, from files or from a simulation, and out of a store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipeline.cli.logs import to_option
from pipeline.cli.output import Format, fail, format_option, misuse, note, print_rows, progress, store_option
from pipeline.cli.signals import stop_on_signals
from pipeline.cli.times import TIME, format_time, now_ms
from pipeline.cli.votes_feed import feed_votes
from pipeline.cli.votes_via import via_options, vote_via

if TYPE_CHECKING:
    from pipeline.cli.votes_via import Via
    from pipeline.contracts.control import ControlEvent
    from producers.simulate.world import SimulatedWorld
    from producers.vote_writer import VoteWriter


_CHUNK: Final = 8192
"""Records handed over in one go."""

_TICK_SECONDS: Final = 0.1
"""Paced writing writes this often."""

_ENDLESS: Final = 2**53

_FORMATS: Final = ("genai-arena", "kwise", "ksort", "lmarena", "preflib")


@click.group(name="votes")
def command() -> None:
    """Import, simulate, feed and export votes."""


command.add_command(feed_votes)


@command.command(
    name="import",
    epilog="""\b
Formats:
  genai-arena  battles of image and video models (GenAI-Arena, JSON)
  kwise        our own votes (JSON lines or Parquet), passed on
  ksort        K-wise votes with models and ranks (JSON lines or CSV)
  lmarena      battles of chat models (LMArena, FastChat; JSON)
  preflib      complete orders (PrefLib, .soc)

\b
Example:
  kwise votes import genai-arena clean_battle_20240220.json --to sqlite:events.db""",
)
@click.argument("format_name", metavar="FORMAT", type=click.Choice(_FORMATS))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@to_option
@click.option("--arena-id", metavar="ID", help="Arena to import into; else the format's own.")
@click.option("--include-named", is_flag=True, help="Take votes cast with the models' names in view, too (battles).")
@click.option(
    "--models",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="CSV",
    help="Names, organizations, licenses and links of models; else *leaderboard*.csv beside FILE.",
)
@click.option(
    "--votes-only",
    is_flag=True,
    help="Leave arenas as they are: write no definition of the arena and its models.",
)
@click.option(
    "--salt",
    envvar="KWISE_IMPORT_SALT",
    show_envvar=True,
    metavar="TEXT",
    help="Secret that voters are hashed with, to match voters between files; else made from FILE.",
)
@format_option
def import_votes(
    *,
    format_name: str,
    file: Path,
    url: str,
    arena_id: str | None,
    include_named: bool,
    models: Path | None,
    votes_only: bool,
    salt: str | None,
    output_format: Format,
) -> None:
    """Append the votes of FILE to an event log.

    Importing a file again changes nothing: its votes have the same ids and count once. Voters are hashed.
    """
    from producers.importers.formats import FORMATS, read_records
    from producers.importers.source import ImportOptions, ImportSummary, define_arenas

    options = ImportOptions(arena_id=arena_id, include_named=include_named, models=models, salt=salt)
    arenas = FORMATS[format_name].read_arenas(file, options)
    summary = ImportSummary()
    started = time.monotonic()
    with _open_writer(url) as writer, progress("votes") as advance:
        if not votes_only:
            _append_control(url, define_arenas(arenas, file))
        records = read_records(format_name, file, options, summary)
        while chunk := list(islice(records, _CHUNK)):
            writer.write_records([record.value for record in chunk], [record.key for record in chunk])
            advance(len(chunk))
    for line in summary.describe():
        note(line)
    _tell_rate(summary.imported.total(), url, started)
    if not summary.imported:
        fail(f"{file}: no votes to import")
    _print_result(
        [{"arena": arena, "votes": count} for arena, count in sorted(summary.imported.items())],
        url,
        output_format,
    )


@command.command(
    name="simulate",
    epilog="""\b
Examples:
  kwise votes simulate --to sqlite:events.db --votes 1000 --seed 1
  kwise votes simulate --to sqlite:events.db --rate 20 --bots 3
  kwise votes simulate --via http://localhost:8600 --votes 500 --concurrency 20""",
)
@click.option("--to", "url", metavar="URL", help="Event log to append to: see kwise votes import --help.")
@via_options
@click.option("--votes", "count", type=click.IntRange(min=0), help="How many; else 1000, or with --rate until stopped.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Votes a second, as they would arrive live; else all at once.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides everything.")
@click.option(
    "--first", type=click.IntRange(min=0), default=0, help="Number of the first vote: N goes on after N votes."
)
@click.option("--models", type=click.IntRange(min=2), default=12, show_default=True, help="Number of models.")
@click.option("--k", type=click.IntRange(2, 8), default=4, show_default=True, help="Models in a matchup.")
@click.option("--noise", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="Share of random ballots.")
@click.option("--tie-rate", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="Neighbours that tie.")
@click.option(
    "--best-share",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Votes for a best only.",
)
@click.option("--all-bad-share", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="Votes: all bad.")
@click.option("--skip-share", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="Votes: skipped.")
@click.option(
    "--judgement",
    type=click.Choice(["gumbel", "thurstone", "exact"]),
    default="gumbel",
    show_default=True,
    help="How voters err: logistic pairs, normal, or not at all (the paper's).",
)
@click.option("--voters", type=click.IntRange(min=1), default=500, show_default=True, help="People who vote.")
@click.option(
    "--bots",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Voters that vote at random, 10 times as often.",
)
@click.option("--bot-favourite", metavar="MODEL", help="Model that bots put first instead.")
@click.option("--duplicates", type=click.FloatRange(0, 1), default=0.0, help="Share of repeated records to add.")
@click.option("--broken", type=click.FloatRange(0, 1), default=0.0, help="Share of broken records to add.")
@click.option("--envelope", type=click.IntRange(min=1), metavar="N", help="Put up to N votes in a record: for volume.")
@click.option("--arena-id", default="simulated", show_default=True, metavar="ID", help="Arena to vote in.")
@click.option("--title", help="Title of the arena.")
@click.option("--require-token", is_flag=True, help="Let the arena take votes of a gateway only.")
@click.option(
    "--start-time",
    type=TIME,
    help="When vote 0 is cast; else 2026-01-01, or with --rate now. ISO 8601 or ms.",
)
@format_option
def simulate_votes(
    *,
    url: str | None,
    via: Via,
    count: int | None,
    rate: float | None,
    first: int,
    start_time: int | None,
    envelope: int | None,
    output_format: Format,
    **settings: Any,
) -> None:
    """Append votes of simulated people to an event log, and print the true order of the models.

    The same options give the same votes. Votes that are in the log already count once: for more of the same
    arena go on with --first, for another arena take another --seed and --arena-id.

    With --via people vote through a gateway, on what it shows them: they judge the pictures, which a stand-in for
    models draws (--worker-key). The arena must be there: make it by --to, with --votes 0 and the same options.
    """
    from producers.simulate.errors import SimulationError
    from producers.simulate.world import START_TIME, SimulatedWorld

    try:
        world = SimulatedWorld(**settings)
    except SimulationError as error:
        misuse(str(error))
    if envelope is not None and (settings["duplicates"] or settings["broken"]):
        misuse("envelopes hold good votes only: leave out --envelope, or --duplicates and --broken")
    if (url is None) == (via.url is None):
        misuse("name either --to or --via")
    if url is None:
        vote_via(via, world, count, rate=rate, first=first)
        _print_result(_list_truth(world), "", output_format)
        return
    if start_time is None:
        start_time = START_TIME if rate is None else now_ms() - round(first * 1000 / rate)
    with _open_writer(url, envelope) as writer:
        _append_control(url, world.arena_events(start_time))
        started = time.monotonic()
        if rate is None:
            written = _write_at_once(world, writer, 1000 if count is None else count, first, start_time)
        else:
            written = _write_paced(world, writer, count, first=first, start_time=start_time, rate=rate)
    _tell_rate(written, url, started)
    if world.bot_ids:
        note(f"bots: {' '.join(world.bot_ids)}")
    _print_result(_list_truth(world), url, output_format)


@command.command(
    name="export",
    epilog="""\b
Example:
  kwise votes export --store store --to votes.parquet""",
)
@store_option
@click.option(
    "--to",
    "file",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="New Parquet file.",
)
@click.option("--drop-voters", is_flag=True, help="Leave voters out; else each has a pseudonym made for this file.")
@click.option("--include-retracted", is_flag=True, help="Keep votes that are retracted at present.")
@format_option
def export_archive(
    *, store: Path, file: Path, drop_voters: bool, include_retracted: bool, output_format: Format
) -> None:
    """Write the accepted votes of a store to one Parquet file, without anything private.

    Voters get pseudonyms that are good for this file only, and custom prompts and tokens are left out. The
    file can be replayed: kwise replay --from FILE.
    """
    import secrets

    from pipeline.store.reader import StoreReader
    from producers.export import export_votes

    if file.suffix != ".parquet":
        misuse(f"{file}: the name of the file must end in .parquet")
    if file.exists():
        misuse(f"{file} exists: name a new file")
    reader = StoreReader(store)
    retractions = None if include_retracted else reader.retractions()
    with progress("votes", reader.count_archive()) as advance:
        summary = export_votes(
            reader.read_archive(),
            file,
            key=None if drop_voters else secrets.token_bytes(32),
            choose_retracted=retractions.affect if retractions else None,
            advance=advance,
        )
    if summary.retracted:
        note(f"left out {summary.retracted} retracted votes (--include-retracted keeps them)")
    print_rows([{"file": str(file), "votes": summary.votes}], ["file", "votes"], output_format)


def _list_truth(world: SimulatedWorld) -> list[dict[str, object]]:
    skills = dict(zip(world.model_ids, world.skills.tolist(), strict=True))
    names = {model.id: model.name for model in world.catalogue}
    return [
        {"rank": rank, "model": model, "name": names[model], "skill": skills[model]}
        for rank, model in enumerate(world.truth, start=1)
    ]


def _write_at_once(world: SimulatedWorld, writer: VoteWriter, count: int, first: int, start_time: int) -> int:
    """Write `count` votes and return the number of records, or of votes in envelopes."""
    from pipeline.contracts.reasons import MAX_AHEAD_MS
    from producers.simulate.world import RATE

    last = start_time + round((first + count) / RATE * 1000)
    if last > now_ms() + MAX_AHEAD_MS:
        note(f"the last votes are of {format_time(last)}: a log that dates its records will find them ahead of time")
    written = 0
    with progress("votes", count) as advance:
        if writer.makes_envelopes:
            for rows in world.tables(count, first=first, start_time=start_time):
                writer.write_rows(rows)
                written += rows.num_rows
                advance(rows.num_rows)
        else:
            for batch in world.batches(count, first=first, start_time=start_time, batch_size=_CHUNK):
                writer.write_records(batch.values, batch.keys)
                written += len(batch)
                advance(len(batch))
        writer.flush()
    return written


def _write_paced(
    world: SimulatedWorld,
    writer: VoteWriter,
    count: int | None,
    *,
    first: int,
    start_time: int,
    rate: float,
) -> int:
    """Write `rate` records a second until `count` votes or a signal to stop; return the number of records."""
    written = 0
    begun = time.monotonic()
    batches = world.batches(_ENDLESS if count is None else count, first=first, start_time=start_time, rate=rate)
    with stop_on_signals() as stop, progress("votes", count) as advance:
        for batch in batches:
            start = written
            while written - start < len(batch):
                due = int((time.monotonic() - begun) * rate) + 1
                if stop.wait(_TICK_SECONDS if due <= written else 0.0):
                    note("stopped")
                    return written
                if due <= written:
                    continue
                part = batch.part(written - start, due - start)
                writer.write_encoded(part.values, part.keys)
                written += len(part)
                advance(len(part))
    return written


@contextmanager
def _open_writer(url: str, envelope: int | None = None) -> Iterator[VoteWriter]:
    """Open the event log at `url` for votes; its topics are made if they are missing."""
    from pipeline.cli.logs import PARTITIONS
    from pipeline.eventlog.urls import open_log
    from producers.vote_writer import VoteWriter

    open_log(url).create_topics(PARTITIONS)
    with VoteWriter(url, envelope=envelope, check=False) as writer:
        yield writer


def _append_control(url: str, events: Sequence[ControlEvent]) -> None:
    from pipeline.cli.logs import holds_votes_only
    from pipeline.contracts.control import encode_control
    from pipeline.contracts.log import CONTROL, Record
    from pipeline.eventlog.urls import open_log

    if not events:
        return
    if holds_votes_only(url):
        note(f"{url} holds votes only, not the names of arena and models: a folder or sqlite: holds both")
        return
    writer = open_log(url).writer()
    try:
        writer.append(CONTROL, [Record(encode_control(event)) for event in events])
    finally:
        writer.close()


def _tell_rate(records: int, url: str, started: float) -> None:
    seconds = time.monotonic() - started
    note(f"{records} records appended to {url} in {seconds:.1f} s ({records / seconds:,.0f} a second)")


def _print_result(rows: Sequence[Mapping[str, object]], url: str, output_format: Format) -> None:
    """Print rows on stdout, unless that is where the votes went."""
    if url != "-" and rows:
        print_rows(rows, list(rows[0]), output_format)
