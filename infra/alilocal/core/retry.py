"""The retry strategies of event streams, rules and topics: how often a delivery is repeated, and with which delays.

Sources: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/trigger-retry-policies-and-fault-tolerance-policies,
and for topics https://www.alibabacloud.com/help/en/mns/developer-reference/subscribe.
"""

from __future__ import annotations

from typing import Literal

from alilocal.core.ids import Ids

RetryStrategy = Literal["BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"]

_BACKOFF_RETRIES = 3
_BACKOFF_SECONDS = (10.0, 20.0)
_DECAY_RETRIES = 176
_DECAY_MOST_SECONDS = 512


def delay_after(strategy: RetryStrategy, attempts: int, ids: Ids) -> float | None:
    """Return the seconds until the next attempt after `attempts` failed ones, or None to give up."""
    if strategy == "BACKOFF_RETRY":
        return ids.between(*_BACKOFF_SECONDS) if attempts <= _BACKOFF_RETRIES else None
    if attempts > _DECAY_RETRIES:
        return None
    return float(min(2 ** (attempts - 1), _DECAY_MOST_SECONDS))
