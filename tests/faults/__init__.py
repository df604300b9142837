"""What gateways and crashes do to the desk, on real sockets."""
