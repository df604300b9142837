"""From the contract a client describes to the instrument it means, and back to contract details."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from connectors.gateway.hours import NEW_YORK
from connectors.gateway.order_frames import trading_class
from connectors.gateway.wire import Fields, Value
from contracts.instruments import BY_CON_ID, INSTRUMENTS, InstrumentSpec

NO_SECURITY = "No security definition has been found for the request"
ORDER_TYPES = "ACTIVETIM,DAY,GTC,GTD,IOC,LMT,MKT,OCA,STP,STPLMT,WHATIF"


@dataclass(frozen=True, slots=True)
class ContractQuery:
    """The fields by which clients describe a contract; empty ones match anything."""

    con_id: int
    symbol: str
    sec_type: str
    exchange: str
    primary_exchange: str
    currency: str
    local_symbol: str
    trading_class: str

    @classmethod
    def read(cls, fields: Fields) -> ContractQuery:
        """The twelve contract fields every request carries."""
        con_id, symbol, sec_type = fields.integer(), fields.text(), fields.text()
        fields.skip(4)  # expiry, strike, right, multiplier: no derivatives here
        exchange, primary, currency = fields.text(), fields.text(), fields.text()
        return cls(con_id, symbol, sec_type, exchange, primary, currency, fields.text(), fields.text())

    def find(self) -> list[InstrumentSpec]:
        """The instruments that match."""
        if self.con_id:
            spec = BY_CON_ID.get(self.con_id)
            return [spec] if spec is not None else []
        if not self.symbol and not self.local_symbol:
            return []
        return [spec for spec in INSTRUMENTS.values() if self._matches(spec)]

    def resolve(self) -> InstrumentSpec | None:
        """The one instrument that matches, or None."""
        found = self.find()
        return found[0] if len(found) == 1 else None

    def _matches(self, spec: InstrumentSpec) -> bool:
        exchanges = (
            ("", "SMART", spec.exchange, spec.primary_exchange) if spec.sec_type == "STK" else ("", spec.exchange)
        )
        return (
            self.symbol in ("", spec.symbol)
            and self.local_symbol in ("", spec.symbol)
            and self.sec_type in ("", spec.sec_type)
            and self.currency in ("", spec.currency)
            and self.exchange in exchanges
            and self.primary_exchange in ("", spec.primary_exchange)
            and self.trading_class in ("", trading_class(spec))
        )


def details(req_id: int, spec: InstrumentSpec, version: int, now_ns: int) -> list[Value]:
    """The fields of contractData (10)."""
    stock = spec.sec_type == "STK"
    values: list[Value] = [10] if version >= 164 else [10, 8]
    values += [req_id, spec.symbol, spec.sec_type, "", 0, "", spec.exchange, spec.currency, spec.symbol]
    values += [trading_class(spec), trading_class(spec), spec.con_id, spec.tick_size]
    if version < 164:
        values.append(100 if stock else 1)  # mdSizeMultiplier
    exchanges = f"SMART,{spec.primary_exchange}" if stock else spec.exchange
    values += ["", ORDER_TYPES, exchanges, 1, 0, spec.long_name, spec.primary_exchange, "", "", "", ""]
    values += ["US/Eastern" if stock else "UTC", *_hours(stock, now_ns), "", 0, 0, 1 if stock else 4, "", "", "26", ""]
    values.append("COMMON" if stock else "")
    if version == 163:
        values.append(spec.lot_size)
    if version >= 164:
        values += [spec.lot_size, spec.lot_size, 100 if stock else spec.lot_size]
    return values


def _hours(stock: bool, now_ns: int) -> list[Value]:
    """Trading and liquid hours of a week from now on, in the time zone of the instrument."""
    zone = NEW_YORK if stock else UTC
    today = datetime.fromtimestamp(now_ns / 1e9, UTC).astimezone(zone)
    days = [(today + timedelta(days=n)) for n in range(7)]

    def sessions(begin: str, end: str) -> str:
        shut = [stock and day.weekday() >= 5 for day in days]
        texts = [day.strftime("%Y%m%d") for day in days]
        return ";".join(
            f"{day}:CLOSED" if closed else f"{day}:{begin}-{day}:{end}" for day, closed in zip(texts, shut, strict=True)
        )

    return [sessions("0400", "2000"), sessions("0930", "1600")] if stock else [sessions("0000", "2359")] * 2


def search(pattern: str) -> list[InstrumentSpec]:
    """Instruments whose symbol starts with the pattern or whose name contains it, upper and lower case alike."""
    wanted = pattern.strip().upper()
    return [s for s in INSTRUMENTS.values() if wanted and (s.symbol.startswith(wanted) or wanted in s.long_name)]


def symbol_samples(req_id: int, found: list[InstrumentSpec], version: int) -> list[Value]:
    """The fields of symbolSamples (79)."""
    values: list[Value] = [79, req_id, len(found)]
    for spec in found:
        values += [spec.con_id, spec.symbol, spec.sec_type, spec.primary_exchange, spec.currency, 0]
        if version >= 176:
            values += [spec.long_name, ""]
    return values
