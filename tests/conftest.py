"""What all tests share: time limits, hypothesis profiles, real data, the browser, and Kafka."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

from infra.chromium import CHROMIUM, FLAGS
from infra.kafka.jars import are_jars_here, is_maven_here
from infra.kafka.java import is_java_here

ROOT = Path(__file__).resolve().parent.parent
CI = os.environ.get("CI", "").lower() in {"1", "true"}

BROWSER_FIXTURES = {"browser", "browser_type", "context", "new_context", "page"}
KAFKA_FIXTURES = {"kafka_broker", "fragile_broker", "kafka_url"}
T = TypeVar("T")
LEFT_OUT = pytest.StashKey[list[str]]()

pytest_plugins = ["tests.kafka_broker"]

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
    return {**browser_type_launch_args, "executable_path": str(CHROMIUM), "args": list(FLAGS)}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what uses a browser or Kafka; leave it out where there is none, unless CI is set: there it must fail."""
    for item in items:
        for mark, fixtures in (("browser", BROWSER_FIXTURES), ("kafka", KAFKA_FIXTURES)):
            if fixtures.intersection(getattr(item, "fixturenames", ())):
                item.add_marker(mark)
    if CI:
        return
    told = []
    for mark, reason in find_missing().items():
        if left_out := [item for item in items if item.get_closest_marker(mark)]:
            items[:] = [item for item in items if not item.get_closest_marker(mark)]
            config.hook.pytest_deselected(items=left_out)
            told.append(f"left out: {len(left_out)} {mark} tests, because there is no {reason}")
    config.stash[LEFT_OUT] = told


def find_missing() -> dict[str, str]:
    """Return the marks of tests that cannot run on this machine, and what they lack."""
    missing = {}
    if not CHROMIUM.exists():
        missing["browser"] = str(CHROMIUM)
    if not is_java_here():
        missing["kafka"] = "Java 17 or newer (Debian: openjdk-17-jre-headless)"
    elif not (are_jars_here() or is_maven_here()):
        missing["kafka"] = "mvn to fetch Kafka with (Debian: maven)"
    return missing


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in a line each which tests were left out for want of a browser, Java or Maven."""
    for line in config.stash.get(LEFT_OUT, []):
        terminalreporter.write_line(line)
