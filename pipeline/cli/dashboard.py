"""`kwise dashboard`: the app that shows the boards."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from pipeline.cli.output import examples, fail, note, store_option


@click.group()
def command() -> None:
    """Live boards in a browser."""


@command.command(
    epilog=examples(
        "kwise dashboard serve --store store --port 8501",
        "kwise dashboard serve --store store --gateway http://127.0.0.1:8600",
    )
)
@store_option
@click.option("--port", type=click.IntRange(0, 65535), default=8501, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is all.")
@click.option(
    "--operator-password",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="KWISE_OPERATOR_PASSWORD_FILE",
    metavar="FILE",
    help="File with a password. Operators who know it see the records that could not be used; nobody without it.",
)
@click.option("--gateway", envvar="KWISE_GATEWAY", metavar="URL", help="Gateway that the voting page votes at.")
@click.option(
    "--refresh",
    type=click.FloatRange(0.02, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two drawings of an open page; charts take five times as long. More spares machines and network.",
)
def serve(
    store: Path, port: int, host: str, operator_password: Path | None, gateway: str | None, refresh: float
) -> None:
    """Show the boards of a store in a browser, live, until Ctrl-C.

    The store need not exist yet: the page waits for it.
    """
    from dashboard.server import (
        AppSettings,
        find_free_port,
        make_address,
        start_dashboard,
        stop_dashboard,
        wait_until_ready,
    )

    port = port or find_free_port(host)
    settings = AppSettings(gateway=gateway, operator_password=operator_password, refresh=refresh)
    with _signals_as_interrupts():
        server = start_dashboard(store, port, host, settings)
        try:
            wait_until_ready(server, port, host)
            note(f"dashboard of {store} at {make_address(host, port)} (Ctrl-C ends it)")
            code = server.wait()
        except KeyboardInterrupt:
            return
        finally:
            stop_dashboard(server)
    if code:
        fail(f"the dashboard's server ended with exit code {code}")


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into what Ctrl-C does, so that the server is never left behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
