"""The control: stock Faust, at least once, counts the records of `market_raw` by key in a table.

python -m tests.chaos.stock worker --without-web

Its place in the group has a name, as ours has, and a session as short: otherwise it would be away for a minute after
each kill. All else is as it comes.
"""

from __future__ import annotations

import os
from typing import Any

import faust
from yarl import URL

from contracts.topics import MARKET_PARTITIONS, MARKET_RAW

NAME = "stock"
SESSION_S = 6.0

app = faust.App(
    NAME,
    broker=f"kafka://{os.environ['FLOWGATE_KAFKA__BOOTSTRAP']}",
    store="memory://",
    datadir=os.environ["FLOWGATE_DATA"],
    autodiscover=False,
    web_enabled=False,
    canonical_url=URL(f"http://{NAME}:6066"),
    consumer_group_instance_id=NAME,
    consumer_auto_offset_reset="earliest",
    broker_session_timeout=SESSION_S,
    broker_heartbeat_interval=SESSION_S / 10,
    topic_replication_factor=1,
    topic_partitions=MARKET_PARTITIONS,
)
records = app.topic(MARKET_RAW.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
counts = app.Table("counts", partitions=MARKET_PARTITIONS, default=int, key_type=bytes, value_type=int)


@app.agent(records)  # type: ignore[untyped-decorator]
async def count(stream: Any) -> None:
    async for event in stream.events():
        # A heartbeat has the same key in every partition, and a table has one row for a key.
        counts[event.key + str(event.message.partition).encode()] += 1


if __name__ == "__main__":
    app.main()
