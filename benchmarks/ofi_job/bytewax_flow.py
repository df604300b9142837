"""Bytewax: a dataflow of batches. It has no changelog topic; its snapshots go to SQLite files, here once a second."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op  # type: ignore[import-not-found]
from bytewax.connectors.kafka import KafkaSinkMessage  # type: ignore[import-not-found]
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]
from bytewax.recovery import RecoveryConfig, init_db_dir  # type: ignore[import-not-found]
from bytewax.run import cli_main  # type: ignore[import-not-found]

from benchmarks.ofi_job.job import Place, apply, decode
from contracts.market import Quote

BATCH_RECORDS = 4_000


def dataflow(place: Place) -> Dataflow:
    flow = Dataflow("ofi")
    source = kop.input(
        "source", flow, brokers=[place.bootstrap], topics=[place.source], tail=True, batch_size=BATCH_RECORDS
    )
    quotes = op.flat_map_batch("decode", source.oks, decode_messages)
    keyed = op.key_on("instrument", quotes, lambda quote: quote.instrument)
    outputs = op.stateful_flat_map("ofi", keyed, step)
    messages = op.map("message", outputs, lambda pair: KafkaSinkMessage(pair[0].encode(), pair[1]))
    kop.output("target", messages, brokers=[place.bootstrap], topic=place.target)
    return flow


def decode_messages(messages: list[Any]) -> list[Any]:
    return [quote for message in messages if (quote := decode(message.value)) is not None]


def step(row: Any, quote: Quote) -> tuple[Any, Sequence[bytes]]:
    return apply(row, quote)


def run(place: Place) -> None:
    """Until SIGTERM, in this process."""
    recovery = Path(place.folder) / "recovery"
    recovery.mkdir()
    init_db_dir(recovery, 1)
    cli_main(
        dataflow(place),
        workers_per_process=1,
        process_id=None,
        addresses=None,
        epoch_interval=timedelta(seconds=1),
        recovery_config=RecoveryConfig(str(recovery)),
    )


if __name__ == "__main__":
    run(Place.of_environment())
