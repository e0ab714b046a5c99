"""`kwise pipeline`: rate votes as they arrive."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from pipeline.cli.options import metrics_options
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
token_keys_option = click.option(
    "--token-keys",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="KWISE_TOKEN_KEYS",
    show_envvar=True,
    metavar="FILE",
    help="Keys of matchup tokens, for arenas that require them; the file is read again when it changes.",
)


@click.group(name="pipeline")
def command() -> None:
    """Rate votes as they arrive."""


@command.command(
    epilog="""\b
Examples:
  kwise pipeline run --from sqlite:events.db --store store
  kwise pipeline run --from sqlite:events.db --store store --metrics-port 9464""",
)
@from_option
@store_option
@accept_old_option
@window_option
@token_keys_option
@click.option("--no-proposals", is_flag=True, help="Propose no matchups.")
@click.option("--seed", type=click.IntRange(min=0), help="Make proposals repeatable; for tests.")
@metrics_options
def run(
    *,
    url: str,
    store: Path,
    accept_old: bool,
    window: int,
    token_keys: Path | None,
    no_proposals: bool,
    seed: int | None,
    metrics_port: int | None,
    metrics_host: str,
) -> None:
    """Rate the votes of an event log into a store, live, until SIGINT or SIGTERM.

    Commits, and publishes boards, about twice a second. After a crash it goes on from the last commit; nothing is
    lost and nothing counts twice. One job a store: a second one is refused.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())  # first: the imports alone take seconds on a busy machine
        from pipeline.cli.logs import open_live_log
        from pipeline.contracts.keyring_file import read_keyring
        from pipeline.operators.rate import RateSettings
        from pipeline.store.duck_store import open_store
        from pipeline.streaming.job import TOPICS, run_job
        from pipeline.streaming.replay import check_live

        settings = RateSettings(window_capacity=window, accept_old=accept_old, propose=not no_proposals, seed=seed)
        if stop.is_set():
            note("stopped before anything was read")
            return
        if metrics_port is not None:  # a missing package or a taken port is to be known at once
            _serve_metrics(stack, store, metrics_host, metrics_port)
        if token_keys is not None:
            read_keyring(token_keys)  # that it cannot be read is to be known at once, too
        log = open_live_log(url, announce=note)
        log.preflight(TOPICS)  # before there is a folder for the store
        opened = stack.enter_context(open_store(store, holder="kwise pipeline run"))
        check_live(opened)
        note(f"rating {url} into {store}, from commit {opened.load().commit}; Ctrl-C stops")
        if _is_first_start():
            note("compiling (first start only); this may take a minute")
        key = str(store.resolve())
        run_job(log, opened, settings, owner_key=key, stop=stop, announce=note, token_keys=token_keys)
        note(f"stopped at commit {opened.load().commit}")


def _is_first_start() -> bool:
    """Whether the decoder, which every job needs, has no compiled code in numba's cache."""
    from pipeline.contracts.json_scan import scan_votes

    cache = scan_votes.stats.cache_path
    return cache is not None and not any(Path(cache).glob(f"*.{scan_votes.py_func.__name__}-*.nbi"))


def _serve_metrics(stack: ExitStack, store: Path, host: str, port: int) -> None:
    from pipeline.cli.metrics_server import serve_metrics
    from pipeline.store.metrics import StoreCollector
    from pipeline.store.reader import StoreReader

    stack.enter_context(serve_metrics(StoreCollector(StoreReader(store)), host, port))
