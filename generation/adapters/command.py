"""`command:PROGRAM ARGUMENTS`: a program that makes one artifact a run.

It is started without a shell, in an empty folder, without the worker's secrets. One line of JSON comes on its
standard input: prompt, seed, width, height and what the settings say. It writes PNG, JPEG, WebP or GIF to its standard
output and ends with 0; exit code 3 is a refusal, whose reason is the last line on standard error.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from generation.adapters.base import Adapter, Request
from generation.adapters.fields import request_fields
from generation.errors import GenerationError, Interrupted, ModelUnavailable, Refused
from generation.frames import Frames, decode_frames

REFUSED: Final = 3
"""Exit code of a refusal."""

_MAX_BYTES: Final = 64 << 20
_SECRET_PREFIX: Final = "KWISE_"
_DETAIL: Final = 200
_LOOK_S: Final = 0.25
"""Between two looks at whether the worker stops or the time is up."""


class CommandAdapter(Adapter):
    """Runs the program once for each artifact."""

    def load(self) -> None:
        """See that commands may be run here, and that this one can be understood."""
        if not self.surroundings.allow_commands:
            raise ModelUnavailable(
                "this worker runs no commands; start one with --allow-commands where they are trusted"
            )
        try:
            self._command = shlex.split(self.source)
        except ValueError as error:
            raise GenerationError(f"command:{self.source} cannot be read: {error}", retriable=False) from None
        if not self._command:
            raise GenerationError("command: names no program", retriable=False)

    def generate(self, requests: Sequence[Request], stop: Callable[[], bool]) -> list[Frames | Refused]:
        """Run the program for one request after the other."""
        made: list[Frames | Refused] = []
        for request in requests:
            try:
                made.append(decode_frames(self._run(request, stop)))
            except Refused as refusal:
                made.append(refusal)
        return made

    def _run(self, request: Request, stop: Callable[[], bool]) -> bytes:
        line = msgspec.json.encode(request_fields(request, self.settings)) + b"\n"
        environment = {
            name: value for name, value in self.surroundings.environment.items() if not name.startswith(_SECRET_PREFIX)
        }
        with tempfile.TemporaryDirectory(prefix="kwise-command-") as folder, tempfile.TemporaryFile() as out:
            try:
                process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.PIPE, cwd=folder,
                    env=environment, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise ModelUnavailable(f"{self._command[0]} cannot be started: {error.strerror}") from None
            try:
                complaint = self._await(process, line, out.fileno(), stop)
            finally:
                _kill_group(process)
            if process.returncode == REFUSED:
                raise Refused(_last_line(complaint) or "the model refused")
            if process.returncode != 0:
                raise GenerationError(
                    f"{self._command[0]} ended with {process.returncode}: {_last_line(complaint) or 'it said nothing'}"
                )
            out.seek(0)
            return out.read()

    def _await(self, process: subprocess.Popen[bytes], line: bytes, out: int, stop: Callable[[], bool]) -> bytes:
        """Return what the program said on standard error, once it has ended with its output in the file `out`."""
        deadline = time.monotonic() + self.settings.timeout_seconds
        given: bytes | None = line
        while True:
            if stop():
                raise Interrupted("the worker stops")
            complaint = None
            try:
                complaint = process.communicate(given, _LOOK_S)[1]
            except subprocess.TimeoutExpired:
                given = None
            if os.fstat(out).st_size > _MAX_BYTES:
                raise GenerationError(f"{self._command[0]} wrote more than {_MAX_BYTES} bytes", retriable=False)
            if complaint is not None:
                return complaint
            if time.monotonic() > deadline:
                raise GenerationError(f"{self._command[0]} took longer than {self.settings.timeout_seconds:g} s")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the program and whatever it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _last_line(complaint: bytes) -> str:
    lines = complaint.decode("utf-8", "replace").split("\n")
    return next((line.strip()[:_DETAIL] for line in reversed(lines) if line.strip()), "")
