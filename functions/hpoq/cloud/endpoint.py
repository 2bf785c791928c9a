"""Where a service is reached."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from fcruntime.dataclass import dataclass
from hpoq.errors import SettingsError

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_REGION = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Endpoint:
    """Scheme and host of a service; `host` carries the port unless it is the scheme's own, as `Host` does."""

    scheme: str
    host: str

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read `https://host[:port]`, or a bare host, which means https.

        Plain http is taken only for the loopback interface: requests carry credentials in the clear there.
        Raises SettingsError for anything else, a path, a query or user information included.
        """
        parts = _split(text.strip())
        host = (parts.hostname or "").lower()
        if not _is_host(host):
            raise SettingsError([f"endpoint {text!r}: not a host name or an address"])
        if parts.scheme == "http" and not _is_loopback(host):
            raise SettingsError([f"endpoint {text!r}: plain http is allowed for loopback only, use https"])
        return cls(parts.scheme, _with_port(host, parts))

    def url(self, target: str) -> str:
        """The URL of `target`, a path with an optional query that is already percent-encoded."""
        return f"{self.scheme}://{self.host}{target}"

    def __str__(self) -> str:
        return self.url("")


def check_region(region: str) -> str:
    """`region` itself, if it may stand in a host name; raises SettingsError otherwise."""
    if not _REGION.fullmatch(region):
        raise SettingsError([f"region {region!r}: expected a form such as cn-shanghai"])
    return region


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        _ = parts.port
    except ValueError as exc:
        raise SettingsError([f"endpoint {text!r}: {exc}"]) from exc
    if parts.scheme not in _DEFAULT_PORTS:
        raise SettingsError([f"endpoint {text!r}: the scheme must be https"])
    if "@" in parts.netloc:
        raise SettingsError(["endpoint: must not carry user information"])
    if parts.path not in ("", "/") or "?" in text or "#" in text:
        raise SettingsError([f"endpoint {text!r}: must be a host only, without a path or a query"])
    return parts


def _with_port(host: str, parts: SplitResult) -> str:
    name = f"[{host}]" if ":" in host else host
    port = parts.port
    return name if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{name}:{port}"


def _is_host(host: str) -> bool:
    return _address(host) is not None or _NAME.fullmatch(host) is not None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address is not None else host == "localhost"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
