"""One Kafka node as a Java process: formatted, started, stopped, killed, started again."""

from __future__ import annotations

import atexit
import base64
import contextlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.kafka.errors import BrokerError
from infra.kafka.jars import fetch_jars
from infra.kafka.java import Java, find_java, make_command
from infra.kafka.properties import HOST, MECHANISM, BrokerSecurity, make_properties

READY_LIMIT_S = 90.0  # 2 to 4 s on an idle machine, half a minute on a busy one
STOP_LIMIT_S = 60.0
SHORT_LIVED = ("-XX:TieredStopAtLevel=1",)
"""No optimizing compiler: a start costs a third less, high volume more."""

_FORMAT_LIMIT_S = 60.0
_KILL_LIMIT_S = 10.0
_PROBE_S = 0.05

# ApiVersions, version 0: the one request that every broker answers to everybody.
_ASK_VERSIONS = b"\0\0\0\x0a\0\x12\0\0\0\0\0\1\xff\xff"
# Below the range that systems take the ports of outgoing connections from: a port must still be free after a kill.
_PORTS = range(15_000, 32_000)


class KafkaBroker:
    """A node that is broker and controller at once, on this machine; usable as a context manager.

    The process has a session of its own, so that Ctrl-C in a terminal reaches its owner alone, and is ended when
    Python ends. `start` after `kill` or `stop` goes on with the same data at the same port.

    Parameters
    ----------
    folder
        Holds data, settings and log (``server.log``); None: a temporary one, deleted by `close`.
    port
        Where clients reach it, on 127.0.0.1; None: a free one.
    node_id
        1, 2, ...
    controllers
        Node id -> controller's port of all nodes of the cluster; None: this one alone, at a free port.
    cluster_id
        Of the cluster; None: what the folder says, or a new one.
    security
        Protocols, certificates and users; None: everybody may do everything.
    properties
        More of Kafka's settings; they win.
    heap
        Java's, such as ``256m``.
    java_options
        More of Java's options; `SHORT_LIVED` for a broker that lives for one test.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        node_id: int = 1,
        controllers: Mapping[int, int] | None = None,
        cluster_id: str | None = None,
        security: BrokerSecurity | None = None,
        properties: Mapping[str, str] | None = None,
        heap: str = "256m",
        java_options: Sequence[str] = (),
    ) -> None:
        self._temporary = folder is None
        self.folder = (folder or Path(tempfile.mkdtemp(prefix="kwise-kafka-"))).resolve()
        free = find_free_ports(2)
        self.port = free[0] if port is None else port
        self.node_id = node_id
        self.security = security or BrokerSecurity()
        self._cluster_id = cluster_id
        self._heap = heap
        self._java_options = tuple(java_options)
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = make_properties(
            node_id,
            self.port,
            controllers or {node_id: free[1]},
            self.folder / "data",
            self.security,
            properties or {},
        )

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process's id, None when it does not run."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the process lives; it may not be ready yet."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> Self:
        """Start the process, fetching jars and formatting the folder at the first time.

        Parameters
        ----------
        wait
            Return when clients are served; else call `wait_ready`.

        Raises
        ------
        BrokerError
            Java or the jars are missing, or the node did not come up; holds the end of its log.
        """
        if self.is_running:
            return self
        if not is_port_free(self.port):
            # Whoever is there would be taken for this node.
            raise BrokerError(f"Port {self.port} of {HOST} is in use: stop what listens there, or name another port.")
        java, jars = find_java(), fetch_jars()
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "server.properties"
        settings.touch(mode=0o600)  # passwords, where there are any
        settings.write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()), "utf-8")
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(java, jars, settings)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                make_command(java, jars, self._heap, self._java_options, "kafka.Kafka", str(settings)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        atexit.register(self.close)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, limit_s: float = READY_LIMIT_S) -> None:
        """Return once the node serves clients. Raises `BrokerError` when it ended, or not within `limit_s` seconds."""
        assert self._process is not None
        end = time.monotonic() + limit_s
        pause = threading.Event()
        while not self._answers():
            if (code := self._process.poll()) is not None:
                raise BrokerError(
                    f"Kafka's node {self.node_id} ended with code {code} before it was ready:\n{self.read_log()}"
                )
            if time.monotonic() >= end:
                raise BrokerError(
                    f"Kafka's node {self.node_id} is not ready after {limit_s:g} s; its log, "
                    f"{self.folder / 'server.log'}, ends with:\n{self.read_log()}"
                )
            pause.wait(_PROBE_S)

    def stop(self) -> bool:
        """End the node as an operator would: it hands over what it leads and closes its files.

        Returns
        -------
        bool
            False if it had to be killed, which happens after `STOP_LIMIT_S` seconds.
        """
        self.ask_to_stop()
        if self._process is not None:
            try:
                self._process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.kill()
                return False
        return True

    def ask_to_stop(self) -> None:
        """Send the signal to stop, and do not wait."""
        if self._process is not None and self.is_running:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once (kill -9), as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_KILL_LIMIT_S)

    def restart(self) -> Self:
        """Start again after `kill` or `stop`; one that runs is stopped first."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stop the node, and delete its folder if it is a temporary one."""
        self.stop()
        atexit.unregister(self.close)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def read_log(self) -> str:
        """Return the last lines of the node's log, without the stacks of Java's exceptions."""
        path = self.folder / "server.log"
        return _shorten(path.read_text("utf-8", "replace")) if path.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _format(self, java: Java, jars: tuple[Path, ...], settings: Path) -> None:
        users = [
            f"--add-scram={MECHANISM}=[name={name},password={password}]"
            for name, password in self.security.scram_users.items()
        ]
        arguments = ["format", f"--cluster-id={self._cluster_id or make_cluster_id()}", f"--config={settings}", *users]
        command = make_command(java, jars, "128m", SHORT_LIVED, "kafka.tools.StorageTool", *arguments)
        # In a file, because the list of processes would show passwords to everybody.
        with tempfile.NamedTemporaryFile("w", dir=self.folder, suffix=".arguments") as file:
            file.writelines(f'"{argument}"\n' for argument in command[1:])
            file.flush()
            done = subprocess.run(
                [command[0], f"@{file.name}"], capture_output=True, text=True, timeout=_FORMAT_LIMIT_S, check=False
            )
        if done.returncode:
            raise BrokerError(f"Kafka could not format {self.folder}:\n{_shorten(done.stderr + done.stdout)}")

    def _answers(self) -> bool:
        """Whether the port answers a request: it is opened only once the node may serve."""
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 0.5) as plain:
            plain.settimeout(2.0)
            with self._encrypt(plain) as connection:
                connection.sendall(_ASK_VERSIONS)
                return bool(connection.recv(4))
        return False

    def _encrypt(self, plain: socket.socket) -> socket.socket:
        if self.security.ca is None:
            return plain
        context = ssl.create_default_context(cafile=self.security.ca)
        if self.security.certificate is not None:
            context.load_cert_chain(self.security.certificate, self.security.key)
        return context.wrap_socket(plain, server_hostname=HOST)


def _shorten(told: str) -> str:
    """Return the last lines of what Java said, without stacks."""
    return "\n".join([line for line in told.splitlines() if line and not line.startswith("\t")][-20:])


def make_cluster_id() -> str:
    """Return a new cluster id: 16 random bytes in Kafka's alphabet."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").translate({ord("-"): "A", ord("_"): "B"})


def is_port_free(port: int) -> bool:
    """Whether nobody listens at a port of this machine."""
    with socket.socket() as tried:
        # Connections to a broker that was just killed linger, and do not keep Java from listening there.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError:
            return False
    return True


def find_free_ports(count: int) -> list[int]:
    """Return `count` different ports of this machine that nobody listens at now."""
    chosen: list[int] = []
    draw = random.SystemRandom()
    while len(chosen) < count:
        port = draw.choice(_PORTS)
        if port not in chosen and is_port_free(port):
            chosen.append(port)
    return chosen
