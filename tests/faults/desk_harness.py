"""The execution group without Kafka: its agents on a log in memory, its real session on a real socket.

The log, the rows and the judge are the test's; session, steps and gateway are the product's. A crash keeps the rows and
the log (that is what Kafka is for) and loses everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import yaml

from agents.catalogue import catalogue
from agents.controls.fleet import DECIDING
from agents.parameters import Desk
from agents.spec import UNCHANGED, AgentSpec, Out, Record
from app.broker import carry_out
from app.summary import reconcile
from app.watcher import Seen, count
from connectors.ibkr import drop_copy
from connectors.ibkr.session import Address, IbkrSession
from contracts import topics as t
from contracts.controls import (
    Alert,
    DecisionRecord,
    GateVerdict,
    RiskEvent,
    SwitchEvent,
    TradingState,
    Verdict,
    WorkerState,
)
from contracts.orders import TERMINAL, ExecutionReport, OrderCommand, OrderIntent, SessionEvent, SessionState
from contracts.signals import SignalEvent
from tests.chaos import verdicts
from tests.gateway.gateway_harness import LocalGateway, local_gateway

BUCKET_NS = 1_000_000_000
DEADLINE_S = 25.0
PROFILE = Path(__file__).resolve().parents[2] / "app" / "profiles" / "dev.yaml"


class MiniDesk:
    """Admission, execution, account, latch, positions and kill switch, one message at a time, in log order."""

    def __init__(self, gateway: LocalGateway, client_id: int = 1) -> None:
        self.gateway = gateway
        desk = Desk.model_validate(yaml.safe_load(PROFILE.read_text())["desk"])
        specs = [*catalogue("execution", desk, "test"), *catalogue("risk", desk, "test")]
        self.specs: list[AgentSpec] = [spec for spec in specs if spec.name != "risk"]
        self.rows: dict[str, dict[str, Any]] = {spec.name: {} for spec in self.specs}
        self.log: list[tuple[t.Topic, str, Any]] = []
        self.queue: deque[tuple[t.Topic, str, Any, int]] = deque()
        self.seen = Seen()
        self.alerts: list[tuple[float, Alert]] = []
        self.decided: dict[str, bool] = {}
        self.states: dict[str, list[str]] = {}
        self.epoch_states: list[SessionState] = []
        self.client_id = client_id
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []
        self._bucket = time.time_ns() // BUCKET_NS
        self._number = 0

    async def start(self, copy: bool = False, asleep: bool = False) -> None:
        """Start session and agents; `asleep`, the agents wait for `wake`."""
        address = Address("127.0.0.1", self.gateway.port, self.client_id, simulated=True)
        self.session = IbkrSession(address, self._publish, after_s=(0, 1, 1))
        jobs = [self.session.run()]
        if copy:
            jobs.append(drop_copy.run(address._replace(client_id=self.client_id + 1), self._publish))
        self._tasks = [asyncio.create_task(job) for job in jobs]
        if not asleep:
            self.wake()

    def wake(self) -> None:
        """Let the agents take what is in the log."""
        self._tasks.append(asyncio.create_task(self._work()))

    async def crash(self) -> None:
        """The process is gone; what it had not written is gone with it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _publish(self, *said: tuple[t.Topic, str, Any]) -> None:
        for topic, key, message in said:
            self.say(topic, key, message)

    def say(self, topic: t.Topic, key: str, message: Any) -> None:
        """Append to the log. What crosses it is what would cross Kafka: bytes."""
        message = topic.adapter.validate_json(message.model_dump_json())
        self.queue.append((topic, key, message, len(self.log)))
        self.log.append((topic, key, message))
        self._news.set()
        count(self.seen, message, time.time_ns())
        match message:
            case Alert():
                self.alerts.append((time.monotonic(), message))
            case ExecutionReport():
                self.states.setdefault(message.intent_id, []).append(str(message.state))
            case DecisionRecord():
                self.decided[message.intent_id] = message.admitted
            case SessionEvent() if topic is t.BROKER_EVENTS:
                self.epoch_states.append(message.state)

    async def _work(self) -> None:
        while True:
            while self.queue:
                await self._process(*self.queue.popleft())
            self._news.clear()
            await self._news.wait()

    async def _process(self, topic: t.Topic, key: str, message: Any, offset: int) -> None:
        for spec in self.specs:
            if topic not in spec.sources:
                continue
            row_key = spec.key(message)
            if row_key is None:
                continue
            rows, effects = self.rows[spec.name], []
            record = Record(message, topic.name, 0, offset, b"")
            for name in sorted(rows) if row_key == t.BROADCAST else (row_key,):
                row, outputs = spec.step(rows.get(name), record)
                if outputs is UNCHANGED:
                    continue
                rows[name] = row
                for output in outputs:
                    if isinstance(output, Out):
                        self.say(output.topic, output.key, output.message)
                    else:
                        effects.append(output)
            if spec.forward is not None and row_key == t.BROADCAST:
                self.say(spec.forward, t.BROADCAST, message)
                effects.append(message)
            await carry_out(self.session.sender, effects)

    # ---- the rest of the desk, by hand -------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        return self._bucket * BUCKET_NS

    def open_for_business(self) -> None:
        """A switch that is on, and a first gate that passes."""
        self.say(t.CONTROL, "switch", SwitchEvent(state=TradingState.ACTIVE, by="test", reason="", ts_event_ns=1))
        verdict = GateVerdict(
            stage=1, verdict=Verdict.PASS, reasons=(), ts_event_ns=1, expires_ts_event_ns=4_000_000_000_000_000_000
        )
        self.say(t.GATE_VERDICTS, "1", verdict)
        self.mark()

    def mark(self, instruments: tuple[str, ...] = ("SPY", "QQQ", "AAPL", "MSFT")) -> None:
        """The next bucket: quotes as the gateway has them, and the heartbeat of risk."""
        self._bucket += 1
        for name in instruments:
            book = self.gateway.gateway.broker.books[name]
            signal = SignalEvent(
                instrument=name,
                ts_event_ns=self.now_ns,
                ts_ingest_ns=time.time_ns(),
                bucket_ns=BUCKET_NS,
                z=0.0,
                ic=0.0,
                sigma=0.0,
                alpha=0.0,
                ret=0.0,
                bid_ticks=10_000,
                ask_ticks=10_001,
                volume_lots=1_000_000,
                halted=book.halted,
            )
            self.say(t.SIGNAL_EVENTS, name, signal)
        risk = RiskEvent(
            ts_event_ns=self.now_ns,
            nav_usd=1e6,
            pnl_usd=0.0,
            gross_usd=0.0,
            net_usd=0.0,
            drawdown_frac=0.0,
            psr=None,
            returns=0,
        )
        self.say(t.RISK_EVENTS, "desk", risk)
        for group in DECIDING:
            worker = WorkerState(
                worker=group, groups=(group,), build="", configuration_hash="test", ts_ns=time.time_ns()
            )
            self.say(t.WORKERS, group, worker)

    def intend(self, instrument: str = "SPY", side: Any = "BUY", lots: int = 10) -> str:
        """An intent on the newest quote; its id."""
        self._number += 1
        intent_id = f"{self._number:024x}"
        intent = OrderIntent(
            intent_id=intent_id,
            strategy="ofi",
            instrument=instrument,
            side=side,
            quantity_lots=lots,
            arrival_bid_ticks=10_000,
            arrival_ask_ticks=10_001,
            position_lots=self.position(instrument),
            regime="calm",
            ts_event_ns=self.now_ns,
            ts_ingest_ns=time.time_ns(),
            bucket_ns=BUCKET_NS,
            inputs=(),
        )
        self.say(t.ORDER_INTENTS, instrument, intent)
        return intent_id

    def position(self, instrument: str) -> int:
        row = self.rows["positions"].get(instrument)
        return 0 if row is None else row.lots

    # ---- what is true ------------------------------------------------------------------------------------------------

    def order(self, intent_id: str) -> Any:
        return self.rows["execution"].get(intent_id)

    def locks(self, instrument: str = "SPY") -> dict[str, str]:
        found: dict[str, str] = self.rows["admission"]["desk"].locks.get(instrument, {})
        return found

    def open_orders(self) -> list[str]:
        return [key for key, row in self.rows["execution"].items() if row.state not in TERMINAL]

    @property
    def ready(self) -> bool:
        """READY is on the log, and all agents have taken it."""
        said = self.epoch_states[-1:] == [SessionState.READY]
        return said and self.session.state is SessionState.READY and not self.queue

    def violations(self) -> list[str]:
        """I1, I2, I3 and I14, judged from the log and the gateway's ledger."""
        found = reconcile(self.seen, self.gateway.ledger)
        found += [
            f"{o.order_ref}: filled {o.filled} of {o.lots}"
            for o in self.gateway.ledger.orders.values()
            if o.filled > o.lots
        ]
        return found

    def judge(self) -> verdicts.Broken:
        """All that the verdicts find, from the log and the ledger alone."""
        ledger = self.gateway.ledger
        said = [message for _, _, message in self.log]
        decisions = {m.intent_id: m for m in said if isinstance(m, DecisionRecord)}
        commands = {m.intent_id: m for m in said if isinstance(m, OrderCommand)}
        states: dict[str, list[ExecutionReport]] = {}
        for report in (m for m in said if isinstance(m, ExecutionReport)):
            states.setdefault(report.intent_id, []).append(report)
        found = verdicts.books(self.seen, ledger) + verdicts.children(commands, ledger)
        return found + verdicts.traces(decisions, ledger) + verdicts.ends(states, ledger)

    async def until(self, condition: Any, what: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until something is true; fail with the state of the desk when it does not become so."""
        ends = time.monotonic() + deadline_s
        while not condition():
            for task in self._tasks:
                if task.done() and not task.cancelled() and task.exception():
                    raise AssertionError("the desk stopped") from task.exception()
            if time.monotonic() > ends:
                rows = {key[-4:]: (str(row.state), row.reason) for key, row in self.rows["execution"].items()}
                raise AssertionError(
                    f"{what} did not happen: session {self.session.state}, orders {rows}, {self.violations()}"
                )
            await asyncio.sleep(0.01)

    async def is_ready(self) -> None:
        await self.until(lambda: self.ready, "READY")

    async def reconnected(self, loss: Callable[[], None]) -> None:
        """Lose the session, and wait until it is READY anew."""
        before = self.epoch_states.count(SessionState.READY)
        loss()
        await self.until(lambda: self.epoch_states.count(SessionState.READY) > before and self.ready, "a second READY")

    async def settled(self) -> None:
        """All orders are over, and the books are the gateway's."""
        await self.until(
            lambda: self.ready and not self.open_orders() and not self.violations(), "the end of all orders"
        )


@contextlib.asynccontextmanager
async def mini_desk(copy: bool = False, **settings: Any) -> AsyncIterator[MiniDesk]:
    """A desk that is READY, with a gateway of its own and a market of 100.00 x 100.01."""
    async with local_gateway(**settings) as gateway:
        desk = MiniDesk(gateway)
        await desk.start(copy)
        try:
            await desk.is_ready()
            desk.open_for_business()
            yield desk
            idle = sorted(fault for fault in gateway.armed if not gateway.hits(fault))
            assert not idle, f"armed, and never happened: {idle}"
        finally:
            await desk.crash()
