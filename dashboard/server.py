"""Starting the app: one Streamlit server as a child process."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final

from dashboard.pace import DEFAULT_REFRESH, REFRESH_VARIABLE
from dashboard.theme import theme_options

DEFAULT_HOST: Final = "127.0.0.1"
GATEWAY_VARIABLE: Final = "KWISE_GATEWAY"
PASSWORD_VARIABLE: Final = "KWISE_OPERATOR_PASSWORD_FILE"
PAUSE_VARIABLE: Final = "KWISE_PAUSE_FILE"
STORE_VARIABLE: Final = "KWISE_STORE"
DEFAULT_PORT: Final = 8501

_OPTIONS: Final = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    # Streamlit sends large elements once and then by their hash. With fragments that run by themselves the browser may
    # have dropped what the server refers to ("Cached ForwardMsg MISS", and the page is dead): send them whole.
    "global.minCachedMessageSize": "1e12",
    "server.enableWebsocketCompression": "true",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",  # tracebacks go to stderr, not to whoever looks at the page
    "client.showErrorLinks": "false",
    "logger.hideWelcomeMessage": "true",
    "logger.level": "warning",
    "runner.magicEnabled": "false",
    # After each run of a script or a fragment all of the heap would be searched for garbage: 0.1 s of each reader's
    # every second. Python does so by itself, when there is some.
    "runner.postScriptGC": "false",
}

_ALLOCATOR: Final = {"MALLOC_ARENA_MAX": "2"}
"""Each run of a page is a thread of its own: with an arena a thread, as glibc has it, much is kept and little used."""


class DashboardError(Exception):
    """The app cannot be started. Says why and what to do."""


def gateway_url() -> str | None:
    """Return where this app's gateway is; None where it has none."""
    return os.environ.get(GATEWAY_VARIABLE) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """What an app is told when it starts.

    Attributes
    ----------
    gateway : str or None
        Its address; without it nobody can vote.
    operator_password : Path or None
        A file with the password of operators; without it there is no login.
    pause_file : Path or None
        While it is there, simulated voters rest; pages get a switch for it.
    refresh : float
        Seconds between two drawings of an open page.
    """

    gateway: str | None = None
    operator_password: Path | None = None
    pause_file: Path | None = None
    refresh: float = DEFAULT_REFRESH


def start_dashboard(
    store: Path, port: int = DEFAULT_PORT, host: str = DEFAULT_HOST, settings: AppSettings | None = None
) -> subprocess.Popen[bytes]:
    """Start the server for `store`, which need not exist yet, and return at once; `wait_until_ready` waits for it.

    It ends on SIGTERM (`stop_dashboard`), and has a session of its own, so that Ctrl-C reaches it through us alone:
    Streamlit answers it with a traceback while it starts. Raises `DashboardError` where Streamlit is not installed or
    the port is taken.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise DashboardError('the dashboard needs Streamlit: pip install "kwise-arena[dashboard]"')
    _require_free(host, port)
    options = {**_OPTIONS, **theme_options(), "server.address": host, "server.port": str(port)}
    flags = [f"--{name}={value}" for name, value in options.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "dashboard.launch", *flags],
        env=_make_environment(store, settings or AppSettings()),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def _make_environment(store: Path, settings: AppSettings) -> dict[str, str]:
    """Return our own environment with what the app is told, and nothing that another app was told."""
    told = {
        STORE_VARIABLE: Path(store).absolute(),
        GATEWAY_VARIABLE: settings.gateway,
        PASSWORD_VARIABLE: settings.operator_password and settings.operator_password.absolute(),
        PAUSE_VARIABLE: settings.pause_file and settings.pause_file.absolute(),
        REFRESH_VARIABLE: settings.refresh,
    }
    inherited = _ALLOCATOR | {name: value for name, value in os.environ.items() if name not in told}
    return inherited | {name: str(value) for name, value in told.items() if value is not None}


@contextmanager
def run_dashboard(store: Path, settings: AppSettings | None = None) -> Iterator[tuple[str, int]]:
    """Run a server on a free port of this machine while the block runs; yield its address and process id."""
    port = find_free_port()
    server = start_dashboard(store, port, settings=settings)
    try:
        wait_until_ready(server, port)
        yield make_address(DEFAULT_HOST, port), server.pid
    finally:
        stop_dashboard(server)


def wait_until_ready(
    server: subprocess.Popen[bytes], port: int, host: str = DEFAULT_HOST, timeout: float = 60.0
) -> None:
    """Wait until the server answers. Raises `DashboardError` if it ends before, or does not answer in time."""
    address = f"{make_address(host, port)}/_stcore/health"
    end = time.monotonic() + timeout
    # No proxy: this is a machine talking to itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end:
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            pass
        else:
            raise DashboardError(f"the dashboard's server ended at once, with exit code {server.returncode}")
        try:
            with opener.open(address, timeout=2):
                return
        except (urllib.error.URLError, OSError, HTTPException):
            continue
    raise DashboardError(f"the dashboard's server did not answer at {address} within {timeout:g} s")


def stop_dashboard(server: subprocess.Popen[bytes], timeout: float = 10.0) -> None:
    """End the server and wait for it. Idempotent."""
    server.terminate()
    try:
        server.wait(timeout)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def make_address(host: str, port: int) -> str:
    """Return where a browser on this machine finds the app."""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if parsed.version == 6:
        return f"http://[{'::1' if parsed.is_unspecified else host}]:{port}"
    return f"http://{'127.0.0.1' if parsed.is_unspecified else host}:{port}"


def find_free_port(host: str = DEFAULT_HOST) -> int:
    """Return a port that is free at this moment."""
    with socket.create_server((host, 0), family=_family(host)) as server:
        return int(server.getsockname()[1])


def _require_free(host: str, port: int) -> None:
    try:
        socket.create_server((host, port), family=_family(host)).close()
    except OSError as error:
        raise DashboardError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port"
        ) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
