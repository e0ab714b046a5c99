"""`kwise dead-letters`: records that could not be used: list, export, mend and send again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

import click

from pipeline.cli.output import Column, Format, examples, fail, format_option, note, print_rows, progress, store_option
from pipeline.cli.times import TIME, TIME_HELP, format_time, now_ms
from pipeline.contracts.reasons import Reason

if TYPE_CHECKING:
    from producers.dead_letters import Known, Letter

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN: Final = 80
"""Characters of a payload that are shown."""
_BATCH: Final = 1_000
_REASONS: Final = [reason.value for reason in Reason if reason is not Reason.DUPLICATE]
_PLACE: Final = ("topic", "partition", "offset", "index")


def _append_time(at: int) -> str:
    """Show an append time, ms; files have none for a line that cannot be read, which is 0."""
    return format_time(at) if at else "–"


_COLUMNS: Final[dict[bool, tuple[str | Column, ...]]] = {
    True: (Column("appended_at", text=_append_time), "reason", "arena", "position", "detail", "payload"),
    False: ("appended_at", "reason", "arena", *_PLACE, "commit", "detail", "payload"),
}
"""For a table, and for programs."""


def _choice_options(command: F) -> F:
    for option in (
        click.option("--since", type=TIME, metavar="TIME", help=f"Only those appended from then on. {TIME_HELP}"),
        click.option("--reason", type=click.Choice(_REASONS), help="Only those with this reason."),
    ):
        command = option(command)
    return command


@click.group()
def command() -> None:
    """Records that could not be used: list, mend and send again."""


@command.command(
    name="list",
    epilog=examples(
        "kwise dead-letters list --store store",
        "kwise dead-letters list --store store --reason unknown_model --since -1d --format json",
    ),
)
@store_option
@_choice_options
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The newest so many.")
@click.option("--full", is_flag=True, help="Whole payloads, with the ids of voters and their tokens.")
@format_option
def list_letters(
    *, store: Path, reason: str | None, since: int | None, limit: int, full: bool, output_format: Format
) -> None:
    """List dead letters, the newest last.

    Payloads are cut, and voters and tokens in them masked, unless --full.
    """
    from pipeline.store.reader import StoreReader
    from producers.dead_letters import mask_record

    def show(payload: bytes) -> str:
        if full:
            return payload.decode(errors="backslashreplace")
        text = mask_record(payload)
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"

    found = StoreReader(store).dead_letters(limit, reason, since).to_pylist()
    rows = [{**row, "position": _name_position(row), "payload": show(row["payload"])} for row in found]
    print_rows(rows, _COLUMNS[output_format == "table"], output_format)
    if output_format == "table" and len(found) == limit:
        note(f"the newest {limit}; --limit shows more")


def _name_position(row: Mapping[str, Any]) -> str:
    """Return ``votes/3:65``; with the place within an envelope, ``votes/3:65.2``."""
    place = f"{row['topic']}/{row['partition']}:{row['offset']}"
    return f"{place}.{row['index']}" if row["index"] else place


@command.command(epilog=examples("kwise dead-letters export --store store --to dead.jsonl --reason unknown_model"))
@store_option
@_choice_options
@click.option(
    "--to",
    "target",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="New file of JSON lines; - for stdout.",
)
def export(*, store: Path, reason: str | None, since: int | None, target: Path) -> None:
    """Write dead letters to a file, one a line: position, reason, payload. Edit it, and send it again.

    A payload that is a JSON object stands in its line as such. The file holds ids of voters: only its owner may
    read it.
    """
    from pipeline.store.reader import StoreReader
    from producers.dead_letters import encode_letter, make_letter

    reader = StoreReader(store)
    written = 0
    with _new_file(target) as file, progress("dead letters") as advance:
        for table in reader.iter_dead_letters(reason, since):
            file.writelines(encode_letter(make_letter(row)) for row in table.to_pylist())
            written += len(table)
            advance(len(table))
    note(f"{written} dead letters written to {'stdout' if str(target) == '-' else target}")


@command.command(
    epilog=examples(
        "kwise dead-letters resend --from dead.jsonl --to sqlite:events.db --store store",
        "kwise dead-letters resend --from dead.jsonl --to sqlite:events.db --rename-model flux_dev=flux-dev",
        "kwise dead-letters resend --from dead.jsonl --to sqlite:events.db --set arena=pictures --dry-run",
    )
)
@click.option(
    "--from",
    "source",
    required=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `kwise dead-letters export` wrote, edited or not.",
)
@click.option("--to", "url", required=True, metavar="URL", help="Event log, as in sqlite:events.db.")
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="KWISE_STORE",
    show_envvar=True,
    metavar="DIR",
    help="Ask this store, too, whether arenas and models are known and votes young enough.",
)
@click.option("--set", "sets", multiple=True, metavar="FIELD=VALUE", help="Set a field in every vote; may be repeated.")
@click.option("--rename-model", "renames", multiple=True, metavar="OLD=NEW", help="Rename a model; may be repeated.")
@click.option(
    "--rejected",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="New file for what is not sent. Default: FILE.rejected.jsonl beside the first.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be sent, write nothing.")
@format_option
def resend(
    *,
    source: Path,
    url: str,
    store: Path | None,
    sets: tuple[str, ...],
    renames: tuple[str, ...],
    rejected: Path | None,
    dry_run: bool,
    output_format: Format,
) -> None:
    """Mend dead letters and append those that are good now to an event log.

    Each is judged first, as the job would. What it would refuse is not sent: it goes to a file of the same form, with
    the reason of today, to be edited and sent from there. Votes keep their vote_id, so that one counts once however
    often it is sent.
    """
    from producers.dead_letters import LetterError, parse_mending, read_letters, sort_letters

    try:
        mending = parse_mending(sets, renames)
    except LetterError as error:
        raise click.UsageError(str(error)) from None
    rejected = rejected or source.with_name(f"{source.stem}.rejected.jsonl")
    with source.open("rb") as lines:
        count = sum(1 for _ in read_letters(lines, str(source)))  # a line that is none is found before any is sent
        lines.seek(0)
        with (
            _sender(None if dry_run else url) as send,
            _keeper(None if dry_run else rejected) as keep,
            progress("dead letters", count) as advance,
        ):
            result = sort_letters(
                _advancing(read_letters(lines, str(source)), advance),
                mending,
                now_ms(),
                _read_known(store),
                on_good=send,
                on_refused=keep,
            )
    done = "would be sent" if dry_run else "sent"
    rows = [{"outcome": done, "topic": topic, "reason": None, "records": n} for topic, n in result.good.items()]
    rows += [{"outcome": "kept", "topic": None, "reason": why, "records": n} for why, n in result.refused.items()]
    print_rows(rows, ("outcome", "topic", "reason", "records"), output_format)
    if result.refused and not dry_run:
        note(f"what was not sent is in {rejected}")


def _read_known(store: Path | None) -> Known | None:
    from pipeline.store.reader import StoreReader
    from producers.dead_letters import Known

    if store is None:
        return None
    reader = StoreReader(store)
    return Known(reader.registry(), reader.manifest().horizon)


def _advancing(letters: Iterator[Letter], advance: Callable[[int], None]) -> Iterator[Letter]:
    for letter in letters:
        yield letter
        advance(1)


@contextmanager
def _sender(url: str | None) -> Iterator[Callable[[Letter], None]]:
    """Yield what appends a letter's record to the log at `url`, many in one go; None appends nothing."""
    from pipeline.cli.logs import open_live_log
    from producers.dead_letters import make_record

    if url is None:
        yield lambda _letter: None
        return
    writer = open_live_log(url).writer()
    waiting: dict[str, list[Any]] = {}

    def flush(topic: str) -> None:
        writer.append(topic, waiting.pop(topic))

    def send(letter: Letter) -> None:
        batch = waiting.setdefault(letter.topic, [])
        batch.append(make_record(letter))
        if len(batch) == _BATCH:
            flush(letter.topic)

    try:
        yield send
        for topic in list(waiting):
            flush(topic)
    finally:
        writer.close()


@contextmanager
def _keeper(path: Path | None) -> Iterator[Callable[[Letter], None]]:
    """Yield what writes a letter to a new file, which is made with the first one; None writes nothing."""
    from producers.dead_letters import encode_letter

    opened: list[BinaryIO] = []
    if path is not None and path.exists():
        fail(f"{path} is there already, from an earlier try: send or remove it, or name another with --rejected")

    def keep(letter: Letter) -> None:
        if path is None:
            return
        if not opened:
            opened.append(_create_private(path))
        opened[0].write(encode_letter(letter))

    try:
        yield keep
    finally:
        for file in opened:
            file.close()


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    if str(path) == "-":
        yield sys.stdout.buffer
        return
    with _create_private(path) as file:
        yield file


def _create_private(path: Path) -> BinaryIO:
    """Open a new file for writing that only its owner may read; one that exists may hold what somebody has edited."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        fail(f"{path} is there already: name a new file")
