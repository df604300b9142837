"""A worker's place in its consumer group: no write without it, and no life after it.

Kafka refuses the commits of a worker that lost its place, but not what it writes. A worker that was frozen (SIGSTOP, a
paused container, a machine asleep) comes to itself in the middle of a batch, while another has taken its partitions and
has gone on. Its outputs could only be late, and are recognised; its rows are older than what the changelog has by now,
and compaction would keep them. So:

- A produce request leaves only while the last heartbeat that the group answered is younger than `HELD_FRAC` of the
  session; else it waits for the next answer. The group gives no place away before the session has run out, so what
  is left of it is the time a request has to arrive.
- An answer that says the place is gone ends the process at once: its supervisor starts it again, with nothing in
  memory. A broker that does not answer ends nothing, since nobody can take a place from it either.
- A consumer whose coordination has ended for good, which Faust would keep running without partitions, ends the process.
- Partitions are given back only after the batch in work is acknowledged (Faust's `stream_wait_empty`).

One process at a time works under one instance name: see `claim`.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from aiokafka.errors import IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError
from faust.transport.drivers import aiokafka as stock
from mode.utils.futures import maybe_async

from connectors.kafka.backoff import back_off

log = logging.getLogger(__name__)

LOST_PLACE_STATUS: Final = 75
"""Exit status of a worker that lost its place; sysexits.h calls it a temporary failure: start it again."""

HELD_FRAC: Final = 2 / 3
"""Share of the session in which writes may leave; the rest is for the way to the broker."""

LOOK_S: Final = 0.05
WATCH_S: Final = 1.0

FENCED_INSTANCE_ID: Final = 82
LOST: Final = {
    UnknownMemberIdError.errno: "it does not know this member any more",
    IllegalGenerationError.errno: "it has gone on without this member",
    FENCED_INSTANCE_ID: "another process took this instance name",
}
"""What a group answers to the heartbeat of a member that lost its place."""

CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, where the system has such a clock."""


class Membership:
    """What one process knows of its place."""

    def __init__(self, session_s: float) -> None:
        self._held_s = session_s * HELD_FRAC
        self._confirmed_s: float | None = None

    def age_s(self) -> float:
        """Seconds since the group is known to have had us; 0 before the first time."""
        return 0.0 if self._confirmed_s is None else time.clock_gettime(CLOCK) - self._confirmed_s

    async def held(self) -> None:
        """Return while the place is certain, wait while it is not. Before the first join there is nothing to lose."""
        while self.age_s() > self._held_s:
            await asyncio.sleep(LOOK_S)

    def guard(self, sender: Any) -> None:
        """Let every produce request of an aiokafka producer wait for the place."""
        send = sender._send_produce_req

        async def send_produce_req(node_id: int, batches: Any) -> None:
            await self.held()
            await send(node_id, batches)

        sender._send_produce_req = send_produce_req

    def follow(self, coordinator: Any) -> None:
        """Learn from what the group answers to an aiokafka coordinator."""
        ask = coordinator._send_req

        async def send_req(request: Any) -> Any:
            asked_s = time.clock_gettime(CLOCK)
            response = await ask(request)
            self._answered(type(request).__name__, getattr(response, "error_code", None), asked_s)
            return response

        coordinator._send_req = send_req

    def _answered(self, request: str, error: int | None, asked_s: float) -> None:
        if request not in ("HeartbeatRequest", "SyncGroupRequest"):
            return
        if error in (0, RebalanceInProgressError.errno):
            # The session began anew when the request arrived, which was after it was sent.
            self._confirmed_s = asked_s
        elif request == "HeartbeatRequest" and error in LOST:
            end(LOST[error])

    async def watch(self, coordinator: Any) -> None:
        """End the process when the coordinator will not come back to the group by itself."""
        while not coordinator._closing.done():
            if coordinator._pending_exception is not None:
                end(str(coordinator._pending_exception))
            if coordinator._coordination_task.done() and not coordinator._closing.done():
                end(str(coordinator._coordination_task.exception()))
            await asyncio.sleep(WATCH_S)


class ConsumerThread(stock.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's consumer thread as a task of the worker's own loop, watched; stopped in order, it gives its place up.

    A thread would send heartbeats on while a batch blocks the loop. But each fetch woke two loops twice, and its
    parsing and the fold waited for one lock, which took a fifth of the events/s; and a worker that is stuck for a whole
    session kept partitions that others could serve.

    aiokafka keeps the place of a member with an instance name until its session runs out. That is right after a crash,
    when the process is back in seconds. After SIGTERM nobody knows whether it comes back, and others could go on.
    """

    def __init__(self, consumer: Any, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(consumer, loop=loop, thread_loop=loop, **options)

    async def start(self) -> None:
        self._thread_started.set()
        self._thread_running = self.parent_loop.create_future()
        self._serving = self.parent_loop.create_task(self._serve())
        await self._thread_running

    async def call_thread(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return await maybe_async(method(*arguments, **options))

    async def _gather_remaining_tasks(self) -> None:
        """Nothing to end: the other tasks of this loop are the worker's."""

    async def on_start(self) -> None:
        await super().on_start()
        back_off(self._consumer._client)
        coordinator = self._consumer._coordinator
        self.app.membership.follow(coordinator)
        self._watch = asyncio.create_task(self.app.membership.watch(coordinator))

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Set[Any] | None,
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> Any:
        """Records of the partitions that are active now: a copy, as Faust's own set changes while a fetch waits.

        aiokafka takes an empty set for all partitions. Faust empties it when a recovery ends, and then throws away what
        came of the others: a stream went on behind records that nobody had seen, and rows took these for repeats later.

        aiokafka also hands over all that it has of one partition before it comes to the next one. Here a partition that
        had its turn goes behind the others.
        """
        active = None if active_partitions is None else frozenset(active_partitions)
        if active is not None and not active:
            return {}
        records = await super()._fetch_records(consumer, active, timeout, max_records)
        fetched = consumer._fetcher._records
        for tp in records:
            if tp in fetched:
                fetched.move_to_end(tp)
        return records

    async def seek_to_committed(self) -> Mapping[Any, int]:
        committed: Mapping[Any, int] = await self.call_thread(seek_to_committed, self._consumer)
        return committed

    async def on_thread_stop(self) -> None:
        if self._consumer is not None:
            self._consumer._coordinator._group_instance_id = None
        await super().on_thread_stop()


async def seek_to_committed(consumer: Any) -> Mapping[Any, int]:
    """Put an aiokafka consumer back to what its group has committed, and to the beginning where that is nothing.

    aiokafka's own leaves a partition without a commit where it is. Faust seeks after it has thrown away what it fetched
    during a rebalance, so a group lost the first records of a partition when its workers met at its very start.
    """
    committed: Mapping[Any, int] = await consumer.seek_to_committed()
    for tp, offset in committed.items():
        if not offset and not tp.topic.endswith("-changelog"):
            consumer.seek(tp, 0)  # where 0 is no longer kept, the consumer goes to the earliest record there is
    return committed


def claim(folder: Path) -> IO[str] | None:
    """The lock on an instance's folder, held until the process ends; None while another process has it.

    Two processes under one name would throw each other out of the group again and again, and overlap each time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def end(why: str) -> NoReturn:
    """End the process: rows in memory belong to somebody else now."""
    log.critical("the worker ends, as the group has given its place away: %s", why)
    logging.shutdown()
    os._exit(LOST_PLACE_STATUS)
