"""ListHpoExperiments: its filters, order and pages.

Parameters: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-listhpoexperiments.
Undocumented: times are read as UTC, and both bounds are included. Other open questions are switches.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from alilocal.core.http import Request
from alilocal.core.jsonvalue import load_json
from alilocal.paiautoml.errors import InvalidInput
from alilocal.paiautoml.model import Experiment, Tags
from alilocal.paiautoml.switches import PaiAutoMlSwitches
from alilocal.paiautoml.validation import read_tags

_DAY = 86_400
_EQUAL: dict[str, Callable[[Experiment], str | None]] = {
    "Creator": lambda experiment: experiment.creator,
    "WorkspaceId": lambda experiment: experiment.workspace_id,
    "Status": lambda experiment: experiment.status,
    "Accessibility": lambda experiment: experiment.accessibility,
}
_KEYS: dict[str, Callable[[Experiment], str | float]] = {
    "create_time": attrgetter("gmt_create_time"),
    "update_time": lambda experiment: experiment.gmt_modified_time,
    "workspace_id": lambda experiment: experiment.workspace_id or "",
    "status": lambda experiment: experiment.status,
    "accessibility": lambda experiment: experiment.accessibility,
}
_KEYS |= {"GmtCreateTime": _KEYS["create_time"], "GmtModifiedTime": _KEYS["update_time"]}
_REPEATED_TAG = re.compile(r"Tag\.(\d{1,2})\.(Key|Value)")


@dataclass(frozen=True)
class Listing:
    """The parameters of a list call."""

    equal: tuple[tuple[str, str], ...]
    name: str
    whole_name: bool
    created_from: float
    created_until: float
    tags: Tags
    any_tag: bool
    sort_key: str
    descending: bool
    page: int
    page_size: int
    with_configuration: bool

    def select(self, experiments: Sequence[Experiment]) -> list[Experiment]:
        """Return the experiments that match, in order."""
        found = [*reversed(experiments)]
        # One filter after the other, because most listings have one or two, and a search reads thousands of rows.
        for is_match in self._filters():
            found = [experiment for experiment in found if is_match(experiment)]
        # `sorted` is stable: experiments with equal keys stay newest first.
        return sorted(found, key=_KEYS[self.sort_key], reverse=self.descending)

    def page_of(self, experiments: Sequence[Experiment]) -> Sequence[Experiment]:
        """Return the requested page."""
        start = (self.page - 1) * self.page_size
        return experiments[start : start + self.page_size]

    def _filters(self) -> Iterator[Callable[[Experiment], bool]]:
        """Yield the conditions that an experiment must meet."""
        if self.created_from > 0 or self.created_until < float("inf"):
            since, until = self.created_from, self.created_until
            yield lambda experiment: since <= experiment.gmt_create_time < until
        if self.tags:
            yield self._is_tagged
        if self.name:
            yield self._is_named
        for name, value in self.equal:
            yield lambda experiment, read=_EQUAL[name], value=value: read(experiment) == value  # type: ignore[misc]

    def _is_named(self, experiment: Experiment) -> bool:
        name = experiment.name or ""
        return self.name == name if self.whole_name else self.name in name

    def _is_tagged(self, experiment: Experiment) -> bool:
        found = [
            any(own == key and value in ("", text) for own, text in experiment.tags)
            for key, value in self.tags
        ]
        return any(found) if self.any_tag and found else all(found)


def read_listing(request: Request, behaviour: PaiAutoMlSwitches) -> Listing:
    """Read the parameters of a list call; raises InvalidInput."""
    pairs = request.query_pairs(plus_is_space=True)
    given = dict(pairs)
    tags = _read_filter(pairs)
    if tags and behaviour.tag_filter == "refused":
        raise InvalidInput("Unsupported parameter 'Tag' in request.")
    sort_key = given.get("SortBy") or "create_time"
    order = given.get("Order") or "DESC"
    if sort_key not in _KEYS or order not in ("ASC", "DESC"):
        raise InvalidInput("'SortBy' or 'Order' is not valid.")
    return Listing(
        equal=tuple((name, given[name]) for name in _EQUAL if given.get(name)),
        name=given.get("Name", ""),
        whole_name=behaviour.name_filter == "exact",
        created_from=_moment(given.get("MinCreateTime"), "MinCreateTime", 0.0),
        created_until=_moment(given.get("MaxCreateTime"), "MaxCreateTime", float("inf"), until=True),
        tags=tags if behaviour.tag_filter == "honoured" else (),
        any_tag=behaviour.several_tags == "any",
        sort_key=sort_key,
        # Order applies only together with SortBy.
        descending=order == "DESC" or not given.get("SortBy"),
        page=read_page(given),
        page_size=_page_size(given.get("PageSize"), behaviour),
        with_configuration=given.get("IncludeConfigData", "").lower() == "true",
    )


def _page_size(text: str | None, behaviour: PaiAutoMlSwitches) -> int:
    most = behaviour.most_per_page
    if behaviour.large_page == "refused":
        return read_count(text, "PageSize", min(10, most), most)
    return min(read_count(text, "PageSize", 10, None), most)


def _read_filter(pairs: Sequence[tuple[str, str]]) -> Tags:
    """Return the tags of `Tag` with a JSON text, or of `Tag.1.Key` and `Tag.1.Value`."""
    tags: list[tuple[str, str]] = []
    repeated: dict[int, dict[str, str]] = {}
    for name, value in pairs:
        if name == "Tag" and value:
            tags += _read_json_tags(value)
        elif found := _REPEATED_TAG.fullmatch(name):
            repeated.setdefault(int(found[1]), {})[found[2]] = value
    tags += read_tags([dict(repeated[number]) for number in sorted(repeated)], "Tag")
    return tuple(tags)


def _read_json_tags(text: str) -> Tags:
    try:
        value = load_json(text)
    except ValueError:
        raise InvalidInput("'Tag' is not valid JSON.") from None
    return read_tags([value] if isinstance(value, dict) else value, "Tag")


def _moment(text: str | None, name: str, default: float, *, until: bool = False) -> float:
    """Return seconds since the epoch; for an upper bound, the end of the given second or day."""
    if not text:
        return default
    is_day = len(text) == len("2023-03-31")
    form, length = ("%Y-%m-%d", _DAY) if is_day else ("%Y-%m-%d %H:%M:%S", 1)
    try:
        return calendar.timegm(time.strptime(text, form)) + (length if until else 0)
    except ValueError:
        raise InvalidInput(f"'{name}' must have the form yyyy-mm-dd hh:mm:ss or yyyy-mm-dd.") from None


def read_page(given: Mapping[str, str]) -> int:
    """Return the number of the requested page, by default 1; raises InvalidInput."""
    return read_count(given.get("PageNumber"), "PageNumber", 1, None)


def read_count(text: str | None, name: str, default: int, most: int | None) -> int:
    """Return a positive number up to `most`, or `default` if `text` is missing; raises InvalidInput."""
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise InvalidInput(f"'{name}' must be a positive number.")
    if most is not None and int(text) > most:
        raise InvalidInput(f"'{name}' must not exceed {most}.")
    return int(text)
