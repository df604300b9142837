"""`python -m app override`: another value for one pre-trade limit, for some hours of the desk's own time.

It ends in event time, which is that of the newest risk event on the log, so that a replay ends it too. Whether it comes
into force the desk decides: raising needs a second name, and a refusal is an alert.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final, get_args

from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import ValidationError

from agents.parameters import Limits
from app.control import KAFKA_S, SLIP, fail, send, tell
from app.settings import Reach
from contracts.controls import LimitOverride
from contracts.topics import RISK_EVENTS

HOUR_NS: Final = 3_600_000_000_000
HOURS_MAX: Final = 24.0
NUMBERS: Final = sorted(
    name for name, field in Limits.model_fields.items() if {int, float} & set(get_args(field.annotation))
)
"""The limits that are one number."""


def override(settings: Reach, limit: str, value: float, hours: float, operator: str, approver: str, reason: str) -> int:
    """Ask for it. 0 when the desk has been asked, which is not yet that it is in force."""
    if limit not in NUMBERS:
        return fail(f"no limit {limit!r} is a number that can be set for a time; those are {', '.join(NUMBERS)}", SLIP)
    if not math.isfinite(value) or value < 0:
        return fail(f"--value {value} is not right: it is a number from 0 up", SLIP)
    if not 0 < hours <= HOURS_MAX:
        return fail(f"--hours {hours:g} is not right: it is more than 0 and at most {HOURS_MAX:g}", SLIP)
    return asyncio.run(_ask(settings, limit, value, hours, operator, approver, reason))


async def _ask(
    settings: Reach, limit: str, value: float, hours: float, operator: str, approver: str, reason: str
) -> int:
    order = {"limit": limit, "value": value, "operator": operator, "approver": approver, "reason": reason}
    try:
        command = LimitOverride.model_validate(order | {"expires_ts_event_ns": 0, "ts_ns": time.time_ns()})
    except ValidationError as error:
        return fail(f"a name or a reason is missing: --{error.errors()[0]['loc'][0]} is a text with a letter", SLIP)
    try:
        now_ns = await _event_ns(settings)
    except Exception as error:  # a certificate that is missing, say
        return fail(f"an override needs Kafka, for its record ({str(error) or type(error).__name__}); nothing was sent")
    if now_ns is None:
        return fail("the desk has not said yet what time it is (no risk event); start it, then ask again")
    expires_ns = now_ns + int(hours * HOUR_NS)
    if not await send(settings, command.model_copy(update={"expires_ts_event_ns": expires_ns})):
        return fail("an override needs Kafka, for its record; look at the log whether it has arrived")
    tell(
        f"sent: {limit}={value:g} for {hours:g} h of event time; it is in force if no alert OVERRIDE_REFUSED follows"
        " (raising needs --approver, a second name)"
    )
    return 0


async def _event_ns(settings: Reach) -> int | None:
    """The event time of the newest risk event; None when there is none."""
    place = TopicPartition(RISK_EVENTS.name, 0)
    consumer = AIOKafkaConsumer(**settings.kafka.access.options())
    try:
        async with asyncio.timeout(KAFKA_S):
            await consumer.start()
            consumer.assign([place])
            first, end = (
                (await consumer.beginning_offsets([place]))[place],
                (await consumer.end_offsets([place]))[place],
            )
            if first == end:
                return None
            consumer.seek(place, end - 1)
            record = await consumer.getone(place)
    finally:
        await consumer.stop()
    return int(RISK_EVENTS.adapter.validate_json(record.value).ts_event_ns)
