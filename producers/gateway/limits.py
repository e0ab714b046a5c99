"""Limits: token buckets by voter and by address, in memory only.

Addresses are kept as keyed hashes, under a key that is made at each start: what is in memory says nothing to whoever
reads it. IPv6 addresses count by their /64, which is what one household has.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from producers.gateway.errors import GatewayError

_MOST: Final = 100_000
"""Buckets kept of one kind; about 20 MB for all. Beyond that the ones that were full first are forgotten."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Limit:
    """One kind of limit: `rate` a second, up to `burst` at once, for each key.

    Parameters
    ----------
    what : what is counted, for the message
    clock : seconds, monotonic
    """

    def __init__(self, what: str, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._what = what
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key: str, count: float = 1.0) -> None:
        """Count one more for `key`. Raises `GatewayError` 429, which says when there is room again."""
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _MOST:
                self._forget(now)
            bucket = self._buckets[key] = _Bucket(self._burst, now)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.tokens < count:
            wait = (count - bucket.tokens) / self._rate
            raise GatewayError(
                429, "too_many", f"too many {self._what}: wait {wait:.1f} s", retry=True, retry_after=wait
            )
        bucket.tokens -= count

    def _forget(self, now: float) -> None:
        """Forget the buckets that are full again; if that is less than a tenth, the tenth that was used first."""
        full = self._burst / self._rate
        kept = {key: bucket for key, bucket in self._buckets.items() if now - bucket.at < full}
        if len(kept) > _MOST * 9 // 10:
            by_age = sorted(kept.items(), key=lambda item: item[1].at)
            kept = dict(by_age[_MOST // 10 :])
        self._buckets = kept


def hash_address(address: str, key: bytes) -> str:
    """Return what stands for an address in memory. What is no address counts as one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        network = "none"
    else:
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        prefix = 32 if parsed.version == 4 else 64
        network = str(ipaddress.ip_network(f"{parsed}/{prefix}", strict=False))
    return hmac.digest(key, network.encode(), "sha256").hex()[:32]
