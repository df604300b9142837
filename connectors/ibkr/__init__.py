"""Interactive Brokers through ib_insync: the only place that imports it."""
