"""An admitted order of which execution never says a word."""

from __future__ import annotations

from contracts.controls import Denial, ResolveCommand
from contracts.orders import OrderState
from tests.execution.admission_parts import Front, intent, report
from tests.execution.order_parts import NOW_NS

D = Denial


def resolve(number: int) -> ResolveCommand:
    return ResolveCommand(operator="Bo", reason="looked at", intent_id=f"{number:024x}", ts_ns=NOW_NS)


def test_an_order_of_which_execution_never_speaks_keeps_its_instrument_until_a_named_operator_frees_it() -> None:
    """Its command became a dead letter: nothing works under it, and no report will ever say so."""
    front = Front()
    front.decide(intent(1))
    assert front.decide(intent(2, quantity_lots=11))[0].reasons == (D.INSTRUMENT_BUSY,)
    front.tell(resolve(9))
    assert front.decide(intent(3, quantity_lots=12))[0].reasons == (D.INSTRUMENT_BUSY,)
    front.tell(resolve(1))
    assert front.decide(intent(4, quantity_lots=20))[0].admitted


def test_an_order_that_has_been_spoken_of_is_not_freed_by_an_operator() -> None:
    front = Front()
    front.decide(intent(1))
    front.tell(report(1, OrderState.SUBMITTED), resolve(1))
    assert front.decide(intent(2, quantity_lots=13))[0].reasons == (D.INSTRUMENT_BUSY,)
    front.tell(resolve(1), report(1, OrderState.ACKNOWLEDGED))
    assert front.decide(intent(3, quantity_lots=14))[0].reasons == (D.INSTRUMENT_BUSY,)
