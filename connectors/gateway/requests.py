"""Reading placeOrder, the one long request, into a ticket, with the checks made before a market is bothered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connectors.gateway.contract import NO_SECURITY, ContractQuery
from connectors.gateway.orders import Ticket
from connectors.gateway.wire import FieldError, Fields
from contracts.instruments import InstrumentSpec

ORDER_TYPES = {"MKT": "MKT", "LMT": "LMT", "STP": "STP", "STP LMT": "STP LMT", "STPLMT": "STP LMT"}
TIMES_IN_FORCE = frozenset({"DAY", "GTC", "IOC", "GTD", "FOK"})


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error of ours
    """The request is answered with IB's error `code` and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """The fields of placeOrder that this gateway acts on."""

    order_id: int
    contract: ContractQuery
    action: str
    quantity: Decimal | None
    order_type: str
    limit: Decimal | None
    stop: Decimal | None
    tif: str
    oca_group: str
    account: str
    order_ref: str
    transmit: bool
    parent_id: int
    outside_rth: bool
    gtd: str
    oca_type: int
    e_trade_only: bool
    firm_quote_only: bool
    algo: str
    what_if: bool


def read_place_order(fields: Fields, order_id: int, version: int) -> PlaceOrder:
    """Decode up to `whatIf`; what follows has no meaning here. FieldError when a field is missing or unreadable."""
    contract = ContractQuery.read(fields)
    fields.skip(2)  # secIdType, secId
    action, quantity, order_type = fields.text(), fields.decimal(), fields.text()
    limit, stop, tif, oca_group, account = (
        fields.decimal(),
        fields.decimal(),
        fields.text(),
        fields.text(),
        fields.text(),
    )
    fields.skip(2)  # openClose, origin
    order_ref, transmit, parent_id = fields.text(), fields.flag(), fields.integer()
    fields.skip(4)  # block, sweep, displaySize, triggerMethod
    outside_rth = fields.flag()
    fields.skip(1)  # hidden
    if contract.sec_type == "BAG":
        _skip_legs(fields)
    fields.skip(3)  # sharesAllocation, discretionaryAmt, goodAfterTime
    gtd = fields.text()
    fields.skip(
        7 if version < 177 else 6
    )  # faGroup, faMethod, faPercentage, [faProfile], model, shortSaleSlot, location
    fields.skip(1)  # exemptCode
    oca_type = fields.integer()
    fields.skip(5)  # rule80A, settlingFirm, allOrNone, minQty, percentOffset
    e_trade_only, firm_quote_only = fields.flag(), fields.flag()
    fields.skip(8)  # nbboPriceCap, auction, startingPrice, stockRefPrice, delta, range low and high, overridePercentage
    fields.skip(2)  # volatility, volatilityType
    delta_neutral = fields.text()
    fields.skip(1)  # deltaNeutralAuxPrice
    fields.skip(8 if delta_neutral else 0)
    fields.skip(6)  # continuousUpdate, referencePriceType, trailStop, trailingPercent, scaleInitLevel, scaleSubsLevel
    increment = fields.decimal()
    fields.skip(7 if increment is not None and increment > 0 else 0)
    fields.skip(3)  # scaleTable, activeStart, activeStop
    fields.skip(1 if fields.text() else 0)  # hedgeType, hedgeParam
    fields.skip(4)  # optOutSmart, clearingAccount, clearingIntent, notHeld
    fields.skip(3 if fields.flag() else 0)  # delta neutral contract
    algo = fields.text()
    if algo:
        fields.skip(2 * _count(fields))
    fields.skip(1)  # algoId
    return PlaceOrder(
        order_id=order_id,
        contract=contract,
        action=action,
        quantity=quantity,
        order_type=order_type,
        limit=limit,
        stop=stop,
        tif=tif or "DAY",
        oca_group=oca_group,
        account=account,
        order_ref=order_ref,
        transmit=transmit,
        parent_id=parent_id,
        outside_rth=outside_rth,
        gtd=gtd,
        oca_type=oca_type,
        e_trade_only=e_trade_only,
        firm_quote_only=firm_quote_only,
        algo=algo,
        what_if=fields.flag(),
    )


