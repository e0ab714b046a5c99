"""Programs that a command of ours starts and ends, each in a session of its own: Ctrl-C reaches them through us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from pipeline.cli.output import note

Process = subprocess.Popen[bytes]

_TOLD_LINES: Final = 20
STEP_S: Final = 0.1
_END_S: Final = 15.0
_LONGEST_END_S: Final = 120.0  # a job that is asked to stop while it compiles does that first


@dataclass(frozen=True, slots=True)
class Part:
    """A program of ours, and the file that its messages go to; None: they go where ours go."""

    process: Process
    log: Path | None = None


def start_kwise(*arguments: str, log: Path | None = None, **variables: str) -> Part:
    """Start a command of ours with further environment variables; its messages go to the end of `log`."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
    command = [sys.executable, "-m", "pipeline.cli.main", *arguments]
    with ExitStack() as stack:
        out = None if log is None else stack.enter_context(log.open("ab"))
        return Part(subprocess.Popen(command, start_new_session=True, env=environment, stdout=out, stderr=out), log)


@contextmanager
def ended(process: Process, what: str) -> Iterator[None]:
    """End our process at the end of the block."""
    try:
        yield
    finally:
        end_process(process, what)


def end_process(process: Process, what: str, first_s: float = _END_S, longest_s: float = _LONGEST_END_S) -> None:
    """Send SIGTERM and wait; SIGKILL when that does not help or Ctrl-C comes again. Raises `ClickException` then."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        try:
            process.wait(first_s)
        except subprocess.TimeoutExpired:
            note(f"the {what} is not done yet; waiting up to {longest_s:g} s more (Ctrl-C kills it)")
            process.wait(longest_s)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()
        raise click.ClickException(f"the {what} did not stop and was killed; its last commit holds") from None


def require_running(parts: Mapping[str, Part]) -> None:
    """Raise `ClickException` if one of our programs has ended, after what it said."""
    for what, part in parts.items():
        if part.process.poll() is None:
            continue
        if part.log is not None:
            for line in part.log.read_text("utf-8", "replace").splitlines()[-_TOLD_LINES:]:
                note(line)
        code = part.process.returncode
        if code < 0:
            raise click.ClickException(f"the {what} was killed by {signal.Signals(-code).name}")
        raise click.ClickException(f"the {what} ended with exit code {code}; its message is above")


def wait_for(condition: Callable[[], bool], parts: Mapping[str, Part], stop: threading.Event) -> bool:
    """Wait for the condition; False if we are to stop before."""
    while not condition():
        if stop.wait(STEP_S):
            return False
        require_running(parts)
    return not stop.is_set()
