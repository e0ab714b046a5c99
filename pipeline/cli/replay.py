"""`kwise replay`: rate a finite log, or a store's archive, into a new store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.logs import store_of_archive
from pipeline.cli.output import Format, format_option, misuse, note, print_rows, progress, store_option
from pipeline.cli.pipeline import accept_old_option, from_option, token_keys_option, window_option
from pipeline.cli.times import TIME

if TYPE_CHECKING:
    from pipeline.store.reader import StoreReader


@click.command(
    name="replay",
    epilog="""\b
Examples:
  kwise replay --from sqlite:events.db --store store2
  kwise replay --from store/archive/ --store store3 --without-voter v0.1c2d""",
)
@from_option
@store_option
@click.option("--until", type=TIME, help="Only records appended up to this time.")
@click.option("--event-from", type=TIME, help="Count votes cast from this time on.")
@click.option("--event-until", type=TIME, help="Count votes cast up to this time.")
@click.option("--without-voter", "voters", multiple=True, metavar="ID", help="Leave a voter out; repeatable.")
@click.option("--method", help="Print the board by this method at the end.")
@accept_old_option
@window_option
@token_keys_option
@format_option
def command(
    *,
    url: str,
    store: Path,
    until: int | None,
    event_from: int | None,
    event_until: int | None,
    voters: tuple[str, ...],
    method: str | None,
    accept_old: bool,
    window: int,
    token_keys: Path | None,
    output_format: Format,
) -> None:
    """Rate a finite log again, as fast as it goes, into a new store.

    A store's archive (--from STORE/archive/) is replayed as it was judged: same votes, same sequence, same boards, and
    the new store can go on live. Any other log is judged again, vote by vote: where arenas require tokens, name the
    keys, retired ones too.
    """
    from pipeline.contracts.keyring_file import KeyringFile
    from pipeline.contracts.log import VOTES
    from pipeline.contracts.snapshot import METHODS
    from pipeline.eventlog import open_log
    from pipeline.operators.rate import RateSettings
    from pipeline.store.duck_store import open_store
    from pipeline.store.reader import StoreReader
    from pipeline.streaming.replay import ReplayFilter, replay_archive, replay_log

    if method is not None and method not in METHODS:
        misuse(f"there is no method {method!r}; there are {', '.join(METHODS)}")
    chosen = ReplayFilter(until, event_from, event_until, voters)
    settings = RateSettings(window_capacity=window, accept_old=accept_old, propose=False)
    archived = store_of_archive(url)
    started = time.monotonic()
    source = StoreReader(archived) if archived is not None else None
    if source is not None and source.filter():
        note(f"{source.path} leaves votes out, and so does what is made from it")
    keys = None if token_keys is None else KeyringFile(token_keys, complain=note)
    log = open_log(url) if source is None else None
    if log is not None:
        log.preflight([VOTES])  # before there is a folder for the store
    opened = open_store(store, holder="kwise replay")
    try:
        with progress("votes", source.count_archive() if source is not None else None) as advance:
            if source is not None:
                done = replay_archive(source, opened, chosen, announce=note, progress=advance, settings=settings)
            else:
                assert log is not None
                check = None if keys is None else keys.check
                done = replay_log(log, opened, settings, chosen, announce=note, progress=advance, check_token=check)
    finally:
        opened.close()
    seconds = time.monotonic() - started
    note(f"{done.votes:,} votes in {seconds:.1f} s ({done.votes / seconds:,.0f} a second) into {store}")
    _print_result(StoreReader(store), method, output_format)


def _print_result(reader: StoreReader, method: str | None, output_format: Format) -> None:
    if method is not None:
        from pipeline.cli.board import print_board

        for arena in reader.arenas():
            print_board(reader.board(arena, method), output_format)
        return
    rows = [
        {"arena": arena, "models": len(board.models), "votes": board.votes, "leader": next(iter(board.models)).model}
        for arena in reader.arenas()
        if (board := reader.board(arena)).models
    ]
    print_rows(rows, ["arena", "models", "votes", "leader"], output_format)
