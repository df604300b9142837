"""When a person is told of what lasts: outages, another owner of the client id, and codes that come again."""

from __future__ import annotations

from connectors.ibkr.outages import CODE_AGAIN_S, HELD_S, OUTAGE_S, CodeWatch, HolderWatch, OutageWatch


def test_an_outage_is_told_once_and_a_planned_one_when_it_lasts_longer_than_planned() -> None:
    watch = OutageWatch(0.0)
    assert not watch.late(OUTAGE_S - 0.1, planned=False)
    assert not watch.late(OUTAGE_S, planned=True)
    assert [watch.late(OUTAGE_S + second, planned=False) for second in range(3)] == [True, False, False]
    watch.fine(100.0)
    assert not watch.late(100.0 + OUTAGE_S - 0.1, planned=False)
    assert watch.late(100.0 + OUTAGE_S, planned=False)


def test_a_client_id_that_stays_with_somebody_else_is_told_once_an_outage() -> None:
    watch = HolderWatch()
    assert [watch.refused(now_s) for now_s in (0.0, 16.0, HELD_S, HELD_S + 1, 200.0)] == [False] * 3 + [True, False]
    watch.over()
    assert not watch.refused(300.0), "a new outage"
    assert watch.refused(300.0 + HELD_S + 1)


def test_the_second_rejection_of_a_day_reaches_its_owner() -> None:
    watch = CodeWatch()
    assert [watch.due(201, now_s) for now_s in (0.0, 1.0, CODE_AGAIN_S - 1, CODE_AGAIN_S, CODE_AGAIN_S + 1)] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert watch.due(203, 1.0)
