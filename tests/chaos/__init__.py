"""Real processes, real Kafka, real kill -9."""
