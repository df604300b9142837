"""Starting a gateway from the command line, and ending it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path

from connectors.gateway.ctl import ControlServer
from connectors.gateway.faults import FaultError
from connectors.gateway.feed import open_feed
from connectors.gateway.ledger import LedgerError
from connectors.gateway.script import load, play
from connectors.gateway.server import Gateway, Settings
from connectors.gateway.session import Session
from connectors.market.source import SourceError


def parser() -> argparse.ArgumentParser:
    parse = argparse.ArgumentParser(prog="python -m connectors.gateway", description="A simulated IB Gateway.")
    parse.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parse.add_argument("--port", type=port, default=4002, help="API port; 0 takes a free one (default: 4002)")
    parse.add_argument("--ctl-port", type=port, default=0, help="control port on 127.0.0.1; 0 takes a free one")
    parse.add_argument(
        "--source", default="synthetic", help="synthetic[:SPY,QQQ], a recording, kafka://HOST:PORT/TOPIC"
    )
    parse.add_argument("--seed", type=int, default=0, help="seed of the synthetic market and of seeded faults")
    parse.add_argument(
        "--speed", type=number, default=1.0, help="pace of a replay; 0 is as fast as possible (default: 1)"
    )
    parse.add_argument("--ledger", type=Path, help="file the ledger is appended to (default: in memory)")
    parse.add_argument("--account", default="DU1234567", help="paper account (default: DU1234567)")
    parse.add_argument("--cash", type=money, default=Decimal(1_000_000), help="USD at the start (default: 1000000)")
    parse.add_argument("--feed-ms", type=number, default=0.0, help="latency from the market to the client")
    parse.add_argument("--entry-ms", type=number, default=0.0, help="latency from the client to the market")
    parse.add_argument("--response-ms", type=number, default=0.0, help="latency of every answer")
    parse.add_argument("--hours", action="store_true", help="trade in regular hours only")
    parse.add_argument("--no-pacing", action="store_true", help="do not enforce IB's rates and limits")
    parse.add_argument("--master-client", type=int, help="client id that hears of all orders")
    parse.add_argument("--hard-to-borrow", default="", help="instruments (SPY,QQQ) whose short sales wait")
    parse.add_argument("--faults", type=Path, help="YAML file with faults to play")
    return parse


def port(raw: str) -> int:
    if not raw.isdigit() or int(raw) > 65535:
        raise argparse.ArgumentTypeError(f"{raw!r} is not a port from 0 to 65535")
    return int(raw)


def number(raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{raw!r} is not a number of zero or more")
    return value


def money(raw: str) -> Decimal:
    try:
        amount = Decimal(raw)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{raw!r} is not an amount") from None
    if not amount.is_finite() or amount < 0:
        raise argparse.ArgumentTypeError(f"{raw!r} is not an amount of zero or more")
    return amount


def settings(args: argparse.Namespace) -> Settings:
    return Settings(
        account=args.account,
        cash=args.cash,
        seed=args.seed,
        ledger=args.ledger,
        feed_s=args.feed_ms / 1e3,
        entry_s=args.entry_ms / 1e3,
        response_s=args.response_ms / 1e3,
        hours=args.hours,
        pacing=not args.no_pacing,
        master_client=args.master_client,
        hard_to_borrow=tuple(name for name in args.hard_to_borrow.split(",") if name),
    )


async def serve(args: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT. OSError when a port is taken, SourceError when the source is not one."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    feed = open_feed(args.source, seed=args.seed, speed=args.speed)
    script = load(args.faults) if args.faults else []
    gateway = Gateway(settings(args))
    server = await loop.create_server(lambda: Session(gateway), args.host, args.port)
    control, ctl_port = await ControlServer(gateway).start(args.ctl_port)
    jobs = (gateway.replay(feed), gateway.housekeeping(), play(gateway, script))
    tasks = [asyncio.create_task(job) for job in jobs]
    port = server.sockets[0].getsockname()[1]
    print(f"gateway ready port={port} ctl={ctl_port} account={args.account}", flush=True)  # noqa: T201 - the readiness line
    for task in tasks:
        task.add_done_callback(lambda task: stop.set() if not task.cancelled() and task.exception() else None)
    await stop.wait()
    server.close()
    control.close()
    for session in list(gateway.connections):
        session.abort()
    failures = [task.exception() for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    gateway.ledger.close()
    for failure in failures:
        if failure is not None:
            raise failure


def main(argv: list[str]) -> int:
    """Run a gateway; 0 after SIGTERM or SIGINT, 1 with one sentence when it cannot start."""
    args = parser().parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(serve(args))
    except (OSError, FaultError, SourceError, LedgerError) as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1
    return 0
