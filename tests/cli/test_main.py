"""The command as a program: lazy nouns, exit codes, one-line errors, pipes, interrupts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from pipeline.cli.main import NOUNS, describe_error, kwise
from pipeline.contracts.arena import ArenaError
from pipeline.contracts.log import LogUnavailable

HEAVY = ("duckdb", "pyarrow", "apache_beam", "numba", "numpy", "streamlit", "rich", "msgspec")


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


def raise_from_demo(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail() -> None:
        raise error

    command = click.Command("demo", callback=fail)
    monkeypatch.setitem(sys.modules, "pipeline.cli.demo", SimpleNamespace(command=command))


def test_help_imports_no_heavy_package() -> None:
    done = run_python(
        "import sys\n"
        "from pipeline.cli.main import kwise\n"
        "kwise.main(['--help'], standalone_mode=False)\n"
        f"print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    )
    assert done.stdout.endswith("loaded: []\n"), done.stderr
    assert all(noun in done.stdout for noun in NOUNS)


@pytest.mark.parametrize("noun", ["arena", "board", "matchup", "voters", "doctor"])
def test_help_of_a_noun_imports_no_heavy_package(noun: str) -> None:
    done = run_python(
        "import sys\n"
        "from pipeline.cli.main import kwise\n"
        f"kwise.main([{noun!r}, '--help'], standalone_mode=False)\n"
        f"print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    )
    assert done.stdout.endswith("loaded: []\n"), done.stderr


def test_version_is_the_distributions() -> None:
    result = CliRunner().invoke(kwise, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("kwise 0.")


@pytest.mark.parametrize("arguments", [["bord"], ["board", "shwo"], ["board", "show"], ["--nonsense"]])
def test_wrong_use_exits_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(kwise, arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (LogUnavailable("sqlite:x.db is locked;\n try again"), "Error: sqlite:x.db is locked; try again\n"),
        (ArenaError("arena.toml: no id"), "Error: arena.toml: no id\n"),
        (FileNotFoundError(2, "No such file or directory", "x.toml"), "Error: x.toml: No such file or directory\n"),
        (ModuleNotFoundError("No module named 'kafka'", name="kafka.admin"), "Error: this needs the package kafka, "
         "which is not installed: pip install 'kwise-arena[kafka]'\n"),
        (ModuleNotFoundError("no streamlit", name="streamlit"), "Error: this needs the package streamlit, "
         "which is not installed: pip install 'kwise-arena[dashboard]'\n"),
    ],
)  # fmt: skip
def test_expected_errors_are_one_line_and_exit_1(monkeypatch: pytest.MonkeyPatch, error: Exception, line: str) -> None:
    monkeypatch.delenv("KWISE_DEBUG", raising=False)
    raise_from_demo(monkeypatch, error)
    result = CliRunner().invoke(kwise, ["demo"])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", line)


def test_debug_adds_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KWISE_DEBUG", "1")
    raise_from_demo(monkeypatch, ArenaError("arena.toml: no id"))
    result = CliRunner().invoke(kwise, ["demo"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("Error: arena.toml: no id\n")


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    raise_from_demo(monkeypatch, ZeroDivisionError("a bug"))
    result = CliRunner().invoke(kwise, ["demo"])
    assert isinstance(result.exception, ZeroDivisionError)
    assert describe_error(ModuleNotFoundError("a bug", name="pipeline.cli.nonsense")) is None


def test_interrupt_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    raise_from_demo(monkeypatch, KeyboardInterrupt())
    assert CliRunner().invoke(kwise, ["demo"]).exit_code == 130


def test_interrupted_program_exits_130() -> None:
    code = (
        "import os, signal, sys, types, click, pipeline.cli.main as cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def hit(): os.kill(os.getpid(), signal.SIGINT); signal.sigtimedwait([], 20)\n"
        "command = click.Command('demo', callback=hit)\n"
        "sys.modules['pipeline.cli.demo'] = types.SimpleNamespace(command=command)\n"
        "cli.kwise.main(['demo'])\n"
    )
    done = run_python(code)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_quiet_and_no_failure(tmp_path: Path) -> None:
    # More rows than a pipe holds, and a reader that leaves after one.
    code = (
        "import sys, types, click, pipeline.cli.main as cli\n"
        "from pipeline.cli.output import print_rows\n"
        "def show(): print_rows(({'n': n} for n in range(500_000)), ['n'], 'csv')\n"
        "command = click.Command('demo', callback=show)\n"
        "sys.modules['pipeline.cli.demo'] = types.SimpleNamespace(command=command)\n"
        "cli.kwise.main(['demo'])\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "{sys.executable}" "{script}" | head -2; echo "${{PIPESTATUS[0]}}"'],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["n", "0", "0"]
    assert done.stderr == ""


def test_a_pipe_that_is_not_stdout_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    raise_from_demo(monkeypatch, BrokenPipeError(32, "Broken pipe"))
    assert CliRunner().invoke(kwise, ["demo"]).exit_code == 1


def test_the_installed_program_runs() -> None:
    program = Path(sys.executable).with_name("kwise")
    done = subprocess.run(
        [program, "doctor", "--format", "csv"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("check,status,detail,advice\n")
