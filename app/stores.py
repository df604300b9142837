"""Where a table's rows are kept on this machine: in memory, or in RocksDB (`store: rocksdb`).

The changelog is the record, and a store is a copy of it. In memory the copy is made anew from the changelog at every
start. RocksDB keeps it on disk with the offset up to which it is complete, so that a start reads only what came after.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

import faust
from faust.stores import base, memory
from faust.types import TP

from tables.rows import KeptRow

log = logging.getLogger(__name__)


class Table(faust.Table):  # type: ignore[misc]
    """A table whose rows are put into its store once the changelog has acknowledged them."""

    def keep(self, rows: Iterable[KeptRow], acknowledged: Mapping[int, int]) -> None:
        """`acknowledged`: an offset by partition that lies at or before the last row's in the changelog."""
        self.data.keep(rows, {TP(self.changelog_topic_name, p): offset for p, offset in acknowledged.items()})

    def _new_store(self) -> Any:
        url = self._store or self.app.conf.store
        store = Memory if url.scheme == "memory" else rocks()
        return store(
            url,
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            value_type=self.value_type,
            loop=self.loop,
            options=self.options,
        )


class Memory(memory.Store):  # type: ignore[misc]
    """Faust's store in memory, which drops what belongs to partitions of others, but not what a standby has read."""

    def keep(self, rows: Iterable[KeptRow], _acknowledged: Mapping[TP, int]) -> None:
        for _, key, value in rows:
            if value is None:
                self.data.pop(key, None)
            else:
                self.data[key] = value

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        await super().on_recovery_completed(active_tps | standby_tps, standby_tps)


def rocks() -> type[base.Store]:
    """Faust's store in RocksDB; imported only where it is asked for."""
    from faust.stores import rocksdb

    class Rocks(rocksdb.Store):  # type: ignore[misc]
        """Knows the partition of a row by itself, and is made anew from the changelog when its files are damaged."""

        def keep(self, rows: Iterable[KeptRow], acknowledged: Mapping[TP, int]) -> None:
            for partition, key, value in rows:
                db = self._db_for_partition(partition)
                db.delete(key) if value is None else db.put(key, value)
            for tp, offset in acknowledged.items():
                self.set_persisted_offset(tp, offset)

        def _open_for_partition(self, partition: int) -> Any:
            try:
                return self._checked(partition)
            except Exception as error:
                if "lock" in str(error).lower():
                    raise
                path = self.partition_path(partition)
                log.warning("%s is damaged (%s); it is made anew from the changelog", path, error)
                shutil.rmtree(path, ignore_errors=True)
                return super()._open_for_partition(partition)

        def _checked(self, partition: int) -> Any:
            """The files, read through once: damage shows when they are read, not when they are opened."""
            db = super()._open_for_partition(partition)
            for _ in self._visible_items(db):
                pass
            return db

    return Rocks
