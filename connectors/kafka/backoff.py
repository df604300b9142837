"""Exponential back-off between tries to connect, and to send again, which aiokafka does not have.

Its parts (fetcher, sender, coordinator, metadata) each try a broker that is away ten times a second: 36 tries and 72
lines of log a second were counted for one worker. Here a node that could not be reached is tried again after 0.1 s,
then 0.2 s, and so on; whoever asks for it in between waits for that try.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from typing import Any, Final

FIRST_S: Final = 0.1
LAST_S: Final = 4.0
"""Longest wait: the most that a desk stays idle after its broker is back."""

JITTER_FRAC: Final = 0.2
"""Waits differ by so much, or all processes of a desk would come in the same instant."""


class _Node:
    """What is known of one node: tries that failed in a row, when the next is due, and whose turn it is."""

    def __init__(self) -> None:
        self.failures = 0
        self.due_s = 0.0
        self.turn = asyncio.Lock()

    def failed(self) -> None:
        wait_s = min(LAST_S, FIRST_S * 2**self.failures)
        self.failures += 1
        self.due_s = time.monotonic() + wait_s * random.uniform(1 - JITTER_FRAC, 1)

    def left_s(self) -> float:
        return self.due_s - time.monotonic()


def back_off(client: Any) -> None:
    """Give an aiokafka client (`consumer._client`, `producer.client`) the waits of this module."""
    connect = client._get_conn
    nodes: defaultdict[Any, _Node] = defaultdict(_Node)

    async def get_conn(node_id: Any, **options: Any) -> Any:
        node = nodes[node_id]
        if node.failures == 0:
            conn = await connect(node_id, **options)
            if conn is None and node.failures == 0:  # several parts may have tried at once: that is one failure
                node.failed()
            return conn
        if "group" not in options and any(not nodes[other].failures for other in others(client, node_id)):
            return None  # metadata can be had from any node: one that is not known to be away is asked at once
        async with node.turn:
            if node.left_s() > 0:
                await asyncio.sleep(node.left_s())
            conn = await connect(node_id, **options)
            if conn is None:
                node.failed()
            else:
                node.failures = 0
            return conn

    client._get_conn = get_conn


def back_off_retries(sender: Any) -> None:
    """Let an aiokafka producer's sender (`producer._sender`) wait longer each time before it sends a batch again.

    A broker that is there and refuses (no leader yet, too few replicas) is asked again after 0.1 s by aiokafka, always.
    """
    send = sender._send_produce_req

    async def send_produce_req(node_id: int, batches: Any) -> None:
        tries = max((batch.retry_count for batch in batches.values()), default=1)
        # What the request that is made now waits if it fails.
        sender._retry_backoff = min(LAST_S, FIRST_S * 2 ** (tries - 1)) * random.uniform(1 - JITTER_FRAC, 1)
        await send(node_id, batches)

    sender._send_produce_req = send_produce_req


def others(client: Any, node_id: Any) -> list[Any]:
    """The other brokers that a client knows."""
    return [broker.nodeId for broker in client.cluster.brokers() if broker.nodeId != node_id]
