"""A trading floor for crash tests: real Kafka, gateway, execution and risk worker; the market and the intents by hand.

Each bucket all instruments are quoted, 36 lots deep on three levels, and while `trading`, one order of 30 lots is
wanted in each of them: so each order fills in three parts, and some order is in flight at any time. What the desk says
is read from Kafka as any other reader would; what happened is read from the gateway's own ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from agents.controls.fleet import DECIDING
from app.processes import Child
from app.stack import Stack
from app.watcher import FOLLOWED, Watcher, until
from connectors.gateway import ledger
from contracts import topics as t
from contracts.base import Message
from contracts.controls import DecisionRecord, GateVerdict, KillCommand, ResetCommand, Verdict, WorkerState
from contracts.market import Heartbeat, RawBook, RawTrade
from contracts.orders import (
    AccountValue,
    CancelIntent,
    ExecutionReport,
    OrderCommand,
    OrderIntent,
    SessionEvent,
    SessionState,
)
from contracts.signals import SignalEvent
from contracts.topics import BROADCAST, MARKET_PARTITIONS, Topic, market_partition

BUCKET_S: Final = 0.25
BUCKET_NS: Final = 250_000_000
UNIVERSE: Final = ("AAPL", "AMZN", "MSFT", "QQQ", "SPY")
BIDS, ASKS = ("100.00", "99.99", "99.98"), ("100.01", "100.02", "100.03")
LEVEL_LOTS: Final = 12
ORDER_LOTS: Final = 30
VOLUME_LOTS: Final = 1_000_000
"""Traded in each bucket: more than an average day brings."""

RESTING_LOTS: Final = 15
"""Less than a share of the volume of each instrument: the order is not cut into children."""

READY_S: Final = 120.0
QUIET_S: Final = 40.0
"""Longest waits, for a machine that is busy with other things; how long it took is told apart."""

SESSION_S: Final = 10
"""A worker that is silent for so long loses its place to another."""

DESK: Final = {
    "FLOWGATE_KAFKA__SESSION_S": str(SESSION_S),
    "FLOWGATE_DESK__MARKET__UNIVERSE": "[" + ",".join(f'"{name}"' for name in UNIVERSE) + "]",
    "FLOWGATE_DESK__MARKET__BUCKET_MS": str(BUCKET_NS // 1_000_000),
    # Thousands of orders are what this floor is for, and a worker that is dead for seconds answers late.
    "FLOWGATE_DESK__LIMITS__ORDERS_PER_MINUTE_MAX": "1000000",
    "FLOWGATE_DESK__LIMITS__REPEAT_ORDERS_MAX": "1000000",
    "FLOWGATE_DESK__LIMITS__DAILY_LOSS_USD_MAX": "1000000",
    "FLOWGATE_DESK__KILL__ACKNOWLEDGEMENT_MS_P95_MAX": "1000000",
    "FLOWGATE_DESK__KILL__CONNECTION_FAILURES_MAX": "1000000",
    "FLOWGATE_DESK__KILL__POSITION_BREAKS_MAX": "1000000",
    "FLOWGATE_DESK__KILL__LOSS_FRAC_MAX": "1",
    "FLOWGATE_DESK__KILL__LOSS_USD_MAX": "1000000",
    "FLOWGATE_DESK__KILL__DRAWDOWN_FRAC_MAX": "1",
}


class Tape(Watcher):
    """All that the desk said about orders, by intent id.

    `ready_ns` is the wall time at which the last READY was sent, behind all of its snapshot, `cash` what the broker
    last said of it, `worker` what a worker last said it runs.
    """

    def __init__(self, access: Any) -> None:
        super().__init__(access, (*FOLLOWED, t.WORKERS, t.ACCOUNT_VALUES))
        self.decisions: dict[str, DecisionRecord] = {}
        self.commands: dict[str, OrderCommand] = {}
        self.states: dict[str, list[ExecutionReport]] = {}
        self.ready_ns = 0
        self.cash: Decimal | None = None
        self.worker: WorkerState | None = None

    def take(self, message: Any, sent: int) -> None:
        super().take(message, sent)
        match message:
            case DecisionRecord():
                self.decisions[message.intent_id] = message
            case OrderCommand():
                self.commands[message.intent_id] = message
            case ExecutionReport():
                self.states.setdefault(message.intent_id, []).append(message)
            case SessionEvent() if message.state is SessionState.READY:
                self.ready_ns = sent
            case AccountValue():
                self.cash = message.cash
            case WorkerState():
                self.worker = message


class Floor:
    """The stack, the tape, and the hands that trade."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.crash_file = folder / "crash"
        desk = {**DESK, "FLOWGATE_CRASH_FILE": str(self.crash_file)}
        self.stack = Stack(folder, tell, desk)
        self.trading = self.printing = False
        self._instance = 0
        self.side = ""
        self._numbers = itertools.count(1)
        self._seq = itertools.count(1)
        self._jobs: list[asyncio.Task[None]] = []

    # ---- processes ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Everything up, the session READY and the switch ACTIVE."""
        await self.stack.start(("execution", "risk"))
        access = self.stack.administrator
        self.tape = Tape(access)
        await self.tape.start()
        self._producer = AIOKafkaProducer(**access.options(), enable_idempotence=True)
        await self._producer.start()
        verdict = GateVerdict(
            stage=1, verdict=Verdict.PASS, reasons=(), ts_event_ns=1, expires_ts_event_ns=4_000_000_000_000_000_000
        )
        await self.say(t.GATE_VERDICTS, "1", verdict)
        self._jobs = [asyncio.create_task(self.tape.follow()), asyncio.create_task(self._market())]
        if not await until(lambda: self.ready and self.tape.seen.switch == "ACTIVE", READY_S):
            raise TimeoutError(f"session {self.tape.seen.session}, switch {self.tape.seen.switch} at the start")

    async def stop(self) -> None:
        for job in self._jobs:
            job.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._jobs)
        await self._producer.stop()
        await self.tape.stop()
        self.stack.stop()

    @property
    def worker(self) -> Child:
        return self.stack.workers["execution"]

    @property
    def ready(self) -> bool:
        return self.tape.seen.session == SessionState.READY

    def arm(self, place: str, count: int, delay_ms: float = 0.0) -> None:
        """The worker dies at the `count`-th time from now that it comes to a place, or a moment later."""
        fresh = self.crash_file.with_suffix(".new")
        fresh.write_text(f"{place} {count}" + (f" {delay_ms:.2f}" if delay_ms else ""))
        fresh.replace(self.crash_file)

    def start_worker(self) -> None:
        """Start the execution worker, in place of the one that has ended; its log is kept under its process id."""
        old = self.worker
        old.process.wait()
        self.stack.children.forget(old)
        old.log.rename(old.log.with_suffix(f".{old.process.pid}.log"))
        self.tape.seen.session = "gone"
        self.stack.workers["execution"] = self.stack.start_worker("execution", self._instance)

    def succeed(self) -> None:
        """Start another worker beside the one that has the place, as a supervisor would that has lost sight of it."""
        old = self.worker
        self._instance += 1
        self.stack.workers["execution"] = self.stack.start_worker("execution", self._instance)
        self.stack.children.forget(old)

    # ---- the market, and what is wanted ------------------------------------------------------------------------------

    async def say(self, topic: Topic, key: str, message: Message, partition: int = 0) -> None:
        await self._producer.send(topic.name, message.model_dump_json().encode(), key.encode(), partition)

    async def _market(self) -> None:
        moment = time.time()
        while True:
            await self._bucket()
            moment = max(moment + BUCKET_S, time.time())
            await asyncio.sleep(moment - time.time())

    async def _bucket(self) -> None:
        now_ns = time.time_ns()
        for name in UNIVERSE:
            await self.say(t.MARKET_RAW, name, self._book(name, now_ns), market_partition(name))
            await self.say(t.SIGNAL_EVENTS, name, _signal(name, now_ns))
            if self.printing:
                await self.say(t.MARKET_RAW, name, self._print(name, now_ns), market_partition(name))
        await self._missing_groups(now_ns)
        for partition in range(MARKET_PARTITIONS):
            beat = Heartbeat(partition=partition, ts_event_ns=now_ns, ts_ingest_ns=now_ns)
            await self.say(t.SIGNAL_EVENTS, BROADCAST, beat)
        await asyncio.sleep(0.02)  # risk speaks of this bucket before it is acted on
        if self.trading:
            for name in UNIVERSE:
                await self.say(t.ORDER_INTENTS, name, self.intent(name, now_ns))

    async def _missing_groups(self, now_ns: int) -> None:
        """The groups that are not here run what the others run: admission asks for all of them."""
        if self.tape.worker is None:
            return
        for group in DECIDING:
            if group not in self.stack.workers:
                worker = self.tape.worker.model_copy(update={"worker": group, "groups": (group,), "ts_ns": now_ns})
                await self.say(t.WORKERS, group, worker)

    def _book(self, name: str, now_ns: int) -> RawBook:
        # Another size each time: what was taken from a level comes back when the level changes.
        size = str(LEVEL_LOTS - now_ns // BUCKET_NS % 2)
        return RawBook(
            source="synthetic",
            instrument=name,
            seq=next(self._seq),
            ts_event_ns=now_ns,
            ts_ingest_ns=now_ns,
            bids=tuple((price, size) for price in BIDS),
            asks=tuple((price, size) for price in ASKS),
        )

    def _print(self, name: str, now_ns: int) -> RawTrade:
        """A sale at the bid: it fills who rests there, a level at a time."""
        return RawTrade(
            source="synthetic",
            instrument=name,
            seq=next(self._seq),
            ts_event_ns=now_ns,
            ts_ingest_ns=now_ns,
            price=BIDS[0],
            size=str(LEVEL_LOTS),
            side="SELL",
        )

    def position(self, name: str) -> int:
        held = self.tape.seen.positions.get(name)
        return held.position_lots if held else 0

    def intent(self, name: str, now_ns: int, **changes: Any) -> OrderIntent:
        number, position = next(self._numbers), self.position(name)
        values: dict[str, Any] = {
            "intent_id": f"{number:024x}",
            "strategy": "ofi",
            "instrument": name,
            "side": self.side or ("SELL" if position > 0 else "BUY"),
            # Never twice the same within a bucket: that is what a duplicate looks like.
            "quantity_lots": ORDER_LOTS - number // len(UNIVERSE) % 2,
            "arrival_bid_ticks": 10_000,
            "arrival_ask_ticks": 10_001,
            "position_lots": position,
            "regime": "calm",
            "ts_event_ns": now_ns,
            "ts_ingest_ns": now_ns,
            "bucket_ns": BUCKET_NS,
            "inputs": (),
        }
        return OrderIntent(**(values | changes))

    async def rest(self, price: str) -> list[str]:
        """Want an order in each instrument that rests at a price until somebody ends it; their intents."""
        terms = {"order_type": "LIMIT", "limit_price": Decimal(price), "time_in_force": "DAY"}
        wanted: dict[str, str] = {}
        deadline = time.monotonic() + QUIET_S
        while not all(self.state(wanted.get(name, "")) == "ACKNOWLEDGED" for name in UNIVERSE):
            for name in UNIVERSE:
                # The child of an order from before may still be at work: then it is denied, and wanted again.
                decision = self.tape.decisions.get(wanted.get(name, ""))
                if name not in wanted or (decision is not None and not decision.admitted):
                    now_ns = time.time_ns()
                    intent = self.intent(name, now_ns, side="BUY", quantity_lots=RESTING_LOTS, **terms)
                    wanted[name] = intent.intent_id
                    await self.say(t.ORDER_INTENTS, name, intent)
            if time.monotonic() > deadline:
                raise TimeoutError(f"orders do not rest: {dict(self.tape.seen.denied)}")
            await asyncio.sleep(BUCKET_S)
        return list(wanted.values())

    async def cancel(self, intents: Sequence[str]) -> None:
        """Have the strategy end the orders of these intents."""
        for instrument, name in zip(UNIVERSE, intents, strict=True):
            now_ns = time.time_ns()
            wish = CancelIntent(
                intent_id=f"{next(self._numbers):024x}",
                cancels=name,
                strategy="ofi",
                instrument=instrument,
                ts_event_ns=now_ns,
                ts_ingest_ns=now_ns,
                bucket_ns=BUCKET_NS,
                inputs=(),
            )
            await self.say(t.ORDER_INTENTS, instrument, wish)

    async def kill(self, scope: str, *, flatten: bool = False) -> None:
        kill = KillCommand(operator="Ada", reason="crash test", scope=scope, flatten=flatten, ts_ns=time.time_ns())
        await self.say(t.CONTROL, "switch", kill)

    async def reset(self, scope: str) -> None:
        await self.say(
            t.CONTROL, "switch", ResetCommand(operator="Bo", reason="done", scope=scope, ts_ns=time.time_ns())
        )
        admitted, self.trading = self.tape.seen.admitted, True
        if not await until(lambda: self.tape.seen.admitted > admitted, QUIET_S):
            raise TimeoutError(f"nothing is traded after the reset of {scope}: {self.tape.seen.denied}")
        self.trading = False

    # ---- what is true ------------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> ledger.LedgerView:
        return ledger.read(self.stack.ledger)

    def state(self, intent_id: str) -> str:
        reports = self.tape.states.get(intent_id)
        return str(reports[-1].state) if reports else ""


def _signal(name: str, now_ns: int) -> SignalEvent:
    return SignalEvent(
        instrument=name,
        ts_event_ns=now_ns,
        ts_ingest_ns=now_ns,
        bucket_ns=BUCKET_NS,
        z=0.0,
        ic=0.0,
        sigma=0.0,
        alpha=0.0,
        ret=0.0,
        bid_ticks=10_000,
        ask_ticks=10_001,
        volume_lots=VOLUME_LOTS,
        halted=False,
    )
