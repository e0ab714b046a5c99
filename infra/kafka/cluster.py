"""One node or several that form a cluster."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.kafka.errors import BrokerError
from infra.kafka.node import KafkaBroker, find_free_ports, make_cluster_id
from infra.kafka.properties import BrokerSecurity

_LOOK_S = 0.5


class KafkaCluster:
    """Nodes on this machine, each broker and controller; usable as a context manager.

    With three nodes, topics have three copies by default, two of which must hold a record before it is
    acknowledged: one node may be lost.

    Parameters
    ----------
    folder
        Holds a folder ``node-1``, ``node-2``, ... a node; None: temporary ones, deleted by `close`.
    nodes
        How many.
    ports
        Where clients reach them; None: free ones.
    security, properties, heap, java_options
        As of `KafkaBroker`, for all nodes.

    Raises
    ------
    BrokerError
        The folder holds a cluster of another size.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        nodes: int = 3,
        ports: Sequence[int] | None = None,
        security: BrokerSecurity | None = None,
        properties: Mapping[str, str] | None = None,
        heap: str = "256m",
        java_options: Sequence[str] = (),
    ) -> None:
        known = len(list(folder.glob("node-*"))) if folder is not None else 0
        if known not in {0, nodes}:
            raise BrokerError(f"{folder} holds a cluster of {known} nodes, not {nodes}: name another folder.")
        free = find_free_ports(2 * nodes)
        controllers = {node: free[node - 1] for node in range(1, nodes + 1)}
        cluster_id = make_cluster_id()
        self.brokers = tuple(
            KafkaBroker(
                None if folder is None else folder / f"node-{node}",
                port=port,
                node_id=node,
                controllers=controllers,
                cluster_id=cluster_id,
                security=security,
                properties=properties,
                heap=heap,
                java_options=java_options,
            )
            for node, port in enumerate(ports or free[nodes:], start=1)
        )

    @property
    def bootstrap(self) -> str:
        """``host:port,host:port,...`` for clients."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    def start(self) -> Self:
        """Start all nodes and wait until each serves clients. Raises `BrokerError`; then none is left running."""
        try:
            for broker in self.brokers:
                broker.start(wait=False)
            for broker in self.brokers:
                broker.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def wait_ended(self) -> None:
        """Wait until a node ends by itself, and raise `BrokerError` with the end of its log."""
        pause = threading.Event()
        while all(broker.is_running for broker in self.brokers):
            pause.wait(_LOOK_S)
        ended = next(broker for broker in self.brokers if not broker.is_running)
        raise BrokerError(f"Kafka's node {ended.node_id} ended by itself:\n{ended.read_log()}")

    def stop(self) -> None:
        """Stop all nodes at once: one after the other, the last would wait for the others' votes."""
        for broker in self.brokers:
            broker.ask_to_stop()
        for broker in self.brokers:
            broker.stop()

    def close(self) -> None:
        """Stop all nodes and delete temporary folders."""
        self.stop()
        for broker in self.brokers:
            broker.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
