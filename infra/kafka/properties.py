"""The settings of one node, as Kafka's own ``server.properties``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
CLIENTS, CONTROLLER = "CLIENTS", "CONTROLLER"
MECHANISM = "SCRAM-SHA-512"


@dataclass(frozen=True, slots=True)
class BrokerSecurity:
    """How a cluster guards itself; the default guards nothing.

    Attributes
    ----------
    clients : str
        Kafka's protocol for clients and between brokers: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
    controllers : str
        The protocol between controllers: PLAINTEXT or SSL.
    properties : mapping
        Settings that the protocols need: key stores, mechanisms, authorizer.
    scram_users : mapping of str to str
        User names and passwords (SCRAM-SHA-512) that are made when a node is formatted.
    ca : path or None
        PEM file of the authority that signed the nodes' certificates, where they have any.
    certificate, key : path or None
        PEM files to log in with, where clients need a certificate.
    admin : path or None
        File with the login of somebody who may do everything, where there are users.
    """

    clients: str = "PLAINTEXT"
    controllers: str = "PLAINTEXT"
    properties: Mapping[str, str] = field(default_factory=dict)
    scram_users: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    admin: Path | None = None


def make_properties(
    node_id: int,
    port: int,
    controllers: Mapping[int, int],
    data: Path,
    security: BrokerSecurity,
    more: Mapping[str, str],
) -> dict[str, str]:
    """Return the settings of a node that is broker and controller at once.

    Parameters
    ----------
    node_id
        1, 2, ...
    port
        Where clients reach it, on this machine only.
    controllers
        Node id -> port of the controllers of all nodes.
    data
        Folder of its records.
    security
        Protocols, and the settings that they need.
    more
        Settings that win over those made here.
    """
    copies = min(3, len(controllers))
    enough = max(1, copies - 1)
    internal = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    settings: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": node_id,
        "controller.quorum.voters": ",".join(f"{node}@{HOST}:{at}" for node, at in controllers.items()),
        "controller.listener.names": CONTROLLER,
        "inter.broker.listener.name": CLIENTS,
        "listener.security.protocol.map": f"{CLIENTS}:{security.clients},{CONTROLLER}:{security.controllers}",
        "listeners": f"{CLIENTS}://{HOST}:{port},{CONTROLLER}://{HOST}:{controllers[node_id]}",
        "advertised.listeners": f"{CLIENTS}://{HOST}:{port}",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",  # a typing error must not become a topic
        "default.replication.factor": copies,
        "min.insync.replicas": enough,
        **{f"{topic}.replication.factor": copies for topic in internal},
        **{f"{topic}.min.isr": enough for topic in internal[1:]},
        **{f"{topic}.num.partitions": 1 for topic in internal},
        # One machine's worth of threads and buffers.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "group.initial.rebalance.delay.ms": 0,
        # After kill -9 a node comes back only once its old session is over: 9.6 s with 6000.
        "broker.session.timeout.ms": 1500,
        "broker.heartbeat.interval.ms": 300,
    }
    return {name: str(value) for name, value in settings.items()} | dict(security.properties) | dict(more)
