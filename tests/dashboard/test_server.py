"""The server's process, as `kwise dashboard serve` and the demo start it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from dashboard.server import (
    AppSettings,
    DashboardError,
    _make_environment,
    find_free_port,
    make_address,
    start_dashboard,
)
from pipeline.cli.dashboard import command
from pipeline.cli.main import kwise
from tests.conftest import wait_until


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`kwise dashboard serve`, and the line that it printed."""
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli.main", "dashboard", "serve", "--store", str(tmp_path), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            yield process, process.stderr.readline()
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_its_address_once_and_stops_cleanly(
    running: tuple[subprocess.Popen[str], str], number: signal.Signals
) -> None:
    process, line = running
    found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
    assert found, line
    with urllib.request.urlopen(found[0], timeout=10) as answer:
        assert answer.status == 200
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
    port = int(found[1])
    wait_until(lambda: _is_free(port), timeout=10)


def test_serve_on_a_taken_port_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(kwise, ["dashboard", "serve", "--store", str(tmp_path), "--port", port])
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in result.output
    assert "--port" in result.output


def test_serve_without_streamlit_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_names: None)
    result = CliRunner().invoke(kwise, ["dashboard", "serve", "--store", str(tmp_path)])
    assert result.exit_code == 1
    assert 'pip install "kwise-arena[dashboard]"' in result.output
    with pytest.raises(DashboardError):
        start_dashboard(tmp_path, find_free_port())


def test_app_learns_of_gateway_and_password_from_its_options_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KWISE_GATEWAY", "http://stale")
    monkeypatch.setenv("KWISE_OPERATOR_PASSWORD_FILE", "stale")
    bare = _make_environment(tmp_path, AppSettings())
    assert not {"KWISE_GATEWAY", "KWISE_OPERATOR_PASSWORD_FILE"} & set(bare)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    told = _make_environment(
        tmp_path,
        AppSettings(
            gateway="http://gateway", operator_password=tmp_path / "password", pause_file=tmp_path / "rest", refresh=2.5
        ),
    )
    assert (told["KWISE_APP_REFRESH"], told["KWISE_PAUSE_FILE"]) == ("2.5", str(tmp_path / "rest"))
    assert told["MALLOC_ARENA_MAX"] == "7"
    assert told["KWISE_GATEWAY"] == "http://gateway"
    assert told["KWISE_OPERATOR_PASSWORD_FILE"] == str(tmp_path / "password")


def test_help_has_an_example_and_imports_nothing_heavy() -> None:
    result = CliRunner().invoke(command, ["serve", "--help"])
    assert "kwise dashboard serve --store store" in result.output
    heavy = "{'streamlit', 'duckdb', 'pyarrow'}"
    code = f"import sys, pipeline.cli.dashboard; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("fe80::1", "http://[fe80::1]:80"),
        ("board.example.org", "http://board.example.org:80"),
    ],
)
def test_address_is_one_that_this_machine_can_open(host: str, address: str) -> None:
    assert make_address(host, 80) == address


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
