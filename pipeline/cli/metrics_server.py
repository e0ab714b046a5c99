"""Serves Prometheus metrics of a command that runs until it is stopped. Needs the extra ``metrics``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector, start_http_server
from prometheus_client.registry import Collector, CollectorRegistry

from pipeline.cli.output import note


class MetricsError(Exception):
    """The metrics cannot be served. Says why and what to do."""


@contextmanager
def serve_metrics(collector: Collector, host: str, port: int) -> Iterator[int]:
    """Serve /metrics while the block runs, the process's own memory and processor time among them; yields the port.

    Port 0 takes a free one. Raises `MetricsError` where nothing can listen there.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        why = error.strerror or str(error)
        raise MetricsError(f"cannot serve metrics on {host}:{port}: {why}; choose another --metrics-port") from error
    try:
        where = f"[{host}]" if ":" in host else host
        note(f"metrics at http://{where}:{server.server_port}/metrics")
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
