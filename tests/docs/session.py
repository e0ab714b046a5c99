"""Runs the blocks of a document as a reader would, one after the other in one folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.docs.documents import Block

_LIMIT_S = 180.0  # of one block; a machine may be busy with other tests
_AGAIN_S = 0.3


class Session:
    """A folder and the shells that run in it.

    Parameters
    ----------
    folder
        Where blocks are run.
    data
        Folder of real votes, None if blocks need none.
    ports
        Ports that documents name -> those used instead, because others may listen there.
    """

    def __init__(self, folder: Path, data: Path | None, ports: Mapping[int, int] | None = None) -> None:
        self._folder = folder
        self._ports = ports or {}
        self._running: list[tuple[Block, subprocess.Popen[str]]] = []
        scripts = Path(sys.executable).parent
        self._environment = {
            **os.environ,
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",  # both channels in the order in which they were written
        }
        if data is not None:
            self._environment["KWISE_DATA"] = str(data)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what runs in the background, as Ctrl-C does; it must end cleanly, unless a test failed already."""
        for block, process in reversed(self._running):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            try:
                printed, _ = process.communicate(timeout=_LIMIT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                printed, _ = process.communicate()
            if error is None:
                assert process.returncode == 0, f"{block.place} ended with {process.returncode}:\n{printed}"

    def run(self, blocks: Sequence[Block]) -> None:
        """Write files, run commands and compare what they print with what the document shows."""
        for block, after in zip(blocks, [*blocks[1:], None], strict=True):
            if (name := block.value("file")) is not None:
                path = self._folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self._use_ports(block.text), "utf-8")
            if "run" not in block.words:
                continue
            shown = self._use_ports(after.text) if after is not None and "output" in after.words else None
            if "background" in block.words:
                self._running.append((block, self._start(block)))
            else:
                self._run_block(block, shown)

    def _run_block(self, block: Block, shown: str | None) -> None:
        wanted = int(block.value("exit") or 0)
        deadline = time.monotonic() + _LIMIT_S
        while True:
            process = self._start(block)
            printed, _ = process.communicate(timeout=_LIMIT_S)
            fits = shown is None or is_shown(printed, shown)
            if process.returncode == wanted and fits:
                return
            if "again" not in block.words or time.monotonic() > deadline:
                break
            time.sleep(_AGAIN_S)
        others = "".join(f"\n(in the background: {each.place}, {job.poll()})" for each, job in self._running)
        assert process.returncode == wanted, f"{block.place} ended with {process.returncode}:\n{printed}{others}"
        assert fits, f"{block.place} shows:\n{shown}\nbut prints:\n{printed}{others}"

    def _start(self, block: Block) -> subprocess.Popen[str]:
        # `exec` for what is stopped by a signal: it must reach the program, not a shell.
        text = self._use_ports(block.text)
        script = f"exec {text}" if "background" in block.words else text
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _use_ports(self, text: str) -> str:
        for named, used in self._ports.items():
            text = text.replace(str(named), str(used))
        return text


def is_shown(printed: str, shown: str) -> bool:
    """Whether `printed` is what a document shows; ``...`` stands for anything, blanks at the ends of lines for none."""
    wanted = ".*".join(re.escape(_strip_lines(part)) for part in shown.rstrip().split("..."))
    return re.fullmatch(wanted, _strip_lines(printed.rstrip()), re.DOTALL) is not None


def _strip_lines(text: str) -> str:
    return re.sub(r" +$", "", text, flags=re.MULTILINE)
