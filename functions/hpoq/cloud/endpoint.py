"""Parse the endpoints of services."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from fcruntime.dataclass import dataclass
from hpoq.errors import SettingsError

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_REGION = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Endpoint:
    """The scheme and host of a service. Like the `Host` header, `host` includes a port unless it is the default."""

    scheme: str
    host: str

    @classmethod
    @lru_cache(maxsize=64)
    def parse(cls, text: str) -> Endpoint:
        """Parse `https://host[:port]`, or a host alone, which means https, or plain http for the loopback interface.

        Plain http is accepted for the loopback interface only, because it sends security tokens unencrypted.
        Raises SettingsError for anything else, including a path, a query or user information.
        """
        parts = _split(text.strip())
        host = parts.hostname or ""
        if _address(host) is None and not _NAME.fullmatch(host):
            raise SettingsError([f"endpoint {text!r}: not a host name or an IP address"])
        if parts.scheme == "http" and not is_loopback(host):
            raise SettingsError([f"endpoint {text!r}: plain http is allowed for loopback only, use https"])
        name = f"[{host}]" if ":" in host else host
        is_default = parts.port in (None, _DEFAULT_PORTS[parts.scheme])
        return cls(parts.scheme, name if is_default else f"{name}:{parts.port}")

    def url(self, target: str) -> str:
        """Return the URL of `target`, a path with an optional query, both percent-encoded already."""
        return f"{self.scheme}://{self.host}{target}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"


def check_account(account_id: str) -> str:
    """Return `account_id` if it can be part of a host name. Raises SettingsError otherwise."""
    if not account_id.isdecimal():
        raise SettingsError([f"account id {account_id!r}: must consist of digits"])
    return account_id


def check_region(region: str) -> str:
    """Return `region` if it can be part of a host name. Raises SettingsError otherwise."""
    if not _REGION.fullmatch(region):
        raise SettingsError([f"region {region!r}: expected a form such as cn-shanghai"])
    return region


def _split(text: str) -> SplitResult:
    if "@" in text:
        # This comes first, because the other messages quote the text.
        raise SettingsError(["endpoint: must not contain a user name or password"])
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        if "://" not in text and is_loopback(parts.hostname or ""):
            parts = parts._replace(scheme="http")
        _ = parts.port
    except ValueError as exc:
        raise SettingsError([f"endpoint {text!r}: {exc}"]) from exc
    if parts.scheme not in _DEFAULT_PORTS:
        raise SettingsError([f"endpoint {text!r}: the scheme must be https"])
    if parts.path not in ("", "/") or "?" in text or "#" in text:
        raise SettingsError([f"endpoint {text!r}: must be only a host, without a path or a query"])
    return parts


def is_loopback(host: str) -> bool:
    """Return whether `host` is a name or an address of the loopback interface."""
    address = _address(host)
    return address.is_loopback if address is not None else host == "localhost"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
