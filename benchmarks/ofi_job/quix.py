"""Quix Streams: a stateful function on a streaming data frame; RocksDB with a changelog topic."""

from __future__ import annotations

from pathlib import Path

from quixstreams import Application, State  # type: ignore[import-not-found]

from benchmarks.ofi_job.job import Place, decode, fold
from contracts.market import Quote


def run(place: Place) -> None:
    """Until SIGTERM."""
    app = Application(
        broker_address=place.bootstrap,
        consumer_group=place.group,
        auto_offset_reset="earliest",
        commit_interval=1.0,
        state_dir=Path(place.folder) / "state",
        auto_create_topics=True,
    )
    quotes = app.topic(place.source, key_deserializer="str", value_deserializer="bytes")
    ofi_events = app.topic(place.target, key_serializer="str", value_serializer="bytes")

    def step(quote: Quote, state: State) -> list[bytes]:
        row, outputs = fold(state.get_bytes("row"), quote)
        state.set_bytes("row", row)
        return list(outputs)

    frame = app.dataframe(quotes).apply(decode).filter(lambda quote: quote is not None)
    frame.apply(step, stateful=True, expand=True).to_topic(ofi_events)
    app.run()


if __name__ == "__main__":
    run(Place.of_environment())
