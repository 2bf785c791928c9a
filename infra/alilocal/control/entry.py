"""The entry point: checks who asks, and hands the request to the API, or returns the console's page.

Everyone who reaches the port may control the cloud, but no page of another site that is open in a browser on this
machine. Such a page can send simple requests, and it can read the answers if its host's name resolves to this
address. Therefore host names that a site can have are refused, foreign origins are refused, and every change needs
a content type that a form of another site does not have.
"""

from __future__ import annotations

from importlib.resources import files

from alilocal.cloud import Cloud
from alilocal.control.api import Api, Refused, error_response
from alilocal.core.http import Request, Response, is_container_host, is_own_host

_READS = ("GET", "HEAD")
_SCRIPT = "text/javascript; charset=utf-8"
_FILES = {
    "console.css": "text/css; charset=utf-8",
    "console.js": _SCRIPT,
    "pages.js": _SCRIPT,
    "charts.js": _SCRIPT,
    "dom.js": _SCRIPT,
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "img-src data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        # No text can become markup or code, not even by a mistake in the scripts.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


class Control:
    """Answers the requests that concern the cloud itself."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._api = Api(cloud)

    def handle(self, request: Request) -> Response:
        """Answer a request, or refuse it with an error in JSON."""
        try:
            _check_sender(request)
            if request.method not in _READS:
                # Faults and switches are state too. The count tells `StateDir` that there is something to save.
                with self._cloud.changed:
                    self._cloud.changed.count += 1
            if request.path.startswith("/_console"):
                return self._show_console(request)
            return self._api.handle(request)
        except Refused as exc:
            return error_response(exc)

    def _show_console(self, request: Request) -> Response:
        """Return a file of the console, or its page, which is the same everywhere; 404 if there is none."""
        if request.method not in _READS:
            raise Refused(405, "MethodNotAllowed", "The console is read with GET.")
        name = request.path.removeprefix("/_console").strip("/")
        if name in _FILES:
            return _read(200, name, _FILES[name])
        is_known = self._api.find_page(name, request) is not None
        return _read(200 if is_known else 404, "index.html", "text/html; charset=utf-8")


def _read(status: int, name: str, kind: str) -> Response:
    data = (files("alilocal.control") / "static" / name).read_bytes()
    return Response(status, (("Content-Type", kind), *_HEADERS), data)


def _check_sender(request: Request) -> None:
    """Raise Refused for a request from a page of another site. Browsers always send a host, health checks may not."""
    host = request.header("Host")
    if host is not None and not is_own_host(host) and not is_container_host(host):
        allowed = "an address, localhost or a name without a dot"
        raise Refused(403, "ForeignHost", f"The host must be {allowed}, not {host!r}.")
    origin = request.header("Origin")
    if request.method not in _READS and origin is not None and origin != f"http://{host}":
        raise Refused(403, "ForeignOrigin", "The request comes from a page of another site.")
