"""The gateway under test: a subprocess of ours, or a real paper gateway (IB_GATEWAY_HOST and IB_GATEWAY_PORT)."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from ib_insync import IB

from tests.gateway.gateway_harness import Address, LocalGateway, local_gateway, start_gateway


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    host = os.environ.get("IB_GATEWAY_HOST")
    if host:
        yield Address(host, int(os.environ.get("IB_GATEWAY_PORT", "4002")), 0, None)
        return
    ledger = tmp_path_factory.mktemp("gateway") / "ledger.jsonl"
    process, match = start_gateway("--seed", "7", "--ledger", str(ledger))
    yield Address("127.0.0.1", int(match[1]), int(match[2]), ledger)
    process.terminate()
    assert process.wait(10) == 0


_client_ids = itertools.count(11)


@pytest.fixture
def client_id() -> int:
    """A client id that no other test uses, so that order ids start anew."""
    return next(_client_ids)


@pytest.fixture
async def ib(gateway: Address, client_id: int) -> AsyncIterator[IB]:
    """An unmodified ib_insync client, connected."""
    client = IB()
    await client.connectAsync(gateway.host, gateway.port, clientId=client_id, timeout=10)
    yield client
    client.disconnect()


@pytest.fixture
async def local(caplog: pytest.LogCaptureFixture) -> AsyncIterator[LocalGateway]:
    """A gateway in this process; an exception it left to asyncio fails the test."""
    async with local_gateway() as gateway:
        yield gateway
    left = [record.getMessage() for record in caplog.get_records("call") if record.name == "asyncio"]
    assert left == []


@pytest.fixture
async def local_ib(local: LocalGateway) -> AsyncIterator[IB]:
    """ib_insync, connected as client 1 to the gateway of this process."""
    client = IB()
    await client.connectAsync("127.0.0.1", local.port, clientId=1, timeout=10)
    yield client
    client.disconnect()
