"""Who may steer: whoever reaches the port, but not a page of another site in a browser on this machine.

Such a page can send simple requests, and read answers if its host's name leads here; so names are refused as hosts,
foreign origins too, and what changes something needs a content type or a token that no form of another site has.
"""

from __future__ import annotations

import ipaddress
import secrets
from urllib.parse import urlsplit

from alilocal.core.http import Request

_READS = ("GET", "HEAD")


class Refused(Exception):
    """The request is not answered; `status`, `code` and `message` tell why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        super().__init__(message)


class Guard:
    """Checks requests; `token` is what the console's own forms carry."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(16)

    def check(self, request: Request) -> None:
        """Raises Refused."""
        host = request.header("Host") or ""
        if not _is_address(urlsplit(f"//{host}").hostname or ""):
            raise Refused(403, "ForeignHost", f"The host must be an address or localhost, not {host!r}.")
        origin = request.header("Origin")
        if not is_read(request) and origin is not None and origin != f"http://{host}":
            raise Refused(403, "ForeignOrigin", "The request comes from a page of another site.")

    def check_form(self, given: str | None) -> None:
        """Raises Refused unless `given` is the token."""
        if not secrets.compare_digest((given or "").encode(), self.token.encode()):
            raise Refused(403, "BadToken", "The form is not of this console's present page; load it again.")


def is_read(request: Request) -> bool:
    """Whether it changes nothing."""
    return request.method in _READS


def _is_address(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
