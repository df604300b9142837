"""IB's pacing rules: messages a second, and historical data requests (docs historical_limitations).

50 messages a second of all kinds, else error 100 and the end of the connection. Historical requests, else error 162:
60 in ten minutes (BID_ASK counts twice), six for one contract and kind in two seconds, none identical within 15 s.
"""

from __future__ import annotations

from collections import deque
from typing import Final

MESSAGES_PER_S_MAX: Final = 50
HISTORY_MAX, HISTORY_WINDOW_S = 60, 600.0
CONTRACT_MAX, CONTRACT_WINDOW_S = 6, 2.0
IDENTICAL_S = 15.0


class MessageRate:
    """Counts one connection's messages over the last second."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def exceeded(self, now_s: float) -> bool:
        """Count a message; whether it is one too many."""
        times = self._times
        while times and now_s - times[0] >= 1.0:
            times.popleft()
        times.append(now_s)
        return len(times) > MESSAGES_PER_S_MAX


class HistoryPacing:
    """Counts the account's historical data requests."""

    def __init__(self) -> None:
        self._requests: deque[tuple[float, str, str]] = deque()

    def violation(self, now_s: float, contract: str, request: str, cost: int = 1) -> bool:
        """Whether a request breaks a rule; counted when it does not. `contract` names contract and kind of data."""
        requests = self._requests
        while requests and now_s - requests[0][0] >= HISTORY_WINDOW_S:
            requests.popleft()
        burst = sum(name == contract and now_s - at < CONTRACT_WINDOW_S for at, name, _ in requests)
        same = any(text == request and now_s - at < IDENTICAL_S for at, _, text in requests)
        if len(requests) + cost > HISTORY_MAX or burst >= CONTRACT_MAX or same:
            return True
        requests.extend((now_s, contract, request) for _ in range(cost))
        return False
