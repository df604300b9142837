"""Tables come back from their changelogs: at once, with progress told every second, and a standby reads only the rest.

Faust takes a changelog record by record through the queues of its streams, and while these are busy aiokafka asks for
what it has read to the end already, and waits. Here a reader without a group takes whole fetches, and of each only the
last record of a key.

Faust's standby reads the changelog of a partition that another worker owns. When it has to take over, stock Faust with
tables in memory throws away what it has read and begins anew. Here it keeps it, and goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from faust.tables import recovery as stock
from faust.tables.manager import TableManager
from faust.types import TP

from connectors import crash

log = logging.getLogger(__name__)

TOLD_EVERY_S = 1.0

FETCH_BYTES: Final = 4 * 2**20
"""Most of one partition in one fetch: some hundred of the largest rows."""

FETCH_WAIT_MS: Final = 500


class Change(NamedTuple):
    """One record of a changelog, as Faust's stores want to see it: an event, which is its own message."""

    tp: TP
    offset: int
    key: bytes
    value: bytes | None

    @property
    def partition(self) -> int:
        partition: int = self.tp.partition
        return partition

    @property
    def message(self) -> Change:
        return self


class Recovery(stock.Recovery):  # type: ignore[misc]
    """Faust's recovery, which says how far it is."""

    stats_interval = 3_600.0  # Faust's own report waits for a thousand records and names no total

    _began_s = 0.0
    _total = 0
    _restoring = False

    async def on_start(self) -> None:
        await super().on_start()
        self.add_future(self._tell())

    async def on_rebalance(
        self, assigned: set[Any], revoked: set[Any], newly_assigned: set[Any], generation_id: int = 0
    ) -> None:
        self.flush_buffers()
        read = {tp: offset for tp in self.standby_tps if (offset := self.standby_offsets.get(tp)) is not None}
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        for tp in self.active_tps.intersection(read):
            if self.active_offsets[tp] is None:
                self.active_offsets[tp] = read[tp]

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Seek the streams to what is committed, then let them go.

        Faust does it the other way round, and what came in between was processed twice, or out of its order.
        """
        consumer, app = self.app.consumer, self.app
        self.log.info("Restore complete!")
        await app.on_rebalance_complete.send()
        self._set_recovery_ended()
        for table in self.tables.values():
            await table.on_recovery_completed(self.actives_for_table[table], self.standbys_for_table[table])
        assignment = consumer.assignment()
        if assignment:
            await self._wait(consumer.perform_seek(), timeout=app.conf.broker_request_timeout)
        if app.consumer_generation_id != generation_id:
            return
        consumer.resume_partitions({tp for tp in assignment if not self._is_changelog_tp(tp)})
        self.completed.set()
        app.flow_control.resume()
        consumer.resume_flow()
        await app._fetcher.maybe_start()
        self.tables.on_actives_ready()
        if not app.assignor.assigned_standbys():
            self.tables.on_standbys_ready()
        app.on_rebalance_end()
        self.log.info("Worker ready")

    @property
    def restoring(self) -> tuple[int, int] | None:
        """(records read, records to read) of the recovery that is going on; None while there is none."""
        return self.progress() if self._restoring else None

    async def _seek_offsets(self, consumer: Any, tps: set[Any], offsets: Any, title: str) -> None:
        """Faust's last step before it reads the changelogs of its own partitions: here they are read already."""
        if title == "active":
            self.progress()
            try:
                await self._restore([tp for tp, left in self.active_remaining().items() if left > 0])
            except KafkaError as error:
                log.warning("the rest of the changelogs is left to Faust, which waits for a broker: %r", error)
        await super()._seek_offsets(consumer, tps, offsets, title)

    async def _restore(self, tps: Sequence[TP]) -> None:
        """Read these changelogs to where they ended at the start. It may be cancelled: rows and offsets agree."""
        if not tps:
            return
        options = {**self.app.access.options(), "fetch_max_wait_ms": FETCH_WAIT_MS}
        reader = AIOKafkaConsumer(**options, max_partition_fetch_bytes=FETCH_BYTES, enable_auto_commit=False)
        await reader.start()
        try:
            reader.assign(tps)
            for tp in tps:
                reader.seek(tp, self.active_offsets[tp] + 1)
            while left := [tp for tp in tps if self.active_offsets[tp] < self.active_highwaters[tp]]:
                fetched = await reader.getmany(*left, timeout_ms=FETCH_WAIT_MS)
                for tp, records in fetched.items():
                    self._take(TP(*tp), records)
                    if self.active_offsets[tp] >= self.active_highwaters[tp]:
                        reader.pause(tp)
        finally:
            await reader.stop()

    def _take(self, tp: TP, records: Sequence[Any]) -> None:
        """The rows of one fetch into their table."""
        newest: dict[bytes, Change] = {}
        for record in records:
            crash.at("worker:recovering")
            newest[record.key] = Change(tp, record.offset, record.key, record.value)
        self.tp_to_table[tp].apply_changelog_batch(newest.values())
        self.active_offsets[tp] = records[-1].offset

    def progress(self) -> tuple[int, int]:
        """(records read, records to read) of the recovery that is going on, or of the last one."""
        if not self._restoring:
            return self._total, self._total
        left = self.active_remaining_total()
        self._total = max(self._total, left)
        return self._total - left, self._total

    def _set_recovery_started(self) -> None:
        super()._set_recovery_started()
        if self._restoring:
            self.progress()  # the second call: by now it is known how much there is
        else:
            self._restoring, self._total, self._began_s = True, 0, time.monotonic()

    def _set_recovery_ended(self) -> None:
        super()._set_recovery_ended()
        if self._restoring:
            self._restoring = False
            log.info("tables restored: %s changelog records in %.1f s", f"{self._total:,}", self._seconds())

    def _seconds(self) -> float:
        return time.monotonic() - self._began_s

    async def _tell(self) -> None:
        while not self.should_stop:
            await asyncio.sleep(TOLD_EVERY_S)
            if self._restoring:
                read, total = self.progress()
                log.info("restoring tables: %s of %s changelog records", f"{read:,}", f"{total:,}")


class Tables(TableManager):  # type: ignore[misc]
    """Faust's tables. All of them are declared before the start, so a start does not wait a second for more."""

    _recovery: Recovery | None

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def on_start(self) -> None:
        """Make the changelogs, and wait until Kafka's metadata has them, before the group is joined.

        Faust leaves a topic that it does not see yet out of the assignment, with a warning, and then neither restores
        that table nor asks again: the rows were lost at the next crash.
        """
        for table in self.values():
            await table.changelog_topic.maybe_declare()
        for changelog in self.changelog_topics:
            await self.app.producer._producer.partitions_for(changelog)
        await self._update_channels()
        await self.recovery.start()
