"""The resources of Function Compute as they are on the wire.

Members: the models of alibabacloud-fc20230330 4.8.3. Those of Function Compute 2.0 differ in a few names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import NamedTuple, TypeVar

from alilocal.core.http import Headers, Request, Response
from alilocal.core.jsonvalue import JsonObject, JsonValue, load_json, read_whole
from alilocal.fc.errors import InvalidArgument
from alilocal.fc.functionhost import LATEST, InstanceFacts
from alilocal.fc.registry import Alias, AsyncConfig, Entry, Registry, Revision, Trigger, Version

T = TypeVar("T")
_MOST_PER_PAGE = 100
JSON_TYPE = ("Content-Type", "application/json")


class Names(NamedTuple):
    """The full names of resources in one account and region."""

    region: str
    account_id: str

    def function(self, name: str, qualifier: str = LATEST) -> str:
        """Return the full name of a function; the latest version needs no qualifier."""
        end = "" if qualifier == LATEST else f"/{qualifier}"
        return f"acs:fc:{self.region}:{self.account_id}:functions/{name}{end}"


def compute_etag(answer: Response) -> str:
    """Return the ETag of the resource in an answer."""
    return hashlib.md5(answer.body, usedforsecurity=False).hexdigest()


def json_answer(request_id: str, members: JsonObject | None, headers: Headers = ()) -> Response:
    """Return an answer with `members`, or an empty one with status 204 if they are None."""
    own = (("X-Fc-Request-Id", request_id), *headers)
    if members is None:
        return Response(204, own)
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
    return Response(200, (JSON_TYPE, *own), text.encode(errors="replace"))


def read_object(request: Request) -> JsonObject:
    """Return the JSON object in the body of a request, empty without a body; raises InvalidArgument."""
    try:
        value = load_json(request.body or b"{}")
    except ValueError:
        raise InvalidArgument("the body is not JSON") from None
    if not isinstance(value, dict):
        raise InvalidArgument("the body must be an object")
    return value


def query(request: Request, name: str) -> str | None:
    """Return a parameter of the query, or None if it is missing or empty."""
    return dict(request.query_pairs(plus_is_space=True)).get(name) or None


def page(
    request: Request, rows: Iterable[tuple[str, T]], order: Callable[[str], str | int] = str
) -> tuple[list[T], JsonObject]:
    """Return the rows of a page, sorted by the `order` of their names, and its `nextToken`, if there is one.

    Raises InvalidArgument.
    """
    text = query(request, "limit") or str(_MOST_PER_PAGE)
    limit = read_whole(text, 1, 10 * _MOST_PER_PAGE)
    if limit is None:
        raise InvalidArgument(f"limit: {text!r} is not a number between 1 and {10 * _MOST_PER_PAGE}.")
    most = min(limit, _MOST_PER_PAGE)
    token, prefix = query(request, "nextToken") or query(request, "startKey"), query(request, "prefix") or ""
    found = [(name, row) for name, row in rows if name.startswith(prefix)]
    found.sort(key=lambda one: order(one[0]))
    if token is not None:
        # By order, because the row that the token names may have been deleted meanwhile.
        try:
            first = order(token)
        except ValueError:
            raise InvalidArgument(f"nextToken: {token!r} is not valid.") from None
        found = [(name, row) for name, row in found if order(name) >= first]  # type: ignore[operator]
    rest: JsonObject = {"nextToken": found[most][0]} if len(found) > most else {}
    return [row for _, row in found[:most]], rest


def read_tags(request: Request, name: str) -> dict[str, str | None]:
    """Return the tags in a parameter of the query, a JSON list; raises InvalidArgument."""
    try:
        tags = load_json(query(request, name) or "[]")
        return {str(tag["Key"]): tag.get("Value") for tag in tags}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InvalidArgument(f"{name}: must be a list of objects with the members Key and Value.") from None


def has_tags(entry: Entry, tags: Mapping[str, str | None]) -> bool:
    """Return whether a function has all of `tags`; a tag without a value stands for any."""
    return all(key in entry.tags and value in (None, "", entry.tags[key]) for key, value in tags.items())


class FunctionFilter(NamedTuple):
    """The filters of ListFunctions; one that is missing lets everything through."""

    generation: str | None
    name: str | None
    runtime: str | None
    description: str | None
    tags: Mapping[str, str | None]

    @classmethod
    def read(cls, request: Request) -> FunctionFilter:
        """Return the filters of a request; raises InvalidArgument."""
        return cls(
            generation=query(request, "fcVersion"),
            name=query(request, "functionName"),
            runtime=query(request, "runtime"),
            description=query(request, "description"),
            tags=read_tags(request, "tags"),
        )

    def fits(self, entry: Entry) -> bool:
        """Return whether a function passes the filters; a description need only contain the text."""
        members = entry.latest.members
        generation = "v2" if "$" in entry.name else "v3"
        return (
            self.generation in (None, generation)
            and self.name in (None, entry.name)
            and self.runtime in (None, members.get("runtime"))
            and (self.description or "") in str(members.get("description") or "")
            and has_tags(entry, self.tags)
        )


def version_page(request: Request, versions: Mapping[str, T]) -> tuple[list[T], JsonObject, str]:
    """Return a page of versions as `page` does, and its direction: BACKWARD from the newest one, or FORWARD."""
    is_forward = (query(request, "direction") or "").upper() == "FORWARD"
    rows, rest = page(request, versions.items(), int if is_forward else lambda number: -int(number))
    return rows, rest, "FORWARD" if is_forward else "BACKWARD"


def function_row(
    registry: Registry, names: Names, entry: Entry, version: Version | None = None
) -> JsonObject:
    """Return a function, or one of its versions."""
    revision: Revision = version.revision if version else entry.latest
    return {
        **revision.members,
        "functionName": entry.name,
        "functionId": entry.function_id,
        "functionArn": names.function(entry.name, version.version_id if version else LATEST),
        "codeSize": len(registry.packages.by_key[revision.package]),
        "codeChecksum": registry.packages.checksum(revision.package),
        "createdTime": format_time(entry.created),
        "lastModifiedTime": format_time(version.created if version else entry.modified),
        "state": "Active",
        "lastUpdateStatus": "Successful",
        **({"tags": tag_rows(entry)} if entry.tags else {}),
    }


def version_row(version_id: str, description: str, created: float) -> JsonObject:
    """Return a version of a function or of a service."""
    time = format_time(created)
    return {
        "versionId": version_id,
        "description": description,
        "createdTime": time,
        "lastModifiedTime": time,
    }


def alias_row(alias: Alias) -> JsonObject:
    """Return an alias."""
    return {
        "aliasName": alias.name,
        "versionId": alias.version_id or LATEST,
        "description": alias.description,
        "additionalVersionWeight": dict(alias.weights),
        "createdTime": format_time(alias.created),
        "lastModifiedTime": format_time(alias.modified),
    }


def trigger_row(names: Names, function: str, trigger: Trigger, url: str | None = None) -> JsonObject:
    """Return a trigger; `url` is where an HTTP trigger takes requests."""
    return {
        "triggerName": trigger.name,
        "triggerId": trigger.trigger_id,
        "triggerType": trigger.kind,
        "triggerConfig": trigger.config,
        "qualifier": trigger.qualifier,
        "sourceArn": None if trigger.kind == "http" else trigger.source_arn,
        "targetArn": names.function(function, trigger.qualifier),
        "invocationRole": trigger.role,
        "description": trigger.description,
        "status": "",
        "createdTime": format_time(trigger.created),
        "lastModifiedTime": format_time(trigger.modified),
        **({"httpTrigger": {"urlInternet": url, "urlIntranet": url}} if url else {}),
    }


def async_row(names: Names, function: str, qualifier: str, config: AsyncConfig) -> JsonObject:
    """Return the configuration of asynchronous calls."""
    return {
        "maxAsyncRetryAttempts": 3,
        "maxAsyncEventAgeInSeconds": 86_400,
        "asyncTask": False,
        **config.members,
        "functionArn": names.function(function, qualifier),
        "createdTime": format_time(config.created),
        "lastModifiedTime": format_time(config.modified),
    }


def concurrency_row(names: Names, entry: Entry) -> JsonObject:
    """Return the reserved concurrency of a function."""
    return {"functionArn": names.function(entry.name), "reservedConcurrency": entry.reserved}


def instance_row(facts: InstanceFacts) -> JsonObject:
    """Return an instance. The version of an instance of the latest code is 0."""
    return {
        "instanceId": facts.instance_id,
        "qualifier": facts.qualifier,
        "versionId": facts.version_id or "0",
        "status": "Running",
        "createdTimeMs": round(facts.born * 1000),
        "destroyedTimeMs": None,
        "resourceType": "CPU",
    }


def tag_rows(entry: Entry) -> list[JsonValue]:
    """Return the tags of a function."""
    return [{"Key": key, "Value": value} for key, value in sorted(entry.tags.items())]


def format_time(seconds: float) -> str:
    """Return a time as `2026-01-02T03:04:05Z`."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
