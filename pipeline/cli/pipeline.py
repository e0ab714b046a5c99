"""`kwise pipeline`: rate votes as they arrive."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.output import note, store_option
from pipeline.cli.signals import stop_on_signals

from_option = click.option(
    "--from",
    "url",
    required=True,
    metavar="URL",
    help="Event log: sqlite:FILE, FILE.jsonl, FOLDER/, FILE.parquet, or - for stdin.",
)
accept_old_option = click.option(
    "--accept-old", is_flag=True, help="Refuse no vote for its age: imports of old votes into a live log."
)
window_option = click.option(
    "--window",
    type=click.IntRange(min=1),
    default=20_000_000,
    show_default=True,
    metavar="VOTES",
    help="Votes that de-duplication looks back over.",
)


@click.group(name="pipeline")
def command() -> None:
    """Rate votes as they arrive."""


@command.command(
    epilog="""\b
Example:
  kwise pipeline run --from sqlite:events.db --store store""",
)
@from_option
@store_option
@accept_old_option
@window_option
@click.option("--no-proposals", is_flag=True, help="Propose no matchups.")
@click.option("--seed", type=click.IntRange(min=0), help="Make proposals repeatable; for tests.")
def run(*, url: str, store: Path, accept_old: bool, window: int, no_proposals: bool, seed: int | None) -> None:
    """Rate the votes of an event log into a store, live, until SIGINT or SIGTERM.

    Commits, and publishes boards, about twice a second. After a crash it goes on from the last commit; nothing is
    lost and nothing counts twice. One job a store: a second one is refused.
    """
    from pipeline.cli.logs import open_live_log
    from pipeline.operators.rate import RateSettings
    from pipeline.store.duck_store import open_store
    from pipeline.streaming.job import run_job
    from pipeline.streaming.replay import check_live

    settings = RateSettings(window_capacity=window, accept_old=accept_old, propose=not no_proposals, seed=seed)
    with stop_on_signals() as stop:
        log = open_live_log(url)
        opened = open_store(store, holder="kwise pipeline run")
        try:
            check_live(opened)
            note(f"rating {url} into {store}, from commit {opened.load().commit}; Ctrl-C stops")
            run_job(log, opened, settings, owner_key=str(store.resolve()), stop=stop, announce=note)
            note(f"stopped at commit {opened.load().commit}")
        finally:
            opened.close()
