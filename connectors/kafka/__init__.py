"""The embedded Kafka broker and its administration."""
