"""`python -m app kill`: an operator's hand on the desk, also when Kafka is down.

A kill takes three ways at once, and any one of them is enough to stop new orders:

    the kill file      the execution worker blocks and cancels within a tenth of a second, without Kafka
    the control topic  admission denies, the latch blocks and cancels, the switch of the risk group is set
    the gateway        for the whole account: IB's global cancel, on a connection of our own, worker dead or alive

Each is tried whatever became of the others, and one that fails says so in a sentence. A flatten is the desk's, which
knows its own orders; what it has not closed in time, or without Kafka, is closed straight at the gateway. Only what the
broker says is held is closed, by one hand at a time, and never while orders are open. A kill of a part is the worker's:
the gateway is looked at whether it has happened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from app import killfile
from app.control import SCOPES, SLIP, fail, tell, undone, unknown
from app.control import send as _control
from app.settings import Reach
from connectors.ibkr import emergency
from connectors.ibkr.session import Address
from contracts.controls import KillCommand
from contracts.instruments import INSTRUMENTS

CANCEL_S = 10.0
FLATTEN_S = 30.0
BLOCKED_S = 0.5
"""The worker looks at the kill file ten times a second."""

NOTHING = 3
"""Exit status of a kill of which no way has worked."""


def kill(settings: Reach, order: killfile.Kill, strategies: Collection[str] | None = None) -> int:
    """Stop. 0 when all that was asked for has happened, 1 when something is left to do by hand, `SLIP`, `NOTHING`."""
    try:
        _command(order, flatten=False)
    except ValidationError:
        return fail(f"{order.scope!r} is no scope, or a name or a reason is missing; scopes are {SCOPES}", SLIP)
    if why := unknown(order.scope, strategies):
        return fail(why, SLIP)
    return asyncio.run(_kill(settings, order))


async def _kill(settings: Reach, order: killfile.Kill) -> int:
    """Each way, whatever became of the one before."""
    written = _write(settings, order)
    recorded = await _control(settings, _command(order, flatten=False))
    hand = Hand(settings, order, recorded=recorded, blocked=written or recorded)
    done = await (hand.account() if order.scope == "account" else hand.part())
    if not (hand.blocked or hand.reached):
        fail("NOTHING was stopped: neither the kill file, nor Kafka, nor the gateway took it; use TWS or telephone")
        return NOTHING
    if not hand.blocked:
        done = undone("nothing blocks new orders: end the execution worker, and keep it from starting")
    if order.disconnect and not hand.disconnect():
        done = False
    return 0 if done else 1


def _write(settings: Reach, order: killfile.Kill, *, flatten: bool = False, disconnect: bool = False) -> bool:
    """Put a line into the kill file; False when the disk does not take it."""
    path = settings.data / killfile.NAME
    try:
        killfile.add(settings.data, order._replace(flatten=flatten, disconnect=disconnect))
    except OSError as error:
        return undone(f"the kill file {path} cannot be written ({error}); the other ways are tried")
    tell(f"kill file written: {path}")
    return True


def _command(order: killfile.Kill, *, flatten: bool) -> KillCommand:
    return KillCommand(
        scope=order.scope, operator=order.operator, reason=order.reason, flatten=flatten, ts_ns=time.time_ns()
    )


@dataclass
class Hand:
    """One kill at the gateway. `blocked`: the desk has a kill without flatten from us, over one way or both.

    `flattening`: the desk may be closing positions, and we have not seen the end of it; `busy`: somebody else may.
    """

    settings: Reach
    order: killfile.Kill
    recorded: bool
    blocked: bool
    reached: bool = False
    flattening: bool = False
    busy: bool = False

    def _address(self, after: int) -> Address:
        gateway = self.settings.gateway
        return Address(gateway.host, gateway.port, gateway.drop_copy_client_id + after, gateway.simulated)

    # ---- the whole account -------------------------------------------------------------------------------------------

    async def account(self) -> bool:
        """Cancel everything, and close it where that is asked for; whether nothing is left to do."""
        try:
            async with emergency.connection(self._address(1)) as ib:
                before, left, ms = await emergency.cancel_all(ib, CANCEL_S)
                self.reached = True
                tell(f"global cancel: {before} orders were open, {left} are, after {ms:.0f} ms")
                flat = not self.order.flatten or await self._flatten(ib)
                return flat and not left
        except emergency.BusyError as error:
            self._give_way(error)
        except emergency.EmergencyError as error:
            fail(str(error))
            await self._ask_unseen()
        except Exception as error:  # whatever it is, what comes behind has to be tried
            fail(str(error) or "the gateway does not answer; use TWS or telephone")
        return False

    def _give_way(self, error: emergency.BusyError) -> None:
        self.busy = True
        fail(f"another kill is at work ({error}): this one closes nothing; look how that one ends")

    async def _flatten(self, ib: Any) -> bool:
        """By the desk, if it does it in time, or else straight at the gateway; whether nothing is left."""
        held = await emergency.positions(ib)
        if not INSTRUMENTS.keys() & held.keys():
            # The desk may not have heard yet that they are closed, and would open the opposite.
            tell(f"nothing of the catalogue is held, so nothing is closed: left {held or 'nothing'}")
            return not held
        if self.recorded and await emergency.closed_by_hand(ib):
            tell("positions were closed by hand today, which the desk need not know: it is not asked to flatten")
        elif self.recorded and await self._ask_the_desk():
            held = await emergency.until_flat(ib, FLATTEN_S)
            tell(f"flatten by the desk: left {held or 'nothing'}")
            if not INSTRUMENTS.keys() & held.keys():
                self.flattening = False
                return not held
        return await self._close(ib)

    async def _close(self, ib: Any) -> bool:
        """Straight at the gateway; never beside the desk, which would turn the positions, nor beside open orders."""
        if self.flattening:
            self.blocked = _write(self.settings, self.order)
            self.blocked |= await _control(self.settings, _command(self.order, flatten=False))
            self.flattening = not self.blocked
        if not self.blocked:
            return undone("nothing blocks the desk's orders, so positions are not closed by hand; use TWS")
        await asyncio.sleep(BLOCKED_S)
        _, left, _ = await emergency.cancel_all(ib, CANCEL_S)
        if left:
            return undone(f"{left} orders are still open, so positions are not closed by hand; use TWS")
        held = await emergency.flatten(ib, FLATTEN_S)
        tell(f"flatten straight at the gateway: left {held or 'nothing'}")
        return not held

    async def _ask_the_desk(self) -> bool:
        self.flattening = True
        _write(self.settings, self.order, flatten=True)
        return await _control(self.settings, _command(self.order, flatten=True))

    async def _ask_unseen(self) -> None:
        """The desk may reach the gateway though we do not."""
        if self.order.flatten and self.recorded:
            self.flattening = await self._ask_the_desk()
            if self.flattening:
                fail("the desk is asked to flatten; look at TWS whether it does")

    def disconnect(self) -> bool:
        """The last step of a rollback, when nobody needs the session any more."""
        if self.order.scope != "account":
            return undone("the session is not told to disconnect: a rollback is of the whole account")
        if self.flattening or self.busy:
            who = "another kill is at work" if self.busy else "the desk is to flatten"
            end = "see in TWS that all is closed, then end the execution worker, or roll back again"
            return undone(f"the session is not told to disconnect, as {who}: {end}")
        if not _write(self.settings, self.order, disconnect=True):
            return undone("the session is not told to disconnect: end the execution worker by hand")
        tell("the session is told to disconnect and stays so until a reset; logs and ledger stay where they are")
        return True

    # ---- a part of it ------------------------------------------------------------------------------------------------

    async def part(self) -> bool:
        """The worker does it; see at the gateway that it did, on a client id that no kill of the account needs."""
        scope, flatten = self.order.scope, self.order.flatten
        if not self.recorded:
            tell(f"the worker cancels what {scope} covers; only `--scope account` works with the worker dead too")
        try:
            async with emergency.connection(self._address(2)) as ib:
                cancelled = await self._see_cancelled(ib)
                return (not flatten or await self._flatten_part(ib)) and cancelled
        except emergency.BusyError as error:
            self._give_way(error)
        except emergency.EmergencyError as error:
            fail(f"not confirmed that {scope} is stopped: {error}")
            if self._can_flatten():
                await self._ask_unseen()
        except Exception as error:  # whatever it is, a sentence
            fail(f"not confirmed that {scope} is stopped: {error or 'the gateway does not answer'}; use TWS")
        return False

    async def _see_cancelled(self, ib: Any) -> bool:
        scope = self.order.scope
        known, left = await emergency.until_cancelled(ib, scope, CANCEL_S)
        tell(f"at the gateway {left} orders are open that {scope} may cover")
        if left:
            why = "the execution worker is away, say, or they are another's"
            return undone(f"not confirmed that {scope} is stopped: {why}; `--scope account` cancels without it")
        return known or undone(f"not confirmed: the gateway knows no {scope}; is the intent id right?")

    def _can_flatten(self) -> bool:
        """Whether anybody closes the positions of this part; otherwise a sentence."""
        scope = self.order.scope
        if self.order.flatten and scope.startswith("order:"):
            return undone("an order has no position of its own, so nothing is closed; name its instrument")
        if self.order.flatten and not self.recorded:
            return undone(f"nothing closes the positions of {scope}, as that needs Kafka; use TWS")
        return self.order.flatten

    async def _flatten_part(self, ib: Any) -> bool:
        if not self._can_flatten():
            return False
        kind, _, name = self.order.scope.partition(":")
        names = {name} if kind == "instrument" else INSTRUMENTS.keys()  # positions are the desk's, not a strategy's
        if not names & (await emergency.positions(ib)).keys():
            tell(f"nothing of {self.order.scope} is held, so nothing is closed")
            return True
        if await emergency.closed_by_hand(ib):
            return undone("positions were closed by hand today, so the desk is not asked to flatten; use TWS")
        if not await self._ask_the_desk():
            return undone(f"nothing closes the positions of {self.order.scope}, as that needs Kafka; use TWS")
        left = names & (await emergency.until_flat(ib, FLATTEN_S, names)).keys()
        tell(f"flatten by the desk: left {', '.join(sorted(left)) or 'nothing'}")
        return not left or undone("the desk goes on closing it until a reset; `--scope account --flatten` does without")
