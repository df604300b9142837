"""A desk in front of which every intent passes, and what to change so that one does not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from agents.admission import Admission
from agents.controls.case import Identity
from agents.controls.fleet import DECIDING
from agents.controls.state import AdmissionState
from agents.parameters import Desk, Limits
from agents.spec import Out
from contracts.controls import (
    DecisionRecord,
    GateVerdict,
    KillCommand,
    RiskEvent,
    SwitchEvent,
    TradingState,
    Verdict,
    WorkerState,
)
from contracts.orders import (
    AccountValue,
    ExecutionReport,
    OrderCommand,
    OrderIntent,
    OrderState,
    SessionEvent,
    SessionState,
)
from contracts.signals import SignalEvent
from tests.execution.order_parts import NOW_NS, record

BUCKET_NS = 1_000_000_000
PROFILE = Path(__file__).resolve().parents[2] / "app" / "profiles" / "dev.yaml"
LIMITS: Limits = Desk.model_validate(yaml.safe_load(PROFILE.read_text())["desk"]).limits
UNIVERSE = frozenset({"SPY", "QQQ", "AAPL"})


def session(state: SessionState = SessionState.READY) -> SessionEvent:
    return SessionEvent(state=state, epoch=1, next_order_id=50, account="DU1", reason="", ts_ns=NOW_NS)


def switch(state: TradingState = TradingState.ACTIVE) -> SwitchEvent:
    return SwitchEvent(state=state, by="test", reason="", ts_event_ns=NOW_NS)


def risk(age_buckets: int = 0, pnl_usd: float = 0.0) -> RiskEvent:
    return RiskEvent(
        ts_event_ns=NOW_NS - age_buckets * BUCKET_NS,
        nav_usd=1e6 + pnl_usd,
        pnl_usd=pnl_usd,
        gross_usd=0.0,
        net_usd=0.0,
        drawdown_frac=0.0,
        psr=None,
        returns=0,
    )


def account(nav: str = "1000000", power: str = "4000000", age_s: int = 0) -> AccountValue:
    return AccountValue(
        account="DU1",
        net_liquidation=Decimal(nav),
        cash=Decimal(nav),
        buying_power=Decimal(power),
        ts_ns=NOW_NS - age_s * 1_000_000_000,
    )


def verdict(stage: int = 1, word: Verdict = Verdict.PASS, lives_buckets: int = 60) -> GateVerdict:
    return GateVerdict(
        stage=stage,
        verdict=word,
        reasons=() if word is Verdict.PASS else ("session_h=2.5<6",),
        ts_event_ns=NOW_NS,
        expires_ts_event_ns=NOW_NS + lives_buckets * BUCKET_NS,
    )


def mark(
    instrument: str = "SPY",
    bid: int = 60_000,
    ask: int = 60_001,
    later: int = 0,
    halted: bool = False,
    volume: int = 1_000_000,
) -> SignalEvent:
    """A bucket in which more traded than an average day brings, unless told otherwise."""
    return SignalEvent(
        instrument=instrument,
        ts_event_ns=NOW_NS + later * BUCKET_NS,
        ts_ingest_ns=NOW_NS + later * BUCKET_NS,
        bucket_ns=BUCKET_NS,
        z=0.0,
        ic=0.0,
        sigma=0.0,
        alpha=0.0,
        ret=0.0,
        bid_ticks=bid,
        ask_ticks=ask,
        volume_lots=volume,
        halted=halted,
    )


def kill(scope: str = "account", flatten: bool = False) -> KillCommand:
    return KillCommand(operator="Ada", reason="a test", scope=scope, flatten=flatten, ts_ns=NOW_NS)


def intent(number: int = 1, later: int = 0, **changes: Any) -> OrderIntent:
    values: dict[str, Any] = {
        "intent_id": f"{number:024x}",
        "strategy": "ofi",
        "instrument": "SPY",
        "side": "BUY",
        "quantity_lots": 10,
        "arrival_bid_ticks": 60_000,
        "arrival_ask_ticks": 60_001,
        "position_lots": 0,
        "regime": "calm",
        "ts_event_ns": NOW_NS + later * BUCKET_NS,
        "ts_ingest_ns": NOW_NS + later * BUCKET_NS,
        "bucket_ns": BUCKET_NS,
        "inputs": (),
    }
    return OrderIntent(**(values | changes))


def report(
    number: int = 1,
    state: OrderState = OrderState.FILLED,
    kind: Any = "STATE",
    fill: int = 0,
    filled: int = 0,
    lots: int = 10,
    **changes: Any,
) -> ExecutionReport:
    values: dict[str, Any] = {
        "kind": kind,
        "intent_id": f"{number:024x}",
        "order_id": 49 + number,
        "instrument": "SPY",
        "side": "BUY",
        "state": state,
        "order_lots": lots,
        "filled_lots": filled or fill,
        "fill_lots": fill,
        "ts_ns": NOW_NS,
    }
    if kind == "FILL":
        values |= {"exec_id": f"{number:08x}.1", "fill_price": Decimal("600.01")}
    return ExecutionReport(**(values | changes))


IDENTITY = Identity("b" * 64, "c" * 64)


def worker(group: str, age_s: int = 0, instance: int = 0, **changes: Any) -> WorkerState:
    values: dict[str, Any] = {
        "worker": f"desk-{group}-{instance}",
        "groups": (group,),
        "build": IDENTITY.build,
        "configuration_hash": IDENTITY.configuration_hash,
        "ts_ns": NOW_NS - age_s * 1_000_000_000,
    }
    return WorkerState(**(values | changes))


def fleet(age_s: int = 0) -> tuple[WorkerState, ...]:
    """The word of a live worker of each group."""
    return tuple(worker(group, age_s) for group in sorted(DECIDING))


FLEET = fleet()
USUAL: tuple[Any, ...] = (session(), switch(), risk(), account(), verdict(), mark(), *FLEET)


class Front:
    """Admission, told some facts."""

    def __init__(self, *facts: Any, limits: Limits = LIMITS, usual: tuple[Any, ...] = USUAL) -> None:
        self.admission = Admission(limits, UNIVERSE, IDENTITY, BUCKET_NS)
        self.state: AdmissionState | None = None
        self.outputs: list[Out] = []
        self.tell(*usual, *facts)

    def tell(self, *facts: Any) -> list[Out]:
        """Outputs of these facts, also kept."""
        fresh: list[Out] = []
        for fact in facts:
            self.state, outputs = self.admission.step(self.state, record(fact, "order_intents"))
            fresh += outputs
        self.outputs += fresh
        return fresh

    def decide(self, wanted: OrderIntent) -> tuple[DecisionRecord, OrderCommand | None]:
        outputs = self.tell(wanted)
        decision = outputs[0].message
        assert isinstance(decision, DecisionRecord)
        commands = [out.message for out in outputs if isinstance(out.message, OrderCommand)]
        return decision, commands[0] if commands else None

    @property
    def commands(self) -> list[OrderCommand]:
        return [out.message for out in self.outputs if isinstance(out.message, OrderCommand)]

    @property
    def decisions(self) -> list[DecisionRecord]:
        return [out.message for out in self.outputs if isinstance(out.message, DecisionRecord)]
