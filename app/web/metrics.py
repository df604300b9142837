"""The health of the desk in Prometheus' text format: the same object that the page and the doctor show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.health import Health

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def exposition(health: Health | None) -> bytes:
    """All metrics as text; only `flowgate_broker_up 0` before the first look."""
    registry = CollectorRegistry()
    registry.register(_Families(health))
    return generate_latest(registry)


class _Families(Collector):
    """What the registry asks for its metrics."""

    def __init__(self, health: Health | None) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        health = self._health
        up = health is not None and health.answer_ms is not None
        yield GaugeMetricFamily("flowgate_broker_up", "Whether Kafka answered at the last look.", value=float(up))
        if health is None:
            return
        queue = GaugeMetricFamily(
            "flowgate_producer_queue_batches",
            "Batches that a worker holds and Kafka has not acknowledged.",
            labels=["group", "instance"],
        )
        answering = GaugeMetricFamily(
            "flowgate_worker_up", "Whether a worker answered at the last look.", labels=["group", "instance"]
        )
        restoring = GaugeMetricFamily(
            "flowgate_restoring_records",
            "Changelog records that a worker has yet to read before it works.",
            labels=["group", "instance"],
        )
        for worker in health.workers:
            answering.add_metric([worker.group, worker.instance], float(worker.queued is not None))
            if worker.queued is not None:
                queue.add_metric([worker.group, worker.instance], worker.queued)
                read, total = worker.restoring or (0, 0)
                restoring.add_metric([worker.group, worker.instance], total - read)
        yield from (answering, queue, restoring)
        letters = CounterMetricFamily(
            "flowgate_dead_letters", "Dead letters by the topic they come from.", labels=["topic", "reason"]
        )
        for (topic, reason), count in sorted(health.dead_letters.items()):
            letters.add_metric([topic, reason], count)
        yield letters
        if health.answer_ms is None:
            return  # what was true of the broker before it went away is not true now
        yield GaugeMetricFamily(
            "flowgate_broker_answer_ms",
            "Time in which Kafka said which topics it has, and how they are configured.",
            value=health.answer_ms,
        )
        yield GaugeMetricFamily(
            "flowgate_topic_differences", "Ways in which topics are not as declared.", value=len(health.topics)
        )
        lag = GaugeMetricFamily(
            "flowgate_lag_records",
            "Records a group is behind the end of a partition.",
            labels=["group", "topic", "partition"],
        )
        for (group, topic, partition), records in health.lag.items():
            lag.add_metric([group, topic, str(partition)], records)
        yield lag
