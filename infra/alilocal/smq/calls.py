"""What the handlers of SMQ's operations have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from alilocal.core.http import Request, Response
from alilocal.core.service import Call
from alilocal.smq import wire
from alilocal.smq.errors import InvalidArgument, InvalidQueryString
from alilocal.smq.queue import read_int
from alilocal.smq.xml import Members

T = TypeVar("T")

MOST_IN_BATCH = 16
_MOST_LISTED = 1000


def query(request: Request) -> dict[str, str]:
    """The parameters by lower-case name, since callers' spellings differ.

    `+` stays what it is: receipt handles hold it and are sent raw.
    """
    return {name.lower(): value for name, value in request.query_pairs(plus_is_space=False)}


def count_of(request: Request) -> int:
    """`numOfMessages`, 1 if absent; raises InvalidQueryString outside 1 to 16."""
    return _in_range(query(request).get("numofmessages"), "numOfMessages", 1, MOST_IN_BATCH) or 1


def wait_of(request: Request) -> int | None:
    """`waitseconds`, None if absent; raises InvalidQueryString outside 0 to 30."""
    return _in_range(query(request).get("waitseconds"), "waitseconds", 0, 30)


def _in_range(text: str | None, name: str, low: int, high: int) -> int | None:
    if text is None:
        return None
    value = read_int(name, text)
    if not low <= value <= high:
        raise InvalidQueryString(f"The value of {name} should be between {low} and {high}.")
    return value


def location(call: Call, path: str) -> str:
    """The URL of a resource, on the host that the caller used."""
    return f"http://{call.request.header('Host') or 'localhost'}{path}"


def created(call: Call, path: str, *, is_new: bool) -> Response:
    """The answer to a create, which always names the resource."""
    headers = (("Location", location(call, path)),)
    return wire.response(201 if is_new else 204, call.request_id, headers=headers)


def listing(
    call: Call,
    root: str,
    item: str,
    resources: Sequence[T],
    name: Callable[[T], str],
    members: Callable[[T, bool], Members],
) -> Response:
    """A page of `resources`, sorted by name, as the headers of a list call ask for it.

    `NextMarker` is left out on the last page: the vendor's SDK takes an empty one for damage.
    """
    request = call.request
    prefix = request.header("x-mns-prefix") or ""
    marker = request.header("x-mns-marker") or ""
    size = read_int("x-mns-ret-number", request.header("x-mns-ret-number") or str(_MOST_LISTED))
    if not 1 <= size <= _MOST_LISTED:
        raise InvalidArgument(f"The value of x-mns-ret-number should be between 1 and {_MOST_LISTED}.")
    with_meta = (request.header("x-mns-with-meta") or "").lower() == "true"
    rest = [one for one in resources if name(one).startswith(prefix) and name(one) >= marker]
    rows: list[tuple[str, str | Members]] = [(item, members(one, with_meta)) for one in rest[:size]]
    if len(rest) > size:
        rows.append(("NextMarker", name(rest[size])))
    return wire.response(200, call.request_id, root, rows)
