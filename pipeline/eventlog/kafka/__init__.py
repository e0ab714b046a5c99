"""The event log on Apache Kafka: settings, topics, reading and writing.

Needs the extra ``kafka``. `confluent_kafka` (librdkafka) reads and writes where volume needs it, and names what is
wrong with a login; `kafka` (kafka-python) is the client of tools and small producers.
"""
