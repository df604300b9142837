"""Stock Faust, as its documentation has it: one message at a time, a table in memory with its changelog.

python -m benchmarks.ofi_job.stock_faust worker --without-web
"""

from __future__ import annotations

from typing import Any

import faust

from benchmarks.ofi_job.job import Place, decode, fold
from contracts.topics import MARKET_PARTITIONS

place = Place.of_environment()
app = faust.App(
    place.group,
    broker=f"kafka://{place.bootstrap}",
    store="memory://",
    datadir=place.folder,
    autodiscover=False,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    topic_replication_factor=1,
    topic_partitions=MARKET_PARTITIONS,
    broker_commit_interval=1.0,
)
quotes = app.topic(place.source, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
ofi_events = app.topic(place.target, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
rows = app.Table("ofi", partitions=MARKET_PARTITIONS, key_type=bytes, value_type=bytes)


@app.agent(quotes)  # type: ignore[untyped-decorator]
async def ofi(stream: Any) -> None:
    async for key, value in stream.items():
        quote = decode(value)
        if quote is None:
            continue
        rows[key], outputs = fold(rows.get(key), quote)
        for output in outputs:
            await ofi_events.send(key=key, value=output)


if __name__ == "__main__":
    app.main()
