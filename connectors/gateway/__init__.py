"""A simulated IB Gateway that speaks the TWS wire protocol."""
