"""The rows of orders that ended long ago go, and nothing of an order that may still be spoken of."""

from __future__ import annotations

import pytest

from agents.execution import KEPT_NS
from agents.orders import S
from contracts.orders import SessionState
from tests.execution.order_parts import Life, execution, ready, sent, status

DAY_S = 86_400.0
WEEK_S = KEPT_NS / 1e9


@pytest.mark.parametrize("end", [execution(100), status("Cancelled"), status("Inactive")])
def test_a_week_after_its_end_an_order_leaves_at_the_next_ready(end: object) -> None:
    life = Life(sent(), status("Submitted"), end)
    kept = life.hear(ready(2, WEEK_S)).row
    assert kept is not None
    connecting = ready(3, WEEK_S + 1).model_copy(update={"state": SessionState.CONNECTING})
    assert life.hear(connecting).row is kept, "only READY is a complete word"
    said = len(life.reports), len(life.effects)
    assert life.hear(ready(4, WEEK_S + 1)).row is None
    assert (len(life.reports), len(life.effects)) == said
    assert life.hear(status("Filled", filled=100), execution(100)).row is None, "it is nobody's order then"


def test_an_order_that_is_not_over_stays_however_old_it_is() -> None:
    life = Life(sent(), status("Submitted"))
    life.hear(ready(2, 365 * DAY_S))
    assert life.order.state is S.UNKNOWN


def test_a_late_correction_keeps_its_order_for_another_week() -> None:
    life = Life(sent(), status("Submitted"), execution(100))
    late = execution(90, revision=2)
    life.hear(late.model_copy(update={"ts_ns": late.ts_ns + KEPT_NS // 2}), ready(2, WEEK_S + DAY_S))
    assert life.order.filled_lots == 90
