"""Amends and order types: new terms pass the controls of any order, and only the gateway's word puts them in force."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from agents.orders import LEGAL
from agents.ports import AmendOrder, CancelOrder
from contracts.controls import DecisionRecord, Denial, TradingState
from contracts.orders import (
    AmendCommand,
    AmendIntent,
    BrokerStatus,
    CancelCommand,
    CancelIntent,
    OrderIntent,
    OrderState,
    SessionState,
)
from tests.execution.admission_parts import (
    BUCKET_NS,
    LIMITS,
    USUAL,
    Front,
    intent,
    kill,
    mark,
    report,
    risk,
    session,
    switch,
    worker,
)
from tests.execution.order_parts import INTENT, NOW_NS, SIZE, Life, command, execution, ready, sent, status

D, S = Denial, OrderState
AMEND = "d" * 24


# ---- at the desk's door ----------------------------------------------------------------------------------------------


def limit_intent(number: int = 1, price: str = "599.90", **changes: Any) -> OrderIntent:
    terms: dict[str, Any] = {"order_type": "LIMIT", "limit_price": Decimal(price), "time_in_force": "DAY"}
    return intent(number, **(terms | changes))


def amend_intent(
    number: int = 2, amends: int = 1, lots: int = 20, price: str = "600.00", **changes: Any
) -> AmendIntent:
    values: dict[str, Any] = {
        "intent_id": f"{number:024x}",
        "amends": f"{amends:024x}",
        "strategy": "ofi",
        "instrument": "SPY",
        "quantity_lots": lots,
        "limit_price": Decimal(price),
        "ts_event_ns": NOW_NS,
        "ts_ingest_ns": NOW_NS,
        "bucket_ns": BUCKET_NS,
        "inputs": (),
    }
    return AmendIntent(**(values | changes))


def cancel_intent(cancels: int = 1, **changes: Any) -> CancelIntent:
    values = amend_intent().model_dump(exclude={"type", "amends", "quantity_lots", "limit_price"})
    return CancelIntent(**(values | {"cancels": f"{cancels:024x}"} | changes))


def working(*facts: Any, limits: Any = LIMITS) -> Front:
    """A front with a limit order of 10 lots that the gateway has acknowledged."""
    front = Front(limits=limits)
    assert front.decide(limit_intent())[0].admitted
    front.tell(report(1, S.ACKNOWLEDGED), *facts)
    return front


def decided(front: Front, request: Any) -> tuple[DecisionRecord, list[Any]]:
    outputs = [out.message for out in front.tell(request)]
    assert isinstance(outputs[0], DecisionRecord)
    return outputs[0], outputs[1:]


def test_an_amend_that_nothing_speaks_against_becomes_one_command_under_the_order_it_amends() -> None:
    decision, [command_] = decided(working(), amend_intent())
    assert (decision.admitted, decision.intent_id) == (True, f"{2:024x}")
    assert isinstance(command_, AmendCommand)
    assert (command_.intent_id, command_.amend_id) == (f"{1:024x}", f"{2:024x}")
    assert (command_.quantity_lots, str(command_.limit_price)) == (20, "600.00")


TIGHT: dict[Denial, dict[str, Any]] = {
    D.QUANTITY_EXCEEDS_MAXIMUM: {"order_lots_max": 19},
    D.NOTIONAL_EXCEEDS_MAXIMUM: {"order_notional_usd_max": 12_000.0},
    D.POSITION_EXCEEDS_MAXIMUM: {"position_notional_usd_max": 12_000.0},
    D.GROSS_EXCEEDS_MAXIMUM: {"gross_notional_usd_max": 12_000.0},
    D.NET_EXCEEDS_MAXIMUM: {"net_notional_usd_max": 12_000.0},
    D.ORDER_RATE_EXCEEDS_MAXIMUM: {"orders_per_minute_max": 1},
    D.REPEATED_EXECUTION: {"repeat_orders_max": 1},
    D.PARTICIPATION_EXCEEDS_MAXIMUM: {"pov_frac_max": 0.004},
}


@pytest.mark.parametrize("reason", TIGHT)
def test_each_limit_that_holds_for_an_order_holds_for_its_new_terms(reason: Any) -> None:
    """The order of 10 lots was within the limit; 20 lots are not."""
    decision, commands = decided(working(limits=LIMITS.model_copy(update=TIGHT[reason])), amend_intent())
    assert decision.reasons == (reason,)
    assert commands == []


@pytest.mark.parametrize("price", ["601.30", "598.00"])
def test_the_collar_holds_for_an_amend_in_both_directions(price: Any) -> None:
    """C1: the quote is 600.00 x 600.01, and the collar 0.2 %."""
    decision, commands = decided(working(), amend_intent(price=price))
    assert decision.reasons == (D.PRICE_OUTSIDE_COLLAR,)
    assert "limit_price_away_frac=0.00" in decision.message
    assert commands == []


STATES = {
    D.SESSION_NOT_READY: session(SessionState.SYNCING),
    D.HALTED_BY_SWITCH: kill(),
    D.REDUCE_ONLY: switch(TradingState.REDUCING),
    D.MIXED_FLEET: worker("gates", build="e" * 64),
    D.INSTRUMENT_HALTED: mark(halted=True),
}


@pytest.mark.parametrize("reason", STATES)
def test_a_state_of_the_desk_that_stops_orders_stops_amends(reason: Any) -> None:
    decision, commands = decided(working(STATES[reason]), amend_intent())
    assert decision.reasons == (reason,)
    assert commands == []


def test_an_amend_against_an_old_price_is_denied() -> None:
    later = amend_intent(ts_event_ns=NOW_NS + 4 * BUCKET_NS)
    assert decided(working(risk(-4)), later)[0].reasons == (D.PRICE_STALE,)


def test_a_kill_of_one_order_stops_its_amends() -> None:
    assert decided(working(kill(f"order:{1:024x}")), amend_intent())[0].reasons == (D.HALTED_BY_SWITCH,)


@pytest.mark.parametrize(
    ("facts", "request_", "text"),
    [
        ((), amend_intent(amends=7), "no order of intent"),
        ((report(1, S.CANCELLED),), amend_intent(), "no order of intent"),
        ((report(1, S.PENDING_CANCEL),), amend_intent(), "state=PENDING_CANCEL"),
        ((report(1, S.PARTIALLY_FILLED, filled=6),), amend_intent(lots=6), "order_lots=6 filled_lots=6"),
    ],
)
def test_only_an_order_that_works_and_has_lots_left_is_amended(facts: Any, request_: Any, text: Any) -> None:
    decision, commands = decided(working(*facts), request_)
    assert decision.reasons == (D.ORDER_NOT_WORKING,)
    assert text in decision.message
    assert commands == []


def test_a_strategy_amends_and_cancels_its_own_orders_alone() -> None:
    front = working(limits=LIMITS.model_copy(update={"strategies": ("ofi", "pairs")}))
    assert decided(front, amend_intent(strategy="pairs"))[0].reasons == (D.ORDER_NOT_WORKING,)
    assert decided(front, cancel_intent(intent_id=f"{3:024x}", strategy="pairs"))[0].reasons == (D.ORDER_NOT_WORKING,)


def test_one_amend_at_a_time_and_the_same_amend_once() -> None:
    front = working()
    decided(front, amend_intent(2))
    assert decided(front, amend_intent(3, lots=21))[0].reasons == (D.ORDER_NOT_WORKING,)
    front.tell(report(1, S.ACKNOWLEDGED, lots=20, amend_id=f"{2:024x}"))
    assert decided(front, amend_intent(2))[0].reasons == (D.DUPLICATE_INTENT, D.DUPLICATE_CONTENT)
    assert decided(front, amend_intent(4, lots=21))[0].admitted


def test_until_an_amend_is_settled_the_larger_of_both_quantities_counts() -> None:
    """C5: 10 lots are in force, 20 are asked for; a refusal gives the difference back, and no earlier report does."""
    front = working()
    decided(front, amend_intent())
    front.tell(report(1, S.PARTIALLY_FILLED, kind="FILL", fill=4))
    assert front.state is not None
    assert front.state.working["SPY"].lots == 16
    front.tell(report(1, S.PARTIALLY_FILLED, filled=4, amend_id=f"{2:024x}", reason="amend not in force"))
    assert front.state.working["SPY"].lots == 6


def test_a_child_is_not_amended_as_the_other_children_would_go_out_with_the_old_terms() -> None:
    """The strategy asked for 300 lots and got 700: 300, and what the parent had left."""
    limits = LIMITS.model_copy(update={"order_notional_usd_max": 1e9, "position_notional_usd_max": 1e9})
    wide = limits.model_copy(update={"gross_notional_usd_max": 1e9, "net_notional_usd_max": 1e9})
    front = Front(limits=wide)
    front.decide(limit_intent(quantity_lots=700))
    front.tell(report(1, S.ACKNOWLEDGED, lots=320))
    decision, commands = decided(front, amend_intent(lots=300))
    assert (decision.reasons, commands) == ((D.ORDER_NOT_WORKING,), [])
    assert "goes out in children; cancel it and ask anew" in decision.message
    front.tell(report(1, S.FILLED, kind="FILL", fill=320, lots=320), risk(-1), mark(later=1))
    child = front.commands[-1]
    front.tell(report(1, S.ACKNOWLEDGED, intent_id=child.intent_id, order_id=child.order_id, lots=320))
    for number, named in ((3, child.intent_id), (4, f"{1:024x}")):
        request = amend_intent(number, lots=300 + number).model_copy(update={"amends": named})
        decision, commands = decided(front, request)
        assert (decision.reasons, commands) == ((D.ORDER_NOT_WORKING,), [])
        assert "goes out in children" in decision.message


def test_a_cancel_is_denied_by_no_limit_and_no_state() -> None:
    front = working(
        session(SessionState.SYNCING), kill(), limits=LIMITS.model_copy(update={"orders_per_minute_max": 1})
    )
    decision, [command_] = decided(front, cancel_intent())
    assert decision.admitted
    assert isinstance(command_, CancelCommand)
    assert command_.intent_id == f"{1:024x}"
    assert front.state is not None
    assert sum(front.state.rate.values()) == 2, "C4: it counts as a message"


# ---- order types -----------------------------------------------------------------------------------------------------


def test_a_limit_order_goes_out_at_its_own_price_and_a_market_order_with_its_cap() -> None:
    _, limit = Front().decide(limit_intent())
    _, market = Front().decide(intent(order_type="MARKET"))
    assert limit is not None
    assert market is not None
    assert (limit.order_type, str(limit.limit_price), limit.time_in_force) == ("LIMIT", "599.90", "DAY")
    assert (market.order_type, str(market.limit_price), market.time_in_force) == ("MARKET", "601.21", "IOC")


def test_a_market_order_is_valued_at_its_cap() -> None:
    """10 lots at the ask are 6000.10, at the cap 6012.10."""
    limits = LIMITS.model_copy(update={"order_notional_usd_max": 6_005.0})
    assert Front(limits=limits).decide(intent())[0].admitted
    decision, _ = Front(limits=limits).decide(intent(order_type="MARKET"))
    assert decision.reasons == (D.NOTIONAL_EXCEEDS_MAXIMUM,)
    assert "order_notional_usd=6012.1 " in decision.message


def test_a_market_order_without_a_fresh_price_or_a_collar_is_denied() -> None:
    _, order = Front(usual=tuple(f for f in USUAL if f.type != "signal")).decide(intent(order_type="MARKET"))
    assert order is None
    front = Front(risk(-4))
    assert D.PRICE_STALE in front.decide(intent(later=4, order_type="MARKET"))[0].reasons
    front = Front(limits=LIMITS.model_copy(update={"collar_frac": None}))
    assert D.LIMIT_NOT_SET in front.decide(intent(order_type="MARKET"))[0].reasons


@pytest.mark.parametrize("price", ["602.00", "590.00"])
def test_a_limit_far_from_the_quote_is_denied(price: Any) -> None:
    assert Front().decide(limit_intent(price=price))[0].reasons == (D.PRICE_OUTSIDE_COLLAR,)


@pytest.mark.parametrize(
    "terms",
    [
        {"order_type": "LIMIT"},
        {"limit_price": Decimal("600.00")},
        {"order_type": "MARKET", "limit_price": Decimal("600.00")},
        {"order_type": "MARKET", "time_in_force": "DAY"},
        {"order_type": "LIMIT", "limit_price": Decimal("600.001")},
    ],
)
def test_terms_that_do_not_fit_together_are_no_intent(terms: Any) -> None:
    with pytest.raises(ValidationError):
        intent(**terms)


# ---- the life of an amended order ------------------------------------------------------------------------------------


def amend(lots: int = 150, price: str = "600.20", amend_id: str = AMEND) -> AmendCommand:
    return AmendCommand(
        intent_id=INTENT,
        amend_id=amend_id,
        instrument="SPY",
        quantity_lots=lots,
        limit_price=Decimal(price),
        ts_ingest_ns=NOW_NS,
    )


def named(word: str, lots: int, price: str, **changes: Any) -> BrokerStatus:
    """A status together with the terms that the gateway has."""
    terms = {"order_lots": lots, "limit_price": Decimal(price)}
    return status(word, **changes).model_copy(update=terms)


def works_then(*messages: Any) -> Life:
    return Life(sent(), named("Submitted", SIZE, "600.10"), *messages, time_in_force="DAY")


def settled(life: Life) -> list[tuple[str | None, int, str]]:
    return [(r.amend_id, r.order_lots, str(r.limit_price)) for r in life.reports if r.amend_id]


def test_an_amend_is_in_force_when_the_gateway_names_its_terms_and_not_before() -> None:
    life = works_then(amend())
    assert life.order.state is S.PENDING_AMEND
    assert isinstance(life.effects[-1], AmendOrder)
    assert (life.effects[-1].command.order_id, life.effects[-1].command.quantity_lots) == (7, 150)
    life.hear(named("Submitted", SIZE, "600.10"))
    assert (life.order.state, settled(life)) == (S.PENDING_AMEND, [])
    life.hear(named("Submitted", 150, "600.20"))
    assert (life.order.state, settled(life)) == (S.ACKNOWLEDGED, [(AMEND, 150, "600.20")])
    assert life.hear(execution(150)).order.state is S.FILLED
    assert life.alerts == []


def test_an_amend_that_comes_twice_is_sent_once() -> None:
    life = works_then(amend(), amend())
    assert sum(isinstance(effect, AmendOrder) for effect in life.effects) == 1


def test_a_part_filled_during_the_amend_is_booked_and_the_amend_goes_on() -> None:
    life = works_then(amend(), execution(40))
    assert (life.order.state, life.bought[0]) == (S.PENDING_AMEND, 40)
    life.hear(named("Submitted", 150, "600.20", filled=40))
    assert life.order.state is S.PARTIALLY_FILLED
    life.hear(execution(110, number=2, cumulative=150))
    assert (life.order.state, life.bought[0], life.alerts) == (S.FILLED, 150, [])


def test_a_refused_amend_leaves_the_old_order_in_force() -> None:
    life = works_then(amend(), status("AmendRefused", reason="201 no margin"))
    assert life.order.state is S.PENDING_AMEND, "an error alone settles nothing"
    life.hear(named("Submitted", SIZE, "600.10", epoch=2), ready(2))
    assert (life.order.state, settled(life)) == (S.ACKNOWLEDGED, [(AMEND, SIZE, "600.10")])
    assert "201 no margin" in life.order.reason
    assert life.hear(execution(SIZE)).order.state is S.FILLED


def test_an_amend_whose_answer_was_lost_is_in_force_by_the_snapshot() -> None:
    life = works_then(amend(), named("Submitted", 150, "600.20", epoch=2), ready(2))
    assert (life.order.state, settled(life)) == (S.ACKNOWLEDGED, [(AMEND, 150, "600.20")])


def test_an_amend_that_was_not_written_to_the_socket_leaves_the_order_as_it_was() -> None:
    life = works_then(amend(), status("AmendNotSent", reason="session is SYNCING"))
    assert (life.order.state, settled(life)) == (S.ACKNOWLEDGED, [(AMEND, SIZE, "600.10")])


@pytest.mark.parametrize("early", [True, False])
def test_an_order_that_was_full_before_its_larger_amend_arrived_is_filled(early: Any) -> None:
    word = named("Filled", SIZE, "600.10", filled=SIZE)
    life = works_then(amend(150), *((word, execution(SIZE)) if early else (execution(SIZE), word)))
    assert (life.order.state, settled(life)) == (S.FILLED, [(AMEND, SIZE, "600.10")])


def test_an_order_that_is_full_at_its_old_size_goes_on_under_the_larger_one() -> None:
    life = works_then(amend(150), execution(SIZE))
    assert life.order.state is S.PENDING_AMEND, "150 lots may be in force already"
    assert life.hear(named("Submitted", 150, "600.20", filled=SIZE)).reports[-1].state is S.PARTIALLY_FILLED
    assert life.hear(execution(50, number=2, cumulative=150)).order.state is S.FILLED
    assert life.alerts == []


def test_a_smaller_amend_that_is_not_settled_does_not_end_the_order_early() -> None:
    life = works_then(amend(50), execution(60))
    assert life.order.state is S.PENDING_AMEND, "100 lots may still be in force"
    life.hear(execution(40, number=2, cumulative=100))
    assert (life.order.state, life.bought[0], life.alerts) == (S.FILLED, 100, [])


def test_an_order_that_is_over_or_not_answered_yet_is_not_amended() -> None:
    for life in (Life(sent()), works_then(execution(SIZE)), works_then(execution(60))):
        before = len(life.effects)
        life.hear(amend(60))
        assert len(life.effects) == before
        assert life.reports[-1].amend_id == AMEND
        assert "amend not sent" in life.reports[-1].reason


def test_a_child_does_not_grow_at_the_last_hop() -> None:
    life = Life(sent(), status("Submitted"), amend(101), parent_id="b" * 24, parent_lots=500)
    assert not any(isinstance(effect, AmendOrder) for effect in life.effects)


def test_an_order_that_is_cancelled_during_its_amend_settles_both() -> None:
    life = works_then(amend(), CancelCommand(intent_id=INTENT, reason="test"))
    assert (life.order.state, life.effects[-1]) == (S.PENDING_CANCEL, CancelOrder(7, INTENT))
    life.hear(named("Submitted", 150, "600.20"), status("Cancelled"))
    assert life.order.state is S.CANCELLED
    assert life.order.amend is None


def test_an_amend_that_the_snapshot_of_a_new_session_does_not_have_makes_the_order_unknown() -> None:
    life = works_then(amend(), ready(2))
    assert (life.order.state, life.alerts) == (S.UNKNOWN, ["ORDER_UNKNOWN"])


def test_terms_that_nobody_here_asked_for_are_taken_over_and_told() -> None:
    life = works_then(named("Submitted", 80, "600.00"))
    assert (life.order.command.quantity_lots, life.alerts) == (80, ["TERMS_CHANGED"])


def careless(rng: random.Random) -> list[Any]:
    """What may be said around an amend, in any order."""
    lots = rng.choice((60, 150))
    fills = [execution(20, number=i) for i in range(rng.randrange(4))]
    words: list[Any] = [
        named(rng.choice(("Submitted", "PreSubmitted")), *rng.choice(((SIZE, "600.10"), (lots, "600.20"))))
    ]
    words += [status("AmendRefused", reason="201"), ready(1), ready(2)]
    if rng.random() < 0.3:
        words.append(CancelCommand(intent_id=INTENT, reason=""))
    said = [amend(lots), *fills, *words]
    rng.shuffle(said)
    return said


@pytest.mark.parametrize("seed", range(200))
def test_whatever_happens_around_an_amend_every_fill_is_booked_and_it_is_sent_at_most_once(seed: Any) -> None:
    life = works_then()
    for message in careless(random.Random(seed)):
        before = life.order.state
        life.hear(message)
        assert life.order.state is before or life.order.state in LEGAL[before], f"seed {seed}: {before} {message}"
        assert life.bought[0] == life.order.filled_lots, f"seed {seed}"
    assert sum(isinstance(effect, AmendOrder) for effect in life.effects) <= 1, f"seed {seed}"
    assert life.order.command.quantity_lots >= life.order.filled_lots or life.alerts, f"seed {seed}"


def test_the_terms_of_a_market_order_are_never_compared_with_a_price() -> None:
    life = Life(sent(), status("Submitted").model_copy(update={"order_lots": SIZE}), order_type="MARKET")
    assert (life.order.command, life.alerts) == (command(order_type="MARKET"), [])


def test_an_order_of_yesterday_is_amended_by_the_age_of_its_amend() -> None:
    """The sender lets nothing out that is older than 20 s: held against the order's own age no amend went out."""
    life = Life(sent(), status("Submitted"))
    later = AmendCommand(
        intent_id=INTENT,
        amend_id=AMEND,
        instrument="SPY",
        quantity_lots=50,
        limit_price=Decimal("600.00"),
        ts_ingest_ns=NOW_NS + 86_400_000_000_000,
    )
    life.hear(later)
    (effect,) = life.effects[1:]
    assert isinstance(effect, AmendOrder)
    assert (effect.command.ts_ingest_ns, life.order.command.ts_ingest_ns) == (later.ts_ingest_ns, NOW_NS)
