"""Serving: the application on uvicorn in a thread, so that whoever started it can wait for a signal, or for a test."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import uvicorn

from pipeline.contracts.log import EventLog
from producers.gateway.app import make_app
from producers.gateway.errors import SettingsError
from producers.gateway.service import Gateway, open_gateway, wall_clock
from producers.gateway.settings import GatewaySettings

_BACKLOG: Final = 2048
_JOIN_SECONDS: Final = 60.0
_KEEP_ALIVE_SECONDS: Final = 30


class GatewayServer:
    """One gateway that serves on one socket. Made by `serving`."""

    def __init__(self, settings: GatewaySettings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._stopping = threading.Event()
        self._started = threading.Event()
        self.is_ended = threading.Event()
        """Set when it serves no more, whatever the reason."""
        self._server: uvicorn.Server | None = None
        self._gateway: Gateway | None = None
        self._failure: BaseException | None = None
        host, port = listener.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def run(self, log: EventLog, store: Path, complain: Callable[[str], None], clock: Callable[[], int]) -> None:
        """Serve until `stop`; what ends it otherwise is kept for `wait_started` and `join`."""
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._run(log, store, complain, clock))
        except BaseException as error:
            self._failure = error
        finally:
            self._started.set()
            self.is_ended.set()

    async def _run(self, log: EventLog, store: Path, complain: Callable[[str], None], clock: Callable[[], int]) -> None:
        async with open_gateway(
            log, store, self._settings, complain=complain, is_stopping=self._stopping.is_set, clock=clock
        ) as gateway:
            config = uvicorn.Config(
                make_app(gateway),
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,  # addresses are taken from proxies that show a secret, and by us
                lifespan="off",
                ws="none",
                limit_concurrency=self._settings.max_connections,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=round(self._settings.shutdown_seconds),
            )
            self._server, self._gateway = uvicorn.Server(config), gateway
            self._started.set()
            if not self._stopping.is_set():
                await self._server.serve(sockets=[self._listener])

    def wait_started(self) -> None:
        """Return when it serves; raise what kept it from that."""
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Take nothing new, and end when what is under way is done."""
        self._stopping.set()
        if self._gateway is not None:
            self._gateway.dispatcher.stop_leasing()  # workers who wait for jobs are answered now
        if self._server is not None:
            self._server.should_exit = True

    def close(self) -> None:
        """Give the address back. Idempotent."""
        self._listener.close()

    def raise_failure(self) -> None:
        """Raise what ended it, unless that was a stop."""
        if self._failure is not None:
            raise self._failure


@contextmanager
def serving(
    log: EventLog,
    store: Path,
    settings: GatewaySettings,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    complain: Callable[[str], None] = lambda _: None,
    clock: Callable[[], int] = wall_clock,
) -> Iterator[GatewayServer]:
    """Serve a gateway in a thread while the block runs; port 0 takes a free one.

    Raises
    ------
    SettingsError
        Nothing can listen at this address; and whatever `open_gateway` raises.
    """
    server = GatewayServer(settings, _listen(host, port))
    thread = threading.Thread(target=server.run, args=(log, store, complain, clock), name="gateway", daemon=True)
    thread.start()
    try:
        server.wait_started()
        yield server
    finally:
        server.stop()
        thread.join(_JOIN_SECONDS + settings.shutdown_seconds)
        server.close()
    server.raise_failure()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the quicker loop, where there is one for this system."""
    try:
        import uvloop  # noqa: PLC0415 - not there on all systems
    except ImportError:
        return None
    return uvloop.new_event_loop


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"nothing can listen at {host}:{port}: {error.strerror or error}; name another port"
        ) from error
    return listener
