"""`kwise gateway`: serves matchups to voters and takes their votes, over HTTP."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click

from pipeline.cli.output import examples, note, store_option
from pipeline.cli.pipeline import from_option, token_keys_option
from pipeline.cli.signals import stop_on_signals

_LOOK_SECONDS: Final = 0.2

_SWITCH_SECONDS: Final = 0.001
"""How long threads that read boards and write the queue may keep the one that answers voters from its turn."""


@click.group()
def command() -> None:
    """Matchups out and votes in, over HTTP."""


@command.command(
    epilog=examples(
        "kwise gateway serve --from sqlite:events.db --store store",
        "kwise gateway serve --from kafka://localhost:9092/votes --store store --settings gateway.toml",
    )
)
@from_option
@store_option
@click.option("--port", type=click.IntRange(0, 65535), default=8600, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is all.")
@click.option(
    "--settings",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="TOML file of settings; KWISE_GATEWAY_... variables win.",
)
@click.option("--state", metavar="DIR", help="Folder of queue, secrets and artifacts. Default: gateway.")
@token_keys_option
def serve(
    *, url: str, store: Path, port: int, host: str, file: Path | None, state: str | None, token_keys: Path | None
) -> None:
    """Serve voters, producers and workers until SIGINT or SIGTERM.

    Matchups that the job proposes are made by workers, shown once each, and voted on. A vote is acknowledged when the
    log has it. What is under way at a stop is finished; after a crash nothing is lost or shown twice. One gateway a
    state folder. Secrets and, unless they are named, keys of tokens are made at the first start.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())  # first: the imports alone take seconds on a busy machine
        from pipeline.cli.logs import open_live_log
        from producers.gateway.server import serving
        from producers.gateway.settings import read_settings

        settings = read_settings(file, state=state, token_keys=None if token_keys is None else str(token_keys))
        _log_to_stderr()
        sys.setswitchinterval(_SWITCH_SECONDS)
        log = open_live_log(url, announce=note)
        for line in settings.describe():
            note(f"  {line}")
        server = stack.enter_context(serving(log, store, settings, host=host, port=port, complain=note))
        note(f"gateway between {url} and {store} at {server.url}; Ctrl-C stops")
        _wait(stop, server.is_ended)
        note("stopping: what is under way is finished")


@command.group()
def keys() -> None:
    """Keys that tokens of matchups are signed with."""


@keys.command(epilog=examples("kwise gateway keys create token-keys.toml"))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def create(file: Path) -> None:
    """Make a new FILE of keys, with one in it.

    The gateway signs with it and the job checks with it: both get it by --token-keys, or KWISE_TOKEN_KEYS.
    """
    import secrets

    from pipeline.contracts.keyring_file import write_keyring
    from pipeline.contracts.token import MIN_SECRET_BYTES, Keyring, TokenKey

    write_keyring(file, Keyring((TokenKey("k1", secrets.token_bytes(MIN_SECRET_BYTES)),)), new=True)
    note(f"made {file} with the key k1; keep it from others, and give it to gateway and job")


@keys.command(epilog=examples("kwise gateway keys rotate token-keys.toml"))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def rotate(file: Path) -> None:
    """Add a new key to FILE, which signs from now on, and retire the others.

    Retired ones go on checking what they signed: keep them, or votes of before are refused when the log is replayed.
    Programs on this machine notice within a second, without a restart. On others, copy FILE to the job first.
    """
    import secrets

    from pipeline.contracts.keyring_file import read_keyring, rotate_keyring, write_keyring
    from pipeline.contracts.token import MIN_SECRET_BYTES

    rotated = rotate_keyring(read_keyring(file), secrets.token_bytes(MIN_SECRET_BYTES))
    write_keyring(file, rotated, new=False)
    note(f"{file}: {rotated.signing.id} signs from now on, beside {len(rotated.keys) - 1} retired")


def _wait(stop: threading.Event, is_ended: threading.Event) -> None:
    while not stop.wait(_LOOK_SECONDS) and not is_ended.is_set():
        pass


def _log_to_stderr() -> None:
    """Let the gateway's own lines and its access log go to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("kwise.gateway")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
