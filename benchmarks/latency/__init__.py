"""From a market event to the bytes of an order at the gateway's door, beside as many bare aiokafka hops."""
