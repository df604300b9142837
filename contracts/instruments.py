"""The instruments the desk knows: ticks, lots and what Interactive Brokers calls them.

A quantity is a whole number of lots everywhere inside the desk: one share of a stock, 0.00001 BTC of bitcoin.
The connector and the gateway multiply by `lot_size` at the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Final

from pydantic import AfterValidator

from contracts.base import Instrument


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """Static facts of one instrument; `tick_size` in `currency`, `lot_size` in units of the instrument."""

    instrument: str
    con_id: int
    symbol: str
    sec_type: str
    exchange: str
    primary_exchange: str
    currency: str
    tick_size: Decimal
    lot_size: Decimal
    long_name: str

    def price(self, ticks: int) -> Decimal:
        """Price in currency of a whole number of ticks."""
        return ticks * self.tick_size

    def nearest(self, price: Decimal) -> Decimal:
        """The price on the tick grid, and above 0, that is nearest to any other."""
        return max(round(price / self.tick_size), 1) * self.tick_size

    def ticks(self, price: Decimal) -> int:
        """Whole ticks of a price; ValueError when the price is not on the tick grid."""
        ticks = int(price / self.tick_size)
        if ticks * self.tick_size != price:
            raise ValueError(f"{price} is not a multiple of the tick {self.tick_size} of {self.instrument}")
        return ticks

    def lots(self, size: Decimal) -> int:
        """Whole lots of a size; ValueError when the size is not a multiple of the lot."""
        lots = int(size / self.lot_size)
        if lots * self.lot_size != size:
            raise ValueError(f"{size} is not a multiple of the lot {self.lot_size} of {self.instrument}")
        return lots

    def notional(self, ticks: int, lots: int) -> Decimal:
        """Exact value in currency of `lots` at `ticks`."""
        return ticks * self.tick_size * lots * self.lot_size


def _stock(instrument: str, con_id: int, primary: str, name: str) -> InstrumentSpec:
    return InstrumentSpec(
        instrument=instrument,
        con_id=con_id,
        symbol=instrument,
        sec_type="STK",
        exchange="SMART",
        primary_exchange=primary,
        currency="USD",
        tick_size=Decimal("0.01"),
        lot_size=Decimal(1),
        long_name=name,
    )


INSTRUMENTS: Final[dict[str, InstrumentSpec]] = {
    spec.instrument: spec
    for spec in (
        _stock("AAPL", 265598, "NASDAQ", "APPLE INC"),
        _stock("AMZN", 3691937, "NASDAQ", "AMAZON.COM INC"),
        _stock("MSFT", 272093, "NASDAQ", "MICROSOFT CORP"),
        _stock("QQQ", 320227571, "NASDAQ", "INVESCO QQQ TRUST SERIES 1"),
        _stock("SPY", 756733, "ARCA", "SPDR S&P 500 ETF TRUST"),
        InstrumentSpec(
            instrument="BTCUSDT",
            con_id=479624278,
            symbol="BTC",
            sec_type="CRYPTO",
            exchange="PAXOS",
            primary_exchange="",
            currency="USD",
            tick_size=Decimal("0.01"),
            lot_size=Decimal("0.00001"),
            long_name="BITCOIN CRYPTOCURRENCY",
        ),
    )
}

BY_CON_ID: Final[dict[int, InstrumentSpec]] = {spec.con_id: spec for spec in INSTRUMENTS.values()}


def known(instrument: str) -> str:
    """The instrument; ValueError unless it is in the catalogue."""
    if instrument not in INSTRUMENTS:
        raise ValueError(f"{instrument} is not in the catalogue")
    return instrument


KnownInstrument = Annotated[Instrument, AfterValidator(known)]
"""One of the catalogue, so that its tick and its lot can be looked up."""


def on_tick(instrument: str, price: Decimal) -> None:
    """ValueError unless the instrument is in the catalogue and the price on its tick grid."""
    INSTRUMENTS[known(instrument)].ticks(price)
