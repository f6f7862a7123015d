"""Rate limit for each client: token buckets in a bounded LRU cache of client addresses."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

CLIENTS = 10_000
"""Client addresses in the cache; the least recently used one is evicted first."""


class TokenBuckets:
    """A token bucket for each client: ``per_second`` on average, ``burst`` at once. For one event loop.

    Parameters
    ----------
    clock
        Monotonic time in seconds.
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = per_second, max(1.0, burst), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take a token and return 0.0; where the bucket is empty, return the seconds until the next token."""
        wait = self.wait(client)
        if wait == 0.0:
            tokens, seen_at = self._buckets[client]
            self._buckets[client] = tokens - 1.0, seen_at
        return wait

    def wait(self, client: str) -> float:
        """Return the seconds until the client has a token, without taking one."""
        now = self._clock()
        tokens, seen_at = self._buckets.get(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - seen_at) * self._rate)
        self._buckets[client] = tokens, now
        self._buckets.move_to_end(client)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._rate

    def __len__(self) -> int:
        return len(self._buckets)


def client_name(host: str) -> str:
    """Return the name that an address is counted under: itself, or for IPv6 its /64 network, which
    belongs to one client (RFC 6177).
    """
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, 64), strict=False).network_address)
