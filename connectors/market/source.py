"""One door to every market source: a synthetic book, a LOBSTER zip or a recording of Binance streams.

Records come in event-time order with `seq` from 0 per instrument, and `ts_ingest_ns` equal to `ts_event_ns`: whoever
sends them stamps the real ingest time. The heartbeat of second t follows every record up to and including t, because
the desk's windows are (t-1, t].
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from connectors.market import binance, lobster, synthetic
from connectors.market.errors import SourceError
from contracts.instruments import INSTRUMENTS
from contracts.market import Heartbeat, RawBook, RawHalt, RawTrade, Source

__all__ = ["SourceError", "SourceInfo", "describe", "open_source"]

NS_PER_S = 1_000_000_000
SILENCE_S_MAX = 86_400
"""A longer silence is a wrong time stamp, not a quiet market; it would become millions of heartbeats."""

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a spec stands for; `path` is None for the synthetic source."""

    kind: Source
    instruments: tuple[str, ...]
    path: Path | None


def describe(spec: str) -> SourceInfo:
    """What `spec` stands for: `synthetic`, `synthetic:SPY,QQQ` or a path; SourceError when it is none of these."""
    if spec == "synthetic" or spec.startswith("synthetic:"):
        names = tuple(spec.partition(":")[2].split(",")) if ":" in spec else synthetic.DEFAULT_INSTRUMENTS
        info = SourceInfo("synthetic", names, None)
        if len(set(names)) != len(names):
            raise SourceError(f"the source {spec} names an instrument twice; name each once")
        unknown = [name for name in names if name not in synthetic.LISTINGS]
        if unknown:
            known = ", ".join(synthetic.LISTINGS)
            raise SourceError(f"the synthetic source does not know {unknown[0]!r}; choose from {known}")
        return info
    path = Path(spec)
    if not path.is_file():
        raise SourceError(f"no file {spec!r}; give the path of a LOBSTER zip or a Binance gzip, or `synthetic`")
    try:
        info = _describe_file(path)
    except OSError as error:
        raise SourceError(f"cannot read {spec} ({error.strerror}); give the path of a readable file") from None
    unknown = [name for name in info.instruments if name not in INSTRUMENTS]
    if unknown:
        known = ", ".join(INSTRUMENTS)
        raise SourceError(
            f"{spec} is about {unknown[0]}, which contracts/instruments.py does not list (known: {known})"
        )
    return info


def open_source(spec: str, *, seed: int, partitions: int = 4) -> Iterator[RawBook | RawTrade | RawHalt | Heartbeat]:
    """The records of `spec` with heartbeats for `partitions` market partitions.

    `seed` matters to the synthetic source alone, which never ends; a file ends after the heartbeat that closes its last
    second. The same arguments give the same records. Raises SourceError, here or while reading.
    """
    info = describe(spec)
    records: Iterator[RawBook | RawTrade | RawHalt]
    if info.path is None:
        records = synthetic.generate(info.instruments, seed=seed)
    elif info.kind == "lobster":
        records = lobster.read(lobster.open_day(info.path))
    else:
        records = binance.read(info.path)
    return _with_heartbeats(records, partitions)


def _describe_file(path: Path) -> SourceInfo:
    with path.open("rb") as file:
        head = file.read(2)
    if zipfile.is_zipfile(path):
        return SourceInfo("lobster", (lobster.open_day(path).instrument,), path)
    if head == _GZIP_MAGIC:
        return SourceInfo("binance", (binance.instrument(path),), path)
    raise SourceError(
        f"{path} is not a known format; give a LOBSTER zip, a gzip of recorded Binance streams, or `synthetic`"
    )


def _with_heartbeats(
    records: Iterator[RawBook | RawTrade | RawHalt], partitions: int
) -> Iterator[RawBook | RawTrade | RawHalt | Heartbeat]:
    second_ns = -1
    for record in records:
        ts_ns = record.ts_event_ns
        if second_ns < 0:
            second_ns = -(-ts_ns // NS_PER_S) * NS_PER_S
        if ts_ns > second_ns:
            if ts_ns - second_ns > SILENCE_S_MAX * NS_PER_S:
                raise SourceError(
                    f"{record.instrument} is silent for more than a day before record {record.seq}; "
                    "its time stamp is wrong or the file is two recordings: split it"
                )
            while second_ns < ts_ns:
                yield from _heartbeats(second_ns, partitions)
                second_ns += NS_PER_S
        yield record
    if second_ns >= 0:
        yield from _heartbeats(second_ns, partitions)


def _heartbeats(ts_ns: int, partitions: int) -> Iterator[Heartbeat]:
    for partition in range(partitions):
        yield Heartbeat(partition=partition, ts_event_ns=ts_ns, ts_ingest_ns=ts_ns)
