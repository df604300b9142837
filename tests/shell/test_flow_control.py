"""Batches that were fetched just after a recovery's seek were thrown away, and no one read them again."""

from __future__ import annotations

from typing import Any

from mode.utils.queues import FlowControlEvent, FlowControlQueue

from app.transport import FlowControl


def left_after_a_second_opening(flow: Any) -> int:
    queue: Any = FlowControlQueue(flow_control=flow, clear_on_resume=True)
    flow.resume()
    queue.put_nowait("a batch fetched after the seek")
    flow.resume()
    size: int = queue.qsize()
    return size


async def test_opening_an_open_gate_keeps_what_is_queued() -> None:
    assert left_after_a_second_opening(FlowControl()) == 1


async def test_the_stock_gate_loses_it() -> None:
    """The control: once this fails, Faust has mended it and ours can go."""
    assert left_after_a_second_opening(FlowControlEvent()) == 0


async def test_opening_a_closed_gate_drops_what_belongs_to_the_assignment_before() -> None:
    flow: Any = FlowControl()
    queue: Any = FlowControlQueue(flow_control=flow, clear_on_resume=True)
    flow.resume()
    queue.put_nowait("a batch of a partition that is gone")
    flow.suspend()
    flow.resume()
    assert queue.qsize() == 0
