"""Who the desk talks to: Interactive Brokers, the simulated gateway, Kafka, market sources."""
