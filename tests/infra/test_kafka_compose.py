"""The file for Docker is YAML, and sets up nodes as those without Docker are set up. Docker itself is not run."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.kafka.jars import kafka_version
from infra.kafka.properties import BrokerSecurity, make_properties
from tests.conftest import ROOT

COMPOSE = ROOT / "infra" / "kafka" / "compose.yaml"
# Where nodes are, which differs by nature, and sizes of one small machine.
OWN = {
    "controller.quorum.voters",
    "inter.broker.listener.name",
    "listener.security.protocol.map",
    "listeners",
    "advertised.listeners",
    "log.dirs",
    "num.network.threads",
    "num.io.threads",
    "log.cleaner.dedupe.buffer.size",
}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    return services


@pytest.mark.parametrize(("names", "count"), [(["kafka"], 1), (["kafka-1", "kafka-2", "kafka-3"], 3)])
def test_containers_are_set_up_like_processes(services: dict[str, Any], names: list[str], count: int) -> None:
    for node, name in enumerate(names, start=1):
        given = {key: str(value) for key, value in services[name]["environment"].items()}
        controllers = dict.fromkeys(range(1, count + 1), 0)
        for key, value in make_properties(node, 0, controllers, Path(), BrokerSecurity(), {}).items():
            if key not in OWN:
                assert given["KAFKA_" + key.replace(".", "_").upper()] == value, key
        assert f"BROKERS://{name}:19092" in given["KAFKA_ADVERTISED_LISTENERS"]
        assert f"{node}@{name}:9093" in given["KAFKA_CONTROLLER_QUORUM_VOTERS"]
        (published,) = services[name]["ports"]
        assert f"CLIENTS://localhost:{published.split(':')[1]}," in given["KAFKA_ADVERTISED_LISTENERS"]
        assert published.startswith("127.0.0.1:")


def test_containers_run_the_version_of_the_lock(services: dict[str, Any]) -> None:
    assert {service["image"] for service in services.values()} == {f"apache/kafka:{kafka_version()}"}


def test_cluster_id_is_16_bytes(services: dict[str, Any]) -> None:
    for service in services.values():
        given = service["environment"]["CLUSTER_ID"]
        decoded = base64.urlsafe_b64decode(given + "==")
        assert len(decoded) == 16
        assert base64.urlsafe_b64encode(decoded).decode().rstrip("=") == given
