"""The way in: checks who asks, and hands the request to the API or to the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alilocal.control.api import Api, json_answer
from alilocal.control.console import Console
from alilocal.control.guard import Guard, Refused, is_read
from alilocal.core.http import Request, Response

if TYPE_CHECKING:
    from alilocal.cloud import LocalCloud


class Control:
    """Answers what concerns the cloud itself."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._cloud = cloud
        self._guard = Guard()
        self._api = Api(cloud)
        self._console = Console(cloud, self._api, self._guard)

    def handle(self, request: Request) -> Response:
        try:
            self._guard.check(request)
            if not is_read(request):
                # Faults and switches are state too, which a folder is to keep.
                with self._cloud.changed:
                    self._cloud.changed.count += 1
            if request.path.startswith("/_console"):
                return self._console.handle(request)
            return self._api.handle(request)
        except Refused as exc:
            return json_answer(exc.status, {"error": {"code": exc.code, "message": exc.message}})
