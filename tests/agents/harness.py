"""What the agents' tests share: records made of messages, and a step folded over them."""

from __future__ import annotations

from collections.abc import Iterable
from random import SystemRandom
from typing import Any

from agents.spec import Out, Record, Step
from contracts.base import Message
from contracts.market import Heartbeat, Quote
from contracts.signals import CovarianceEvent, Mark, SignalEvent
from contracts.topics import TOPICS

SECOND_NS = 1_000_000_000


def record(message: Message, offset: int = 0, topic: str = "market_events", partition: int = 0) -> Record:
    """A decoded message at an offset."""
    return Record(message, topic, partition, offset, message.model_dump_json().encode())


def fold(step: Step, messages: Iterable[Message], state: Any = None) -> tuple[Any, list[Out]]:
    """State and all outputs after the messages, as one row of the shell would have them.

    Every output is also checked against the contract of its topic, as its reader will.
    """
    outputs: list[Out] = []
    for offset, message in enumerate(messages):
        state, new = step(state, record(message, offset))
        outputs.extend(new)
    for out in outputs:
        assert TOPICS[out.topic.name].adapter.validate_json(out.message.model_dump_json()) == out.message
    return state, outputs


def sent(outputs: Iterable[Out], topic: str) -> list[Any]:
    """The messages that went to one topic."""
    return [out.message for out in outputs if out.topic.name == topic]


def fresh_seed() -> int:
    """A new seed; pytest shows it beside a failure."""
    seed = SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    return seed


def heartbeat(second: float, partition: int = 0, ingest_ns: int = 0) -> Heartbeat:
    """Event time has reached `second` in a market partition."""
    return Heartbeat(partition=partition, ts_event_ns=round(second * SECOND_NS), ts_ingest_ns=ingest_ns)


def quote(second: float, bid: tuple[int, int], ask: tuple[int, int], instrument: str = "SPY", **change: Any) -> Quote:
    """A quote of (ticks, lots) on each side."""
    fields: dict[str, Any] = {
        "source": "synthetic",
        "seq": 0,
        "ts_event_ns": round(second * SECOND_NS),
        "ts_ingest_ns": round(second * SECOND_NS),
        **change,
    }
    return Quote(instrument=instrument, bid_ticks=bid[0], bid_lots=bid[1], ask_ticks=ask[0], ask_lots=ask[1], **fields)


def signal(second: int, instrument: str, ret: float = 0.0, **change: Any) -> SignalEvent:
    """The signal of the bucket that ended at `second`: bid 99.99, ask 100.01."""
    fields: dict[str, Any] = {
        "ts_ingest_ns": second * SECOND_NS,
        "bid_ticks": 9_999,
        "ask_ticks": 10_001,
        "halted": False,
        "alpha": 0.0,
        "volume_lots": 0,
        **change,
    }
    return SignalEvent(
        instrument=instrument,
        ts_event_ns=second * SECOND_NS,
        bucket_ns=SECOND_NS,
        z=None,
        ic=0.0,
        sigma=0.0,
        ret=ret,
        **fields,
    )


def covariance_event(second: int, marks: Iterable[Mark], matrix: str | None) -> CovarianceEvent:
    """A cross-section and its covariance."""
    return CovarianceEvent(
        ts_event_ns=second * SECOND_NS,
        ts_ingest_ns=second * SECOND_NS,
        bucket_ns=SECOND_NS,
        marks=tuple(marks),
        covariance=matrix,
        drift=None,
        updates=1,
    )
