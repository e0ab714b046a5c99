"""Reserved for Kafka and Flink on one machine; holds no code yet."""
