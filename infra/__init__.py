"""What runs beside the project's own programs on one machine: Apache Kafka. Knows no other package."""
