"""The health of the desk: one object, three readers."""

from __future__ import annotations

import asyncio
import dataclasses

import aiohttp
import pytest

from app import workers
from app.health import ANSWER_S, LAG_MAX, Health, examine
from app.workers import Worker
from connectors.kafka.access import Access
from tests.web.page_harness import AWAY, HEALTH, WORKERS, Page, at, scraped


async def test_prometheus_reads_what_the_page_and_the_doctor_show(page: Page) -> None:
    page.look(HEALTH)
    assert await scraped(page.address) == {
        at("flowgate_broker_up"): 1,
        at("flowgate_broker_answer_ms"): 12.4,
        at("flowgate_topic_differences"): 1,
        at("flowgate_lag_records", group="gates", topic="gate_evidence", partition="0"): 5,
        at("flowgate_lag_records", group="ingest", topic="market_raw", partition="0"): 7,
        at("flowgate_lag_records", group="ingest", topic="market_raw", partition="1"): 12_000,
        at("flowgate_lag_records", group="risk", topic="control", partition="0"): 0,
        at("flowgate_worker_up", group="ingest", instance="flowgate-ingest-0"): 1,
        at("flowgate_worker_up", group="ingest", instance="flowgate-ingest-1"): 1,
        at("flowgate_worker_up", group="risk", instance="flowgate-risk-0"): 0,
        at("flowgate_producer_queue_batches", group="ingest", instance="flowgate-ingest-0"): 0,
        at("flowgate_producer_queue_batches", group="ingest", instance="flowgate-ingest-1"): 3,
        at("flowgate_restoring_records", group="ingest", instance="flowgate-ingest-0"): 0,
        at("flowgate_restoring_records", group="ingest", instance="flowgate-ingest-1"): 54_794,
        at("flowgate_dead_letters_total", topic="market_raw", reason="CROSSED_BOOK"): 2,
    }
    async with aiohttp.ClientSession(page.address) as client, client.get("/health") as response:
        assert (await response.json())["desk"] == HEALTH.document()
    assert HEALTH.lines() == [
        "broker   answered in 12 ms",
        "topics   alerts: missing",
        "lag      ingest     2 workers, 12,007 records behind, most at market_raw/1: 12,000  SLOW",
        "lag      risk       1 worker, 0 records behind, most at control/0: 0",
        "lag      gates      no workers, 5 records behind, most at gate_evidence/0: 5",
        "queue    flowgate-ingest-0    0 batches",
        "queue    flowgate-ingest-1    3 batches",
        "tables   flowgate-ingest-1    restoring: 41,210 of 96,004 changelog records",
        "queue    flowgate-risk-0      DOES NOT ANSWER at 10.0.0.3:9102",
        "letters         2  market_raw           CROSSED_BOOK",
    ]


async def test_while_kafka_is_away_no_old_lag_is_shown_as_that_of_now_and_the_queues_are(page: Page) -> None:
    assert [name for name, _ in await scraped(page.address)] == ["flowgate_broker_up"], "before the first look"
    page.look(AWAY)
    found = await scraped(page.address)
    assert found[at("flowgate_broker_up")] == 0
    assert found[at("flowgate_producer_queue_batches", group="ingest", instance="flowgate-ingest-1")] == 3
    assert {name for name, _ in found} == {
        "flowgate_broker_up",
        "flowgate_worker_up",
        "flowgate_producer_queue_batches",
        "flowgate_restoring_records",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"problem": "no Kafka answers", "answer_ms": None},
        {"topics": ("alerts: missing",)},
        {"lag": {("risk", "control", 0): LAG_MAX + 1}},
        {"workers": WORKERS},
    ],
    ids=str,
)
def test_one_thing_wrong_is_enough(change: dict[str, object]) -> None:
    good = Health(1, answer_ms=1.0, lag={("risk", "control", 0): LAG_MAX}, workers=WORKERS[:2])
    assert good.well
    assert not dataclasses.replace(good, **change).well  # type: ignore[arg-type]


async def test_a_worker_is_asked_also_while_kafka_is_away() -> None:
    listener = workers.listen("127.0.0.1", 0)
    answering = asyncio.create_task(workers.serve(listener, lambda: None, lambda: (41_210, 96_004)))
    port = listener.getsockname()[1]
    assert workers.client_id("flowgate-risk-0", listener) == f"flowgate-risk-0:{port}"
    gone = workers.listen("127.0.0.1", 0)
    known = (
        Worker("ingest", "flowgate-ingest-0", "127.0.0.1", gone.getsockname()[1], 7),
        Worker("risk", "flowgate-risk-0", "127.0.0.1", port),
    )
    gone.close()
    before = Health(1, workers=known)
    async with asyncio.timeout(ANSWER_S + 5):
        while (health := await examine(Access("127.0.0.1:1"), 1, "flowgate", before)).workers[1].queued is None:
            pass
    assert health.problem == "no Kafka answers at 127.0.0.1:1; start it or set FLOWGATE_KAFKA__BOOTSTRAP"
    assert [worker.queued for worker in health.workers] == [None, 0]
    assert [worker.restoring for worker in health.workers] == [None, (41_210, 96_004)]
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
