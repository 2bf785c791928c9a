"""The console: one page, its parts for those who look again, and what its forms ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from alilocal.control.guard import Guard, Refused
from alilocal.control.page import Page
from alilocal.core.http import Request, Response, ServiceError

if TYPE_CHECKING:
    from alilocal.cloud import LocalCloud
    from alilocal.control.api import Api

_TYPES = {"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8"}
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
    )
)
_HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)

Form = Mapping[str, str]


class Console:
    """Serves `/_console` and what is below it."""

    def __init__(self, cloud: LocalCloud, api: Api, guard: Guard) -> None:
        self._cloud = cloud
        self._api = api
        self._guard = guard
        self._page = Page(cloud, guard.token)
        self._actions: Mapping[str, Callable[[Form], str]] = {
            "send": self._send,
            "redeliver": self._redeliver,
            "fault": self._add_fault,
            "remove-fault": self._remove_fault,
            "clear-faults": self._clear_faults,
            "advance": self._advance,
            "reset": self._reset,
        }

    def handle(self, request: Request) -> Response:
        """The answer; raises Refused."""
        name = request.path.removeprefix("/_console").strip("/")
        if request.method == "POST" and name in self._actions:
            return self._act(name, request)
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, "MethodNotAllowed", "The console is read with GET.")
        if name in _TYPES:
            data = (files("alilocal.control") / "static" / name).read_bytes()
            return Response(200, (("Content-Type", _TYPES[name]), *_HEADERS), data)
        given = dict(request.query_pairs(plus_is_space=True))
        if name == "":
            return _page(self._page.whole(given.get("said", ""), failed="failed" in given))
        if name == "live":
            return _page(self._page.live())
        if name == "reset":
            return _page(self._page.confirm_reset())
        raise Refused(404, "NotFound", "The console has no such page.")

    def _act(self, name: str, request: Request) -> Response:
        """Do what a form asks for, and lead back to the page, which says what was done."""
        given = parse_qs(request.body.decode(errors="replace"), keep_blank_values=True)
        form = {key: values[-1] for key, values in given.items()}
        self._guard.check_form(form.get("token"))
        failed = "&failed=1"
        try:
            said, failed = self._actions[name](form), ""
        except (Refused, ServiceError) as exc:
            said = exc.message
        except (ValueError, TypeError) as exc:
            said = str(exc)
        return Response(303, (("Location", f"/_console?said={quote(said)}{failed}"), *_HEADERS))

    def _send(self, form: Form) -> str:
        queue, body = form.get("queue", ""), form.get("body", "")
        if not queue:
            raise ValueError("There is no queue yet: create one with an SDK, or start with --queue NAME.")
        message_id = self._cloud.queues.get(queue).send(body.replace("\r\n", "\n"))
        return f"Sent to {queue}: {message_id}"

    def _redeliver(self, form: Form) -> str:
        message_id = self._api.redeliver(form.get("message", ""))
        again = message_id == form.get("message")
        return f"Shown again: {message_id}" if again else f"Sent anew: {message_id}"

    def _add_fault(self, form: Form) -> str:
        options = {name: form[name] for name in ("service", "operation") if form.get(name)}
        numbers = {name: int(form[name]) for name in ("nth", "status") if form.get(name)}
        self._cloud.faults.add(
            form.get("kind", ""),  # type: ignore[arg-type]
            when=form.get("when", "before"),  # type: ignore[arg-type]
            times=int(form["times"]) if form.get("times") else None,
            probability=float(form.get("probability") or 1),
            seconds=float(form["seconds"]) if form.get("seconds") else None,
            **options,  # type: ignore[arg-type]
            **numbers,  # type: ignore[arg-type]
        )
        return f"Fault in force: {form.get('kind')}"

    def _remove_fault(self, form: Form) -> str:
        self._cloud.faults.remove(int(form.get("fault", "0")))
        return "Fault removed"

    def _clear_faults(self, _form: Form) -> str:
        self._cloud.faults.clear()
        return "No faults in force"

    def _advance(self, form: Form) -> str:
        seconds = float(form.get("seconds") or 0)
        self._cloud.clock.advance(seconds)
        return f"The clock moved on by {seconds:g} s"

    def _reset(self, _form: Form) -> str:
        self._cloud.reset()
        return "Everything is forgotten"


def _page(text: str) -> Response:
    return Response(200, (("Content-Type", "text/html; charset=utf-8"), *_HEADERS), text.encode())
