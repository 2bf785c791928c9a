"""The queue that a command sends to, and the topic beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpoq.cli.cloud import loopback_credentials, loopback_place
from hpoq.clock import SystemClock
from hpoq.cloud.connections import new_session
from hpoq.cloud.credentials import chain, from_environment
from hpoq.cloud.endpoint import Endpoint
from hpoq.cloud.smq import Smq, default_endpoint
from hpoq.cloud.transport import Transport
from hpoq.errors import SettingsError
from hpoq.settings import Settings

_PUBLIC_HOST = re.compile(r"([0-9]+)\.mns\.([a-z0-9-]+?)(?:-internal(?:-vpc)?)?\.aliyuncs\.com")


@dataclass(frozen=True)
class Target:
    """Where requests go, and whence events come; account and region are None where nothing tells them."""

    smq: Smq
    queue: str
    topic: str | None
    account_id: str | None
    region: str | None


def find_target(settings: Settings, queue: str | None, endpoint: str | None) -> Target:
    """By `endpoint` or by the settings, signed as the environment says. Raises SettingsError."""
    url = endpoint or settings.smq_endpoint
    account_id, region = settings.account_id, settings.region
    if url is None:
        if not account_id or not region:
            raise SettingsError(
                ["give --endpoint, or set HPOQ_SMQ_ENDPOINT, or HPOQ_ACCOUNT_ID and HPOQ_REGION"]
            )
        url = default_endpoint(account_id, region)
    where, credentials = Endpoint.parse(url), from_environment()
    told = _PUBLIC_HOST.fullmatch(where.host)
    place = (told[1], told[2]) if told else (account_id, region)
    if where.scheme == "http":
        credentials = chain(credentials, loopback_credentials)
        place = loopback_place()
    scheme, _, topic = settings.output.partition("://")
    smq = Smq(Transport(new_session(1), SystemClock()), url, credentials)
    return Target(smq, queue or settings.queue, topic if scheme == "smq" else None, *place)
