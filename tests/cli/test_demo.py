"""`kwise demo` ends what it started."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from pipeline.cli.processes import end_process

_READY = "print('ready', flush=True); "


def start(code: str) -> subprocess.Popen[bytes]:
    """Start a program, and return when it is as far as to have printed a line."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()
    return process


def test_process_that_needs_longer_is_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import signal, time; signal.signal(15, lambda *_: (time.sleep(0.5), exit(0))); "
    process = start(code + _READY + "time.sleep(60)")
    end_process(process, "job", first_s=0.1, longest_s=60)
    assert process.returncode == 0
    assert "the job is not done yet; waiting up to 60 s more" in capfd.readouterr().err


def test_process_that_does_not_stop_is_killed_and_that_is_a_failure() -> None:
    process = start("import signal, time; signal.signal(15, signal.SIG_IGN); " + _READY + "time.sleep(60)")
    with pytest.raises(click.ClickException, match="the job did not stop and was killed"):
        end_process(process, "job", first_s=0.1, longest_s=0.1)
    assert process.returncode == -9
