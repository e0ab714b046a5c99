"""A real broker takes records, is killed, comes back with them, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from infra.kafka import BrokerError, KafkaBroker, KafkaCluster
from infra.kafka.__main__ import main
from infra.kafka.node import SHORT_LIVED, find_free_ports
from tests.conftest import ROOT, wait_until


def create_topic(bootstrap: str, topic: str, copies: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, copies)])[topic].result(30)


def send(bootstrap: str, topic: str, *values: bytes) -> None:
    faults: list[str] = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: faults.append(str(error)) if error else None)
    assert producer.flush(30) == 0
    assert faults == []


def read(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    """Return the first `count` records of partition 0."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values: list[bytes | None] = []

    def have_all() -> bool:
        values.extend(message.value() for message in consumer.consume(count, 0.5) if not message.error())
        return len(values) >= count

    wait_until(have_all, 30)
    consumer.close()
    return values


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_shared_broker_takes_and_gives_records(kafka_broker: KafkaBroker, kafka_prefix: str) -> None:
    create_topic(kafka_broker.bootstrap, f"{kafka_prefix}votes")
    send(kafka_broker.bootstrap, f"{kafka_prefix}votes", b"first", b"second")
    assert read(kafka_broker.bootstrap, f"{kafka_prefix}votes", 2) == [b"first", b"second"]


def test_killed_broker_comes_back_with_what_it_acknowledged(fragile_broker: KafkaBroker) -> None:
    create_topic(fragile_broker.bootstrap, "votes")
    send(fragile_broker.bootstrap, "votes", b"before")
    killed = fragile_broker.pid
    assert killed is not None
    fragile_broker.kill()
    assert not fragile_broker.is_running
    assert not is_alive(killed)
    fragile_broker.restart()
    send(fragile_broker.bootstrap, "votes", b"after")
    assert read(fragile_broker.bootstrap, "votes", 2) == [b"before", b"after"]


def test_a_port_that_is_taken_is_named(kafka_broker: KafkaBroker, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=f"Port {kafka_broker.port} of 127.0.0.1 is in use"):
        KafkaBroker(tmp_path, port=kafka_broker.port).start()


@pytest.mark.kafka
def test_settings_that_kafka_refuses_are_quoted(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"Invalid value soon for configuration log\.retention\.ms") as failure:
        KafkaBroker(tmp_path, properties={"log.retention.ms": "soon"}).start()
    assert "\tat " not in str(failure.value)


@pytest.mark.kafka
def test_a_node_that_ends_says_why(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\n")
    with pytest.raises(
        BrokerError, match=r"(?s)ended with code 1 before it was ready:.*Failed to find node\.id"
    ) as failure:
        KafkaBroker(tmp_path).start()
    assert "\tat " not in str(failure.value)


@pytest.mark.kafka
def test_a_program_that_fails_leaves_no_broker_behind(tmp_path: Path) -> None:
    program = (
        "from infra.kafka import KafkaBroker\n"
        "broker = KafkaBroker().start(wait=False)\n"
        "print(broker.pid, broker.folder, flush=True)\n"
        "raise SystemExit(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    pid, folder = done.stdout.split()
    assert not is_alive(int(pid))
    assert not Path(folder).exists()


@pytest.mark.kafka
def test_one_command_runs_a_node_until_ctrl_c_and_again_with_its_records(tmp_path: Path) -> None:
    (port,) = find_free_ports(1)
    command = [sys.executable, "-m", "infra.kafka", "up", "--port", str(port), "--folder", str(tmp_path / "kafka")]
    values: list[bytes | None] = []
    for value in (b"first", b"second"):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert f"is ready at 127.0.0.1:{port}" in process.stdout.readline()
            if not values:
                create_topic(f"127.0.0.1:{port}", "votes")
            send(f"127.0.0.1:{port}", "votes", value)
            values = read(f"127.0.0.1:{port}", "votes", len(values) + 1)
            process.send_signal(signal.SIGINT)
        assert process.returncode == 0
    assert values == [b"first", b"second"]


@pytest.mark.parametrize(
    ("made", "options", "said"),
    [
        (["node-1"], ["--nodes", "3"], "holds a cluster of 1 nodes, not 3"),
        (["node-1", "security"], [], "start it with --secure"),
        (["node-1"], ["--secure"], "holds a cluster without logins"),
    ],
)
def test_a_folder_of_another_cluster_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], made: list[str], options: list[str], said: str
) -> None:
    for name in made:
        (tmp_path / name).mkdir()
    assert main(["up", "--folder", str(tmp_path), *options]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.kafka
def test_three_nodes_lose_one_and_nothing_else(tmp_path: Path) -> None:
    with KafkaCluster(tmp_path, nodes=3, java_options=SHORT_LIVED) as cluster:
        create_topic(cluster.bootstrap, "votes", copies=3)
        send(cluster.bootstrap, "votes", b"three")
        cluster.brokers[0].kill()
        rest = ",".join(broker.bootstrap for broker in cluster.brokers[1:])
        send(rest, "votes", b"two")
        cluster.brokers[0].restart()
        send(cluster.bootstrap, "votes", b"three again")
        assert read(cluster.bootstrap, "votes", 3) == [b"three", b"two", b"three again"]
