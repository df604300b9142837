"""The program: its ready line, its end, its control port, its ledger across restarts, and what it says to bad input."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.gateway.__main__ import main
from connectors.gateway.ctl import Control
from connectors.gateway.faults import FaultError
from connectors.gateway.ledger import LedgerError, read
from connectors.gateway.wire import Value
from tests.gateway.gateway_harness import (
    ROOT,
    LocalGateway,
    RawClient,
    local_gateway,
    place_order_fields,
    start_gateway,
    until,
)
from tests.recordings import recording

pytestmark = pytest.mark.slow


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "connectors.gateway", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


async def test_the_ledger_survives_a_kill_and_the_next_start_goes_on_from_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    process, match = start_gateway("--seed", "3", "--ledger", str(path))
    try:
        raw = await RawClient.started(int(match[1]), 5)
        raw.send(*place_order_fields(1, quantity=100))
        raw.send(*place_order_fields(2, kind="LMT", limit=1, tif="GTC", ref="waits"))
        await raw.expect(3, 2, "Submitted")
    finally:
        process.kill()
        process.wait(10)
    with path.open("a", encoding="utf-8") as torn:
        torn.write('{"type":"order","perm')
    before = read(path)
    process, match = start_gateway("--seed", "3", "--ledger", str(path))
    try:
        raw = await RawClient.started(int(match[1]), 5)
        assert (await raw.expect(9))[2] == "3"
        raw.send(5, 1)
        shown = await raw.expect(5, 2)
        assert "waits" in shown
        raw.send(61, 1)
        assert (await raw.expect(61))[14] == "100"
        raw.send(4, 1, 2, "")
        await raw.expect(3, 2, "Cancelled")
        raw.send(*place_order_fields(3))
        await raw.expect(59)
        after = Control(int(match[2])).ledger()
    finally:
        process.terminate()
        assert process.wait(10) == 0
    view = read(path)
    assert view.positions == {"SPY": 200}
    assert len({row.perm_id for row in view.orders.values()}) == len(view.orders) == 3
    assert before.cash > view.cash == Decimal(after["cash"])


async def test_a_ledger_of_another_account_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    async with local_gateway(ledger=path, account="DU1"):
        pass
    with pytest.raises(LedgerError, match="account DU1, not DU2"):
        async with local_gateway(ledger=path, account="DU2"):
            pass


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--source", "/no/such/file"), "no file"),
        (("--source", "synthetic:NOPE"), "does not know 'NOPE'"),
        (("--cash", "-1"), "not an amount"),
        (("--faults", "/no/such/script"), "cannot read the fault script"),
        (("--hard-to-borrow", "NOPE"), "no instrument 'NOPE'"),
        (("--port", "65536"), "not a port"),
        (("--speed", "-1"), "not a number of zero or more"),
        (("--ledger", str(Path(__file__))), "is not a ledger of this gateway"),
        (("--ledger", "/no/such/folder/ledger.jsonl"), "No such file"),
    ],
)
def test_bad_input_gets_one_clear_sentence(
    args: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["--port", "0", *args])
    except SystemExit as end:  # argparse says no
        code = int(str(end.code))
    assert code != 0
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_port_that_is_taken_is_said_in_one_sentence() -> None:
    process, match = start_gateway()
    try:
        result = run("--port", match[1])
        assert (result.returncode, "Traceback" in result.stderr) == (1, False)
        assert "address already in use" in result.stderr
    finally:
        process.terminate()
        assert process.wait(10) == 0


async def test_the_control_command_arms_counts_and_clears(tmp_path: Path) -> None:
    process, match = start_gateway()
    port = match[2]

    def rows(*args: str) -> list[dict[str, Any]]:
        result = run("ctl", "--port", port, *args)
        assert result.returncode == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]

    try:
        rows("arm", "G7", "--count", "2", "--set", "copies=3")
        fault = next(row for row in rows("faults") if row["id"] == "G7")
        assert fault["armed"] == {"left": 2, "rate": 1.0, "args": {"copies": 3}}
        raw = await RawClient.started(int(match[1]), 5)
        raw.send(*place_order_fields(1, kind="LMT", limit=1))
        for _ in range(3):
            await raw.expect(3, 1, "Submitted")
        assert Control(int(port)).hits("G7") == 1
        rows("clear", "G7")
        assert next(row for row in rows("faults") if row["id"] == "G7")["armed"] is None
        assert rows("status")[0]["orders"] == 1
        assert [order["status"] for order in rows("ledger")[0]["orders"]] == ["Submitted"]
        wrong = run("ctl", "--port", port, "arm", "G7", "--set", "rubbish=1")
        assert (wrong.returncode, wrong.stderr) == (1, "ctl: G7 has no argument rubbish; it has: copies\n")
    finally:
        process.terminate()
        assert process.wait(10) == 0
    gone = run("ctl", "--port", port, "status")
    assert gone.returncode == 1
    assert "no gateway answers" in gone.stderr


def _get(port: int, path: str) -> tuple[int, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
        return response.status, response.read().decode()


async def test_the_ledger_page_shows_orders_and_escapes_what_clients_send(local: LocalGateway) -> None:
    raw = await RawClient.started(local.port, 5)
    raw.send(*place_order_fields(1, ref="<script>"))
    await raw.expect(59)
    status, page = await asyncio.to_thread(_get, local.ctl_port, "/")
    assert status == 200
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "Filled" in page


async def test_the_control_port_refuses_what_it_does_not_know(local: LocalGateway) -> None:
    control = Control(local.ctl_port)
    with pytest.raises(FaultError, match="no fault G0"):
        await asyncio.to_thread(control.arm, "G0")
    with pytest.raises(FaultError, match="no instrument"):
        await asyncio.to_thread(control.locate, "NOPE")
    reader, writer = await asyncio.open_connection("127.0.0.1", local.ctl_port)
    writer.write(b"\0\1\2 rubbish\r\n\r\n")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    assert (await asyncio.to_thread(control.status))["account"] == "DU1234567"


async def test_short_sales_of_hard_to_borrow_shares_wait_for_the_locate() -> None:
    async with local_gateway(hard_to_borrow=("SPY",)) as local:
        raw = await RawClient.started(local.port, 5)
        raw.send(*place_order_fields(1, side="SELL"))
        status = await raw.expect(3, 1)
        assert (status[2], status[10]) == ("PreSubmitted", "locate")
        local.gateway.locate("SPY")
        await raw.expect(3, 1, "Filled")


async def test_response_latency_delays_every_answer_and_keeps_their_order() -> None:
    async with local_gateway(response_s=0.05) as local:
        loop = asyncio.get_running_loop()
        raw = await RawClient.started(local.port, 5)
        await raw.expect(4, 2, -1, 2158)
        start = loop.time()
        raw.send(*place_order_fields(1))
        kinds = [(await raw.receive())[0] for _ in range(6)]
        assert loop.time() - start >= 0.05
        assert kinds == ["5", "3", "11", "5", "3", "59"]


async def test_the_reason_of_a_goodbye_arrives_in_spite_of_the_response_latency() -> None:
    async with local_gateway(response_s=0.2) as local:
        first = await RawClient.started(local.port, 5)
        await first.expect(9)
        second = await RawClient.started(local.port, 5)
        assert (await second.receive())[3] == "326"
        with pytest.raises(EOFError):
            await second.receive()


async def test_entry_latency_is_kept_by_the_running_gateway() -> None:
    async with local_gateway(entry_s=0.05) as local:
        raw = await RawClient.started(local.port, 5)
        await raw.expect(4, 2, -1, 2158)
        raw.send(*place_order_fields(1))
        await raw.expect(3, 1, "PreSubmitted")
        local.market.book(asks=[("100.05", 500)])
        assert (await raw.expect(11))[20] == "100.05"
        await until(lambda: local.ledger.positions == {"SPY": 100})


@pytest.mark.parametrize(
    ("file", "contract", "quantity", "fill"),
    [
        ("AMZN_2012-06-21_5.zip", (3691937, "AMZN", "STK", "", 0.0, "", "", "SMART", "", "USD", "", ""), 50, "50"),
        ("binance_spot_btcusdt_20240809.gz", (479624278, "", "", "", 0.0, "", "", "", "", "", "", ""), "0.05", "0.05"),
    ],
)
async def test_a_recorded_market_fills_orders(
    file: str, contract: tuple[Value, ...], quantity: Value, fill: str
) -> None:
    process, match = start_gateway("--source", str(recording(file)))
    try:
        raw = await RawClient.started(int(match[1]), 5)
        raw.send(*place_order_fields(1, quantity=quantity, contract=contract))
        status = await raw.expect(3, 1, "Filled")
        assert (status[3], status[4]) == (fill, "0")
    finally:
        process.terminate()
        assert process.wait(10) == 0
