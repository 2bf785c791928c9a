"""Rate limits: a token bucket per operation, which all callers of the account share."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from alilocal.core.clock import CloudClock
from alilocal.core.collections import Numbered


@dataclass
class Limit:
    """A limit of `per_second` calls, with up to `burst` at once, for each operation that it covers.

    `service` and `operation` are None for any. `refused` counts the calls that were too many. `buckets` has the
    tokens that are left, and the time since which they grow, by service and operation.
    """

    per_second: float
    burst: float
    service: str | None = None
    operation: str | None = None
    refused: int = 0
    buckets: dict[str, list[float]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        _check("per_second", self.per_second, 0)
        _check("burst", self.burst, 1)

    def covers(self, service: str, operation: str) -> bool:
        """Return whether calls of `operation` are limited."""
        return self.service in (None, service) and self.operation in (None, operation)

    def has_token(self, place: str, now: float) -> bool:
        """Fill the bucket of `place` up to `now`, and return whether a call may take a token from it."""
        left, since = self.buckets.get(place, [self.burst, now])
        left = min(self.burst, left + max(0.0, now - since) * self.per_second)
        self.buckets[place] = [left, now]
        # Many small steps of time add up to a little less than a whole token.
        return left >= 1 - 1e-9

    def change(self, place: str, tokens: float) -> None:
        """Add `tokens` to the bucket of `place`, or take them if they are negative."""
        self.buckets[place][0] += tokens


def _check(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < math.inf:
        raise ValueError(f"{name}: {value!r} is not a number of at least {least}")


class Limits(Numbered[Limit]):
    """The limits of one cloud. A call takes a token of each limit that covers it, or none if one has none left."""

    def __init__(self, clock: CloudClock, known: Mapping[str, Collection[str]]) -> None:
        """`known` are the operations of each service; a limit for any other operation is refused."""
        super().__init__(known)
        self._clock = clock

    def add(
        self,
        per_second: float,
        burst: float | None = None,
        *,
        service: str | None = None,
        operation: str | None = None,
    ) -> Limit:
        """Limit each operation of `service`, or only `operation`, to `per_second` calls; None stands for any.

        Up to `burst` calls at once are answered, by default those of one second, and at least one. Raises ValueError
        for a limit that could never apply.
        """
        self._check_known(service, operation)
        _check("per_second", per_second, 0)
        limit = Limit(per_second, max(1, per_second) if burst is None else burst, service, operation)
        self._append(limit)
        return limit

    def take(self, service: str, operation: str) -> bool:
        """Take a token for a call, and return False if it is one too many."""
        if not self._items:
            return True
        place, now = f"{service} {operation}", self._clock.now()
        with self._lock:
            covering = [one for one in self._items.values() if one.covers(service, operation)]
            empty = [one for one in covering if not one.has_token(place, now)]
            for limit in empty:
                limit.refused += 1
            if not empty:
                for limit in covering:
                    limit.change(place, -1)
            return not empty

    def give_back(self, service: str, operation: str) -> None:
        """Give the token of a call back, because its caller was not recognized and counts for no account."""
        place = f"{service} {operation}"
        with self._lock:
            for limit in self._items.values():
                if limit.covers(service, operation) and place in limit.buckets:
                    limit.change(place, 1)
