from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from pipeline.cli.processes import Part, require_running


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('no port')", "the worker ended with exit code 1; its message is above"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the worker was killed by SIGKILL"),
    ],
)
def test_program_that_has_ended_is_named_after_what_it_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: str, said: str
) -> None:
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=out, stderr=out)
    process.wait()
    with pytest.raises(click.ClickException) as caught:
        require_running({"worker": Part(process, log)})
    assert caught.value.message == said
    assert ("no port" in capsys.readouterr().err) == ("above" in said)
