"""gates: evidence in; PASS, HOLD or FAIL out, with reasons and an expiry."""

from __future__ import annotations

from typing import Any

import pytest

from agents.gates import gate
from agents.gates.stages import STAGES, Criterion, Stage
from contracts.controls import GateEvidence, GateVerdict
from tests.agents.harness import SECOND_NS, fold, sent

STAGE = Stage(3, "a stage for the test", (Criterion("drift", 0.10), Criterion("r2", 1.0, 0.5)), 60 * SECOND_NS)
STEP = gate.make(STAGE)


def evidence(name: str, value: float, second: int = 0, stage: int = 3) -> GateEvidence:
    return GateEvidence(stage=stage, name=name, value=value, ts_event_ns=second * SECOND_NS)


def verdicts(*facts: GateEvidence, step: Any = STEP) -> list[GateVerdict]:
    _, outputs = fold(step, facts)
    assert {out.topic.name for out in outputs} <= {"gate_verdicts"}
    seen: list[GateVerdict] = sent(outputs, "gate_verdicts")
    return seen


def test_a_missing_number_is_hold() -> None:
    [verdict] = verdicts(evidence("drift", 0.01))
    assert (verdict.verdict, verdict.reasons) == ("HOLD", ("r2 missing",))


def test_all_numbers_within_their_bounds_are_pass() -> None:
    assert verdicts(evidence("drift", 0.01), evidence("r2", 0.7))[-1].verdict == "PASS"


@pytest.mark.parametrize(("drift", "verdict"), [(0.0, "PASS"), (0.10, "PASS"), (0.1000001, "FAIL"), (-0.1, "FAIL")])
def test_the_bounds_themselves_pass(drift: float, verdict: str) -> None:
    assert verdicts(evidence("r2", 0.5), evidence("drift", drift))[-1].verdict == verdict


def test_a_number_out_of_bounds_is_fail_even_while_another_is_missing() -> None:
    [verdict] = verdicts(evidence("drift", 0.25))
    assert (verdict.verdict, verdict.reasons) == ("FAIL", ("drift=0.25 outside 0..0.1",))


def test_a_failure_is_published_at_once_and_so_is_the_recovery() -> None:
    seen = verdicts(evidence("drift", 0.0, 1), evidence("r2", 0.6, 1), evidence("r2", 0.4, 2), evidence("r2", 0.6, 3))
    assert [verdict.verdict for verdict in seen] == ["HOLD", "PASS", "FAIL", "PASS"]


def test_a_verdict_holds_for_its_stage_s_time_and_is_renewed_when_half_of_it_is_over() -> None:
    one = Stage(3, "one number", (Criterion("drift", 0.10),), 60 * SECOND_NS)
    seen = verdicts(*(evidence("drift", 0.0, second) for second in range(100)), step=gate.make(one))
    assert [verdict.ts_event_ns // SECOND_NS for verdict in seen] == [0, 30, 60, 90]
    assert [(verdict.expires_ts_event_ns - verdict.ts_event_ns) // SECOND_NS for verdict in seen] == [60] * 4


def test_a_number_that_is_no_longer_measured_is_missing() -> None:
    """Or one lively number would keep a gate open on another that was last measured yesterday."""
    fresh = [evidence("drift", 0.0, second) for second in range(10, 100, 10)]
    seen = verdicts(evidence("r2", 0.7, 0), *fresh)
    assert [(v.verdict, v.ts_event_ns // SECOND_NS) for v in seen] == [("HOLD", 0), ("PASS", 10), ("HOLD", 70)]
    assert seen[1].expires_ts_event_ns == 60 * SECOND_NS
    assert seen[2].reasons == ("r2 missing",)


def of(instrument: str, value: float, second: int = 0) -> GateEvidence:
    return evidence("drift", value, second).model_copy(update={"instrument": instrument})


def test_two_instruments_do_not_overwrite_each_other_and_the_verdict_does_not_flap() -> None:
    one = Stage(3, "one number", (Criterion("drift", 0.10),), 60 * SECOND_NS)
    facts = [of(name, value, second) for second in range(9) for name, value in (("QQQ", 0.5), ("SPY", 0.0))]
    seen = verdicts(*facts, step=gate.make(one))
    assert [(verdict.verdict, verdict.reasons) for verdict in seen] == [("FAIL", ("drift[QQQ]=0.5 outside 0..0.1",))]


def test_a_stage_passes_again_when_its_worst_instrument_is_well_or_is_measured_no_longer() -> None:
    one = Stage(3, "one number", (Criterion("drift", 0.10),), 60 * SECOND_NS)
    well = verdicts(of("QQQ", 0.5), of("SPY", 0.0), of("QQQ", 0.1, 1), step=gate.make(one))
    assert [verdict.verdict for verdict in well] == ["FAIL", "PASS"]
    gone = verdicts(of("QQQ", 0.5), *(of("SPY", 0.0, second) for second in range(0, 80, 10)), step=gate.make(one))
    assert [verdict.verdict for verdict in gone][-1] == "PASS"


def test_evidence_of_another_stage_is_not_its_business() -> None:
    key = gate.key_of(STAGE)
    assert (key(evidence("drift", 0.0)), key(evidence("drift", 0.0, stage=4))) == ("3", None)


def test_there_are_eight_stages_in_order_and_none_passes_without_evidence() -> None:
    assert [stage.number for stage in STAGES] == [1, 2, 3, 4, 5, 6, 7, 8]
    for stage in STAGES:
        assert gate.judge(stage, gate.GateRow())[0] == "HOLD"


def test_evidence_from_the_future_keeps_no_later_verdict_from_being_said() -> None:
    """Admission takes no verdict from the future: without a new one nothing would be admitted until then."""
    one = Stage(3, "one number", (Criterion("drift", 0.10),), 60 * SECOND_NS)
    far = 86_400 * 365
    seen = verdicts(*(evidence("drift", 0.0, second) for second in (0, far, 1, 2, 31)), step=gate.make(one))
    assert [verdict.ts_event_ns // SECOND_NS for verdict in seen] == [0, far, 1, 31]