def _count(fields: Fields) -> int:
    count = fields.integer()
    if not 0 <= count <= len(fields):
        raise FieldError(f"a list of {count} entries does not fit into the frame")
    return count


def _skip_legs(fields: Fields) -> None:
    fields.skip(8 * _count(fields))
    fields.skip(_count(fields))
    fields.skip(2 * _count(fields))


def ticket_of(request: PlaceOrder, client_id: int, account: str) -> Ticket:
    """The ticket of a valid request; Refused with IB's code otherwise."""
    spec = request.contract.resolve()
    if spec is None:
        raise Refused(200, NO_SECURITY)
    if request.account not in ("", account):
        raise Refused(321, f"Error validating request.-'bM' : cause - Invalid account code '{request.account[:20]}'.")
    if request.action not in ("BUY", "SELL"):
        raise Refused(321, f"Error validating request.-'bM' : cause - Invalid side '{request.action[:20]}'.")
    if request.e_trade_only:
        raise Refused(10268, "The 'EtradeOnly' order attribute is not supported.")
    if request.firm_quote_only:
        raise Refused(10269, "The 'FirmQuoteOnly' order attribute is not supported.")
    order_type = ORDER_TYPES.get(request.order_type)
    if order_type is None or request.algo:
        raise Refused(387, f"Unsupported order type for this exchange and security type: {request.order_type[:20]}")
    if request.tif not in TIMES_IN_FORCE:
        raise Refused(10052, f"Invalid time in force: {request.tif[:20]}")
    if request.tif == "GTD" and not request.gtd:
        raise Refused(391, "The date, time, or time-zone entered is invalid: a GTD order needs goodTillDate.")
    return Ticket(
        client_id=client_id,
        order_id=request.order_id,
        spec=spec,
        side=request.action,
        lots=_lots(request.quantity, spec),
        order_type=order_type,
        limit=_ticks(request.limit, spec, "limit") if "LMT" in order_type else None,
        stop=_ticks(request.stop, spec, "stop") if "STP" in order_type else None,
        tif=request.tif,
        gtd_ns=parse_time(request.gtd) if request.tif == "GTD" else None,
        gtd_text=request.gtd if request.tif == "GTD" else "",
        oca_group=request.oca_group,
        oca_type=request.oca_type,
        order_ref=request.order_ref,
        parent_id=request.parent_id,
        transmit=request.transmit,
        outside_rth=request.outside_rth,
        what_if=request.what_if,
        exchange=spec.exchange,
    )


def _lots(quantity: Decimal | None, spec: InstrumentSpec) -> int:
    if quantity is None or quantity == 0:
        raise Refused(434, "The order size cannot be zero.")
    if quantity < 0 or quantity > Decimal(10) ** 9:
        raise Refused(321, "Error validating request.-'bM' : cause - Invalid order size.")
    try:
        return spec.lots(quantity)
    except ValueError:
        raise Refused(10243, "Fractional-sized order cannot be placed via API.") from None


def _ticks(price: Decimal | None, spec: InstrumentSpec, name: str) -> int:
    if price is None or price <= 0 or price > Decimal(10) ** 9:
        raise Refused(321, f"Error validating request.-'bM' : cause - Invalid {name} price.")
    try:
        return spec.ticks(price)
    except ValueError:
        text = "The price does not conform to the minimum price variation for this contract."
        raise Refused(110, text) from None


def parse_time(raw: str) -> int:
    """Nanoseconds of `YYYYMMDD HH:MM:SS [zone]` or `YYYYMMDD-HH:MM:SS` (both UTC without a zone); Refused 391."""
    parts = raw.replace("-", " ", 1).split()
    try:
        zone = ZoneInfo(parts[2]) if len(parts) > 2 else UTC
        when = datetime.strptime(f"{parts[0]} {parts[1]}", "%Y%m%d %H:%M:%S").replace(tzinfo=zone)
    except (IndexError, ValueError, ZoneInfoNotFoundError, OSError):
        text = "The date, time, or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss xxx."
        raise Refused(391, text) from None
    return int(when.timestamp()) * 1_000_000_000
