"""The `kwise` command: finds the noun, runs it, and turns errors into one line and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted. Nouns are imported when they are named, so that
``kwise --help`` loads no heavy package. ``KWISE_DEBUG=1`` adds tracebacks.
"""

from __future__ import annotations

import importlib
import logging
import os
import select
import sys
import traceback
from typing import Any, Final

import click

from pipeline.cli.output import examples

NOUNS: Final[dict[str, tuple[str, str]]] = {
    "demo": ("pipeline.cli.demo", "A whole arena on this machine, with simulated voters."),
    "votes": ("pipeline.cli.votes", "Import, simulate and export votes."),
    "arena": ("pipeline.cli.arena", "Arenas and their models: apply a file, list what is known."),
    "pipeline": ("pipeline.cli.pipeline", "Rate votes as they arrive."),
    "replay": ("pipeline.cli.replay", "Rate a finite log again, as fast as it goes."),
    "board": ("pipeline.cli.board", "Leaderboards: now, at a past time, and their history."),
    "matchup": ("pipeline.cli.matchup", "Which models to compare next."),
    "dead-letters": ("pipeline.cli.dead_letters", "Records that could not be used: list, mend and send again."),
    "voters": ("pipeline.cli.voters", "Take the votes of voters out of the boards, and back in."),
    "topics": ("pipeline.cli.topics", "Kafka's topics: make and check them, and say who may use them."),
    "generation": ("pipeline.cli.generation", "Workers that make the artifacts of matchups; the demo arena."),
    "gateway": ("pipeline.cli.gateway", "Matchups out to voters and votes in, over HTTP."),
    "dashboard": ("pipeline.cli.dashboard", "Live boards in a browser, and a page to vote on."),
    "doctor": (
        "pipeline.cli.doctor",
        "What is installed and healthy; what to do about the rest.",
    ),
}
"""Noun -> (module whose `command` it is, one line of help)."""

EXTRAS: Final[dict[str, str]] = {
    "kafka": "kafka",
    "confluent_kafka": "kafka",
    "crc32c": "kafka",
    "lz4": "kafka",
    "zstandard": "kafka",
    "streamlit": "dashboard",
    "prometheus_client": "metrics",
    "PIL": "worker",
    "torch": "generation",
    "diffusers": "generation",
    "transformers": "generation",
    "fastapi": "gateway",
    "httpx": "gateway",
    "starlette": "gateway",
    "uvicorn": "gateway",
}
"""Import name of an optional package -> the extra that installs it."""

_OURS = ("pipeline", "producers", "dashboard", "generation", "infra")
_INTERRUPTED = 130


class _LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in NOUNS:
            return None
        command = importlib.import_module(NOUNS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        with formatter.section("Commands"):
            formatter.write_dl([(noun, text) for noun, (_, text) in NOUNS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            click.echo(err=True)
            raise click.exceptions.Exit(_INTERRUPTED) from None
        except BrokenPipeError:
            if not _discard_stdout():
                raise
            # Whoever read our results has had enough, as `head` does: that is no failure.
            raise click.exceptions.Exit(0) from None
        except Exception as error:
            line = describe_error(error)
            if line is None:
                raise
            if _is_debugging():
                traceback.print_exc()
            raise click.ClickException(line) from None
        return result


def describe_error(error: Exception) -> str | None:
    """Return one line for people; None for click's own errors and for bugs, whose traceback is what helps."""
    if isinstance(error, ModuleNotFoundError):
        return _describe_missing(error)
    if type(error).__module__.partition(".")[0] in _OURS:
        return " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return f"{' -> '.join(names)}: {error.strerror}" if names else error.strerror
    return None


def _is_debugging() -> bool:
    return os.environ.get("KWISE_DEBUG", "0") not in {"", "0"}


def _describe_missing(error: ModuleNotFoundError) -> str | None:
    package = (error.name or "").partition(".")[0]
    if package in _OURS:
        return None
    if extra := EXTRAS.get(package):
        return f"this needs the package {package}, which is not installed: pip install 'kwise-arena[{extra}]'"
    return f"the package {package} is missing from this installation: pip install --force-reinstall kwise-arena"


def _discard_stdout() -> bool:
    """Send what is left for a closed stdout to nowhere. False if stdout is not what broke."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
    return True


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "kwise demo",
        "kwise votes simulate --to sqlite:events.db --votes 1000 --seed 1",
        "kwise replay --from sqlite:events.db --store store",
        "kwise board show --store store",
    ),
)
@click.version_option(package_name="kwise-arena", prog_name="kwise", message="%(prog)s %(version)s")
def kwise() -> None:
    """A live leaderboard of generative models from K-wise votes."""


def main() -> None:
    """Run the command line: the entry point of the program `kwise`."""
    # What is published comes from one BLAS thread; a second one would only spin. numpy reads this when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Beam mentions on import that clients of a cloud are not installed; nobody who runs this needs to know.
    logging.getLogger().addFilter(lambda record: not record.getMessage().startswith("apitools not found"))
    if not _is_debugging():  # Beam logs the traceback of what it then raises, and that becomes our one line
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    kwise.main(prog_name="kwise")


if __name__ == "__main__":
    main()
