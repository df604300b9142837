"""Kafka's format tool takes a cluster id that begins with a dash for an option: one start in 64 would fail."""

from __future__ import annotations

from connectors.kafka.broker import cluster_id


def test_no_cluster_id_begins_with_a_dash() -> None:
    ids = [cluster_id(bytes([first]) + bytes(15)) for first in range(256)]
    assert not [text for text in ids if text.startswith("-")]
    assert {len(text) for text in ids} == {22}
