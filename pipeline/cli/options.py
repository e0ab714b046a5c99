"""Options that several long-running commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def metrics_options(command: F) -> F:
    """Add `metrics_port` and `metrics_host`."""
    for option in (
        click.option(
            "--metrics-host",
            default="127.0.0.1",
            show_default=True,
            metavar="HOST",
            help="Address that /metrics listens on.",
        ),
        click.option(
            "--metrics-port",
            type=click.IntRange(0, 65535),
            metavar="PORT",
            help="Serve Prometheus metrics at /metrics, on 9464 by custom; 0 takes a free port. Default: do not.",
        ),
    ):
        command = option(command)
    return command
