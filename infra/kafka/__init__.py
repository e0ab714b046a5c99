"""Apache Kafka (KRaft) on this machine, without Docker: from Maven's jars, as plain Java processes.

``python -m infra.kafka up`` runs one node, or three; tests take `KafkaBroker` and `KafkaCluster`.
"""

from infra.kafka.cluster import KafkaCluster
from infra.kafka.errors import BrokerError
from infra.kafka.node import KafkaBroker

__all__ = ["BrokerError", "KafkaBroker", "KafkaCluster"]
