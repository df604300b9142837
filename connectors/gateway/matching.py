"""Matching one instrument's orders against its book, in price-time priority with a queue position.

Taking: an order that crosses walks the displayed levels best first and pays each level's price.
Resting: an order joins the queue behind the size displayed at its price (`queue_ahead`). A trade at its price eats the
queue first and then the order; a trade through its price fills it outright; a snapshot that shows less than the queue
ahead shortens the queue to what is shown (cancels are assumed to come from behind us, the pessimistic reading); a
snapshot whose other side crosses its price fills it at its own price, as far as displayed size reaches.
A price beyond the displayed levels has no known queue and is not filled until the level is shown or traded through.
"""

from __future__ import annotations

from collections.abc import Iterator

from connectors.gateway.book import Book
from connectors.gateway.orders import Order

TAKER, MAKER = 2, 1
"""IB's lastLiquidity: 1 added liquidity, 2 removed it."""

Fill = tuple[Order, int, int, int]
"""(order, ticks, lots, liquidity); to be booked before the next one is asked for."""


def is_market(order: Order) -> bool:
    return order.ticket.order_type in ("MKT", "STP")


def effective_limit(order: Order) -> int | None:
    return None if is_market(order) else order.ticket.limit


def priority(order: Order) -> tuple[int, int]:
    """Sort key: better price first, then older; market orders before all."""
    limit = effective_limit(order)
    return (-(1 << 60) if limit is None else -order.sign * limit, order.perm_id)


def take(book: Book, order: Order, maker_price: int | None = None) -> Iterator[Fill]:
    """Fills against displayed size, best first: at each level's price, or at the price of an order that was waiting.

    What is available is asked anew for each fill: the one before may have woken another order that took the rest.
    """
    side, limit = order.ticket.side, effective_limit(order)
    while order.live and order.remaining > 0:
        level = next(book.available(side, limit), None)
        if level is None:
            return
        ticks, lots = level[0], min(level[1], order.remaining)
        book.take(side, ticks, lots)
        yield (order, ticks, lots, TAKER) if maker_price is None else (order, maker_price, lots, MAKER)


def rest(book: Book, order: Order) -> None:
    """Join the queue at the order's price."""
    limit = effective_limit(order)
    order.queue_ahead = None if limit is None else book.shown(order.ticket.side, limit)


def on_book(book: Book, resting: list[Order]) -> Iterator[Fill]:
    """Fills that a new snapshot causes, and shorter queues."""
    for order in sorted(resting, key=priority):
        if not order.live:
            continue
        limit = effective_limit(order)
        if limit is None:
            yield from take(book, order)
            continue
        yield from take(book, order, limit)
        shown = book.shown(order.ticket.side, limit)
        if shown is not None:
            order.queue_ahead = shown if order.queue_ahead is None else min(order.queue_ahead, shown)


def on_trade(resting: list[Order], ticks: int, lots: int, aggressor: str) -> Iterator[Fill]:
    """Fills that a print causes among the orders on the other side of its aggressor."""
    given = 0
    for order in sorted(resting, key=priority):
        limit = effective_limit(order)
        if not order.live or limit is None or order.ticket.side == aggressor:
            continue
        through = order.sign * (limit - ticks)
        if through < 0:
            return
        ahead = 0 if through > 0 else order.queue_ahead
        if ahead is None:
            continue
        if through == 0:
            order.queue_ahead = max(0, ahead - lots)
        share = min(order.remaining, lots - ahead - given)
        if share > 0:
            given += share
            yield order, limit, share, MAKER


def triggered(book: Book, order: Order) -> bool:
    """Whether a stop's price has been reached: by the last trade, or by the far quote while nothing has traded."""
    stop = order.ticket.stop
    assert stop is not None
    if book.last is not None:
        price: int | None = book.last[0]
    else:
        levels = book.asks if order.ticket.side == "BUY" else book.bids
        price = levels[0][0] if levels else None
    return price is not None and order.sign * (price - stop) >= 0
