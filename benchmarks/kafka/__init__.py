"""Votes through real Kafka: throughput, peers, freshness."""
