"""`kwise demo`: the first thing that anybody runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from dashboard.server import find_free_port
from pipeline.store.errors import ReaderError
from pipeline.store.reader import StoreReader
from tests.end_to_end.jobs import Program, call, dead_letters, family_of, wait_while_running

HEADLESS = ("demo", "--headless", "--votes", "3000", "--format", "json")


@pytest.mark.timeout(90)
def test_headless_demo_is_repeatable_and_finds_the_truth() -> None:
    printed = call(*HEADLESS).stdout
    with Program(*HEADLESS, PYTHONHASHSEED="7") as other:  # what differs between processes must not show
        assert other.wait(80) == 0, other.stderr
        assert other.stdout.rstrip() == printed.rstrip()
    result = json.loads(printed)
    board = result["board"]
    assert [row["model"] for row in board["models"]] == result["truth"]
    assert board["votes"] == 3000
    assert all(row["rank_low"] <= row["rank"] <= row["rank_high"] for row in board["models"])
    assert all(row["sd"] > 0 and row["name"] for row in board["models"])


@pytest.mark.timeout(30)
def test_headless_demo_with_few_votes_says_how_sure_it_is(tmp_path: Path) -> None:
    result = call("demo", "--headless", "--votes", "60", "--models", "5", "--seed", "3", "--dir", tmp_path)
    assert "60 votes counted" in result.stderr
    assert "true ranks inside the rank interval" in result.stderr
    assert result.stdout.splitlines()[0].split()[:2] == ["rank", "true"]
    assert StoreReader(tmp_path / "store").board("simulated").votes == 60


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def votes_in(folder: Path) -> int:
    try:
        return StoreReader(folder).board("simulated").votes
    except ReaderError:
        return 0


def fetch(port: int) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return int(answer.status)


@pytest.mark.timeout(110)
def test_live_demo_shows_a_board_and_leaves_nothing_behind(tmp_path: Path) -> None:
    port = find_free_port()
    arguments = ("demo", "--port", str(port), "--dir", tmp_path, "--rate", "40")
    family: list[int] = []
    try:
        with Program(*arguments) as demo:
            wait_while_running(demo, lambda: votes_in(tmp_path / "store") >= 20, 60)
            assert fetch(port) == 200
            family = family_of(demo.process.pid)
            assert len(family) >= 2  # job and page
            # Ctrl-C at a terminal goes to our group: job and page must get it from us, in order.
            assert demo.process.pid not in {os.getpgid(pid) for pid in family}
            os.killpg(demo.process.pid, signal.SIGINT)  # as a terminal does: to all in the group at once
            assert demo.wait(40) == 0, demo.stderr
        assert [pid for pid in family if is_alive(pid)] == []
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
        lines = demo.stderr.splitlines()
        assert f"log and store in {tmp_path}" in lines
        assert f"the board: http://127.0.0.1:{port}   (Ctrl-C stops everything)" in lines
        assert f"vote:      http://127.0.0.1:{port}/vote" in lines
        assert "simulated voters vote beside you, 40 a second, until you pause them on the page" in lines
        assert lines[-1].startswith(("stopping", "stopped at commit"))
        assert demo.stdout == ""
        assert "Traceback" not in demo.stderr
        first = votes_in(tmp_path / "store")

        # Again: it goes on from what is there, and answers no matchup a second time.
        with Program(*arguments) as demo:
            wait_while_running(demo, lambda: votes_in(tmp_path / "store") >= first + 20, 60)
            family = family_of(demo.process.pid)
            os.kill(demo.process.pid, signal.SIGTERM)
            assert demo.wait(40) == 0, demo.stderr
        assert [pid for pid in family if is_alive(pid)] == []
        assert not dead_letters(tmp_path / "store")
    finally:
        for pid in family:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.timeout(60)
def test_live_demo_says_that_a_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        failed = call("demo", "--port", str(port), "--dir", tmp_path, code=1)
    assert f"cannot listen on 127.0.0.1:{port}" in failed.stderr
    assert not (tmp_path / "store").exists()
