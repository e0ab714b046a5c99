"""What all tests share: time limits, hypothesis profiles, real data, and the browser."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
CI = os.environ.get("CI", "").lower() in {"1", "true"}

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BROWSER_FIXTURES = {"browser", "browser_type", "context", "new_context", "page"}
T = TypeVar("T")
LEFT_OUT = pytest.StashKey[int]()

# No deadline: the first example pays for numba's compiler, and machines are shared.
hypothesis.settings.register_profile("laptop", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if CI else "laptop")


def wait_until(condition: Callable[[], T], timeout: float = 10.0, interval: float = 0.02) -> T:
    """Ask `condition` until it answers something true, and return that answer.

    Parameters
    ----------
    condition
        Called every `interval` seconds; its exceptions are not caught.
    timeout
        Seconds after which the wait fails.
    interval
        Seconds between two calls.

    Raises
    ------
    TimeoutError
        When `timeout` seconds have passed; tells the last answer.
    """
    end = time.monotonic() + timeout
    pause = threading.Event()
    while not (answer := condition()):
        if time.monotonic() >= end:
            raise TimeoutError(f"still {answer!r} after {timeout:g} s: {getattr(condition, '__name__', condition)}")
        pause.wait(interval)
    return answer


@pytest.fixture(scope="session")
def kwise_data() -> Path:
    """Folder of real votes: $KWISE_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("KWISE_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real data are not part of the repository, and {folder} is no folder; set KWISE_DATA")
    return folder


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Launch Debian's Chromium instead of one that Playwright downloads."""
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing; on Debian: apt-get install chromium")
    return {**browser_type_launch_args, "executable_path": str(CHROMIUM), "args": CHROMIUM_FLAGS}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what uses a browser; leave it out where there is none, unless CI is set: there it must fail."""
    for item in items:
        if BROWSER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("browser")
    if CI or CHROMIUM.exists():
        return
    left_out = [item for item in items if item.get_closest_marker("browser")]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker("browser")]
        config.hook.pytest_deselected(items=left_out)
        config.stash[LEFT_OUT] = len(left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in one line which tests were left out for want of a browser."""
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"left out: {count} browser tests, because there is no {CHROMIUM}")
